"""Over HTTP: this project's function and Flask with ONNX Runtime, in turns: `serve_bench.py EYE_STATE MODEL.onnx PICTURES`.

MODEL.onnx is the model in floats, which Flask runs: ONNX Runtime is slower with the one in 8 bits. `--before EYE_STATE` adds
another build of the function.

As many clients as CPUs, each with a kept-alive connection and one request at a time, share the CPUs with the server they
load. All servers are up, one is loaded at a time, and the order changes every round. Bare inference (bench-peers, one process
a CPU, one thread each) takes its turns, too: what the function could answer at most if nothing but inference took time.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import queue
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime

HERE = Path(__file__).parent
CPUS = len(os.sched_getaffinity(0))
# The usual ways to serve Flask: a process a CPU, or one process with a thread a CPU (ONNX Runtime
# releases the lock).
GUNICORN = {"flask, processes": [str(CPUS), "1"], "flask, threads": ["1", str(CPUS)]}
BEFORE = "function, the other build"
STARTUP_LIMIT_SECONDS = 60
# Many times what a request takes: a server that lets one wait longer hangs.
ANSWER_LIMIT_SECONDS = 10
# The same for every server: otherwise candidates between two thresholds would differ.
THRESHOLDS = {"CONFIDENCE_THRESHOLD": "0.35", "IOU_THRESHOLD": "0.45"}
# JPEG decoders may round a pixel differently, and the function may compute in 8 bits: both change
# confidences a little.
CONFIDENCE_TOLERANCE = 0.05


def post(body):
    head = f"POST /classify HTTP/1.1\r\nHost: bench\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def received(connection):
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionResetError("closed the connection before the answer was complete")
    return piece


def exchange(connection, message):
    """Sends a request, returns the body of the answer: a bare client, so that the server has the CPU."""
    connection.sendall(message)
    answer = received(connection)
    while b"\r\n\r\n" not in answer:
        answer += received(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"answered {head[:60]!r}")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += received(connection)
    return body


def client(port, messages, seconds, results):
    """Puts seconds of each answer, seconds in all and CPU seconds; or, where it failed, why."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_LIMIT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times, begin = [], time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            exchange(connection, messages[len(times) % len(messages)])
            times.append(time.perf_counter() - now)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        results.put((times, time.perf_counter() - begin, usage.ru_utime + usage.ru_stime))
    except (OSError, SystemExit) as error:
        results.put(f"{type(error).__name__}: {error}")


def load(server, messages, seconds):
    """All answers' seconds, answers a second, and the clients' share of the CPUs."""
    inbox, limit = multiprocessing.Queue(), seconds + 3 * ANSWER_LIMIT_SECONDS
    arguments = (server.port, messages, seconds, inbox)
    clients = [multiprocessing.Process(target=client, args=arguments, daemon=True) for _ in range(CPUS)]
    [process.start() for process in clients]
    try:
        results = [inbox.get(timeout=limit) for _ in clients]
    except queue.Empty:
        raise SystemExit(f"{server.name}: a client did not report back within {limit:.0f} s") from None
    for failure in (result for result in results if isinstance(result, str)):
        raise SystemExit(f"{server.name}: a client failed: {failure}")
    [process.join() for process in clients]
    rate = sum(len(times) / wall for times, wall, _ in results)
    return [t for times, _, _ in results for t in times], rate, sum(r[2] for r in results) / (CPUS * seconds)


def stop(process):
    """Terminates the server, and kills it if it does not end in time."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()


class Server:
    def __init__(self, name, command, environment):
        self.name, self.command, self.environment, self.process = name, command, environment, None
        self.starts, self.times, self.rates, self.client_shares = [], [], [], []

    def start(self, message):
        """Starts it; notes the seconds from exec to the first answer."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        port = str(self.port)
        environment = {**os.environ, **THRESHOLDS, "RUST_LOG": "warn", "HOST": "127.0.0.1", "PORT": port, **self.environment}
        command = [part.replace("{port}", port) for part in self.command]
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, env=environment, cwd=HERE)
        while time.perf_counter() < begin + STARTUP_LIMIT_SECONDS:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    exchange(connection, message)
                self.starts.append(time.perf_counter() - begin)
                return
            except (OSError, IndexError):
                time.sleep(0.0005)
        raise SystemExit(f"{self.name} did not start")

    def stop(self):
        stop(self.process)

    def answers(self, bodies):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_LIMIT_SECONDS)
        for body in bodies:
            connection.request("POST", "/classify", body, {"Content-Type": "image/jpeg"})
            yield json.loads(connection.getresponse().read())

    def memory_mb(self):
        """Proportional set of the process and its children: memory shared by forked workers counts once."""
        processes, pages = [self.process.pid], 0
        for pid in processes:
            for task in Path(f"/proc/{pid}/task").iterdir():
                processes += map(int, (task / "children").read_text().split())
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            pages += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return pages * 1024 / 1e6

    def peak_mb(self):
        """Largest resident set of the first process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


class Bare:
    """One inference at a time on each CPU, with nothing around it."""

    def __init__(self, binary, engine, model):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        height, width = session.get_inputs()[0].shape[2:]
        command = [binary, engine, "yolov5n", str(width), str(height), "1"]
        pipe = subprocess.PIPE
        self.processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(CPUS)]
        self.rates = []

    def run(self, count):
        for process in self.processes:
            print(count, file=process.stdin, flush=True)
        times = [[float(t) for t in process.stdout.readline().split()] for process in self.processes]
        if not all(times):
            raise SystemExit("bench-peers ended; it says why above")
        self.rates.append(sum(len(t) / sum(t) * 1e3 for t in times))

    def stop(self):
        for process in self.processes:
            stop(process)


def check_answers(servers, bodies):
    """Checks that all servers give the same results."""
    ours, *others = [list(server.answers(bodies)) for server in servers]
    for server, answers in zip(servers[1:], others):
        for mine, theirs in zip(ours, answers):
            same = (mine["state"], len(mine["eyes"])) == (theirs["state"], len(theirs["eyes"]))
            near = lambda: mine["state"] == "no_eyes" or abs(mine["confidence"] - theirs["confidence"]) < CONFIDENCE_TOLERANCE
            if not (same and near()):
                raise SystemExit(f"{server.name} answers {theirs}, the function {mine}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--before", help="another build of the function, to compare with")
    parser.add_argument("--bench-peers", help="its binary: also time bare inference")
    parser.add_argument("--engine", default="kernels-int8", help="bare inference as the function has it: kernels or kernels-int8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    bodies = [path.read_bytes() for path in sorted(arguments.pictures.glob("*.jpg"))]
    messages = [post(body) for body in bodies]
    servers = [Server("function", [str(Path(arguments.binary).resolve())], {})]
    if arguments.before:
        servers.append(Server(BEFORE, [str(Path(arguments.before).resolve())], {}))
    for name, (workers, threads) in GUNICORN.items():
        gunicorn = [sys.executable, "-m", "gunicorn", "--log-level", "error", "--bind", "127.0.0.1:{port}"]
        gunicorn += ["--worker-class", "gthread", "--workers", workers, "--threads", threads]
        environment = {"MODEL": str(Path(arguments.model).resolve()), "THREADS_PER_INFERENCE": "1"}
        servers.append(Server(name, [*gunicorn, "flask_server:app"], environment))
    # Terminated, it ends by an exception, too. Servers left behind would keep the load on the CPUs
    # and the terminal's pipe open, which would block its reader.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    bare = None
    try:
        for number in range(arguments.starts):
            for server in servers:
                server.start(messages[0])
                if number < arguments.starts - 1:
                    server.stop()
        # The other build may have another model.
        check_answers([server for server in servers if server.name != BEFORE], bodies)
        bare = Bare(arguments.bench_peers, arguments.engine, arguments.model) if arguments.bench_peers else None
        measure(servers, bare, messages, arguments)
        report(servers, bare, bodies)
    finally:
        for running in [*servers, *([bare] if bare else [])]:
            running.stop()


def measure(servers, bare, messages, arguments):
    for server in servers:
        load(server, messages, 1)  # warm-up
    for number in range(arguments.rounds):
        if bare:
            bare.run(5)
            bare.rates.pop()
            bare.run(int(arguments.seconds * 100))
        for server in servers[number % len(servers) :] + servers[: number % len(servers)]:
            times, rate, share = load(server, messages, arguments.seconds)
            server.times += times
            server.rates.append(rate)
            server.client_shares.append(share)


def report(servers, bare, bodies):
    print(f"{CPUS} clients on {CPUS} CPUs, keep-alive; medians of rounds\n")
    print("| server | answers a second and CPU | p50 ms | p99 ms | start to first answer ms | memory MB | clients' CPU |")
    print("| --- |" + " ---: |" * 6)
    for server in servers:
        times = sorted(server.times)
        quantile = lambda share: f"{times[min(len(times) - 1, int(share * len(times)))] * 1e3:.1f}"
        rate, start = statistics.median(server.rates) / CPUS, statistics.median(server.starts) * 1e3
        cells = [f"{rate:.1f}", quantile(0.5), quantile(0.99), f"{start:.0f}", f"{server.memory_mb():.0f}"]
        cells.append(f"{statistics.median(server.client_shares) * 100:.1f} %")
        print(f"| {server.name} | {' | '.join(cells)} |")
    print(f"\nThe function's peak resident set: {servers[0].peak_mb():.0f} MB")
    if bare:
        most, got = statistics.median(bare.rates) / CPUS, statistics.median(servers[0].rates) / CPUS
        print(f"Bare inference: {most:.1f} a second and CPU; over HTTP {100 * got / most:.0f} % of that")
    timing = list(servers[0].answers(bodies))
    stages = {stage: statistics.mean(a["timing_ms"][stage] for a in timing) for stage in timing[0]["timing_ms"]}
    print("A request's milliseconds by stage, one at a time: " + ", ".join(f"{k} {v:.2f}" for k, v in stages.items()))


if __name__ == "__main__":
    main()
