"""Rules: each has a test, each alert says what to do, and the deployed rules are the tested ones."""

from functools import cache
from pathlib import Path

import pytest
import yaml

PROMETHEUS = Path(__file__).parents[1] / "prometheus"
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
    scenarios = sorted((PROMETHEUS.parents[1] / "comparison" / "scenarios").glob("*.toml"))
    assert scenarios
    for scenario in scenarios:
        assert "slo_ms = 500\n" in scenario.read_text(), f"{scenario.name} has another objective than rules/slo.yaml"
