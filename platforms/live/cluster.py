"""Talks to a real cluster: kubectl, the gateway, and a load that counts every answer."""

import json
import os
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "eye-state"
KUBECTL = shlex.split(os.environ.get("KUBECTL", "kubectl"))
GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8080")
PLAIN, KNATIVE = "eye-state-k8s-autoscalers", "eye-state-knative"
# A request that a gateway holds for a cold start must still count as answered, so wait long.
REQUEST_TIMEOUT = 60
# Requests in flight where nothing is to scale: enough to notice a gap.
CALM = 2
# What the function itself says where it takes no more: status, and the end of the problem's type.
REFUSALS = {("429", "overloaded"), ("504", "deadline-exceeded")}


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Output of one kubectl command; its own words when it fails."""
    if "patch" in arguments:
        # Under this name the next make deploy takes the settings back (platforms/apply.sh).
        arguments += ("--field-manager", "nv-micro-test")
    done = subprocess.run([*KUBECTL, *arguments], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def get(kind: str, name: str = "", *more: str) -> dict:
    """One object, or a list of them, as the API server has it."""
    return json.loads(kubectl("--namespace", NAMESPACE, "get", kind, *([name] if name else []), *more, "-o", "json"))


def say(text: str) -> None:
    print(f"\n    {text}", flush=True)


def pods(variant: str) -> list[dict]:
    """The variant's pods that are not on their way out."""
    label = "k8s-autoscalers" if variant == PLAIN else "knative"
    found = get("pods", "", "--selector", f"app.kubernetes.io/component={label}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def ready(pod: dict) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def condition(document: dict, kind: str) -> dict:
    return next((c for c in document.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def until(what: str, check: Callable[[], object], seconds: float, pause: float = 1.0) -> object:
    """The first truthy value of `check`, or a failure that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def ready_pods(variant: str) -> list[dict]:
    return [pod for pod in pods(variant) if ready(pod)]


def evict(pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    kubectl("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", "-f", "-", stdin=json.dumps(eviction))


def a_free_node(variant: str) -> str | None:
    """A node with a ready pod of the variant and without the gateway, where there is a second node; moves a pod there if need be."""
    nodes = [n["metadata"]["name"] for n in json.loads(kubectl("get", "nodes", "-o", "json"))["items"] if not n["spec"].get("unschedulable")]
    gateways = json.loads(kubectl("get", "pods", "--all-namespaces", "--selector", "app=3scale-kourier-gateway", "-o", "json"))["items"]
    taken = {pod["spec"].get("nodeName") for pod in gateways}
    free = next((node for node in nodes if node not in taken), None)
    if free is None or len(nodes) < 2:
        return None
    on_it = lambda: [pod for pod in ready_pods(variant) if pod["spec"]["nodeName"] == free]  # noqa: E731
    if not on_it():
        try:
            kubectl("cordon", *(set(nodes) - {free}))
            evict(ready_pods(variant)[0]["metadata"]["name"])
            until("a ready pod on the node", on_it, 120)
        finally:
            kubectl("uncordon", *nodes)
    return free


def host(variant: str) -> str:
    """The name under which the gateway knows a variant."""
    if variant == PLAIN:
        claims = kubectl("--namespace", NAMESPACE, "get", "domainmappings.serving.knative.dev", "-o", "name")
        # Without the route GATEWAY has to be the Service itself, which looks at no name.
        return claims.strip().rpartition("/")[2] or PLAIN
    # KNATIVE_HOST: another name, such as REVISION.NAMESPACE.svc.cluster.local, which the activator
    # knows too.
    return os.environ.get("KNATIVE_HOST") or get("services.serving.knative.dev", KNATIVE)["status"]["url"].removeprefix("http://")


def sample() -> bytes:
    return Path(os.environ.get("SAMPLE") or ROOT / "function/samples/open.jpg").read_bytes()


def classify(name: str, body: bytes) -> tuple[str, dict]:
    """One request through the gateway: the status (or what went wrong) and the answer, or the function's problem document."""
    headers = {"Host": name, "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{GATEWAY}/classify", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT) as answer:
            return str(answer.status), json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode(errors="replace")
        own = error.headers.get_content_type() == "application/problem+json"
        return str(error.code), json.loads(text) if own else {"detail": text}
    except OSError as error:
        return type(error).__name__, {"detail": str(error)}


def metric(pod: str, prefix: str) -> dict[str, float]:
    """Samples of one pod's metrics page whose name starts with `prefix`, through the API server."""
    page = kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics")
    lines = (line.rpartition(" ") for line in page.splitlines() if line.startswith(prefix))
    return {name: float(value) for name, _, value in lines}


class Watch:
    """When the API server first said each thing about a variant's pods: to milliseconds, where its own times are whole seconds."""

    FACTS = ("created", "scheduled", "started", "ready")
    LINE = '{.metadata.name}|{.spec.nodeName}|{.status.containerStatuses[?(@.name=="eye-state")].started}|{.status.conditions[?(@.type=="Ready")].status}{"\\n"}'

    def __init__(self, variant: str):
        label = "k8s-autoscalers" if variant == PLAIN else "knative"
        arguments = ["--namespace", NAMESPACE, "get", "pods", "--watch", "--selector", f"app.kubernetes.io/component={label}"]
        self.seen: dict[str, dict[str, float]] = {}
        self._kubectl = subprocess.Popen([*KUBECTL, *arguments, "-o", f"jsonpath={self.LINE}"], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._kubectl.stdout:
            name, node, started, is_ready = line.strip().split("|")
            now, pod = time.time(), self.seen.setdefault(name, {})
            for fact, holds in zip(self.FACTS, (True, node, started == "true", is_ready == "True")):
                if holds:
                    pod.setdefault(fact, now)

    def close(self) -> None:
        self._kubectl.terminate()
        self._kubectl.wait()


@dataclass
class Load:
    """So many requests in flight at all times, from `with` to its end; then what came back."""

    variant: str
    workers: int
    # Between two requests of one worker; zero keeps it in flight all the time.
    pause: float = 0.0
    answers: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    # Failures that are not the function's own refusals.
    losses: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._stop = threading.Event()
        self._start = time.monotonic()
        name, body = host(self.variant), sample()
        self._threads = [threading.Thread(target=self._work, args=(name, body)) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()
        return self

    def _work(self, name: str, body: bytes) -> None:
        while not self._stop.is_set():
            sent = time.monotonic()
            status, answer = classify(name, body)
            self.answers[status] += 1
            self.latencies.append(time.monotonic() - sent)
            if status != "200":
                self.failures.append(f"{sent - self._start:.1f} s, after {self.latencies[-1]:.1f} s: {status} {answer.get('detail')}")
                if (status, answer.get("type", "").rpartition(":")[2]) not in REFUSALS:
                    self.losses.append(self.failures[-1])
            self._stop.wait(self.pause)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def lost(self) -> list[str]:
        """What got neither a result nor the function's own refusal. A gateway's time-out is a loss."""
        return self.losses

    def __str__(self) -> str:
        waits = sorted(self.latencies) or [0.0]
        p50, p99 = (waits[int(q * (len(waits) - 1))] * 1000 for q in (0.5, 0.99))
        return f"{sum(self.answers.values())} requests {dict(self.answers)}, p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {waits[-1] * 1000:.0f} ms"
