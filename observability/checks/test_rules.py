"""Rules: each has a test, each alert says what to do, the deployed rules are the tested ones, and what they read is scraped."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

PROMETHEUS = Path(__file__).parents[1] / "prometheus"
REPOSITORY = PROMETHEUS.parents[1]
JOBS = {job["job_name"]: job for job in yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())["scrape_configs"]}
RULES = [rule for path in sorted(PROMETHEUS.glob("rules/*.yaml")) for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]


@cache
def evaluated_by_promtool() -> str:
    """Every expression and alert name that a promtool test evaluates, input series left out."""
    evaluated = []
    for path in PROMETHEUS.glob("tests/*.yaml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            evaluated += [case["expr"] for case in test.get("promql_expr_test", [])]
            evaluated += [case["alertname"] for case in test.get("alert_rule_test", [])]
    return "\n".join(evaluated)


@pytest.mark.parametrize("name", sorted({rule.get("record") or rule["alert"] for rule in RULES}))
def test_a_promtool_test_evaluates_the_rule(name):
    text = evaluated_by_promtool()
    assert name in text or (name.startswith("EyeStateSloBurn") and "EyeStateSloBurn.*" in text), f"no test in {PROMETHEUS}/tests evaluates {name}"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert {"summary", "description", "runbook"} <= rule["annotations"].keys()
    assert len(rule["annotations"]["runbook"].strip().splitlines()) >= 1


def test_every_rule_file_is_deployed():
    kustomization = yaml.safe_load((PROMETHEUS / "kustomization.yaml").read_text())
    deployed = {name for generator in kustomization["configMapGenerator"] for name in generator["files"]}
    assert {f"rules/{path.name}" for path in PROMETHEUS.glob("rules/*.yaml")} <= deployed


def test_the_objective_is_the_scenarios_one():
    """500 ms stands in the rules and in every scenario of the comparison: one number."""
    scenarios = sorted((REPOSITORY / "comparison" / "scenarios").glob("*.toml"))
    assert scenarios
    for scenario in scenarios:
        assert "slo_ms = 500\n" in scenario.read_text(), f"{scenario.name} has another objective than rules/slo.yaml"


def test_a_504_of_the_function_is_always_slower_than_the_objective():
    """rules/slo.yaml counts it among the slow answers, and not by its code."""
    (default,) = re.findall(r"DEFAULT_REQUEST_DEADLINE_MS: u64 = ([\d_]+);", (REPOSITORY / "function/src/config/mod.rs").read_text())
    own = re.findall(r"^REQUEST_DEADLINE_MS=(\d+)$", (REPOSITORY / "function/manifests/settings.env").read_text(), re.MULTILINE)
    assert int((own or [default])[0].replace("_", "")) > 500


def kept(job: str, name: str) -> bool:
    """Whether a series of this name is stored: by the job's first rule of metric_relabel_configs, which says which are."""
    rule = JOBS[job]["metric_relabel_configs"][0]
    assert rule["source_labels"] == ["__name__"] and rule["action"] == "keep", job
    return re.fullmatch(rule["regex"], name) is not None


def read_anywhere(prefix: str) -> set[str]:
    """Names of series that rules, dashboards, the adapter or the comparison read."""
    texts = [rule["expr"] for rule in RULES]
    texts += [path.read_text() for path in (PROMETHEUS.parent / "grafana" / "dashboards").glob("*.json")]
    texts += [(REPOSITORY / "k8s-autoscalers/metrics/rules.yaml").read_text()]
    texts += [path.read_text() for path in (REPOSITORY / "comparison/runner/src/cluster").glob("*.rs")]
    return {name for text in texts for name in re.findall(rf"\b{prefix}\w+", text)}


@pytest.mark.parametrize(("jobs", "prefix"), [(["kube-state-metrics"], "kube_"), (["gateway"], "envoy_cluster_"), (["kubelet", "cadvisor"], "container_(?=cpu_|memory_)")])
def test_what_anything_reads_of_a_large_source_is_kept(jobs, prefix):
    names = read_anywhere(prefix)
    assert len(names) >= 4
    assert {name for name in names if not any(kept(job, name) for job in jobs)} == set()


@pytest.mark.parametrize("name", ["kube_pod_info", "kube_pod_labels", "kube_pod_container_info", "kube_pod_status_reason", "kube_node_status_condition"])
def test_what_nothing_reads_of_every_object_of_the_cluster_is_dropped(name):
    assert not kept("kube-state-metrics", name)


def relabelled(job: str, labels: dict[str, str]) -> dict[str, str]:
    """A series' labels as they are stored, by the two actions of relabelling that are used here."""
    labels = dict(labels)
    for rule in JOBS[job]["metric_relabel_configs"]:
        match = re.fullmatch(rule["regex"], ";".join(labels.get(name, "") for name in rule["source_labels"]))
        if rule.get("action") == "keep":
            assert match, f"{job} drops {labels}"
        elif match:
            labels[rule["target_label"]] = match.expand(rule["replacement"].replace("$", "\\"))
    return labels


def parts() -> list[tuple[str, str, str]]:
    """Variant, namespace and application of each part of the platform that the comparison charges to a variant."""
    variants = tomllib.loads((REPOSITORY / "comparison/cluster.toml").read_text())["variants"]
    found = []
    for variant, described in variants.items():
        for part in described["components"]:
            several, one = re.fullmatch(r"[\w./-]+(?: in \((.+)\)|=(.+))", part["selector"]).groups()
            found += [(variant, part["namespace"], name) for name in re.split(r", *", several or one)]
    return found


# KEDA's release calls it otherwise than KEDA's chart, after which the comparison calls it.
PARTS = [*parts(), ("k8s-autoscalers", "keda", "keda-metrics-apiserver")]


@pytest.mark.parametrize(("job", "name"), [("kube-state-metrics", "kube_pod_container_resource_requests"), ("kubelet", "container_memory_working_set_bytes")])
@pytest.mark.parametrize(("variant", "namespace", "part"), PARTS, ids=[part for _, _, part in PARTS])
def test_a_part_of_the_platform_is_charged_to_the_variant_that_the_comparison_charges(job, name, variant, namespace, part):
    stored = relabelled(job, {"__name__": name, "namespace": namespace, "pod": f"{part}-5d8f7c9b6-x2x4z"})
    assert (stored.get("variant"), stored.get("role")) == (variant, "platform")


@pytest.mark.parametrize(("namespace", "pod"), [("knative-serving", "controller-5d8f7c9b6-x2x4z"), ("keda", "somebodys-5d8f7c9b6-x2x4z"), ("default", "keda-operator-5d8f7c9b6-x2x4z")])
def test_what_serves_no_variant_alone_is_charged_to_none(namespace, pod):
    assert "variant" not in relabelled("kubelet", {"__name__": "container_memory_working_set_bytes", "namespace": namespace, "pod": pod})


def test_containers_that_are_gone_are_not_counted_for_five_minutes_more():
    """The kubelet's samples have timestamps, of which Prometheus marks no end by itself."""
    assert {name for name, job in JOBS.items() if job.get("track_timestamps_staleness") is True} == {"kubelet", "cadvisor"}


def test_the_gateway_is_scraped_wherever_kourier_is_installed():
    (discovery,) = JOBS["gateway"]["kubernetes_sd_configs"]
    assert discovery["namespaces"]["names"] == ["kourier-system", "knative-serving"]
    policy = yaml.safe_load((REPOSITORY / "function/manifests/network-policy.yaml").read_text())
    (peer,) = policy["spec"]["ingress"][0]["from"]
    assert set(discovery["namespaces"]["names"]) <= set(peer["namespaceSelector"]["matchExpressions"][0]["values"])
