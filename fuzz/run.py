#!/usr/bin/env python3
"""Runs built fuzz targets, one after the other, and prints a summary. Standard library only.

    run.py BINARIES WORK --seconds 300 [--cpu-seconds 3600] [--jobs 2] [--rounds 1] [TARGET ...]

Inputs are read from and kept in WORK/corpus/TARGET; inputs that made a target fail are written to
WORK/found/TARGET. Each run adds a line to WORK/record.jsonl; the table that is printed is of all lines.

With --cpu-seconds a target ends when all its runs in the record took so much CPU time together, so that an hour can be
had in pieces, beside other work. Targets run in the order in which they are named.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

# Longest input in bytes: small ones reach every branch, and more of them fit in a second.
MAX_BYTES = {"multipart": 4096, "negotiation": 1024, "query": 512, "configuration": 2048, "onnx": 80_000}
DEFAULT_MAX_BYTES = 4096

# An input that takes longer, or more memory, is a failure: the ordinary ones take milliseconds and
# a few megabytes. An import may compute with as many numbers as a large model has (`MAX_NUMBERS`):
# some seconds of CPU time, ten times as long beside other targets.
INPUT_SECONDS = {"onnx": 60}
DEFAULT_INPUT_SECONDS = 20
MEMORY_MIB = 2048
ALLOCATION_MIB = 512

# Other work on the machine has priority.
NICE = int(os.environ.get("NICE", "19"))

# How often the CPU time of a run is looked at.
POLL_SECONDS = 2

FIRST = {"edges_before": r"INITED cov: (\d+) ", "features_before": r"INITED cov: \d+ ft: (\d+) "}
FINAL = {"executed": r"stat::number_of_executed_units:\s+(\d+)", "edges": r"cov: (\d+) ", "features": r" ft: (\d+) ", "inputs": r" corp: (\d+)/"}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process that is not yet reaped (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end_after(process: subprocess.Popen, cpu: float, ended: threading.Event) -> None:
    """Asks libFuzzer to end in good order, with its statistics, once it took so much CPU time."""
    while not ended.wait(POLL_SECONDS):
        if cpu_seconds(process.pid) >= cpu:
            os.kill(process.pid, signal.SIGUSR1)
            return


def run(binary: Path, work: Path, seconds: int, cpu: float) -> dict:
    target = binary.name
    corpus, found = work / "corpus" / target, work / "found" / target
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    before, limit = set(found.iterdir()), INPUT_SECONDS.get(target, DEFAULT_INPUT_SECONDS)
    command = [
        "nice", "-n", str(NICE), str(binary), str(corpus), f"-artifact_prefix={found}/", f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES.get(target, DEFAULT_MAX_BYTES)}", f"-timeout={limit}", f"-report_slow_units={limit}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-malloc_limit_mb={ALLOCATION_MIB}", "-print_final_stats=1",
    ]  # fmt: skip
    log, started = work / f"{target}.log", time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        ended = threading.Event()
        watch = threading.Thread(target=end_after, args=(process, cpu, ended))
        if cpu != float("inf"):
            watch.start()
        # Reaped only when nobody looks at it any more.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        ended.set()
        if watch.ident:
            watch.join()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    record = {"target": target, "seconds": round(time.monotonic() - started), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1)}
    record["exit"] = process.returncode
    for name, pattern in (FIRST | FINAL).items():
        numbers = re.findall(pattern, text)
        record[name] = int(numbers[-1]) if numbers else 0
    record["found"] = sorted(path.name for path in set(found.iterdir()) - before)
    return record


def table(records: list[dict]) -> str:
    lines = [
        "| target | executions | time | CPU time | edges | features | inputs kept | failures |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for target in sorted({record["target"] for record in records}):
        of = [record for record in records if record["target"] == target]
        cpu = sum(record["cpu_seconds"] for record in of)
        # Lines of older records have the CPU time only, which is never longer.
        seconds = sum(record.get("seconds", record["cpu_seconds"]) for record in of)
        failures = sum(len(record["found"]) for record in of)
        most = {name: max(record[name] for record in of) for name in ("edges", "features", "inputs")}
        first = {name: of[0].get(f"{name}_before", 0) for name in ("edges", "features")}
        lines.append(
            f"| `{target}` | {sum(record['executed'] for record in of):,} | {seconds / 60:.0f} min | {cpu / 60:.1f} min "
            f"| {first['edges']:,} → {most['edges']:,} | {first['features']:,} → {most['features']:,} | {most['inputs']:,} | {failures} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--cpu-seconds", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    # Taken anew for each round, so that targets built meanwhile take part.
    record, lock, failed = options.work / "record.jsonl", threading.Lock(), False
    for _ in range(options.rounds):
        names = options.targets or [path.name for path in options.binaries.iterdir() if path.is_file() and os.access(path, os.X_OK) and not path.suffix]
        waiting = list(options.targets) or sorted(names)

        def worker() -> None:
            nonlocal failed
            while True:
                with lock:
                    if not waiting:
                        return
                    name = waiting.pop(0)
                with lock:
                    lines = record.read_text().splitlines() if record.exists() else []
                spent = sum(line["cpu_seconds"] for line in map(json.loads, lines) if line["target"] == name)
                if spent >= options.cpu_seconds:
                    continue
                result = run(options.binaries / name, options.work, options.seconds, options.cpu_seconds - spent)
                with lock, record.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                    failed |= result["exit"] != 0
                    if result["found"]:
                        print(f"{name} failed: {options.work}/found/{name}/{result['found'][0]}, {options.work}/{name}.log", file=sys.stderr, flush=True)

        workers = [threading.Thread(target=worker) for _ in range(options.jobs)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
    print(table([json.loads(line) for line in record.read_text().splitlines()]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
