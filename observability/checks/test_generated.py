"""Committed files equal the output of their generators."""

import json
import re
import sys
from pathlib import Path

import dashboards
import grafana_schema
import metrics_table
import pytest
import stack
import yaml
from conftest import put_load_on

GRAFANA = Path(__file__).parents[1] / "grafana"
sys.path[:0] = [str(GRAFANA / "generator"), str(GRAFANA.parent / "replay")]

import arms  # noqa: E402


def generated() -> dict[str, str]:
    import generate

    return generate.dashboards()


def test_generating_the_dashboards_again_changes_nothing():
    committed = {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}
    assert committed == generated(), "run make dashboards and commit what changes"


def test_panels_do_not_overlap_and_have_what_a_reader_needs():
    for name, text in generated().items():
        dashboard, numbers = json.loads(text), set()
        # What lies in a folded row is placed as if the row were the last one.
        for together in (dashboard["panels"], *(panel["panels"] for panel in dashboard["panels"] if panel["type"] == "row")):
            taken = set()
            for panel in together:
                place = panel["gridPos"]
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
                assert not taken & cells and place["x"] + place["w"] <= 24, f"{name}: {panel['title']} lies over another"
                assert panel["id"] not in numbers
                taken |= cells
                numbers.add(panel["id"])
                if panel["type"] != "row":
                    assert panel["title"] and panel["description"] and panel["targets"], f"{name}: {panel['title']}"


def test_both_sides_show_the_same_with_every_series_of_both_behind_the_axis():
    panels = [panel for panel in dashboards.panels(json.loads(generated()["side-by-side.json"])) if re.search(r": \$\{(left|right)_arm\}", panel["title"]) and panel["type"] == "timeseries"]
    left = [panel for panel in panels if "left_arm" in panel["title"]]
    right = [panel for panel in panels if "right_arm" in panel["title"]]
    assert len(left) == len(right) >= 7
    for one, other in zip(left, right):
        assert one["gridPos"]["y"] == other["gridPos"]["y"] and one["gridPos"]["x"] < other["gridPos"]["x"]
        *own, axis = one["targets"]
        *others, its_axis = other["targets"]
        moved = [target["expr"].replace(" offset ${shift}s", "").replace("k8s-autoscalers", "knative").replace("$right", "$left") for target in others]
        assert [target["expr"] for target in own] == moved
        assert axis["legendFormat"] == its_axis["legendFormat"] == "axis"
        # What is drawn, and what the axis is made of: each list holds the other.
        behind = re.findall(r"label_replace\(max\((.*?)\), \"axis\", ", axis["expr"])
        assert sorted(behind) == sorted(target["expr"] for target in own + others), one["title"]
        assert its_axis["expr"].startswith(axis["expr"].split(" and on () (run:eye_state:info{variant=\"knative\", run=\"$left\"} == 1)")[0])


# At 1366 x 768: what Grafana 12's top bar and one line of controls leave, and what a unit of its
# grid takes.
SCREEN_PX, BARS_PX, UNIT_PX = 768, 150, 38
SIDES = ("${left_arm}", "${right_arm}")
FOLD = [f"{SIDES[0]}: $left", f"{SIDES[1]}: $right", *(f"{what}: {side}" for what in ("Load", "Pods", "Latency") for side in SIDES)]


def test_what_decides_is_above_the_fold():
    dashboard = json.loads(generated()["side-by-side.json"])
    above = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row" and (panel["gridPos"]["y"] + panel["gridPos"]["h"]) * UNIT_PX <= SCREEN_PX - BARS_PX]
    assert above == FOLD
    # One line of controls: no switch for an annotation, no list of links, three choices.
    assert all(annotation["hide"] for annotation in dashboard["annotations"]["list"])
    assert all(link["asDropdown"] for link in dashboard["links"])
    assert [variable["name"] for variable in dashboard["templating"]["list"] if not variable["hide"]] == ["scenario", "left", "right"]


def test_the_first_row_has_six_numbers_a_side():
    dashboard = json.loads(generated()["side-by-side.json"])
    for panel in dashboard["panels"][:2]:
        assert panel["type"] == "stat"
        assert list(dict.fromkeys(target["legendFormat"] for target in panel["targets"])) == ["sent", "no answer", "p99", "over objective", "pod·s", "core·s / 1k good"]


def test_every_panel_says_why_it_is_empty():
    for name, text in generated().items():
        for panel in dashboards.panels(json.loads(text)):
            assert len(panel["fieldConfig"]["defaults"]["noValue"].split()) >= 4, f"{name}: {panel['title']}"


def test_no_heading_repeats_a_panel():
    for name, text in generated().items():
        dashboard = json.loads(text)
        titles = {panel["title"].split(":")[0].lower() for panel in dashboards.panels(dashboard)}
        assert not {panel["title"].lower() for panel in dashboard["panels"] if panel["type"] == "row"} & titles, name


def test_a_variant_has_one_colour_on_every_dashboard():
    """Of every series that is named after a variant: none takes the next colour of the palette."""
    import grafana

    for name, text in generated().items():
        for panel in dashboards.panels(json.loads(text)):
            overrides = [(override["matcher"]["options"].strip("/"), setting["value"]["fixedColor"]) for override in panel.get("fieldConfig", {}).get("overrides", []) for setting in override["properties"] if setting["id"] == "color"]
            for target in panel.get("targets", []):
                called = {(variant, variant, grafana.NAMES[variant]) for variant in grafana.COLOURS} | {(arm.variant, arm.variant, arm.title) for arm in arms.ARMS.values()}
                for variant, label, title in sorted(called):
                    colour = grafana.COLOURS[variant]
                    own_side = "${left_arm}" if variant == "knative" else "${right_arm}"
                    legend = target.get("legendFormat", "").replace("{{variant}}", label).replace(own_side, title)
                    if panel["type"] in ("stat", "state-timeline") or not re.search(f"{variant}|{re.escape(title)}|{re.escape(grafana.NAMES[variant])}", legend):
                        continue
                    own = [fixed for pattern, fixed in overrides if re.fullmatch(pattern, legend)]
                    # The last override wins; what is a limit is drawn as one, in each variant
                    # alike.
                    assert own and own[-1] in (colour, grafana.LIMIT), f"{name}: {panel['title']}: {legend}"


@pytest.mark.parametrize("name", ["side-by-side", "function", "vertical", "cluster", "trace"])
def test_grafana_knows_every_key_and_value(name):
    dashboard = json.loads(generated()[f"{name}.json"])
    assert grafana_schema.faults(dashboard) == []
    assert grafana_schema.faults(grafana_schema.with_overrides(dashboard)) == []


@pytest.mark.parametrize(("path", "value"), [
    (("options", "legend", "calc"), ["mean"]),
    (("options", "legend", "placement"), "left"),
    (("fieldConfig", "defaults", "custom", "drawStyle"), "lines"),
    (("fieldConfig", "defaults", "custom", "axisWidthh"), 70),
    (("fieldConfig", "defaults", "decimals"), "two"),
    (("type",), "graph"),
])
def test_a_key_or_value_that_grafana_does_not_know_is_noticed(path, value):
    dashboard = json.loads(generated()["side-by-side.json"])
    place = dashboard["panels"][2]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert grafana_schema.faults(dashboard)


def test_a_trace_opens_on_a_dashboard_that_a_viewer_may_see():
    (prometheus,) = [source for source in yaml.safe_load((GRAFANA / "provisioning" / "datasources.yaml").read_text())["datasources"] if source["type"] == "prometheus"]
    (link,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert "datasourceUid" not in link
    uid, variable = re.fullmatch(r"/d/([\w-]+)\?var-(\w+)=\$\$\{__value\.raw\}", link["url"]).groups()
    dashboard = json.loads(generated()["trace.json"])
    assert dashboard["uid"] == uid and dashboard["templating"]["list"][-1]["name"] == variable
    (panel,) = dashboard["panels"]
    assert panel["type"] == "traces" and panel["targets"] == [{"datasource": {"type": "jaeger", "uid": "jaeger"}, "query": f"${variable}", "refId": "A"}]


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
# Amounts times seconds: a unit of time would show 400 pod-seconds as "6.67 mins".
AMOUNTS = {"suffix: pod·s", "suffix: core·s", "suffix: GiB·s", "suffix: s"}


def test_dashboards_keep_the_rules_of_grafanas_linter():
    """dashboard-linter's rules, where they apply: there is no job or instance to choose from here."""
    for name, text in generated().items():
        dashboard = json.loads(text)
        assert dashboard["editable"] is False, name
        sources = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"]
        assert [(source["name"], source["label"]) for source in sources] == [("datasource", "Data source")]
        for variable in dashboard["templating"]["list"]:
            assert variable["type"] in ("datasource", "textbox") or variable["refresh"] == 2, f"{name}: {variable['name']} must reload with the time range"
        for panel in dashboards.panels(dashboard):
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS | AMOUNTS, f"{name}: {panel['title']}"
            if panel["type"] == "traces":
                continue
            assert panel["datasource"]["uid"] == "${datasource}"
            for target in panel["targets"]:
                assert target["datasource"]["uid"] == "${datasource}"
                if "_seconds" in target["expr"] and ":integral" in target["expr"] and panel["type"] == "trend":
                    assert panel["fieldConfig"]["defaults"]["unit"] in AMOUNTS, f"{name}: {panel['title']}"
                # The kubelet's samples are up to 15 s apart: a rate needs a window of a minute.
                if re.search(r"rate\(container_", target["expr"]):
                    assert target.get("interval") == "15s", f"{name}: {panel['title']}"
                windows = re.findall(r"(?:rate|irate|increase)\([^\[\]]*\[([^\]]+)\]", target["expr"])
                # The VPA's loops turn once a minute: a window of a few scrapes would hold none.
                assert all(window in ("$__rate_interval", "$__interval") or "vpa_" in target["expr"] for window in windows), f"{name}: {panel['title']}"
