"""Knative left, HPA + VPA right, two runs on the same axes: the dashboard for the comparison."""

import sys
from pathlib import Path

from grafana import GREY, OBJECTIVE, Annotation, Panel, Query, Row, dashboard, ever, of_query
from pairs import LEFT, RIGHT, SIDES, VARIABLES, Side, overlay, pair

sys.path.append(str(Path(__file__).parents[2] / "replay"))

import arms  # noqa: E402

OBJECTIVE_S = 0.5  # as rules/slo.yaml and the scenarios have it
LATENCY = "variant_point:eye_state_latency_seconds:quantile30s"
BUCKETS = "variant_point_le:eye_state_latency_bucket:integral"
# Where a latency was seen, the most complete first, and what its unit has to be divided by.
# Recorded runs have the client's own account; live the gateway counts in milliseconds.
POINTS = {"client.*": "", "gateway": " / 1000", "function": ""}


def whole_p99(side: Side) -> str:
    """Of all answers of the run."""
    at = [f'(histogram_quantile(0.99, sum by (le) ({side.grown(f"{BUCKETS}{{VARIANT, point=~`{point}`}}")})){scale} >= 0)' for point, scale in POINTS.items()]
    return " or ".join(at)


def total(side: Side, counter: str) -> str:
    return f"sum({side.grown(counter)})"


SENT = "variant:eye_state_requests_offered:integral{VARIANT}"
# Name, what it is, unit, decimals. All but the first: less is better.
VERDICT = [
    ("sent", lambda side: total(side, SENT), "short", 0),
    ("no answer", lambda side: f'{total(side, "variant:eye_state_errors:integral{VARIANT}")} / ({total(side, SENT)} > 0)', "percentunit", 1),
    ("p99", whole_p99, "s", 2),
    ("over objective", lambda side: total(side, "variant:eye_state_slo_violation_seconds:integral{VARIANT}"), "suffix: s", 0),
    ("pod·s", lambda side: total(side, "variant:eye_state_pod_seconds:integral{VARIANT}"), "suffix: pod·s", 0),
    (
        "core·s / 1k good",
        lambda side: f'{total(side, "variant_role:eye_state_core_seconds_requested:integral{VARIANT, role=`function`}")} / ({total(side, "variant:eye_state_requests_good:integral{VARIANT}")} > 0) * 1000',
        "suffix: core·s", 1,
    ),
]
BETTER = {"id": "color", "value": {"mode": "fixed", "fixedColor": "green"}}


def verdict(side: Side, other: Side) -> Panel:
    """Six numbers of a run. The better side is green: a separate query, which has a result only then."""
    queries, overrides = [], []
    for number, (name, expr, unit, decimals) in enumerate(VERDICT):
        own = expr(side)
        format_ = [{"id": "unit", "value": unit}, {"id": "decimals", "value": decimals}]
        better = f"({own}) < ({expr(other)})"
        asked = [own] if number == 0 else [f"({own}) unless ({better})", better]
        for place, expr_ in enumerate(asked):
            overrides.append(of_query(chr(ord("A") + len(queries)), *format_, *([BETTER] if place else [])))
            queries.append(Query(expr_, name, instant=True))
    return Panel(
        f"{side.title}: ${side.name}",
        "The counted time of the run (whole cycles after the warm-up; in other scenarios all of it), independent of the time range; live: the time range. sent: requests. no answer: refused (429, 503) or failed. p99: of the answers, at the client for recorded runs, else at the "
        "gateway, else at the function. over objective: seconds in which more than 1 of 100 requests had no answer within 500 ms. pod·s: seconds that pods held a place on a node. "
        "core·s / 1k good: CPU that the pods requested for 1,000 answers within the objective. Green: the better one. Recorded runs: the report's numbers, except that it goes on counting what pods request at rest until the slowest arm of the scenario is at rest. Live: from rates over 30 s, so seconds over the objective read higher.",
        queries, "No run is chosen, or Prometheus has none of its samples", kind="stat", overrides=overrides,
    )


def cost_overlay(title: str, text: str, counter: str, unit: str) -> Panel:
    panel = overlay(title, f"Since the run began, or its warm-up ended. {text}", f"sum({counter} SHIFT)", f"suffix: {unit}")
    for query, side in zip(panel.queries, SIDES):
        first = f"sum(min_over_time({side.of(counter)}[${{{side.name}_s}}s] @ ${{{side.name}_end}}))"
        query.expr = f"clamp_min({side.of(f'sum({counter} SHIFT)')} - {first}, 0) and on () ({side.gate})"
    return panel


def best_p99() -> str:
    """The 99th percentile over time where it is most complete."""
    return " or ".join(f"max({LATENCY}{{VARIANT, quantile=`0.99`, point=~`{point}`}} SHIFT)" for point in POINTS)


def _pairs() -> Panel:
    """One line for each pair of runs; its link selects both and sets the time range."""

    def keyed(moment: str, arm: arms.Arm, name: str) -> str:
        series = ever(f'comparison_run_{moment}_timestamp_seconds{{variant="{arm.variant}", configuration="{arm.configuration}"}}')
        repeat = f'label_replace({series}, "repeat", "$1", "run", ".*-([0-9]+)")'
        return f'max by (scenario, repeat, {name}) (label_replace({repeat}, "{name}", "$1", "run", "(.+)"))'

    def paired(moment: str) -> Query:
        """Of each two arms that comparison/arms.toml compares."""
        compared = [
            f'label_replace({keyed(moment, pair.left, "left")} * on (scenario, repeat) group_left (right) ({keyed(moment, pair.right, "right")} * 0 + 1) * 1000, "question", "{pair.question}", "", "")'
            for pair in arms.PAIRS
        ]
        return Query(" or ".join(compared), "", instant=True, format="table")

    link = "/d/nv-micro-side-by-side?from=${__data.fields.start.numeric}&to=${__data.fields.end.numeric}&var-scenario=${__data.fields.scenario}&var-left=${__data.fields.left}&var-right=${__data.fields.right}"
    return Panel(
        "Recorded pairs",
        "Runs of the same scenario and repeat whose arms are compared, independent of the time range. The link shows the two side by side. Old runs without a recorded start and end are missing: make replay shows them.",
        [paired("start"), paired("end")],
        "No pair of runs is recorded: make compare records them, make replay shows recorded ones",
        kind="table",
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {
                "excludeByName": {"Time": True}, "renameByName": {"Value #A": "start", "Value #B": "end"},
                "indexByName": {"scenario": 0, "question": 1, "repeat": 2, "left": 3, "right": 4, "Value #A": 5, "Value #B": 6},
            }},
        ],
        overrides=[
            {"matcher": {"id": "byRegexp", "options": "/^(start|end)$/"}, "properties": [{"id": "unit", "value": "dateTimeAsIso"}]},
            {"matcher": {"id": "byName", "options": "left"}, "properties": [{"id": "links", "value": [{"title": "Show this pair", "url": link}]}]},
        ],
        options={"showHeader": True, "cellHeight": "sm"},
    )


# The annotations of the two runs.
RUNS = {"left": "Run on the left", "right": "Run on the right"}

ROWS = [
    # Above the fold at 1366 x 768: no headings, low panels.
    Row("", [verdict(LEFT, RIGHT), verdict(RIGHT, LEFT)], height=3),
    Row("", pair(
        "Load", "Requests a second, over 30 s: sent to this variant, and answered with a result.",
        {"offered": "variant:eye_state_requests_offered:rate30s{VARIANT} SHIFT", "answered": "variant:eye_state_requests_achieved:rate30s{VARIANT} SHIFT"},
        {name: (run,) for name, run in RUNS.items()},
        unit="reqps", colours={"offered": GREY, "answered": "#2ca02c"}, dashed=["offered"], at_least=1,
    ), height=4),
    Row("", pair(
        "Pods", "Wanted: ceil(concurrency / target), the need of the current load. Desired: the autoscaler's decision. Allocated: pods that hold resources on a node. Ready: pods that serve. Vertical lines: decisions, resizes in place; red: the KPA panics. Recorded runs have no wanted pods, and older ones no panics.",
        {
            "wanted": "variant:eye_state_pods_wanted:ceil{VARIANT} SHIFT",
            "desired": "variant:eye_state_pods_desired:sum{VARIANT} SHIFT",
            "allocated": "variant:eye_state_pods_allocated:sum{VARIANT} SHIFT",
            "ready": "variant:eye_state_pods_ready:sum{VARIANT} SHIFT",
        },
        {"left": ("KPA panics", "KPA decisions"), "right": ("HPA decisions", "Resizes in place")},
        colours={"wanted": GREY, "desired": "#9467bd", "allocated": "#8c564b", "ready": "#2ca02c"}, dashed=["desired"], dotted=["wanted"], decimals=0, at_least=1,
    ), height=4),
    Row("", pair(
        "Latency", "Median and 99th percentile; the line across is the objective. Live, over 30 s. At the gateway: with everything in between, cold starts too. At the function: answers only. Recorded runs: of each second's answers, at the client, from the intended send time of a request.",
        {"p50 at the {{point}}": LATENCY + '{VARIANT, quantile="0.5"} SHIFT', "p99 at the {{point}}": LATENCY + '{VARIANT, quantile="0.99"} SHIFT'},
        unit="s", dashed=["p50.*"], objective=OBJECTIVE_S, at_least=OBJECTIVE_S * 1.1,
    ), height=4),
    Row("Both in one chart, by the time since each began", [
        overlay("Load answered", "Requests a second answered with a result.", "variant:eye_state_requests_achieved:rate30s{VARIANT} SHIFT", "reqps"),
        overlay("Pods ready", "What serves.", "variant:eye_state_pods_ready:sum{VARIANT} SHIFT", "short", decimals=0),
        overlay("Latency, 99th percentile", "At the client for recorded runs, else at the gateway, else at the function. The line across is the objective.", best_p99(), "s", objective=OBJECTIVE_S, at_least=OBJECTIVE_S * 1.1),
        cost_overlay("CPU requested so far", "By the function's pods, with their sidecars.", 'variant_role:eye_state_core_seconds_requested:integral{VARIANT, role="function"}', "core·s"),
    ], height=8, columns=2),
    Row("Runs", [_pairs()], height=9),
    Row("What the autoscalers saw and gave", pair(
        "Load over target", "Requests in flight of each ready pod, over the target that both autoscalers hold; the line across is on target.",
        {"load over target": "variant:eye_state_load_over_target:ratio30s{VARIANT} SHIFT"},
        unit="percentunit", objective=1, at_least=1.1,
    ) + pair(
        "CPU of the function's pods", "Cores, with sidecars: requested, and used.",
        {
            "requested": 'variant_role:eye_state_cpu_cores_requested:sum{VARIANT, role="function"} SHIFT',
            "used": 'variant_role:eye_state_cpu_cores_used:rate1m{VARIANT, role="function"} SHIFT',
        },
        {"right": ("Resizes in place",)}, unit="none", colours={"requested": GREY, "used": "#1f77b4"}, dashed=["requested"], at_least=0.1,
    ) + pair(
        "Refusals and errors", "Requests a second without a result. Refused: on purpose, 429 or 503. Failed: any other 5xx; in recorded runs, any other answer.",
        {"refused": 'variant_kind:eye_state_errors:rate30s{VARIANT, kind="refused"} SHIFT', "failed": 'variant_kind:eye_state_errors:rate30s{VARIANT, kind="failed"} SHIFT'},
        unit="reqps", colours={"refused": "#e0a800", "failed": OBJECTIVE}, at_least=1,
    ) + pair(
        "Nodes", "Share of each node's CPU time that is not idle, over 30 s. Near 100 %, latencies are due to the node, not to the autoscaler.",
        {"{{node}}": "node:eye_state_cpu_busy:ratio30s SHIFT"}, unit="percentunit", at_least=1,
    ), height=6, columns=2, folded=True),
    Row("Cost since each began", [
        cost_overlay("Pods", "Seconds that pods held a place on a node, starting and terminating ones included.", "variant:eye_state_pod_seconds:integral{VARIANT}", "pod·s"),
        cost_overlay("Seconds over the objective", "Seconds in which more than 1 of 100 requests was refused, failed or took longer than 500 ms.", "variant:eye_state_slo_violation_seconds:integral{VARIANT}", "s"),
        cost_overlay("CPU requested, platform included", "By the pods with their sidecars, and by the components that only this variant needs: activator and autoscaler; VPA, adapter and KEDA. Live, what is installed counts, also unused; in recorded runs what the arm used.", "variant_role:eye_state_core_seconds_requested:integral{VARIANT}", "core·s"),
        cost_overlay("CPU used, platform included", "Counted the same way. Older recorded runs have the platform's share at their end only.", "variant_role:eye_state_core_seconds_used:integral{VARIANT}", "core·s"),
        cost_overlay("Memory requested, platform included", "Counted the same way.", "variant_role:eye_state_gib_seconds_requested:integral{VARIANT}", "GiB·s"),
        cost_overlay("Memory used, platform included", "Working set, counted the same way. Older recorded runs have it at their end only.", "variant_role:eye_state_gib_seconds_used:integral{VARIANT}", "GiB·s"),
    ], columns=3, folded=True),
]


def run_of(side: Side) -> Annotation:
    shown = side.of('run:eye_state:info{VARIANT, run!="live"} SHIFT == 1')
    return Annotation(RUNS[side.name], f"({shown}) and on () ({side.gate})", "{{scenario}} {{configuration}}", "{{run}}: from start to end", GREY)


# Two neighbouring samples are in exactly one such window of a series with a sample and a step each
# five seconds.
CHANGED = "changes(variant:eye_state_pods_desired:sum{VARIANT}[10s] SHIFT) > 0"

ANNOTATIONS = [
    run_of(LEFT),
    run_of(RIGHT),
    Annotation("KPA panics", LEFT.gated("max by (kn_revision_name) (kn_revision_panic_mode{VARIANT} SHIFT) > 0"), "Panic", "{{kn_revision_name}} in panic mode", OBJECTIVE),
    Annotation("KPA decisions", LEFT.gated(CHANGED), "KPA", "the KPA changed the number of pods it desires", "#9467bd"),
    Annotation("HPA decisions", RIGHT.gated(CHANGED), "HPA", "the HPA (of KEDA, too) changed the number of pods it desires", "#9467bd"),
    Annotation("Resizes in place", RIGHT.gated("sum(increase(vpa_updater_in_place_updated_pods_total[15s] SHIFT)) > 0"), "VPA", "the VPA resized pods in place", "#17becf"),
]

DASHBOARD = dashboard(
    "nv-micro-side-by-side", "Side by side", "The same function and the same load, scaled by Knative on the left and by HPA + VPA on the right, on the same axes, from the same moment on.",
    ROWS, VARIABLES, ANNOTATIONS,
)
