"""What is committed is what its definition gives."""

import json
import re
import sys
from pathlib import Path

import metrics_table
import stack
from conftest import put_load_on

GRAFANA = Path(__file__).parents[1] / "grafana"
sys.path.insert(0, str(GRAFANA / "generator"))


def generated() -> dict[str, str]:
    import generate

    return generate.dashboards()


def test_generating_the_dashboards_again_changes_nothing():
    committed = {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}
    assert committed == generated(), "run make dashboards and commit what changes"


def test_panels_do_not_overlap_and_have_what_a_reader_needs():
    for name, text in generated().items():
        dashboard = json.loads(text)
        taken, numbers = set(), set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            assert not taken & cells and place["x"] + place["w"] <= 24, f"{name}: {panel['title']} lies over another"
            assert panel["id"] not in numbers
            taken |= cells
            numbers.add(panel["id"])
            if panel["type"] != "row":
                assert panel["title"] and panel["description"] and panel["targets"], f"{name}: {panel['title']}"


def test_both_sides_show_the_same_with_the_same_axis():
    panels = [panel for panel in json.loads(generated()["side-by-side.json"])["panels"] if re.search(": (Knative|HPA)", panel["title"])]
    left, right = panels[::2], panels[1::2]
    assert len(left) == len(right) >= 6
    for one, other in zip(left, right):
        assert one["gridPos"]["y"] == other["gridPos"]["y"] and (one["gridPos"]["x"], other["gridPos"]["x"]) == (0, 12)
        as_other = [target["expr"].replace('variant="knative"', 'variant="k8s-autoscalers"') for target in one["targets"]]
        assert as_other == [target["expr"] for target in other["targets"]]
        assert one["targets"][-1]["legendFormat"] == "axis" and one["targets"][-1] == other["targets"][-1]


def test_every_dashboard_is_deployed_as_a_config_map_that_grafana_finds():
    kustomization = (GRAFANA / "kustomization.yaml").read_text()
    assert 'grafana_dashboard: "1"' in kustomization
    for name in generated():
        assert f"dashboards/{name}" in kustomization


def test_the_table_of_metrics_is_what_the_function_says(observed):
    put_load_on(observed.function)
    exposition = stack.get(f"http://{observed.function}/metrics").decode()
    assert metrics_table.DOCUMENT.read_text() == metrics_table.document(exposition), "run make metrics-table and commit what changes"


UNITS = {"short", "none", "s", "reqps", "cps", "bytes", "Bps", "percentunit"}


def test_dashboards_keep_the_rules_of_grafanas_linter():
    """dashboard-linter's rules, where they apply: there is no job or instance to choose from here."""
    for name, text in generated().items():
        dashboard = json.loads(text)
        assert dashboard["editable"] is False, name
        sources = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"]
        assert [(source["name"], source["label"]) for source in sources] == [("datasource", "Data source")]
        for variable in dashboard["templating"]["list"]:
            assert variable["type"] == "datasource" or variable["refresh"] == 2, f"{name}: {variable['name']} must reload with the time range"
        for panel in dashboard["panels"]:
            if panel["type"] == "row":
                continue
            assert panel["datasource"]["uid"] == "${datasource}" and panel["fieldConfig"]["defaults"]["unit"] in UNITS, f"{name}: {panel['title']}"
            for target in panel["targets"]:
                assert target["datasource"]["uid"] == "${datasource}"
                windows = re.findall(r"(?:rate|irate|increase)\([^\[\]]*\[([^\]]+)\]", target["expr"])
                # The VPA's loops turn once a minute: a window of a few scrapes would hold none.
                assert all(window == "$__rate_interval" or "vpa_" in target["expr"] for window in windows), f"{name}: {panel['title']}"
