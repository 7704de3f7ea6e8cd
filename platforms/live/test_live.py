"""What has to be seen on a real cluster with the real controllers. Run by `make cluster-test`.

Needs both variants deployed, and the gateway reachable at GATEWAY. Autoscalers take their time, so it takes
about half an hour; prints what it saw, for docs/deployment.md.
"""

import json
import math
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cluster import (
    CALM,
    KNATIVE,
    NAMESPACE,
    PLAIN,
    Load,
    Watch,
    a_free_node,
    classify,
    condition,
    get,
    host,
    kubectl,
    metric,
    pods,
    ready,
    ready_pods,
    sample,
    say,
    until,
)

# Requests in flight: at a target of one as many pods, for which the cluster has to have room.
BUSY = int(os.environ.get("BUSY", "4"))
# What the VPA is made to ask for. 2 needs a node with two whole CPUs to spare, and shows the second
# worker.
RAISED = os.environ.get("RAISED", "800m")
COLD_STARTS = int(os.environ.get("COLD_STARTS", "5"))


def restarts(pod: dict) -> int:
    return sum(c["restartCount"] for c in pod["status"]["containerStatuses"])


def function_of(pod: dict) -> dict:
    return next(c for c in pod["spec"]["containers"] if c["name"] == "eye-state")


def test_both_variants_answer_through_the_same_gateway() -> None:
    for variant in (PLAIN, KNATIVE):
        status, answer = classify(host(variant), sample())
        say(f"{variant}: {status} {answer.get('state')} by {answer.get('model')}")
        assert status == "200"
        assert answer["state"] in ("open", "closed", "no_eyes")


def test_the_hpa_reads_its_metric_and_goes_up_and_down_with_the_load() -> None:
    def hpa() -> dict:
        return get("hpa", PLAIN)

    spec = hpa()["spec"]
    least, target = spec["minReplicas"], cores(spec["metrics"][0]["pods"]["target"]["averageValue"])
    # Enough for another pod, beyond the tolerance of a tenth.
    busy = max(BUSY, math.ceil(1.1 * target * (least + 1)))
    until("the HPA is active", lambda: condition(hpa(), "ScalingActive").get("status") == "True", 90)
    say(f"ScalingActive: {condition(hpa(), 'ScalingActive')['message']}")
    until(f"{least} replicas at rest", lambda: hpa()["status"]["desiredReplicas"] == least, 400, 5)
    began = time.monotonic()
    with Load(PLAIN, busy) as load:
        until("more replicas wanted", lambda: hpa()["status"]["desiredReplicas"] > least, 120)
        decided = time.monotonic() - began
        until("more pods ready", lambda: len(ready_pods(PLAIN)) > least, 120)
        up = time.monotonic() - began
        time.sleep(30)
        most = hpa()["status"]["desiredReplicas"]
        seen = hpa()["status"]["currentMetrics"][0]["pods"]["current"]["averageValue"]
    say(f"{busy} in flight: decided after {decided:.0f} s, a new pod ready after {up:.0f} s, {most} wanted at {seen} each")
    say(f"load: {load}")
    ended = time.monotonic()
    until("back at rest", lambda: hpa()["status"]["desiredReplicas"] == least, 400, 5)
    say(f"back at {least} replicas {time.monotonic() - ended:.0f} s after the load")
    assert load.lost() == []


def cpu_seconds(pod: str) -> float:
    return sum(metric(pod, "process_cpu_time_seconds_total").values())


def cores_used(pod: str, seconds: float = 20) -> float:
    """CPU that a pod uses with a request in flight for each of two."""
    with Load(PLAIN, CALM) as load:
        time.sleep(3)
        began, before = time.monotonic(), cpu_seconds(pod)
        time.sleep(seconds)
        used = (cpu_seconds(pod) - before) / (time.monotonic() - began)
    say(f"busy: {load}")
    return used


def set_vpa(policy: dict) -> None:
    patch = json.dumps({"spec": {"resourcePolicy": policy}})
    kubectl("--namespace", NAMESPACE, "patch", "vpa", PLAIN, "--type", "merge", "--patch", patch)


def recommended() -> str:
    status = get("vpa", PLAIN)["status"]["recommendation"]["containerRecommendations"]
    return next(r for r in status if r["containerName"] == "eye-state")["target"]["cpu"]


def cpu_granted(pod: dict) -> str | None:
    """The CPU limit that the kubelet has put into force, as opposed to the one that is wanted."""
    status = next(c for c in pod["status"]["containerStatuses"] if c["name"] == "eye-state")
    return status.get("resources", {}).get("limits", {}).get("cpu")


def cores(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def limit(pod: str) -> float:
    """How many inferences the function runs at once, as it says itself."""
    return sum(metric(pod, "eye_state_inference_limit").values())


@contextmanager
def one_replica() -> Iterator[dict]:
    """Holds the HPA at one pod, so that RAISED has to fit a node once only; gives the pod."""
    bounds = {key: get("hpa", PLAIN)["spec"][key] for key in ("minReplicas", "maxReplicas")}
    patch = ["--namespace", NAMESPACE, "patch", "hpa", PLAIN, "--type", "merge", "--patch"]
    kubectl(*patch, json.dumps({"spec": {"minReplicas": 1, "maxReplicas": 1}}))
    try:
        only = lambda: found[0] if len(found := ready_pods(PLAIN)) == 1 == len(pods(PLAIN)) else None  # noqa: E731
        until("one pod", only, 200)
        a_free_node(PLAIN)  # the others may have no room for a larger pod
        yield until("one pod", only, 60)
    finally:
        kubectl(*patch, json.dumps({"spec": bounds}))


def test_the_vpa_resizes_a_running_pod_in_place_and_the_function_uses_it() -> None:
    policy = get("vpa", PLAIN)["spec"]["resourcePolicy"]
    # Ask through the VPA itself: its bounds are part of what it recommends.
    raised = json.loads(json.dumps(policy))
    raised["containerPolicies"][0] |= {bound: policy["containerPolicies"][0][bound] | {"cpu": RAISED} for bound in ("minAllowed", "maxAllowed")}
    with one_replica() as pod:
        name, old = pod["metadata"]["name"], cpu_granted(pod)
        used, at_once = cores_used(name), limit(name)
        say(f"{name}: limit {old}, {at_once:.0f} inference at once, {used:.2f} cores used with {CALM} in flight")
        set_vpa(raised)
        try:
            asked = time.monotonic()
            with Load(PLAIN, CALM, pause=0.2) as load:
                resized = until("resized in place", lambda: next((p for p in pods(PLAIN) if cpu_granted(p) == RAISED), None), 300, 2)
                took = time.monotonic() - asked
                until("as many inferences at once as whole CPUs", lambda: limit(name) == max(1, int(cores(RAISED))), 30)
            say(f"{function_of(resized)['resources']} after {took:.0f} s, {restarts(resized)} restarts; load meanwhile: {load}")
            assert (resized["metadata"]["name"], restarts(resized)) == (name, 0)
            assert load.lost() == []
            now = cores_used(name)
            say(f"{name}: limit {RAISED}, {limit(name):.0f} inferences at once, {now:.2f} cores used with {CALM} in flight")
            assert now > used * 1.2
        finally:
            set_vpa(policy)
            # A pod admitted before the VPA has taken this back would start at RAISED.
            until("the VPA recommends less", lambda: recommended() != RAISED, 150, 2)


def knative_annotations() -> dict[str, str]:
    return get("services.serving.knative.dev", KNATIVE)["spec"]["template"]["metadata"]["annotations"]


def test_the_knative_service_goes_from_zero_to_many_and_back_to_zero() -> None:
    if (least := knative_annotations()["autoscaling.knative.dev/min-scale"]) != "0":
        pytest.skip(f"these settings keep {least} pods; SETTINGS=defaults goes to zero")
    until("zero pods at rest", lambda: not pods(KNATIVE), 300, 2)
    began = time.monotonic()
    with Load(KNATIVE, BUSY) as load:
        most, wanted, reached = 0, 0, 0.0
        while time.monotonic() - began < 60:
            now = pods(KNATIVE)
            if sum(map(ready, now)) > most:
                most, reached = sum(map(ready, now)), time.monotonic() - began
            wanted = max(wanted, len(now))
            time.sleep(0.5)
    say(f"0 → {wanted} pods with {BUSY} in flight, {most} of them ready {reached:.0f} s after the first request; load: {load}")
    ended = time.monotonic()
    until("zero pods again", lambda: not pods(KNATIVE), 400, 2)
    say(f"→ 0 pods {time.monotonic() - ended:.0f} s after the load")
    assert most > 1, "make room for a second pod, or ask for less with BUSY"
    assert load.lost() == []


def annotate(annotations: dict[str, str | None]) -> None:
    patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    kubectl("--namespace", NAMESPACE, "patch", "services.serving.knative.dev", KNATIVE, "--type", "merge", "--patch", json.dumps(patch))


def one_cold_start() -> dict[str, float]:
    """Seconds from sending a request, with no pod there, to each step."""
    until("zero pods", lambda: not get("pods", "", "--selector", "app.kubernetes.io/component=knative")["items"], 400)
    time.sleep(5)  # the endpoints follow the pods
    name, body, watch = host(KNATIVE), sample(), Watch(KNATIVE)
    try:
        time.sleep(1)
        sent = time.time()
        status, answer = classify(name, body)
        answered = time.time()
        assert status == "200", answer
        ((pod, seen),) = until("one pod seen ready", lambda: [item for item in watch.seen.items() if "ready" in item[1]], 30)
        parts = {fact: seen[fact] - sent for fact in Watch.FACTS} | {"first byte": answered - sent}
        phases = metric(pod, "eye_state_startup_duration")
        return parts | {f"function: {name.split('phase=')[1].strip('}').strip(chr(34))}": value for name, value in phases.items()}
    finally:
        watch.close()


def test_a_cold_start_is_told_in_parts() -> None:
    annotations = knative_annotations()
    # Back at zero sooner, to measure several in a few minutes; none of these has a part in the
    # start itself. With the defaults' target a single slow request asks for two pods.
    sooner = {"min-scale": "0", "target": "10", "window": "6s", "scale-down-delay": "0s", "scale-to-zero-pod-retention-period": "0s"}
    sooner = {f"autoscaling.knative.dev/{key}": value for key, value in sooner.items()}
    annotate(sooner)
    try:
        starts = [one_cold_start() for _ in range(COLD_STARTS)]
    finally:
        annotate({key: annotations.get(key) for key in sooner})
    for start in starts:
        say(", ".join(f"{part} {seconds:.3f}" for part, seconds in start.items()))
    say("medians: " + ", ".join(f"{part} {statistics.median(start[part] for start in starts):.3f} s" for part in starts[0]))
