"""Recorded runs as the dashboards show them: every query over every scenario, aligned, on shared axes, with the report's numbers."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path

import dashboards
import pytest
import stack

sys.path.insert(0, str(stack.ROOM / "replay"))

import openmetrics  # noqa: E402
import picture  # noqa: E402
import replay  # noqa: E402

PROMTOOL = os.environ.get("PROMTOOL", "promtool")
COMPARISON = os.environ.get("COMPARISON", str(stack.ROOM.parent / "target" / "release" / "comparison"))
# What results files do not hold, by what it needs; panels that show nothing else say so in a
# sentence.
NOT_RECORDED = {
    "the function's own metrics": r"http_server_|eye_state_(rejected|stage|concurrency|inference|queue|results|build)|process_|traces_span",
    "Knative's own metrics": r"kn_(revision|serving)_",
    "the nodes' own metrics": r"node_(cpu|memory|load1|network)|kube_node_status_allocatable",
    "containers over time": r"container_(cpu|memory)|memory_bytes_used:sum|kube_pod_(status|container_status|container_resource_limits)",
    "the VPA beyond its target and its resizes": r"recommendations_(lower|upper)bound|recommendations_uncappedtarget|recommendations_target.*memory|vpa_(recommender|updater_(evicted|failed|execution))",
    "alerts": r"ALERTS",
    "what is wanted": r"pods_wanted",
    "points other than the client": r"point=~`(gateway|function)`",
}


@dataclass
class Replayed:
    prometheus: stack.Prometheus
    runs: list[openmetrics.Run]

    def values(self, name: str, left: openmetrics.Run, right: openmetrics.Run) -> dict[str, str]:
        chosen = replay.variables(left, right) | {"run": right.name if name == "vertical" else left.name}
        return dashboards.resolve(dashboards.load(name), self.prometheus, left.start.timestamp(), left.end.timestamp(), chosen)

    def series(self, expr: str, run: openmetrics.Run) -> list[dict]:
        return self.prometheus.query_range(expr, run.start.timestamp(), run.end.timestamp())


@pytest.fixture(scope="session")
def replayed():
    runs = openmetrics.read_folder(replay.RESULTS)
    with stack.scratch() as folder, stack.archive(os.environ["PROMETHEUS"], replay.blocks(PROMTOOL, runs, folder), folder) as prometheus:
        yield Replayed(prometheus, runs)


def pairs() -> list:
    found = {}
    for left, right in replay.partners(openmetrics.read_folder(replay.RESULTS)):
        found.setdefault((left.scenario, left.results["configuration"]), (left, right))
    return [pytest.param(*pair, id="-".join(key)) for key, pair in found.items()]


PAIRS = pairs()


def numbers(series: list[dict]) -> list[float]:
    return [value for one in series for _, text in one["values"] if not math.isnan(value := float(text))]


@pytest.mark.parametrize(("left", "right"), PAIRS)
@pytest.mark.parametrize("name", [name for name in dashboards.names() if name != "trace"])
def test_every_query_shows_something_or_the_file_does_not_hold_it(replayed, name, left, right):
    values, seen = replayed.values(name, left, right), {}
    shown = right if name == "vertical" else left
    for query in dashboards.queries(name):
        expr = dashboards.fill(query.expr, values)
        if query.instant:
            found = replayed.prometheus.query(expr, shown.end.timestamp())
        else:
            found = numbers(replayed.series(expr, shown))
        if query.panel:
            seen[query.panel["title"]] = seen.get(query.panel["title"], False) or bool(found)
        # Decisions, resizes and errors did not happen in every run; a number is green on one side.
        may_be_empty = "/annotation/" in query.where or " < (" in query.expr or query.where.startswith("vertical/Moves") or query.legend == dashboards.NO_RUN
        # A run is of one variant: the dashboards that do not compare show that one.
        of_another = f'variant="{(left if shown is right else right).variant}"' in query.expr and name != "side-by-side"
        reason = of_another or next((reason for reason, pattern in NOT_RECORDED.items() if re.search(pattern, query.expr)), None)
        assert found or may_be_empty or reason, f"{query.where} is empty: {expr}"
    for panel in dashboards.panels(dashboards.load(name)):
        assert seen[panel["title"]] or panel["fieldConfig"]["defaults"]["noValue"].strip(), panel["title"]
    if name == "side-by-side":
        assert all(seen.values()), f"a panel of the comparison is empty: {[title for title, full in seen.items() if not full]}"


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_both_columns_begin_and_end_together_to_the_second(replayed, left, right):
    values = replayed.values("side-by-side", left, right)
    assert float(values["shift"]) == (left.start - right.start).total_seconds()
    ready = [query for query in dashboards.queries("side-by-side") if re.match("side-by-side/Pods: .*/D", query.where)]
    assert len(ready) == 2
    moments = []
    for query in ready:
        around = replayed.prometheus.query_range(dashboards.fill(query.expr, values), left.start.timestamp() - 60, left.end.timestamp() + 60)
        moments.append([moment for series in around for moment, _ in series["values"]])
    assert [own[0] for own in moments] == [left.start.timestamp()] * 2
    assert [own[-1] for own in moments] == [left.end.timestamp()] * 2


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_the_axis_of_a_pair_of_panels_is_the_largest_value_of_both(replayed, left, right):
    values = replayed.values("side-by-side", left, right)
    panels = [panel for panel in dashboards.panels(dashboards.load("side-by-side")) if panel["targets"][-1]["legendFormat"] == "axis"]
    assert len(panels) == 14
    for one, other in zip(panels[::2], panels[1::2]):
        drawn = numbers([series for panel in (one, other) for target in panel["targets"][:-1] for series in replayed.series(dashboards.fill(target["expr"], values), left)])
        axes = [numbers(replayed.series(dashboards.fill(panel["targets"][-1]["expr"], values), left)) for panel in (one, other)]
        assert axes[0] == axes[1] and max(axes[0]) == max(drawn), one["title"]


def reported_rows(table: Path) -> list[dict[str, str]]:
    """The rows of the report's table, by column."""
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.read_text().splitlines() if line.startswith("|")]
    return [dict(zip(head, line)) for line in lines]


def number(cell: str) -> float:
    return float(re.match(r"[\d\u2009\u202f\u00a0 .]+", cell)[0].translate({0x2009: None, 0x202F: None, 0xA0: None, 0x20: None}))


@pytest.fixture(scope="session")
def cycles(tmp_path_factory):
    """Steady cycles under every arm, as the simulator records them."""
    folder = tmp_path_factory.mktemp("cycles")
    options = ["--only", "spike-cycles", "--repeats", "1", "--scale", "5", "--stretch", "0.5"]
    subprocess.run([COMPARISON, "simulate", "--results", str(folder), *options], cwd=stack.ROOM.parent, check=True, capture_output=True)
    subprocess.run([COMPARISON, "report", "--results", str(folder), "--out", str(folder)], cwd=stack.ROOM.parent, check=True, capture_output=True)
    return folder


def test_of_a_run_in_cycles_the_first_row_counts_what_the_report_counts(cycles):
    runs = openmetrics.read_folder(cycles)
    found = {}
    with stack.scratch() as folder, stack.archive(os.environ["PROMETHEUS"], replay.blocks(PROMTOOL, runs, folder), folder) as prometheus:
        for left, right in replay.partners(runs):
            rows = replay.verdict(prometheus, *replay.moments(left, right), replay.variables(left, right))
            found |= dict(zip((left.arm, right.arm), rows.values()))
            assert list(rows) == [f"{run.arm}: {run.name}" for run in (left, right)], "a side is named after the arm of its run"
    table = reported_rows(cycles / "table.md")
    assert {row["arm"] for row in table} == set(found) and len(table) == 8
    for row in table:
        own = {name: value for name, (value, _) in found[row["arm"]].items()}
        assert own["pod·s"] == pytest.approx(number(row["Pod-seconds"]), rel=0.006), row
        assert own["over objective"] == pytest.approx(number(row["SLO-violation seconds"]), rel=0.006), row
        assert own["p99"] * 1000 == pytest.approx(number(row["Latency p99"]), rel=0.006), row
        good = own["sent"] * number(row["Good answers"]) / 100
        assert own["core·s / 1k good"] == pytest.approx(number(row["Core-seconds requested"]) / good * 1000, rel=0.02), row


def test_runs_are_partners_whose_arms_are_compared(cycles):
    paired = [(left.arm, right.arm) for left, right in replay.partners(openmetrics.read_folder(cycles))]
    assert paired == [("KPA", "HPA + VPA"), ("KPA at the HPA's target", "HPA"), ("KPA, tuned", "HPA + VPA, tuned"), ("KPA", "KEDA"), ("KPA", "HPA to zero"), ("KPA at the HPA's target", "HPA + VPA")]


def test_the_first_row_holds_the_numbers_of_the_report(replayed):
    """Means of the three repeats, as comparison/results/table.md has them."""
    by_row: dict[tuple, list[dict]] = {}
    for left, right in replay.partners(replayed.runs):
        for run, found in zip((left, right), replay.verdict(replayed.prometheus, *replay.moments(left, right), replay.variables(left, right)).values()):
            by_row.setdefault((run.scenario, run.arm), []).append({name: value for name, (value, _) in found.items()})
    compared = 0
    for row in reported_rows(replay.RESULTS / "table.md"):
        found = by_row[(row["scenario"], row["arm"])]

        def mean(name: str) -> float:
            return sum(numbers[name] for numbers in found) / len(found)

        def reported(column: str) -> float:
            return number(row[column])

        # The table rounds to three digits.
        assert mean("p99") * 1000 == pytest.approx(reported("Latency p99"), rel=0.006), row
        assert mean("over objective") == pytest.approx(reported("SLO-violation seconds"), rel=0.006), row
        assert mean("pod·s") == pytest.approx(reported("Pod-seconds"), rel=0.006), row
        good = mean("sent") * reported("Good answers") / 100
        # Cost by two ways: from the recording, and from Prometheus over the same time.
        assert mean("core·s / 1k good") == pytest.approx(reported("Core-seconds requested") / good * 1000, rel=0.02), row
        compared += 1
    assert compared == 24


def recorded(name: str) -> openmetrics.Run:
    return next(run for run in openmetrics.read_folder(replay.RESULTS) if run.name == name)


def test_an_old_recording_says_what_it_lacks():
    run = recorded("spike-knative-hpa-target-1")
    always = ["what the load of each moment asked for (pods wanted)"]
    assert openmetrics.lacking(run) == [
        "when the platform's parts used CPU and memory (its total is at the end)", "memory over time (its total is at the end)", "when the KPA panicked", *always,
    ]
    run.results["recording"]["node_busy"] = []
    assert openmetrics.lacking(run)[0] == "how busy the node was"


def test_a_new_recording_has_panics_memory_and_the_platform_over_time():
    run = recorded("spike-knative-hpa-target-1")
    recording = run.results["recording"]
    recording |= {"panic": [[-5.0, 0.0], [35.0, 1.0], [95.0, 0.0]], "gib_used": [[0.0, 0.25], [85.0, 0.5]]}
    for component in recording["components"]:
        component |= {"cores_used": [[0.0, 0.1], [85.0, 0.3]], "gib_used": [[0.0, 0.1]]}
    assert len(openmetrics.lacking(run)) == 1
    run.series.clear()
    openmetrics.fill(run)

    def at(name: str, second: float, **labels: str) -> float:
        (points,) = [points for own, points in run.series[name].items() if labels.items() <= dict(own).items()]
        return dict(points)[second]

    assert [at("kn_revision_panic_mode", second) for second in (30.0, 35.0, 90.0, 95.0)] == [0, 1, 1, 0]
    assert at("variant_role:eye_state_memory_bytes_used:sum", 90.0, role="function") == 2**29
    total = sum(component["core_seconds"] for component in recording["components"])
    used = "variant_role:eye_state_core_seconds_used:integral"
    # Of 170 s the first half at a third of what the second half used: a quarter of the total by
    # then.
    assert at(used, 85.0, role="platform") == pytest.approx(total / 4) and at(used, 170.0, role="platform") == pytest.approx(total)


def test_simulated_runs_are_called_so_and_lie_side_by_side(tmp_path):
    for variant in ("knative", "k8s-autoscalers"):
        # Version 2 calls the KPA's settings "defaults", too.
        results = json.loads((replay.RESULTS / f"spike-{variant}-defaults-1.json").read_text())
        (tmp_path / f"{variant}.json").write_text(json.dumps(results | {"origin": "simulated", "started": ""}))
    left, right = replay.chosen_pair(openmetrics.read_folder(tmp_path), "spike")
    assert left.start == right.start
    assert (left.scenario, left.name) == ("spike (simulated)", "simulated-spike-knative-hpa-target-1")


def test_version_3_of_the_results_files_is_read_as_well(tmp_path):
    text = (replay.RESULTS / "spike-knative-defaults-1.json").read_text()
    (tmp_path / "one.json").write_text(text.replace("comparison-run/v2", "comparison-run/v3"))
    assert len(openmetrics.read_folder(tmp_path)) == 1


@pytest.mark.parametrize(("text", "says"), [
    ("{}", "is no results file of the comparison"),
    ('{"schema": "nv-micro/comparison-run/v1"}', "record it again with make compare"),
])
def test_a_file_that_is_none_says_what_to_do(tmp_path, text, says):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(openmetrics.NotAResult, match=says):
        openmetrics.read_folder(tmp_path)


def test_runs_of_one_variant_at_the_same_time_are_refused(tmp_path):
    text = (replay.RESULTS / "spike-knative-defaults-1.json").read_text()
    (tmp_path / "one.json").write_text(text)
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(openmetrics.NotAResult, match="overlap in time"):
        openmetrics.read_folder(tmp_path)


def test_make_replay_prints_the_link_to_the_pair_and_ends_when_asked():
    ports = [str(stack.free_port()) for _ in range(2)]
    command = [
        sys.executable, str(Path(replay.__file__)), "--prometheus", os.environ["PROMETHEUS"], "--promtool", PROMTOOL,
        "--scenario", "ramp", "--prometheus-port", ports[0], "--grafana-port", ports[1],
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        printed = ""
        for line in running.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        assert "72 runs, 36 pairs" in printed and f"http://127.0.0.1:{ports[0]}/" in printed
        assert re.search(r"/d/nv-micro-side-by-side\?from=\d+&to=\d+&var-scenario=ramp&var-left=ramp-knative-hpa-target-1&var-right=ramp-k8s-autoscalers-defaults-1", printed)
        assert re.search(r"sent +no answer +p99 +over objective +pod·s +core·s / 1k good\n.*\n +HPA \+ VPA: ramp-k8s-autoscalers-defaults-1 +\d+ +[\d.]+%", printed)
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(stack.PATIENCE_S) == 0


def test_the_picture_has_a_line_a_side_in_every_chart_of_the_overlay(replayed):
    left, right = replay.chosen_pair(replayed.runs, "spike")
    asked = picture.picture(replayed.prometheus, left, right)
    assert [chart["title"] for chart in asked["charts"]] == ["Load answered", "Pods ready", "Latency, 99th percentile", "CPU requested so far"]
    for chart in asked["charts"]:
        assert [len(line) > 100 and max(value for _, value in line) > 0 for line in chart["lines"]] == [True, True], chart["title"]
    drawn = subprocess.run([COMPARISON, "draw"], input=json.dumps(asked), capture_output=True, text=True, check=True).stdout
    svg = xml.etree.ElementTree.fromstring(drawn)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg" and len(svg.findall("{http://www.w3.org/2000/svg}svg")) == 4
