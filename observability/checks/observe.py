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
from stack import ROOM

DATASOURCE = """apiVersion: 1
datasources:
- {{name: Prometheus, uid: prometheus, type: prometheus, access: proxy, url: "http://{address}", isDefault: true, jsonData: {{timeInterval: 5s}}}}
"""
PROVIDER = """apiVersion: 1
providers:
- {{name: nv-micro, folder: nv-micro, type: file, options: {{path: "{dashboards}"}}}}
"""


def grafana(binary: str, folder: Path, port: int, prometheus: str):
    """Grafana with these dashboards, anyone may look, nothing kept."""
    provisioning = folder / "provisioning"
    for kind, text in (("datasources", DATASOURCE.format(address=prometheus)), ("dashboards", PROVIDER.format(dashboards=ROOM / "grafana" / "dashboards"))):
        (provisioning / kind).mkdir(parents=True)
        (provisioning / kind / "nv-micro.yaml").write_text(text)
    settings = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_PROVISIONING": str(provisioning),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
    }
    # The binary looks for its own defaults beside itself, or where distributions put them.
    home = next((str(path) for path in (Path(binary).resolve().parents[1], Path("/usr/share/grafana")) if (path / "conf").is_dir()), None)
    arguments = [binary, *(["server"] if Path(binary).name == "grafana" else []), *([f"--homepath={home}"] if home else [])]
    return stack.process(arguments, f"http://127.0.0.1:{port}/api/health", folder, settings)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--function", required=True, help="the function's binary")
    arguments.add_argument("--prometheus", required=True, help="Prometheus' binary")
    arguments.add_argument("--port", type=int, default=8080, help="of the function")
    arguments.add_argument("--prometheus-port", type=int, default=9090)
    arguments.add_argument("--grafana-port", type=int, default=3000)
    given = arguments.parse_args()
    # A polite end, whoever asks for it: leaving the blocks below stops everything.
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
        binary = shutil.which("grafana") or shutil.which("grafana-server")
        if binary:
            running.enter_context(grafana(binary, folder, given.grafana_port, prometheus.address))
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
