"""A whole small stack on this machine: the real function, recorded cluster metrics, and a real Prometheus.

Used by the tests of the queries, by `make observe` and by `make replay`. Prometheus runs the very configuration and rules
that are deployed; only where its targets are, and how often it looks, is changed.
"""

import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOM = Path(__file__).parents[1]
RECORDINGS = Path(__file__).parent / "recordings"
# What is pushed to Prometheus and not scraped; replayed, it is scraped all the same.
PUSHED = {"trace-collector"}
# How long anything here may take to come up on a busy machine.
PATIENCE_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str, **parameters: str) -> bytes:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=PATIENCE_S) as reply:
        return reply.read()


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(PATIENCE_S * 5):
        if process.poll() is not None:
            break
        try:
            get(url)
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer; the process said:\n{log.read_text()[-2000:]}")


@contextmanager
def process(arguments: list[str], ready: str, folder: Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen]:
    """Runs a program until the block is left; waits until `ready` answers."""
    program = os.path.abspath(shutil.which(arguments[0]) or arguments[0])  # it runs in another folder
    log = folder / f"{Path(arguments[0]).name}-{free_port()}.log"
    with log.open("w") as output:
        running = subprocess.Popen([program, *arguments[1:]], cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=os.environ | (environment or {}))
    try:
        wait_for(ready, running, log)
        yield running
    finally:
        running.terminate()
        running.wait(PATIENCE_S)


class Recording:
    """What all targets of a job exposed, moment by moment (see record.py)."""

    def __init__(self, path: Path):
        head, *self.moments = path.read_text().split("# moment\n")
        facts = dict(line[2:].split(": ", 1) for line in head.splitlines() if ": " in line)
        self.name, self.job = path.name, facts["job"]


class Replay(http.server.ThreadingHTTPServer):
    """Serves the recordings. All targets move to the next moment together, when they are told to."""

    def __init__(self, recordings: list[Recording]):
        super().__init__(("127.0.0.1", 0), _ReplayHandler)
        self.recordings = {recording.name: recording for recording in recordings}
        self.served: dict[str, int] = {}
        self.moment = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def show(self, moment: int) -> None:
        self.moment = moment
        self.served = dict.fromkeys(self.recordings, 0)

    def seen(self, times: int) -> bool:
        """Whether every recording has been scraped that often in this moment, however slow the machine is."""
        return all(served >= times for served in self.served.values())

    @property
    def moments(self) -> int:
        return max((len(recording.moments) for recording in self.recordings.values()), default=0)


class _ReplayHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        recording = self.server.recordings[self.path.rsplit("/", 1)[1]]
        body = recording.moments[min(self.server.moment, len(recording.moments) - 1)].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.served[recording.name] = self.server.served.get(recording.name, 0) + 1

    def log_message(self, *_: object) -> None:
        pass


Target = tuple[str, str, str, dict[str, str]]  # job, host:port, path, labels


def prometheus_config(targets: list[Target], rules: str, interval: str) -> str:
    """The deployed configuration with other targets: relabelling of what is scraped stays as it is."""
    config = yaml.safe_load((ROOM / "prometheus" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = [rules]
    jobs = {job for job, *_ in targets}
    config["scrape_configs"] += [{"job_name": job, "honor_labels": True} for job in PUSHED]
    unknown = jobs - {scrape["job_name"] for scrape in config["scrape_configs"]}
    if unknown:
        raise ValueError(f"prometheus.yaml has no job {unknown}")
    scrapes = []
    for scrape in config["scrape_configs"]:
        kept = {key: scrape[key] for key in ("job_name", "honor_labels", "track_timestamps_staleness", "metric_relabel_configs") if key in scrape}
        kept["static_configs"] = [
            {"targets": [address], "labels": labels | {"__metrics_path__": path}}
            for job, address, path, labels in targets if job == scrape["job_name"]
        ]
        if kept["static_configs"]:
            scrapes.append(kept)
    return yaml.safe_dump(config | {"scrape_configs": scrapes}, sort_keys=False)


class Prometheus:
    """A running Prometheus, and its HTTP API."""

    def __init__(self, address: str):
        self.address = address

    def api(self, path: str, **parameters: str) -> object:
        try:
            return json.loads(get(f"http://{self.address}/api/v1/{path}", **parameters))["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.loads(error.read()).get("error", str(error))) from error

    def query_range(self, expr: str, start: float, end: float, step: int = 1) -> list:
        return self.api("query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=str(step))["result"]

    def query(self, expr: str, at: float) -> list:
        return self.api("query", query=expr, time=f"{at:.3f}")["result"]


@contextmanager
def prometheus(binary: str, targets: list[Target], folder: Path, interval: str = "1s", port: int = 0) -> Iterator[Prometheus]:
    port = port or free_port()
    config = folder / "prometheus.yaml"
    config.write_text(prometheus_config(targets, str(ROOM / "prometheus" / "rules" / "*.yaml"), interval))
    address = f"127.0.0.1:{port}"
    arguments = [
        binary, f"--config.file={config}", f"--web.listen-address={address}", f"--storage.tsdb.path={folder}/data",
        "--web.enable-otlp-receiver", "--enable-feature=exemplar-storage", "--log.level=warn",
    ]
    with process(arguments, f"http://{address}/-/ready", folder):
        yield Prometheus(address)


@contextmanager
def archive(binary: str, data: Path, folder: Path, port: int = 0) -> Iterator[Prometheus]:
    """A Prometheus that scrapes nothing and keeps everything: it shows the blocks that lie in `data`."""
    port = port or free_port()
    config = folder / "archive.yaml"
    config.write_text("{}\n")
    address = f"127.0.0.1:{port}"
    arguments = [
        binary, f"--config.file={config}", f"--web.listen-address={address}", f"--storage.tsdb.path={data}",
        # However long ago the runs were; and what has no sample for three scrapes is over.
        "--storage.tsdb.retention.time=36500d", "--query.lookback-delta=15s", "--log.level=warn",
    ]
    with process(arguments, f"http://{address}/-/ready", folder):
        yield Prometheus(address)


DATASOURCE = """apiVersion: 1
datasources:
- {{name: Prometheus, uid: prometheus, type: prometheus, access: proxy, url: "http://{address}", isDefault: true, jsonData: {{timeInterval: 5s}}}}
"""
PROVIDER = """apiVersion: 1
providers:
- {{name: nv-micro, folder: nv-micro, type: file, options: {{path: "{dashboards}"}}}}
"""


def grafana_binary() -> str | None:
    return shutil.which("grafana") or shutil.which("grafana-server")


def deployed_grafana_settings() -> dict[str, str]:
    """The environment of the Grafana that is deployed, but for where its files are."""
    documents = yaml.safe_load_all((ROOM / "grafana" / "deployment.yaml").read_text())
    (deployment,) = [document for document in documents if document["kind"] == "Deployment"]
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return {setting["name"]: setting["value"] for setting in environment if "PATH" not in setting["name"]}


def grafana(binary: str, folder: Path, port: int, prometheus: str):
    """Grafana with these dashboards, anyone may look, nothing kept."""
    provisioning = folder / "provisioning"
    for kind, text in (("datasources", DATASOURCE.format(address=prometheus)), ("dashboards", PROVIDER.format(dashboards=ROOM / "grafana" / "dashboards"))):
        (provisioning / kind).mkdir(parents=True)
        (provisioning / kind / "nv-micro.yaml").write_text(text)
    settings = deployed_grafana_settings() | {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_PROVISIONING": str(provisioning),
    }
    # The binary looks for its own defaults beside itself, or where distributions put them.
    home = next((str(path) for path in (Path(binary).resolve().parents[1], Path("/usr/share/grafana")) if (path / "conf").is_dir()), None)
    arguments = [binary, *(["server"] if Path(binary).name == "grafana" else []), *([f"--homepath={home}"] if home else [])]
    return process(arguments, f"http://127.0.0.1:{port}/api/health", folder, settings)


@contextmanager
def function(binary: str, folder: Path, port: int = 0, **environment: str) -> Iterator[str]:
    """The function on a free port; gives its address."""
    port = port or free_port()
    with process([binary], f"http://127.0.0.1:{port}/readyz", folder, {"PORT": str(port), "HOST": "127.0.0.1"} | environment):
        yield f"127.0.0.1:{port}"


def classify(address: str, body: bytes, content_type: str) -> int:
    """Sends one picture; gives the status."""
    request = urllib.request.Request(f"http://{address}/classify", data=body, headers={"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            reply.read()
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="observe-") as folder:
        yield Path(folder)
