#!/usr/bin/env python3
"""Measures the built function as a process and prints a Markdown table: make measure

Python's standard library only. Starts are from exec to the first 200 of /readyz, polled every half millisecond;
answers are those of one kept-alive connection, after the first; memory is the resident set of the process.
"""

import http.client
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

STARTS = 21  # an odd number: the median is one of them
ANSWERS = 300
LOAD_SECONDS = 10
POLL_SECONDS = 0.0005


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    return connection.getresponse().status


def ask(connection, body):
    start = time.perf_counter()
    connection.request("POST", "/classify", body, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        sys.exit(f"the function answered {answer.status}")
    return time.perf_counter() - start


def start(binary):
    """The process, its port, and the seconds from exec to ready."""
    port = free_port()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [binary], env={"PORT": str(port), "HOST": "127.0.0.1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while True:
        try:
            if get(port, "/readyz") == 200:
                return process, port, time.perf_counter() - begin
        except OSError:
            pass
        if process.poll() is not None or time.perf_counter() - begin > 30:
            sys.exit("the function did not get ready")
        time.sleep(POLL_SECONDS)


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    kib = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Vm")}
    return int(kib["VmRSS"]) / 1024, int(kib["VmHWM"]) / 1024


def load(port, body, clients):
    """Answers a second with this many clients, each on its own connection."""
    end, counts = time.perf_counter() + LOAD_SECONDS, [0] * clients

    def client(index):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while time.perf_counter() < end:
            ask(connection, body)
            counts[index] += 1

    threads = [threading.Thread(target=client, args=(index,)) for index in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return sum(counts) / LOAD_SECONDS


def main():
    binary, picture = sys.argv[1:3]
    body = pathlib.Path(picture).read_bytes()
    ready, first = [], []
    for _ in range(STARTS):
        process, port, seconds = start(binary)
        ready.append(seconds)
        first.append(ask(http.client.HTTPConnection("127.0.0.1", port, timeout=10), body))
        stop(process)
    process, port, _ = start(binary)
    at_rest, _ = resident_mib(process)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    later = sorted(ask(connection, body) for _ in range(ANSWERS))
    cpus = len(os.sched_getaffinity(0))
    throughput = load(port, body, cpus)
    under_load, peak = resident_mib(process)
    stop(process)

    milliseconds = lambda seconds: f"{seconds * 1e3:.1f} ms"
    quantile = lambda share: later[min(len(later) - 1, int(share * len(later)))]
    rows = [
        ("binary", f"{os.path.getsize(binary) / 1e6:.1f} MB"),
        (f"exec to ready, median of {STARTS}", milliseconds(statistics.median(ready))),
        ("first answer, median", milliseconds(statistics.median(first))),
        (f"later answers, p50 of {ANSWERS}", milliseconds(quantile(0.5))),
        ("later answers, p99", milliseconds(quantile(0.99))),
        (f"answers a second, {cpus} clients on {cpus} CPUs (which they share)", f"{throughput:.0f}"),
        ("memory at rest", f"{at_rest:.0f} MiB"),
        ("memory under load", f"{under_load:.0f} MiB (peak {peak:.0f})"),
    ]
    print("| what | measured |\n| --- | --- |")
    print("\n".join(f"| {name} | {value} |" for name, value in rows))


main()
