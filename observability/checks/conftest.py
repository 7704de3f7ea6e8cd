"""One stack for all tests of a run: it takes a minute, most of it waiting for windows to fill."""

import json
import os
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
import stack

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "function" / "samples"
# Each moment of the recordings is shown for this long and scraped this often, so that rates see it.
MOMENT_S = 4
SCRAPES = 3
# Requests at once in a burst: more than are computed and queued together, so that some are refused.
BURST = 8
# One run a side, the right one begun this much later: the dashboards have to bring them together.
LEFT, RIGHT = "query-test-knative-tuned-1", "query-test-k8s-autoscalers-tuned-1"
ARMS = {LEFT: "KPA, tuned", RIGHT: "HPA + VPA, tuned"}
APART_S = 7
PLANNED_S = 600


@dataclass
class Observed:
    """The subject of the tests: Prometheus, and the time range of all events."""

    prometheus: stack.Prometheus
    function: str
    start: float
    end: float


def push_runs(prometheus: stack.Prometheus, began: int) -> None:
    """As the comparison's runner does it: gauges over OTLP, in JSON, without a client library."""
    gauges: dict[str, list[dict]] = {}
    for run, variant, start in ((LEFT, "knative", began), (RIGHT, "k8s-autoscalers", began + APART_S)):
        attributes = {"run": run, "scenario": "spike", "variant": variant, "configuration": "tuned", "arm": ARMS[run]}
        values = {"comparison_run": 1} | {
            f"comparison_run_{which}_timestamp_seconds": moment
            for which, moment in (("start", start), ("end", start + PLANNED_S), ("counted_start", start), ("counted_end", start + PLANNED_S))
        }
        for name, value in values.items():
            gauges.setdefault(name, []).append({
                "asDouble": value,
                "timeUnixNano": str(time.time_ns()),
                "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()],
            })
    metrics = [{"name": name, "gauge": {"dataPoints": points}} for name, points in gauges.items()]
    body = {"resourceMetrics": [{"resource": {"attributes": []}, "scopeMetrics": [{"metrics": metrics}]}]}
    request = urllib.request.Request(
        f"http://{prometheus.address}/api/v1/otlp/v1/metrics", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


def put_load_on(address: str) -> None:
    """Answers of every kind: both states, no eyes, no image, wrong type, and refusals."""
    for picture in ("open.jpg", "closed.jpg", "empty-bed.jpg"):
        assert stack.classify(address, (SAMPLES / picture).read_bytes(), "image/jpeg") == 200
    assert stack.classify(address, b"no image", "image/jpeg") == 400
    assert stack.classify(address, b"text", "text/plain") == 415
    picture = (SAMPLES / "open.jpg").read_bytes()
    burst = [threading.Thread(target=stack.classify, args=(address, picture, "image/jpeg")) for _ in range(BURST)]
    for request in burst:
        request.start()
    for request in burst:
        request.join()


@pytest.fixture(scope="session")
def observed():
    binary = os.environ.get("EYE_STATE", str(REPOSITORY / "target" / "release" / "eye-state"))
    recordings = [stack.Recording(path) for path in sorted(stack.RECORDINGS.glob("*.prom"))]
    replay = stack.Replay(recordings)
    recorded_at = f"127.0.0.1:{replay.server_address[1]}"
    with stack.scratch() as folder, stack.function(binary, folder, MAX_CONCURRENCY="1", QUEUE_CAPACITY="1") as function:
        # One process stands for a pod of each variant: what it exposes does not depend on where it
        # runs.
        targets = [("function", function, "/metrics", {"namespace": "eye-state", "pod": f"eye-state-{variant}-0", "variant": variant}) for variant in ("knative", "k8s-autoscalers")]
        targets += [(recording.job, recorded_at, f"/{recording.name}", {}) for recording in recordings]
        with stack.prometheus(os.environ["PROMETHEUS"], targets, folder) as prometheus:
            start = time.time()
            for moment in range(replay.moments + 1):
                replay.show(moment)
                began = time.time()
                while time.time() < began + MOMENT_S or not (replay.seen(SCRAPES) or time.time() > began + stack.PATIENCE_S):
                    push_runs(prometheus, int(start))
                    put_load_on(function)
                    time.sleep(0.5)
            yield Observed(prometheus, function, start, time.time())
    replay.shutdown()
