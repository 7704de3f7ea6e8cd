"""make demo without a cluster: kubectl is a fake, everything else is real (function, load generator, Prometheus)."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import stack
from conftest import REPOSITORY

DEMO = stack.ROOM / "demo" / "demo.py"
COMPARISON = os.environ.get("COMPARISON", str(REPOSITORY / "target" / "release" / "comparison"))
# Writes down what it is asked, and plays the objects that the show asks for.
KUBECTL = """#!{python}
import json, sys, subprocess
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if arguments[0] == "get" and "deployment" in arguments and arguments[2] in {missing!r}:
    sys.exit("Error from server (NotFound): deployments.apps not found")
if arguments[0] == "get" and "services.serving.knative.dev" in arguments:
    print(json.dumps({{"spec": {{"template": {{"metadata": {{"annotations": {{"autoscaling.knative.dev/max-scale": "10"}}}}}}}}}}))
if arguments[0] == "get" and "horizontalpodautoscalers" in arguments:
    print(json.dumps({{"spec": {{"maxReplicas": 10}}}}))
if arguments[0] == "port-forward":
    local = arguments[-1].split(":")[0]
    to = {forward!r}[arguments[3].split("/")[1]]
    import http.server, urllib.request
    class Forward(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = urllib.request.urlopen(to + self.path).read() if to else b"ok"
            self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
        def log_message(self, *_): pass
    http.server.ThreadingHTTPServer(("127.0.0.1", int(local)), Forward).serve_forever()
"""


def played(folder: Path, forward: dict, missing: list[str]) -> Path:
    path = folder / "kubectl"
    path.write_text(KUBECTL.format(python=sys.executable, log=str(folder / "asked"), forward=forward, missing=missing))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def asked(folder: Path, verb: str) -> list[list[str]]:
    return [call for line in (folder / "asked").read_text().splitlines() if (call := json.loads(line))[0] == verb]


def show(kubectl: Path, cluster: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(DEMO), "--comparison", COMPARISON, "--kubectl", str(kubectl), "--cluster", str(cluster), "--no-browser", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=stack.PATIENCE_S * 3)


def test_both_variants_are_loaded_at_once_on_half_of_the_pods_and_the_first_row_comes_last():
    binary = os.environ.get("EYE_STATE", str(REPOSITORY / "target" / "release" / "eye-state"))
    with stack.scratch() as folder, stack.function(binary, folder) as function:
        targets = [("function", function, "/metrics", {"namespace": "eye-state", "pod": f"eye-state-{variant}-0", "variant": variant}) for variant in ("knative", "k8s-autoscalers")]
        with stack.prometheus(os.environ["PROMETHEUS"], targets, folder) as prometheus:
            kubectl = played(folder, {"prometheus": f"http://{prometheus.address}", "grafana": ""}, [])
            done = show(kubectl, REPOSITORY / "comparison" / "cluster.toml", "--gateway", f"http://{function}", "--deploy", "true", "--stretch", "0.05", "--scale", "4", "--tail", "8")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("This is a show and not a measurement") == 2
        assert "at most 5 pods each" in done.stdout and "/d/nv-micro-side-by-side?from=now-10m" in done.stdout
        left, right = [line.split() for line in done.stdout.splitlines() if line.startswith(("  Knative (KPA): live", "  HPA + VPA: live"))]
        # Both stand for the same process here, which got the requests of both.
        assert int(left[3]) > 0 and int(right[4]) > 0
        limits = [json.loads(call[-1])["spec"] for call in asked(folder, "patch")]
        assert [limit.get("maxReplicas") for limit in limits if "maxReplicas" in limit] == [5, 10]
        assert [limit["template"]["metadata"]["annotations"] for limit in limits if "template" in limit] == [{"autoscaling.knative.dev/max-scale": pods} for pods in ("5", "10")]


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_without_observability_nothing_is_deployed(name):
    with stack.scratch() as folder:
        done = show(played(folder, {}, [name]), REPOSITORY / "comparison" / "cluster.toml", "--deploy", f"touch {folder}/deployed")
        assert done.returncode == 1 and "make observability" in done.stderr
        assert not (folder / "deployed").exists() and not asked(folder, "patch")


def test_a_gateway_that_does_not_answer_gives_the_pods_back():
    with stack.scratch() as folder:
        done = show(played(folder, {}, []), REPOSITORY / "comparison" / "cluster.toml", "--gateway", f"http://127.0.0.1:{stack.free_port()}", "--deploy", "true")
        assert done.returncode == 1 and "GATEWAY=http://ADDRESS:PORT" in done.stderr
        assert len(asked(folder, "patch")) == 4


@pytest.mark.parametrize(("flags", "code", "says"), [([], 1, "no result: "), (["--allow-late"], 0, "not a measurement: ")])
def test_a_load_generator_that_falls_behind_ends_a_measurement_and_not_a_show(flags, code, says):
    # More requests a second than one thread sends, to a port that refuses them at once.
    nowhere = f"http://127.0.0.1:{stack.free_port()}/classify"
    command = [COMPARISON, "load", "--url", nowhere, "--scenario", "spike", "--scale", "20000", "--stretch", "0.002", *flags]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=stack.PATIENCE_S * 3)
    assert done.returncode == code and says in done.stderr, done.stderr
