"""Every query of every dashboard, rule and adapter rule, run against a real Prometheus that has scraped the
real function and what real components were recorded to expose. A metric that was renamed fails here."""

import json
import math
import os
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, RUN, Observed

ROOM = Path(__file__).parents[1]
# Series that exist only after something went wrong, or after a kind of move that was not recorded. Their
# families are looked for in the recordings' TYPE lines instead, where the component writes those.
ONLY_AFTER = {
    "kube_pod_container_status_last_terminated_reason": "a container ended",
    "vpa_updater_evicted_pods_total": "the VPA evicted a pod",
    "vpa_updater_failed_in_place_update_attempts_total": "a node refused a resize",
}


def substituted(expr: str, observed: Observed) -> str:
    """Grafana's variables, as it would fill them in."""
    values = {"__rate_interval": "20s", "__range": f"{math.ceil(observed.end - observed.start)}s", "run": RUN, "variant": ".+"}
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expr)


def case(expr: str, legend: str, name: str):
    return pytest.param(expr, legend, id=name)


def dashboard_queries() -> list:
    cases = []
    for path in sorted((ROOM / "grafana" / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                cases.append(case(target["expr"], target["legendFormat"], f"{path.stem}/{panel['title']}/{target['refId']}"))
        for annotation in dashboard["annotations"]["list"]:
            cases.append(case(annotation["expr"], annotation["titleFormat"] + annotation["textFormat"], f"{path.stem}/annotation/{annotation['name']}"))
    return cases


def adapter_rules() -> list:
    rules = yaml.safe_load((REPOSITORY / "k8s-autoscalers" / "metrics" / "rules.yaml").read_text())["rules"]
    return [pytest.param(rule, id=rule["name"]["as"]) for rule in rules]


def samples(observed: Observed, expr: str) -> list[dict]:
    """Series of the expression over the whole time that have at least one number."""
    found = observed.prometheus.query_range(substituted(expr, observed), observed.start, observed.end)
    return [series["metric"] for series in found if any(not math.isnan(float(value)) for _, value in series["values"])]


@pytest.mark.parametrize(("expr", "legend"), dashboard_queries())
def test_a_dashboard_query_finds_something(observed, expr, legend):
    found = samples(observed, expr)
    assert found, f"empty: {substituted(expr, observed)}"
    for label in re.findall(r"\{\{(\w+)\}\}", legend):
        assert any(label in series for series in found), f"the legend names {label}, which no series has: {found[0]}"


@pytest.mark.parametrize("rule", adapter_rules())
def test_an_adapter_query_finds_every_pod(observed, rule):
    assert samples(observed, rule["seriesQuery"])
    series = rule["seriesQuery"].split("{")[0]
    query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", 'namespace="eye-state"').replace("<<.GroupBy>>", "pod")
    assert len(samples(observed, query)) == 2


def test_every_rule_evaluates_and_every_recording_rule_records(observed):
    groups = observed.prometheus.api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 40
    assert [rule for rule in rules if rule["health"] != "ok"] == []
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert {name for name in recorded if not samples(observed, name)} == set()


@cache
def type_lines() -> str:
    return "\n".join(line for path in (Path(__file__).parent / "recordings").glob("*.prom") for line in path.read_text().splitlines() if line.startswith("# TYPE"))


def names(node: object) -> set[str]:
    """Names of all series that a parsed expression reads."""
    if isinstance(node, list):
        return set().union(*map(names, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {node["name"]} if node.get("type") in ("vectorSelector", "matrixSelector") and node.get("name") else set()
    return own.union(*(names(value) for value in node.values()))


def test_every_series_that_a_rule_or_a_dashboard_reads_exists(observed):
    """Also those on the other side of an `or`, and those of alerts, which are silent when all is well."""
    prometheus = observed.prometheus
    expressions = [rule["query"] for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    expressions += [substituted(case.values[0], observed) for case in dashboard_queries()]
    read = set().union(*(names(prometheus.api("parse_query", query=expr)) for expr in expressions))
    assert len(read) > 60
    assert {name for name in read - ONLY_AFTER.keys() if not samples(observed, name)} == set()
    undeclared = {name for name in read & ONLY_AFTER.keys() if name.startswith("kube_") and f"# TYPE {name} " not in type_lines()}
    assert undeclared == set()


def test_a_renamed_metric_is_noticed(observed):
    assert not samples(observed, "sum(rate(eye_state_results_renamed_total[$__rate_interval]))")
    assert names(observed.prometheus.api("parse_query", query="rate(a_b[5m]) or c{d='e'}")) == {"a_b", "c"}


def test_the_run_variable_lists_runs_and_narrows_to_one(observed):
    runs = observed.prometheus.api("label/run/values")
    assert {"live", RUN} <= set(runs)
    assert not observed.prometheus.query_range('vector(1) and on () run:eye_state:info{run="another"}', observed.start, observed.end)


def test_no_target_is_down(observed):
    down = [target["scrapeUrl"] for target in observed.prometheus.api("targets", state="active")["activeTargets"] if target["health"] != "up"]
    assert down == [], os.environ["PROMETHEUS"]
