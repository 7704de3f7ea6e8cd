"""The cost of telemetry per request: two functions, one with metrics, scraping and traces, one without, measured in turns.

    python3 observability/checks/overhead.py --function target/release/eye-state --pairs 1500 --sampled 0.1

Each pair asks both with the same picture, in random order; what is compared is the pair. "None" is
OTEL_SDK_DISABLED=true: no instrument records anything.
"""

import argparse
import http.client
import http.server
import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import stack

SAMPLE = Path(__file__).parents[2] / "function" / "samples" / "open.jpg"
SCRAPE_S = 1.0  # five times as often as in the cluster
RESAMPLES = 2000
NOTHING = {"OTEL_SDK_DISABLED": "true"}


class Sink(http.server.BaseHTTPRequestHandler):
    """Accepts spans and discards them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def ask(connection: http.client.HTTPConnection, body: bytes, sampled: bool) -> float:
    trace = f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-{sampled:02d}"
    began = time.perf_counter()
    connection.request("POST", "/classify", body, {"Content-Type": "image/jpeg", "traceparent": trace})
    reply = connection.getresponse()
    reply.read()
    if reply.status != 200:
        raise RuntimeError(f"the function answered {reply.status}")
    return time.perf_counter() - began


def cpu_seconds(process: int) -> float:
    """User and system time of a process, all threads; proc(5)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def function(binary: str, folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The function on a free port; gives its address and process."""
    address = f"127.0.0.1:{stack.free_port()}"
    host, port = address.split(":")
    with stack.process([binary], f"http://{address}/readyz", folder, environment | {"HOST": host, "PORT": port}) as running:
        yield address, running.pid


def interval(differences: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median."""
    draws = sorted(statistics.median(random.choices(differences, k=len(differences))) for _ in range(RESAMPLES))
    return draws[int(0.025 * RESAMPLES)], draws[int(0.975 * RESAMPLES)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function", required=True)
    arguments.add_argument("--pairs", type=int, default=400)
    arguments.add_argument("--sampled", type=float, default=0.1, help="share of requests whose caller wants a trace; the gateway's in knative/config.yaml")
    arguments.add_argument("--control", action="store_true", help="neither has either: what the method itself shows")
    given = arguments.parse_args()
    random.seed(1)
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    endpoint, body = f"http://127.0.0.1:{sink.server_address[1]}", SAMPLE.read_bytes()
    with stack.scratch() as folder, function(given.function, folder, NOTHING if given.control else {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) as (on, *processes), function(given.function, folder, NOTHING) as (off, other):
        processes.append(other)
        stop = threading.Event()

        def scrape() -> None:
            while not given.control and not stop.wait(SCRAPE_S):
                stack.get(f"http://{on}/metrics")

        threading.Thread(target=scrape, daemon=True).start()
        with_it, without = http.client.HTTPConnection(on), http.client.HTTPConnection(off)
        for connection in (with_it, without):
            for _ in range(20):
                ask(connection, body, True)
        before = [cpu_seconds(process) for process in processes]
        differences, base = [], []
        for _ in range(given.pairs):
            order = [("on", with_it), ("off", without)]
            random.shuffle(order)
            sampled = random.random() < given.sampled
            took = {name: ask(connection, body, sampled) for name, connection in order}
            differences.append(took["on"] - took["off"])
            base.append(took["off"])
        stop.set()
        cpu = [(after - start) / given.pairs * 1e3 for after, start in zip([cpu_seconds(process) for process in processes], before)]
    low, high = interval(differences)
    median = statistics.median(base)
    print(f"{given.pairs} pairs, {given.sampled:.0%} traced; median without: {median * 1e3:.2f} ms")
    print(f"median difference: {statistics.median(differences) * 1e6:+.0f} µs ({statistics.median(differences) / median:+.2%}), 95 % interval {low * 1e6:+.0f} to {high * 1e6:+.0f} µs ({low / median:+.2%} to {high / median:+.2%})")
    print(f"CPU a request: {cpu[0]:.2f} ms with, {cpu[1]:.2f} ms without")


if __name__ == "__main__":
    main()
