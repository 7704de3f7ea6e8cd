"""Every rendering is valid and keeps every invariant, and each check fails on a violation."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import invariants
import render
import schemas

RENDERINGS = [*render.overlays(), *render.add_ons()]
SAMPLE = Path("platforms/kind/defaults")
PLATFORMS = sorted({overlay.parts[1] for overlay in render.overlays()})
# Settings that only arms of the comparison have, and what an ablation makes of the defaults.
ARMS = [
    pytest.param(platform, settings, id=f"{platform}-{settings}")
    for platform in PLATFORMS
    for settings in [
        *dict.fromkeys(arm["configuration"] for arm in render.arms() if arm["configuration"] not in ("defaults", "tuned")),
        *(f"defaults+{ablation['name']}" for ablation in render.ablations()),
    ]
]


def of(settings: str) -> list[Callable]:
    """The invariants that hold for settings."""
    dropped = []
    # Their targets were searched.
    if settings == "tuned":
        dropped += [invariants.targets_are_equal, invariants.utilization_is_a_default]
    # It is there to have another one.
    if settings.endswith("+utilization-35"):
        dropped.append(invariants.utilization_is_a_default)
    # It is there to take the limits away.
    if settings.endswith("+no-limit"):
        dropped.append(invariants.memory_holds_the_largest_images)
    return [invariant for invariant in invariants.ALL if invariant not in dropped]


def find(documents: list[dict], kind: str, name: str | None = None) -> dict:
    """The one manifest of a kind, or of a kind and an apiVersion's group."""
    return next(d for d in documents if d["kind"] == kind and name in (None, d["apiVersion"].rpartition("/")[0]))


def pod_of(documents: list[dict], kind: str, group: str) -> dict:
    return find(documents, kind, group)["spec"]["template"]["spec"]


@pytest.mark.parametrize("directory", RENDERINGS, ids=str)
def test_every_manifest_meets_its_strict_schema(directory: Path) -> None:
    documents = render.render(directory)
    assert documents
    assert [v for document in documents for v in schemas.violations(document)] == []


@pytest.mark.parametrize("directory", render.overlays(), ids=str)
def test_every_overlay_keeps_every_invariant(directory: Path) -> None:
    documents = render.render(directory)
    assert [broken for invariant in of(directory.name) for broken in invariant(documents)] == []


@pytest.mark.parametrize(("platform", "settings"), ARMS)
def test_every_arm_keeps_every_invariant_and_meets_its_schemas(platform: str, settings: str) -> None:
    documents = render.render(render.overlay(platform, settings))
    assert [v for document in documents for v in schemas.violations(document)] == []
    assert [broken for invariant in of(settings) for broken in invariant(documents)] == []


@pytest.mark.parametrize("arm", render.arms(), ids=lambda arm: arm["name"])
def test_an_arm_deploys_the_autoscalers_that_it_says(arm: dict) -> None:
    kinds = {d["kind"] for d in render.render(render.overlay("two-cores", arm["configuration"]))}
    horizontal, vertical = {
        "kpa": ("HorizontalPodAutoscaler", True),
        "hpa": ("HorizontalPodAutoscaler", False),
        "hpa+vpa": ("HorizontalPodAutoscaler", True),
        "keda": ("ScaledObject", False),
    }[arm["autoscaler"]]
    assert horizontal in kinds and ("VerticalPodAutoscaler" in kinds) == vertical
    assert len(kinds & {"HorizontalPodAutoscaler", "ScaledObject"}) == 1


def test_where_a_load_balancer_leads_to_the_pods_the_network_policies_admit_its_clients() -> None:
    for directory in render.overlays():
        documents = render.render(directory)
        balanced = [d for d in documents if d["apiVersion"] == "v1" and d["kind"] == "Service" and d["spec"].get("type") == "LoadBalancer"]
        for service in balanced:
            port = service["spec"]["ports"][0]["targetPort"]
            policies = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
            open_to_all = [
                rule
                for policy in policies
                if policy["podSelector"]["matchLabels"].items() <= service["spec"]["selector"].items()
                for rule in policy["ingress"]
                if "from" not in rule and port in [p["port"] for p in rule["ports"]]
            ]
            assert open_to_all, f"{directory}: nobody gets through the load balancer of {service['metadata']['name']}"


def test_pods_reach_dns_wherever_a_cluster_has_it_and_nothing_else_of_the_world() -> None:
    policy = next(d for d in render.render(SAMPLE) if d["kind"] == "NetworkPolicy")
    anywhere = [rule for rule in policy["spec"]["egress"] if not rule.get("to")]
    assert [{(p["port"], p["protocol"]) for p in rule["ports"]} for rule in anywhere] == [{(port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")}]


def test_the_gateway_knative_and_every_prometheus_reach_the_pods() -> None:
    policy = next(d for d in render.render(SAMPLE) if d["kind"] == "NetworkPolicy")
    (rule,) = policy["spec"]["ingress"]
    (namespaces,) = [peer["namespaceSelector"]["matchExpressions"][0] for peer in rule["from"]]
    gateways, scrapers = {"kourier-system", "knative-serving"}, {"monitoring", "gmp-system", "gke-gmp-system"}
    assert namespaces["key"] == "kubernetes.io/metadata.name" and set(namespaces["values"]) == gateways | scrapers | {"eye-state"}
    # Whoever has a Prometheus elsewhere is told so.
    own = (render.ROOT / "platforms/cluster/README.md").read_text()
    assert [name for name in scrapers if f"`{name}`" not in own] == []


def test_the_vpas_floor_is_the_size_of_the_pod() -> None:
    for platform, least in (("two-cores", "150m"), ("cluster", "1")):
        documents = render.render(render.overlay(platform, "defaults+vpa-floor"))
        policy = find(documents, "VerticalPodAutoscaler")["spec"]["resourcePolicy"]["containerPolicies"][0]
        assert policy["minAllowed"]["cpu"] == least


def test_an_ablation_of_the_pods_cpu_reaches_both_variants_and_no_vpa_undoes_it() -> None:
    # A VPA that sets requests leaves the limit alone; one that sets memory only, both.
    for ablation, requests, limit, unchanged in (
        ("limit-200m", "150m", "200m", {"controlledValues": "RequestsOnly"}),
        ("requests-75m", "75m", "150m", {"controlledResources": ["memory"]}),
    ):
        documents = render.render(render.overlay("two-cores", f"defaults+{ablation}"))
        for kind, group in (("Service", "serving.knative.dev"), ("Deployment", "apps")):
            resources = pod_of(documents, kind, group)["containers"][0]["resources"]
            assert (resources["requests"]["cpu"], resources["limits"]["cpu"]) == (requests, limit)
        policy = find(documents, "VerticalPodAutoscaler")["spec"]["resourcePolicy"]["containerPolicies"][0]
        assert unchanged.items() <= policy.items()


def test_settings_that_do_not_exist_are_answered_with_those_that_do() -> None:
    for settings, word in (("other", "hand-tuned"), ("defaults+other", "tbc-211"), ("defaults+other", "no-limit")):
        done = subprocess.run([render.ROOT / "platforms/overlay.sh", "kind", settings], capture_output=True, text=True)
        assert done.returncode != 0 and "no settings other" in done.stderr and word in done.stderr


def test_every_platform_comes_with_both_settings() -> None:
    assert [str(p.relative_to("platforms")) for p in render.overlays()] == [
        f"{platform}/{settings}" for platform in ("cluster", "gke", "kind", "two-cores") for settings in ("defaults", "tuned")
    ]


def adapter_rules() -> dict[str, dict]:
    rules = yaml.safe_load((render.ROOT / "k8s-autoscalers/metrics/rules.yaml").read_text())["rules"]
    return {rule["name"]["as"]: rule for rule in rules}


@pytest.mark.parametrize("settings", ["defaults", "hpa", "hpa-zero"])
def test_the_hpa_asks_for_metrics_that_the_adapter_serves_of_that_kind(settings: str) -> None:
    rules = adapter_rules()
    for metric in find(render.render(render.overlay("kind", settings)), "HorizontalPodAutoscaler")["spec"]["metrics"]:
        source = metric[metric["type"].lower()]
        served = rules[source["metric"]["name"]]["resources"]["overrides"].values()
        kind = source.get("describedObject", {"kind": "Pod"})["kind"].lower()
        assert kind in [resource["resource"] for resource in served]


def test_hpa_and_keda_scale_to_zero_on_the_same_queries() -> None:
    keda = find(render.render(render.overlay("kind", "keda")), "ScaledObject")["spec"]["triggers"]
    hpa = find(render.render(render.overlay("kind", "hpa-zero")), "HorizontalPodAutoscaler")["spec"]
    rules = adapter_rules()
    own = [rules[metric["object"]["metric"]["name"]]["metricsQuery"] for metric in hpa["metrics"]]
    assert [trigger["metadata"]["query"] in query for trigger, query in zip(keda, own, strict=True)] == [True, True]
    targets = [metric["object"]["target"]["averageValue"] for metric in hpa["metrics"]]
    assert targets == [trigger["metadata"]["threshold"] for trigger in keda]
    assert hpa["minReplicas"] == 0


def test_a_changed_target_reaches_both_autoscalers() -> None:
    documents = render.render(SAMPLE)
    target = yaml.safe_load((render.ROOT / "function/manifests/scaling.yaml").read_text())["data"]["target"]
    assert find(documents, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == target
    knative = find(documents, "Service", "serving.knative.dev")
    assert knative["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/target"] == target


# Each entry breaks one thing, and names the invariant that must notice.
def _cpu(d: list[dict]) -> None:
    pod_of(d, "Deployment", "apps")["containers"][0]["resources"]["limits"]["cpu"] = "3"


def _service_links(d: list[dict]) -> None:
    pod_of(d, "Deployment", "apps")["enableServiceLinks"] = True


def _annotate(name: str, value: str) -> Callable[[list[dict]], None]:
    def change(d: list[dict]) -> None:
        metadata = find(d, "Service", "serving.knative.dev")["spec"]["template"]["metadata"]
        metadata["annotations"][invariants.KPA + name] = value

    return change


def _hpa_on_cpu(d: list[dict]) -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    find(d, "HorizontalPodAutoscaler")["spec"]["metrics"].append(metric)


def _hpa_target(d: list[dict]) -> None:
    find(d, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]["averageValue"] = "1500m"


def _hpa_max(d: list[dict]) -> None:
    find(d, "HorizontalPodAutoscaler")["spec"]["maxReplicas"] += 1


def _hpa_reference(d: list[dict]) -> None:
    find(d, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] = "another"


def _vpa_container(d: list[dict]) -> None:
    find(d, "VerticalPodAutoscaler")["spec"]["resourcePolicy"]["containerPolicies"][0]["containerName"] = "another"


def _route_reference(d: list[dict]) -> None:
    find(d, "DomainMapping")["spec"]["ref"]["name"] = "another"


def _port(d: list[dict]) -> None:
    pod_of(d, "Service", "serving.knative.dev")["containers"][0]["env"].append({"name": "PORT", "value": "8080"})


def _replicas(d: list[dict]) -> None:
    find(d, "Deployment")["spec"]["replicas"] = 2


def _startup_probe(d: list[dict]) -> None:
    container = pod_of(d, "Deployment", "apps")["containers"][0]
    container["startupProbe"] = copy.deepcopy(container["readinessProbe"])


def _service_selector(d: list[dict]) -> None:
    find(d, "Service", "")["spec"]["selector"]["app.kubernetes.io/component"] = "another"


def _budget_selector(d: list[dict]) -> None:
    del find(d, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]


def _network_selector(d: list[dict]) -> None:
    find(d, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] = "another"


def _image(tag: str) -> Callable[[list[dict]], None]:
    def change(d: list[dict]) -> None:
        pod_of(d, "Deployment", "apps")["containers"][0]["image"] = f"dev.local/eye-state{tag}"

    return change


def _config_map_key(d: list[dict]) -> None:
    del find(d, "ConfigMap")["data"]["DRAIN_DELAY_MS"]


def _drain(d: list[dict]) -> None:
    find(d, "ConfigMap")["data"]["DRAIN_TIMEOUT_MS"] = "60000"


def _grace(d: list[dict]) -> None:
    pod_of(d, "Deployment", "apps")["terminationGracePeriodSeconds"] = 61


def _root(d: list[dict]) -> None:
    pod_of(d, "Deployment", "apps")["containers"][0]["securityContext"]["runAsNonRoot"] = False


def _small_pod(d: list[dict]) -> None:
    pod_of(d, "Deployment", "apps")["containers"][0]["resources"]["limits"]["memory"] = "64Mi"


def _small_vpa(d: list[dict]) -> None:
    find(d, "VerticalPodAutoscaler")["spec"]["resourcePolicy"]["containerPolicies"][0]["minAllowed"]["memory"] = "64Mi"


MUTATIONS = [
    (_cpu, invariants.containers_are_identical),
    (_service_links, invariants.pods_are_alike),
    (_annotate("target", "3"), invariants.targets_are_equal),
    (_annotate("target-utilization-percentage", "85"), invariants.utilization_is_a_default),
    (_annotate("metric", "rps"), invariants.metrics_are_the_same),
    (_hpa_target, invariants.targets_are_equal),
    (_annotate("max-scale", "5"), invariants.upper_bounds_are_equal),
    (_hpa_max, invariants.upper_bounds_are_equal),
    (_hpa_on_cpu, invariants.hpa_and_vpa_share_no_metric),
    (_port, invariants.nothing_sets_port),
    (_replicas, invariants.nothing_fixes_replicas),
    (_startup_probe, invariants.no_startup_probe),
    (_service_selector, invariants.selectors_match),
    (_budget_selector, invariants.selectors_match),
    (_network_selector, invariants.selectors_match),
    (_hpa_reference, invariants.references_resolve),
    (_vpa_container, invariants.references_resolve),
    (_route_reference, invariants.references_resolve),
    (_image(""), invariants.images_are_pinned),
    (_image(":latest"), invariants.images_are_pinned),
    (_config_map_key, invariants.config_map_keys_exist),
    (_drain, invariants.grace_fits_the_drain),
    (_grace, invariants.grace_fits_the_drain),
    (_root, invariants.the_container_is_locked_down),
    (_small_pod, invariants.memory_holds_the_largest_images),
    (_small_vpa, invariants.memory_holds_the_largest_images),
]


@pytest.mark.parametrize(
    ("change", "invariant"), MUTATIONS, ids=[f"{i.__name__}-{n}" for n, (_, i) in enumerate(MUTATIONS)]
)
def test_a_broken_manifest_is_noticed(change: Callable, invariant: Callable) -> None:
    documents = render.render(SAMPLE)
    assert invariant(documents) == []
    change(documents)
    assert invariant(documents) != []


def test_every_invariant_is_shown_to_fail() -> None:
    assert {i for _, i in MUTATIONS} == set(invariants.ALL)


@pytest.mark.parametrize(
    ("kind", "group", "path", "value"),
    [
        ("Deployment", "apps", ["spec", "replica"], 3),
        ("Deployment", "apps", ["spec", "progressDeadlineSeconds"], "soon"),
        ("HorizontalPodAutoscaler", "autoscaling", ["spec", "maxReplicas"], "10"),
        ("Service", "serving.knative.dev", ["spec", "template", "spec", "timeoutSecond"], 60),
        ("Service", "serving.knative.dev", ["spec", "template", "spec", "timeoutSeconds"], "60"),
        ("VerticalPodAutoscaler", "autoscaling.k8s.io", ["spec", "updatePolicy", "updateMode"], "InPlace or so"),
        ("DomainMapping", "serving.knative.dev", ["spec", "reference"], {}),
        ("ClusterDomainClaim", "networking.internal.knative.dev", ["spec", "namespaces"], []),
    ],
)
def test_a_field_that_no_schema_knows_or_of_the_wrong_type_is_refused(
    kind: str, group: str, path: list[str], value: object
) -> None:
    document = find(render.render(SAMPLE), kind, group)
    assert schemas.violations(document) == []
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert schemas.violations(document) != []


def test_the_sinks_of_events_are_of_the_installed_version_of_knative() -> None:
    version = render.versions()["KNATIVE_VERSION"].removeprefix("knative-")
    sinks = [d for d in render.render(Path("knative/eventing")) if d["kind"] == "Deployment"]
    assert [container["image"].rpartition(":")[2] for d in sinks for container in d["spec"]["template"]["spec"]["containers"]] == [version] * 2


def test_every_trigger_has_its_broker_and_its_subscriber() -> None:
    documents = render.render(Path("knative/eventing"))
    knative = find(render.render(SAMPLE), "Service", "serving.knative.dev")
    named = {(d["apiVersion"], d["kind"], d["metadata"]["name"]) for d in [*documents, knative]}
    for trigger in (d for d in documents if d["kind"] == "Trigger"):
        assert ("eventing.knative.dev/v1", "Broker", trigger["spec"]["broker"]) in named
        assert tuple(trigger["spec"]["subscriber"]["ref"][key] for key in ("apiVersion", "kind", "name")) in named
    delivery = find(documents, "Broker")["spec"]["delivery"]
    assert tuple(delivery["deadLetterSink"]["ref"][key] for key in ("apiVersion", "kind", "name")) in named


def test_func_yaml_says_what_the_manifests_say() -> None:
    function = yaml.safe_load((render.ROOT / "function/func.yaml").read_text())
    documents = render.render(Path("platforms/cluster/defaults"))
    knative = find(documents, "Service", "serving.knative.dev")
    container = pod_of(documents, "Service", "serving.knative.dev")["containers"][0]
    annotations = knative["spec"]["template"]["metadata"]["annotations"]
    settings = dict(line.split("=", 1) for line in (render.ROOT / "function/manifests/settings.env").read_text().splitlines() if line and not line.startswith("#"))
    assert {variable["name"]: variable["value"] for variable in function["run"]["envs"]} == settings
    deploy = function["deploy"]
    assert deploy["healthEndpoints"] == {"liveness": container["livenessProbe"]["httpGet"]["path"], "readiness": container["readinessProbe"]["httpGet"]["path"]}
    scale = deploy["options"]["scale"]
    for option, annotation in [("min", "min-scale"), ("max", "max-scale"), ("metric", "metric"), ("target", "target"), ("utilization", "target-utilization-percentage")]:
        assert str(scale[option]) == annotations[invariants.KPA + annotation], option
    limits = dict(deploy["options"]["resources"]["limits"])
    assert limits.pop("concurrency") == knative["spec"]["template"]["spec"]["containerConcurrency"]
    assert (deploy["options"]["resources"]["requests"], limits) == (container["resources"]["requests"], container["resources"]["limits"])
