"""Invariants between the manifests of one rendering; each function returns the violations.

A fair comparison rests on these: two variants, one pod, nothing different but the autoscaler.
"""

import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

Documents = list[dict]

ROOT = Path(__file__).parents[2]

# Coefficients of 16 bits and samples of 8, of three components at full size.
PROGRESSIVE_BYTES_PER_PIXEL = 9

KPA = "autoscaling.knative.dev/"
# queue-proxy continues to serve this long after SIGTERM, and holds back the function's own
# (Knative's drainSleepDuration), all within the pod's grace period.
QUEUE_PROXY_DRAIN_SECONDS = 30
# Time that the function needs for its last answers after the drain time-out (LAST_ANSWERS in
# server.rs).
LAST_ANSWERS_SECONDS = 2


def _only(documents: Documents, kind: str, group: str = "") -> dict:
    found = [d for d in documents if d["kind"] == kind and d["apiVersion"].rpartition("/")[0] == group]
    assert len(found) == 1, f"expected one {kind} of {group or 'core'}, found {len(found)}"
    return found[0]


def _knative(documents: Documents) -> dict:
    return _only(documents, "Service", "serving.knative.dev")


def _deployment(documents: Documents) -> dict:
    return _only(documents, "Deployment", "apps")


def _hpa(documents: Documents) -> dict:
    return _only(documents, "HorizontalPodAutoscaler", "autoscaling")


def _keda(documents: Documents) -> dict | None:
    """KEDA's ScaledObject, which replaces the HPA in one arm."""
    return next((d for d in documents if d["kind"] == "ScaledObject"), None)


def _policies(documents: Documents) -> list[dict]:
    """The VPA's policy; `None` in an arm without one."""
    vpas = [d for d in documents if d["kind"] == "VerticalPodAutoscaler"]
    assert len(vpas) <= 1, f"expected one VerticalPodAutoscaler, found {len(vpas)}"
    return [policy for vpa in vpas for policy in vpa["spec"]["resourcePolicy"]["containerPolicies"]]


def _workloads(documents: Documents) -> list[dict]:
    return [_knative(documents), _deployment(documents)]


def _containers(documents: Documents) -> Iterator[dict]:
    for workload in documents:
        yield from workload.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def _annotation(documents: Documents, name: str) -> str | None:
    return _knative(documents)["spec"]["template"]["metadata"]["annotations"].get(KPA + name)


def containers_are_identical(documents: Documents) -> list[str]:
    knative, plain = (w["spec"]["template"]["spec"]["containers"] for w in _workloads(documents))
    return [] if knative == plain else ["the variants' containers differ"]


def pods_are_alike(documents: Documents) -> list[str]:
    """Everything of the pod but the containers and what only one of the APIs has a name for."""
    own = {"containers", "containerConcurrency", "timeoutSeconds", "terminationGracePeriodSeconds"}
    knative, plain = (
        {k: v for k, v in w["spec"]["template"]["spec"].items() if k not in own} for w in _workloads(documents)
    )
    return [] if knative == plain else [f"the variants' pods differ: {knative} and {plain}"]


def _horizontal(documents: Documents) -> tuple[str, object, int]:
    """What the Deployment scales on, its target, and the most pods."""
    if keda := _keda(documents):
        trigger = next(t for t in keda["spec"]["triggers"] if t["name"] == "concurrency")["metadata"]
        return trigger["query"], trigger["threshold"], keda["spec"]["maxReplicaCount"]
    spec = _hpa(documents)["spec"]
    metric = spec["metrics"][0].get("pods") or spec["metrics"][0]["object"]
    return metric["metric"]["name"], metric["target"]["averageValue"], spec["maxReplicas"]


def metrics_are_the_same(documents: Documents) -> list[str]:
    found = []
    if _annotation(documents, "metric") != "concurrency":
        found.append("the KPA does not scale on concurrency")
    if "concurrency" not in _horizontal(documents)[0]:
        found.append(f"the Deployment scales on {_horizontal(documents)[0]}, not on concurrency")
    return found


def targets_are_equal(documents: Documents) -> list[str]:
    """Not for tuned settings, whose targets were searched on both sides."""
    target = _annotation(documents, "target")
    if Decimal(target or "100") == _quantity(_horizontal(documents)[1]):
        return []
    return [f"the KPA's target is {target}, the Deployment's {_horizontal(documents)[1]}"]


def utilization_is_a_default(documents: Documents) -> list[str]:
    """Not for tuned settings, nor for ablations of it."""
    utilization = _annotation(documents, "target-utilization-percentage")
    if utilization in ("70", "100"):
        return []
    return [f"the KPA holds {utilization} % of its target: Knative's default is 70, the HPA's target itself 100"]


def upper_bounds_are_equal(documents: Documents) -> list[str]:
    kpa, other = int(_annotation(documents, "max-scale") or 0), _horizontal(documents)[2]
    return [] if kpa == other else [f"the KPA may go to {kpa} pods, the Deployment to {other}"]


def hpa_and_vpa_share_no_metric(documents: Documents) -> list[str]:
    vertical = {
        r for p in _policies(documents) if p.get("mode") != "Off" for r in p.get("controlledResources", ["cpu", "memory"])
    }
    metrics = [] if _keda(documents) else _hpa(documents)["spec"]["metrics"]
    horizontal = {metric[key]["name"] for metric in metrics for key in ("resource", "containerResource") if key in metric}
    return [f"HPA and VPA both act on {name}" for name in sorted(vertical & horizontal)]


def nothing_sets_port(documents: Documents) -> list[str]:
    names = {e["name"] for c in _containers(documents) for e in c.get("env", [])}
    return ["PORT is Knative's to set"] if "PORT" in names else []


def nothing_fixes_replicas(documents: Documents) -> list[str]:
    return ["the Deployment carries replicas: the HPA owns that"] if "replicas" in _deployment(documents)["spec"] else []


def no_startup_probe(documents: Documents) -> list[str]:
    slow = [c["name"] for c in _containers(documents) if "startupProbe" in c]
    return [f"{name} has a startupProbe: Knative would wait for the kubelet" for name in slow]


def selectors_match(documents: Documents) -> list[str]:
    pods = {w["metadata"]["name"]: w["spec"]["template"]["metadata"]["labels"] for w in _workloads(documents)}
    found = []
    for document in documents:
        selector = _selector(document)
        if selector is None:
            continue
        matched = [name for name, labels in pods.items() if selector.items() <= labels.items()]
        name = f"{document['kind']}/{document['metadata']['name']}"
        # The node exporter is deployed by another room: its pods are not part of this rendering.
        if not matched and document["metadata"]["name"] != "node-exporter":
            found.append(f"{name} selects no pod")
        # What carries a variant's name is about that variant's pods only.
        elif document["metadata"]["name"] in pods and matched != [document["metadata"]["name"]]:
            found.append(f"{name} selects the pods of {' and '.join(matched)}")
    return found


def _selector(document: dict) -> dict | None:
    spec = document.get("spec", {})
    if document["apiVersion"] == "v1" and document["kind"] == "Service":
        return spec["selector"]
    for key in ("selector", "podSelector"):
        if document["kind"] in ("Deployment", "PodDisruptionBudget", "NetworkPolicy", "PodMonitoring") and key in spec:
            return spec[key]["matchLabels"]
    return None


def references_resolve(documents: Documents) -> list[str]:
    """Targets of autoscalers and routes, and the VPA's container, are part of the same rendering."""
    known = {(d["apiVersion"], d["kind"], d["metadata"]["name"]) for d in documents}
    references = [(_keda(documents) or _hpa(documents))["spec"]["scaleTargetRef"]]
    references += [d["spec"]["targetRef"] for d in documents if d["kind"] == "VerticalPodAutoscaler"]
    metrics = [] if _keda(documents) else _hpa(documents)["spec"]["metrics"]
    references += [metric["object"]["describedObject"] for metric in metrics if "object" in metric]
    references += [d["spec"]["ref"] for d in documents if d["kind"] == "DomainMapping"]
    found = [f"{r['kind']}/{r['name']} does not exist" for r in references if tuple(r.values()) not in known]
    names = {c["name"] for c in _containers(documents)} | {"*"}
    for policy in _policies(documents):
        if policy["containerName"] not in names:
            found.append(f"the VPA has a policy for {policy['containerName']}, which is no container")
    return found


def images_are_pinned(documents: Documents) -> list[str]:
    pinned = re.compile(r"(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})$")
    return [f"{c['image']} is not pinned" for c in _containers(documents) if not pinned.search(c["image"])]


def config_map_keys_exist(documents: Documents) -> list[str]:
    maps = {d["metadata"]["name"]: d.get("data", {}) for d in documents if d["kind"] == "ConfigMap"}
    found = []
    for container in _containers(documents):
        for entry in container.get("env", []):
            reference = entry.get("valueFrom", {}).get("configMapKeyRef")
            if reference and reference["key"] not in maps.get(reference["name"], {}):
                found.append(f"{reference['name']} has no key {reference['key']}")
    return found


def grace_fits_the_drain(documents: Documents) -> list[str]:
    settings = next(d["data"] for d in documents if d["kind"] == "ConfigMap")
    drain = (int(settings["DRAIN_DELAY_MS"]) + int(settings["DRAIN_TIMEOUT_MS"])) / 1000
    drain += QUEUE_PROXY_DRAIN_SECONDS + LAST_ANSWERS_SECONDS
    plain = _deployment(documents)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    knative = _knative(documents)["spec"]["template"]["spec"]["timeoutSeconds"]
    found = [] if plain == knative else [f"the Deployment has {plain} s of grace, the Knative Service {knative} s"]
    return found + [f"{g} s of grace is less than the drain's {drain} s" for g in {plain, knative} if g < drain]


def the_container_is_locked_down(documents: Documents) -> list[str]:
    wanted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return [
        f"{container['name']}: securityContext.{key} is not {value}"
        for container in _containers(documents)
        for key, value in wanted.items()
        if container.get("securityContext", {}).get(key) != value
    ]


def _constants(file: str) -> dict[str, int]:
    """The whole numbers among a Rust file's constants."""
    text = (ROOT / file).read_text()
    found = re.findall(r"const (\w+): (?:usize|u64) = ([\d_ *]+);", text)
    return {name: math.prod(int(factor.replace("_", "")) for factor in product.split("*")) for name, product in found}


def divided_memory(limit: int, threads: int) -> tuple[int, int, int]:
    """Places for connections, and bytes in transit and for work, as function/src/memory/mod.rs divides a container's limit."""
    memory, config = _constants("function/src/memory/mod.rs"), _constants("function/src/config/mod.rs")
    least_spare = _constants("function/src/server/places/count.rs")["MIN_SPARE"]
    left = limit - memory["PROCESS_BYTES"] - threads * memory["THREAD_BYTES"]
    connection = memory["HEAD_BYTES"] + memory["KERNEL_FACTOR"] * (memory["SEND_BUFFER"] + memory["RECEIVE_BUFFER"])
    connections = max(left, 0) // memory["CONNECTION_FRACTION"] // connection
    places = min(max(min(connections // 2, connections - 2 * least_spare), 1), config["DEFAULT_MAX_CONNECTIONS"])
    budget = max(left - (places + 2 * max(places // 2, least_spare)) * connection, memory["LEAST_WORK_BYTES"])
    transit = min(config["DEFAULT_MAX_BODY_MEMORY"], budget // memory["TRANSIT_FRACTION"])
    return places, transit, budget - transit


def memory_holds_the_largest_images(documents: Documents) -> list[str]:
    """The smallest pod that may come about takes a body of the largest size, a gray image of the most pixels, and a
    progressive colour image of full HD, and has places for all requests that are computed or queued:
    docs/hostile-input.md has what each of them needs, measured."""
    config = _constants("function/src/config/mod.rs")
    gray = config["DEFAULT_MAX_IMAGE_PIXELS"]
    colour = PROGRESSIVE_BYTES_PER_PIXEL * 1920 * 1088
    least = config["DEFAULT_MAX_IMAGE_BYTES"] + max(gray, colour)
    pods = {}
    for workload in _workloads(documents):
        limits = workload["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        pods[workload["kind"]] = (limits["memory"], limits["cpu"])
    for policy in _policies(documents)[:1]:
        pods["the VPA's least"] = (policy["minAllowed"]["memory"], policy["maxAllowed"]["cpu"])
    found = []
    for name, (memory, cpu) in pods.items():
        threads = math.ceil(_quantity(cpu))
        places, transit, work = divided_memory(_bytes(memory), threads)
        if transit < config["DEFAULT_MAX_IMAGE_BYTES"]:
            found.append(f"{name}: {memory} leave {transit} bytes for bodies, less than one of MAX_IMAGE_BYTES")
        if work < least:
            found.append(f"{name}: {memory} leave {work} bytes for work, and the largest images take {least}")
        if places < config["DEFAULT_QUEUE_CAPACITY"] + threads:
            found.append(f"{name}: {memory} leave {places} places for connections, fewer than requests that are computed or queued")
    return found


def _bytes(quantity: str) -> int:
    for suffix, factor in (("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30)):
        if quantity.endswith(suffix):
            return int(quantity.removesuffix(suffix)) * factor
    return int(quantity)


def _quantity(text: object) -> Decimal:
    """A Kubernetes quantity as far as a concurrency target needs one: plain, or in thousandths."""
    number = str(text)
    return Decimal(number[:-1]) / 1000 if number.endswith("m") else Decimal(number)


ALL: list[Callable[[Documents], list[str]]] = [
    containers_are_identical,
    pods_are_alike,
    metrics_are_the_same,
    targets_are_equal,
    utilization_is_a_default,
    upper_bounds_are_equal,
    hpa_and_vpa_share_no_metric,
    nothing_sets_port,
    nothing_fixes_replicas,
    no_startup_probe,
    selectors_match,
    references_resolve,
    images_are_pinned,
    config_map_keys_exist,
    grace_fits_the_drain,
    the_container_is_locked_down,
    memory_holds_the_largest_images,
]
