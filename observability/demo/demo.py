"""make demo: both variants at once on the current cluster, in Grafana's side by side, with the first row at the end.

A show, not a measurement: both variants run at the same time and take from each other, on half of the pods each.
A comparison is made with `make compare`, which runs one variant at a time.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOM = Path(__file__).parents[1]
sys.path[:0] = [str(ROOM / "replay"), str(ROOM / "checks")]

import replay  # noqa: E402
import stack  # noqa: E402

REPOSITORY = ROOM.parent
MAX_SCALE = "autoscaling.knative.dev/max-scale"
# Under this name the next make deploy takes the settings back (platforms/apply.sh).
FIELD_MANAGER = "nv-micro-demo"
SHOW = "This is a show and not a measurement: both variants run at once on the same nodes, on half of the pods each. make compare measures."
# A forwarded port answers within this, or the cluster does not let it be forwarded.
PATIENCE_S = 30


class Missing(Exception):
    """A missing prerequisite, and the command that installs it."""


class Cluster:
    """The demonstration's actions on the cluster, by kubectl."""

    def __init__(self, kubectl: str, variants: dict):
        self.command, self.variants = shlex.split(kubectl), variants

    def run(self, *arguments: str) -> str:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"kubectl {' '.join(arguments[:4])} failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        return done.stdout

    def check(self) -> None:
        """Before anything is changed."""
        for name in ("prometheus", "grafana"):
            try:
                self.run("get", "deployment", name, "--namespace", "monitoring")
            except Missing as error:
                raise Missing(f"no {name} in namespace monitoring ({error}): make observability") from error

    def _objects(self) -> dict[str, tuple[list[str], list[str]]]:
        """Each variant's object with the largest number of pods, and where that stands in it."""
        of = {variant: (settings["name"], settings["namespace"]) for variant, settings in self.variants.items()}
        return {
            "knative": (["services.serving.knative.dev", of["knative"][0], "--namespace", of["knative"][1]], ["spec", "template", "metadata", "annotations", MAX_SCALE]),
            "k8s-autoscalers": (["horizontalpodautoscalers", of["k8s-autoscalers"][0], "--namespace", of["k8s-autoscalers"][1]], ["spec", "maxReplicas"]),
        }

    def _most(self, which: list[str], path: list[str]) -> int:
        value = json.loads(self.run("get", *which, "--output", "json"))
        for key in path:
            value = value[key]
        return int(value)

    def _limit(self, which: list[str], path: list[str], pods: int) -> None:
        patch: object = str(pods) if path[-1] == MAX_SCALE else pods
        for key in reversed(path):
            patch = {key: patch}
        self.run("patch", *which, "--field-manager", FIELD_MANAGER, "--type", "merge", "--patch", json.dumps(patch))
        if path[-1] == MAX_SCALE:
            self.run("wait", *which, "--for", "condition=Ready", "--timeout", "180s")

    @contextmanager
    def halves(self) -> Iterator[int]:
        """Each variant may have half of its pods until the block is left."""
        before = {variant: self._most(*place) for variant, place in self._objects().items()}
        half = max(1, min(before.values()) // 2)
        try:
            for place in self._objects().values():
                self._limit(*place, half)
            yield half
        finally:
            for variant, place in self._objects().items():
                self._limit(*place, before[variant])

    @contextmanager
    def forwarded(self, service: str, remote: int, ready: str) -> Iterator[str]:
        """A service of the cluster at a port of this machine."""
        port = stack.free_port()
        running = subprocess.Popen([*self.command, "port-forward", "--namespace", "monitoring", f"service/{service}", f"{port}:{remote}"], stdout=subprocess.DEVNULL)
        try:
            for _ in range(PATIENCE_S * 2):
                try:
                    stack.get(f"http://127.0.0.1:{port}{ready}")
                    break
                except OSError:
                    if running.poll() is not None:
                        raise Missing(f"{service} cannot be forwarded: kubectl --namespace monitoring get pods") from None
                    time.sleep(0.5)
            else:
                raise Missing(f"{service} does not answer: kubectl --namespace monitoring get pods")
            yield f"127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait()


def answers(gateway: str, host: str) -> None:
    """Whether the gateway knows the variant: any answer except 404. The first request may start a pod."""
    request = urllib.request.Request(gateway, data=b"", method="POST", headers={"Host": host})
    try:
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise Missing(f"{gateway} does not know {host}: make addresses tells the host, which stands in comparison/cluster.toml") from error
    except OSError as error:
        raise Missing(f"{gateway} does not answer ({error}): name the gateway, as make addresses prints it: GATEWAY=http://ADDRESS:PORT") from error


def load(comparison: str, config: dict, arguments: list[str]) -> None:
    """The same requests to both at the same moments. A demonstration continues when some leave late."""
    sending = [
        subprocess.Popen([str(Path(comparison).absolute()), "load", "--allow-late", "--url", config["gateway"], "--host", settings["host"], *arguments], stdout=subprocess.DEVNULL, cwd=REPOSITORY)
        for settings in config["variants"].values()
    ]
    try:
        for one in sending:
            if one.wait():
                raise Missing("the load generator stopped; what it said is above")
    finally:
        for one in sending:
            one.terminate()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--comparison", required=True, help="the comparison's binary, which makes the load")
    arguments.add_argument("--kubectl", default="kubectl")
    arguments.add_argument("--cluster", type=Path, default=REPOSITORY / "comparison" / "cluster.toml", help="where things are on the cluster")
    arguments.add_argument("--gateway", help="the gateway as reached from here, http://ADDRESS:PORT, where it is not that file's")
    arguments.add_argument("--deploy", default="make --no-print-directory deploy", help="deploys both variants")
    arguments.add_argument("--scenario", default="spike")
    arguments.add_argument("--scale", type=float, default=5.0, help="requests a second for a rate of 1.0, of both together")
    arguments.add_argument("--stretch", type=float, default=1.0, help="multiplies the scenario's time")
    arguments.add_argument("--tail", type=float, default=60.0, help="seconds watched after the load")
    arguments.add_argument("--no-browser", action="store_true", help="print the link only")
    given = arguments.parse_args()
    # SIGTERM ends the program like Control-C: leaving the blocks below releases the pods.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    config = tomllib.loads(given.cluster.read_text())
    if given.gateway:
        config["gateway"] = f"{given.gateway.rstrip('/')}/classify"
    cluster = Cluster(given.kubectl, config["variants"])
    print(SHOW, flush=True)
    try:
        cluster.check()
        if subprocess.run(shlex.split(given.deploy), cwd=REPOSITORY).returncode:
            raise SystemExit("the variants are not deployed; what is missing is above")
        with ExitStack() as running:
            half = running.enter_context(cluster.halves())
            for settings in config["variants"].values():
                answers(config["gateway"], settings["host"])
            prometheus = stack.Prometheus(running.enter_context(cluster.forwarded("prometheus", 9090, "/-/ready")))
            grafana = running.enter_context(cluster.forwarded("grafana", 3000, "/api/health"))
            page = f"http://{grafana}/d/nv-micro-side-by-side"
            live = f"{page}?from=now-10m&to=now&refresh=5s&var-scenario=live&var-left=live&var-right=live"
            print(f"at most {half} pods each; side by side, live: {live}", flush=True)
            if not given.no_browser:
                webbrowser.open(live)
            start = time.time()
            load(given.comparison, config, ["--scenario", given.scenario, "--scale", str(given.scale / 2), "--stretch", str(given.stretch)])
            print(f"the load is over; watching for {given.tail:.0f} s what is kept", flush=True)
            time.sleep(given.tail)
            end = time.time()
            print(f"all of it: {page}?from={start * 1000:.0f}&to={end * 1000:.0f}&refresh=")
            print(replay.table(replay.verdict(prometheus, start, end, {})))
            print(SHOW, flush=True)
            # Without a terminal there is no user to wait for.
            if not given.no_browser and sys.stdin.isatty():
                input("Enter ends the forwarding and gives each variant its pods back.")
    except Missing as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit("ended before its end; each variant has its pods back") from None


if __name__ == "__main__":
    main()
