"""Updates, evictions and drains on a real cluster, under load: no request may get lost. Run by `make cluster-test`, last."""

import json
import time

import pytest
from cluster import CALM, KNATIVE, NAMESPACE, PLAIN, Load, a_free_node, evict, kubectl, pods, ready_pods, say, until


@pytest.mark.parametrize("variant", [PLAIN, KNATIVE])
def test_a_rolling_update_under_load_loses_no_request(variant: str) -> None:
    kind = "deployment" if variant == PLAIN else "services.serving.knative.dev"
    stamp = json.dumps({"spec": {"template": {"metadata": {"annotations": {"nv-micro/restarted": str(time.time())}}}}})
    with Load(variant, CALM, pause=0.05) as load:
        until("a ready pod", lambda: ready_pods(variant), 60)
        old = {pod["metadata"]["name"] for pod in pods(variant)}
        kubectl("--namespace", NAMESPACE, "patch", kind, variant, "--type", "merge", "--patch", stamp)
        until("only new pods", lambda: ready_pods(variant) and not old & {p["metadata"]["name"] for p in pods(variant)}, 240)
        time.sleep(10)
    say(f"{variant}: {load}")
    assert load.lost() == []


@pytest.mark.parametrize("variant", [PLAIN, KNATIVE])
def test_an_eviction_under_load_loses_no_request(variant: str) -> None:
    """What a node drain does to each pod, through the Eviction API and so through the disruption budget."""
    with Load(variant, CALM, pause=0.05) as load:
        pod = until("a ready pod", lambda: ready_pods(variant), 60)[0]["metadata"]["name"]
        time.sleep(5)
        evict(pod)
        until("another pod ready", lambda: any(p["metadata"]["name"] != pod for p in ready_pods(variant)), 120)
        time.sleep(15)
    say(f"{variant}: {pod} evicted; {load}")
    assert load.lost() == []


@pytest.mark.parametrize("variant", [PLAIN, KNATIVE])
def test_a_node_drain_under_load_loses_no_request(variant: str) -> None:
    with Load(variant, CALM, pause=0.05) as load:
        until("a ready pod", lambda: ready_pods(variant), 60)
        time.sleep(10)
        node = a_free_node(variant)
        if node is None:
            pytest.skip("no second node: the eviction above is what there is of a drain")
        moved = [pod["metadata"]["name"] for pod in pods(variant) if pod["spec"].get("nodeName") == node]
        try:
            began = time.monotonic()
            # Nobody else's pods.
            kubectl("drain", node, "--pod-selector", "app.kubernetes.io/name=eye-state", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
            took = time.monotonic() - began
            until("a ready pod elsewhere", lambda: [p for p in ready_pods(variant) if p["spec"]["nodeName"] != node], 120)
            time.sleep(10)
        finally:
            kubectl("uncordon", node)
    say(f"{variant}: {node} drained of {', '.join(moved)} in {took:.0f} s; {load}")
    assert load.lost() == []
