"""Every query of every dashboard, rule and adapter rule, run against a real Prometheus that has scraped the
real function and what real components were recorded to expose. A metric that was renamed fails here."""

import math
import os
import re
from functools import cache
from pathlib import Path

import dashboards
import pytest
import yaml
from conftest import APART_S, ARMS, LEFT, PLANNED_S, REPOSITORY, RIGHT, Observed

ROOM = Path(__file__).parents[1]
# Series that exist only after something went wrong, or after a kind of move that was not recorded.
# Their families are looked for in the recordings' TYPE lines instead, where the component writes
# those.
ONLY_AFTER = {
    "kube_pod_container_status_last_terminated_reason": "a container ended",
    "vpa_updater_evicted_pods_total": "the VPA evicted a pod",
    "vpa_updater_failed_in_place_update_attempts_total": "a node refused a resize",
}
# Queries that are rightly empty on the recordings.
EMPTY = {
    "vertical/Moves/B": "the VPA evicted no pod",
    "vertical/Moves/C": "no node refused a resize",
}
# Both ways to look: at what happens now, and at a pair of runs.
CHOICES = {"live": {}, "pair": {"scenario": "spike", "left": LEFT, "right": RIGHT, "run": LEFT}}


def substituted(name: str, expr: str, observed: Observed, choice: str = "pair") -> str:
    """With the dashboard's variables, as Grafana would ask and fill them in."""
    return dashboards.fill(expr, variables(name, observed, choice))


@cache
def _variables(name: str, choice: str) -> dict[str, str]:
    return {}


def variables(name: str, observed: Observed, choice: str) -> dict[str, str]:
    values = _variables(name, choice)
    if not values:
        values.update(dashboards.resolve(dashboards.load(name), observed.prometheus, math.floor(observed.start), math.ceil(observed.end), CHOICES[choice]))
    return values


def dashboard_queries() -> list:
    return [pytest.param(query, choice, id=f"{query.where}/{choice}") for name in dashboards.names() for query in dashboards.queries(name) for choice in CHOICES]


def adapter_rules() -> list:
    rules = yaml.safe_load((REPOSITORY / "k8s-autoscalers" / "metrics" / "rules.yaml").read_text())["rules"]
    return [pytest.param(rule, id=rule["name"]["as"]) for rule in rules]


def samples(observed: Observed, expr: str) -> list[dict]:
    """Series of the expression over the whole time that have at least one number."""
    found = observed.prometheus.query_range(expr, observed.start, observed.end)
    return [series["metric"] for series in found if any(not math.isnan(float(value)) for _, value in series["values"])]


def at_the_end(observed: Observed, expr: str) -> list[dict]:
    """The same for a query of one moment."""
    return [series["metric"] for series in observed.prometheus.query(expr, observed.end) if not math.isnan(float(series["value"][1]))]


@pytest.mark.parametrize(("query", "choice"), dashboard_queries())
def test_a_dashboard_query_finds_something(observed, query, choice):
    expr = substituted(query.where.split("/")[0], query.expr, observed, choice)
    found = (at_the_end if query.instant else samples)(observed, expr)
    if query.legend == dashboards.NO_RUN:
        # Before the rules were first evaluated there was none.
        assert not at_the_end(observed, expr), "a run is chosen, so no panel may say that there is none"
        return
    if query.where in EMPTY:
        assert not found, f"{EMPTY[query.where]} is not true any more"
        return
    if not found and query.panel and query.panel["type"] == "stat" and " < (" in query.expr:
        # There only where it is the better one; its other half is there in the other case.
        own = query.expr.split(") unless (" if ") unless (" in query.expr else ") < (")[0][1:]
        found = at_the_end(observed, substituted("side-by-side", own, observed, choice))
    assert found, f"empty: {expr}"
    for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
        assert any(label in series for series in found) or "not scheduled" in query.legend, f"the legend names {label}, which no series has: {found[0]}"


@pytest.mark.parametrize("rule", adapter_rules())
def test_an_adapter_query_finds_every_pod_or_the_deployment(observed, rule):
    assert samples(observed, rule["seriesQuery"])
    series = rule["seriesQuery"].split("{")[0]
    query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", 'namespace="eye-state"').replace("<<.GroupBy>>", "pod")
    found = samples(observed, query)
    if "deployment" in rule["resources"]["overrides"]:
        assert found == [{"deployment": "eye-state-k8s-autoscalers"}]
    else:
        assert len(found) == 2


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
    expressions += [substituted(name, query.expr, observed) for name in dashboards.names() for query in dashboards.queries(name)]
    read = set().union(*(names(prometheus.api("parse_query", query=expr)) for expr in expressions))
    assert len(read) > 60
    assert {name for name in read - ONLY_AFTER.keys() if not samples(observed, name)} == set()
    undeclared = {name for name in read & ONLY_AFTER.keys() if name.startswith("kube_") and f"# TYPE {name} " not in type_lines()}
    assert undeclared == set()


def test_a_renamed_metric_is_noticed(observed):
    assert not samples(observed, "sum(rate(eye_state_results_renamed_total[20s]))")
    assert names(observed.prometheus.api("parse_query", query="rate(a_b[5m]) or c{d='e'}")) == {"a_b", "c"}


def test_the_variables_list_the_runs_of_their_side_and_scenario(observed):
    dashboard = dashboards.load("side-by-side")
    values = variables("side-by-side", observed, "pair")
    offered = {variable["name"]: dashboards.options(variable, observed.prometheus, values, observed.end) for variable in dashboard["templating"]["list"] if variable["type"] == "query"}
    assert offered["scenario"] == ["live", "spike"]
    assert (offered["left"], offered["right"]) == ([LEFT], [RIGHT])
    live = variables("side-by-side", observed, "live")
    assert (live["scenario"], live["left"], live["right"]) == ("live", "live", "live")


def test_two_runs_are_moved_onto_each_other_to_the_second(observed):
    values = variables("side-by-side", observed, "pair")
    began = math.floor(observed.start)
    assert (values["shift"], values["left_start"]) == (str(-APART_S), str(began))
    assert (values["left_end"], values["right_end"]) == (str(began + PLANNED_S), str(began + PLANNED_S + APART_S))
    live = variables("side-by-side", observed, "live")
    assert (live["shift"], live["left_end"]) == ("0", str(math.ceil(observed.end)))


def test_a_side_is_named_after_the_arm_of_its_run_and_live_after_its_variant(observed):
    values = variables("side-by-side", observed, "pair")
    assert (values["left_arm"], values["right_arm"]) == (ARMS[LEFT], ARMS[RIGHT])
    live = variables("side-by-side", observed, "live")
    assert (live["left_arm"], live["right_arm"]) == ("Knative (KPA)", "HPA + VPA")


def test_a_side_shows_nothing_of_a_run_that_is_not_chosen(observed):
    query = next(query for query in dashboards.queries("side-by-side") if query.where.startswith("side-by-side/Pods: ${left_arm}"))
    values = variables("side-by-side", observed, "pair")
    assert not samples(observed, dashboards.fill(query.expr, values | {"left": "another"}))


def test_an_overlay_of_runs_that_are_not_there_says_so(observed):
    sentences = [query for query in dashboards.queries("side-by-side") if query.legend == dashboards.NO_RUN]
    assert len(sentences) == sum(panel["type"] == "trend" for panel in dashboards.panels(dashboards.load("side-by-side")))
    values = variables("side-by-side", observed, "pair") | {"left": "another", "right": "another"}
    assert all(samples(observed, dashboards.fill(query.expr, values)) for query in sentences)


def test_no_target_is_down(observed):
    down = [target["scrapeUrl"] for target in observed.prometheus.api("targets", state="active")["activeTargets"] if target["health"] != "up"]
    assert down == [], os.environ["PROMETHEUS"]
