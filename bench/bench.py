"""Times one inference of every engine, taking turns: `bench.py BENCH_PEERS_BINARY [--rounds N] [--only yolov5n-416x416]`.

Each engine is a process of its own that answers a number of runs with their milliseconds. A round lets each of them run
a few times; the table gives the median over all rounds. Engines that take turns see the same neighbours and clocks.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NATIVE = ["kernels", "kernels-rgb", "kernels-int8", "kernels-int8-rgb", "burn", "tract"]
# OpenVINO with its defaults computes in bfloat16 where the CPU has it; -f32 forces floats of 32
# bits.
OTHERS = ["onnxruntime", "onnxruntime-int8", "openvino", "openvino-f32", "openvino-int8"]
ENGINES = [*OTHERS, *NATIVE]
# The columns of the tables.
RATIOS = [("kernels", "onnxruntime"), ("kernels-int8", "onnxruntime"), ("kernels-int8", "openvino-int8")]
# tract has no intra-op threads here, and plain burn's Flex is built without them.
SINGLE_THREADED = ["burn", "tract"]
SIZES = [(320, 320), (416, 416), (640, 640), (640, 384)]
RUNS_A_ROUND = 3
SLOW = {"burn", "tract"}


def picture(width, height):
    import numpy as np

    y, x = np.mgrid[:height, :width]
    gray = (((x * 7 + y * 13) % 256) / np.float32(255)).astype(np.float32)
    return np.stack([gray] * 3)[None]


def onnxruntime_engine(path, image, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})


def openvino_engine(path, image, threads, precision=None):
    import openvino

    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    request = openvino.Core().compile_model(path, "CPU", config).create_infer_request()
    return lambda: request.infer({0: image})


def worker(engine, scale, width, height, threads):
    path = str(HERE / "models" / f"{scale}-{width}x{height}")
    image = picture(width, height)
    run = {
        "onnxruntime": lambda: onnxruntime_engine(f"{path}.onnx", image, threads),
        "onnxruntime-int8": lambda: onnxruntime_engine(f"{path}-ort-int8.onnx", image, threads),
        "openvino": lambda: openvino_engine(f"{path}.onnx", image, threads),
        "openvino-f32": lambda: openvino_engine(f"{path}.onnx", image, threads, "f32"),
        "openvino-int8": lambda: openvino_engine(f"{path}-nncf-int8.xml", image, threads),
    }[engine]()
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        print(" ".join(f"{t:.4f}" for t in times), flush=True)


class Engine:
    """An engine's process."""

    def __init__(self, binary, engine, scale, width, height, threads):
        size = [scale, str(width), str(height), str(threads)]
        native = engine in NATIVE
        command = [binary, engine, *size] if native else [sys.executable, __file__, "--worker", engine, *size]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = engine
        self.times = []

    def run(self, count):
        print(count, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split()
        if len(answer) != count:
            raise SystemExit(f"{self.name} gave no answer; its own message is above")
        return [float(t) for t in answer]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(binary, scale, width, height, threads, rounds, names):
    names = [name for name in names if threads == 1 or name not in SINGLE_THREADED]
    engines = [Engine(binary, name, scale, width, height, threads) for name in names]
    for engine in engines:
        engine.run(2)  # warm-up
    for number in range(rounds):
        # Start with another one each time: the engine after a slow one finds colder caches.
        for engine in engines[number % len(engines) :] + engines[: number % len(engines)]:
            if engine.name not in SLOW:
                engine.times += engine.run(RUNS_A_ROUND + 1)[1:]
            elif number % 5 == 0:
                engine.times += engine.run(1)
    for engine in engines:
        engine.close()
    return {engine.name: engine.times for engine in engines}


def environment():
    model = next((l.split(":")[1].strip() for l in Path("/proc/cpuinfo").open() if l.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel_path": os.environ.get("MODEL_RUNTIME_ISA", "best"),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def main():
    if sys.argv[1:2] == ["--worker"]:
        engine, scale, *numbers = sys.argv[2:]
        return worker(engine, scale, *map(int, numbers))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="part of a model's name, e.g. yolov5n-416")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--engines", nargs="*", default=ENGINES, choices=ENGINES)
    arguments = parser.parse_args()
    results = {"environment": environment(), "medians_ms": []}
    heads = [*arguments.engines, *(f"{a} / {b}" for a, b in RATIOS)]
    print("| model | input | threads | " + " | ".join(heads) + " |")
    print("| --- | --- | --- |" + " ---: |" * len(heads))
    for scale in ["yolov5n", "yolov5s"]:
        for width, height in SIZES:
            if arguments.only not in f"{scale}-{width}x{height}":
                continue
            for threads in arguments.threads:
                times = measure(
                    arguments.binary, scale, width, height, threads, arguments.rounds, arguments.engines
                )
                medians = {name: statistics.median(values) for name, values in times.items()}
                row = {"model": scale, "input": f"{width}x{height}", "threads": threads, **medians}
                results["medians_ms"].append(row)
                cells = [f"{medians[n]:.1f}" if n in medians else "" for n in arguments.engines]
                for a, b in RATIOS:
                    cells.append(f"{medians[a] / medians[b]:.2f}" if {a, b} <= medians.keys() else "")
                print(f"| {scale} | {width} x {height} | {threads} | {' | '.join(cells)} |", flush=True)
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
