"""make observe: the function, Prometheus with the deployed rules, and Grafana where it is installed, on this machine."""

import argparse
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import stack


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function", required=True, help="the function's binary")
    arguments.add_argument("--prometheus", required=True, help="Prometheus' binary")
    arguments.add_argument("--port", type=int, default=8080, help="of the function")
    arguments.add_argument("--prometheus-port", type=int, default=9090)
    arguments.add_argument("--grafana-port", type=int, default=3000)
    given = arguments.parse_args()
    # SIGTERM ends the program like Control-C: leaving the blocks below stops everything.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    with ExitStack() as running:
        folder = running.enter_context(stack.scratch())
        function = running.enter_context(stack.function(given.function, folder, given.port))
        # No autoscaler is at work here: neither variant.
        targets = [("function", function, "/metrics", {"namespace": "local", "pod": "local", "variant": "local"})]
        exporter = shutil.which("node_exporter") or shutil.which("prometheus-node-exporter")
        if exporter:
            address = f"127.0.0.1:{stack.free_port()}"
            running.enter_context(stack.process([exporter, f"--web.listen-address={address}", "--log.level=error"], f"http://{address}/metrics", folder))
            targets.append(("node-exporter", address, "/metrics", {"node": os.uname().nodename}))
        prometheus = running.enter_context(stack.prometheus(given.prometheus, targets, folder, "5s", given.prometheus_port))
        print(f"function    http://{function}/", f"prometheus  http://{prometheus.address}/", sep="\n")
        binary = stack.grafana_binary()
        if binary:
            running.enter_context(stack.grafana(binary, folder, given.grafana_port, prometheus.address))
            print(f"grafana     http://127.0.0.1:{given.grafana_port}/d/nv-micro-function")
        else:
            print("grafana     not installed: put grafana or grafana-server on the PATH, or import observability/grafana/dashboards/*.json into yours")
        print("Ctrl-C ends everything.", flush=True)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
