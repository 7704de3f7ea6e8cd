"""Knative left, HPA + VPA right, same axes: the dashboard that lets somebody decide."""

from grafana import COLOURS, RUN, Annotation, Panel, Query, Row, dashboard

SIDES = {"left": "knative", "right": "k8s-autoscalers"}
NAMES = {"knative": "Knative (KPA)", "k8s-autoscalers": "HPA + VPA"}
LATENCY = "variant_point:eye_state_latency_seconds:quantile30s"


def pair(title: str, description: str, queries: dict[str, str], axis: str, **options) -> list[Panel]:
    """The same panel for both variants. In expressions, VARIANT stands for the matcher of one of them."""
    panels = []
    for side, variant in SIDES.items():
        of_one = [Query(expr.replace("VARIANT", f'variant="{variant}"'), legend) for legend, expr in queries.items()]
        panels.append(Panel(f"{title}: {NAMES[variant]}", description, of_one, axis=axis.replace("VARIANT", 'variant!=""'), audience=side, **options))
    return panels


def cost(name: str, by_role: bool) -> str:
    """What a counter has grown by since the left edge of the time range."""
    series = f"{name}{{VARIANT}}"
    grown = f"{series} - ({series} @ start() or {series} * 0)"
    return f"sum by (variant) ({grown})" if by_role else grown


def _cost_panels() -> list[Panel]:
    integrals = {
        "Pod-seconds": ("variant:eye_state_pod_seconds:integral", False, "Seconds that pods held a place on a node, starting and terminating ones included."),
        "Core-seconds requested": ("variant_role:eye_state_core_seconds_requested:integral", True, "CPU requested, with sidecars, activator and autoscaler on one side, VPA and adapter on the other."),
        "Core-seconds used": ("variant_role:eye_state_core_seconds_used:integral", True, "CPU used, counted the same way."),
        "GiB-seconds requested": ("variant_role:eye_state_gib_seconds_requested:integral", True, "Memory requested, counted the same way."),
        "GiB-seconds used": ("variant_role:eye_state_gib_seconds_used:integral", True, "Memory used (working set), counted the same way."),
        "Seconds over the objective": ("variant:eye_state_slo_violation_seconds:integral", False, "Seconds in which more than 1 of 100 requests was refused, failed or took longer than 500 ms."),
    }
    return [
        Panel(title, f"Since the left edge of the time range. {text}", [Query(cost(series, by_role).replace("VARIANT", 'variant!=""'), "{{variant}}")], unit="s", colours=COLOURS)
        for title, (series, by_role, text) in integrals.items()
    ]


def _runs() -> Panel:
    """One line a run; its link sets the time range and the variable."""
    seconds = "max by (run, scenario, variant, configuration)"
    return Panel(
        "Runs in this time range",
        "Runs of the comparison, from first to last sign of life. The link shows one alone; widen the time range to find older ones.",
        [
            Query(f"{seconds} (-max_over_time((-timestamp(comparison_run))[$__range:5s])) * 1000", "", instant=True, format="table", every_run=True),
            Query(f"{seconds} (max_over_time(timestamp(comparison_run)[$__range:5s])) * 1000", "", instant=True, format="table", every_run=True),
        ],
        kind="table",
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {"Value #A": "start", "Value #B": "end"}}},
        ],
        overrides=[
            {"matcher": {"id": "byRegexp", "options": "/^(start|end)$/"}, "properties": [{"id": "unit", "value": "dateTimeAsIso"}]},
            {"matcher": {"id": "byName", "options": "run"}, "properties": [{"id": "links", "value": [
                {"title": "Show this run alone", "url": "/d/nv-micro-side-by-side?from=${__data.fields.start.numeric}&to=${__data.fields.end.numeric}&var-run=${__data.fields.run}"},
            ]}]},
        ],
        options={"showHeader": True, "cellHeight": "sm"},
    )


ROWS = [
    Row("Runs", [_runs()], height=5),
    Row("Load", pair(
        "Load", "Requests a second: sent to this variant, and answered with a result.",
        {"offered": "variant:eye_state_requests_offered:rate30s{VARIANT}", "achieved": "variant:eye_state_requests_achieved:rate30s{VARIANT}"},
        "max(variant:eye_state_requests_offered:rate30s)", unit="reqps", colours={"offered": "#7f7f7f"}, dashed=["offered"],
    )),
    Row("Pods", pair(
        "Pods", "Wanted: ceil(concurrency / target), what the load of the moment asks for. Desired: what the autoscaler decided. Allocated: what holds resources on a node. Ready: what serves.",
        {
            "wanted": "variant:eye_state_pods_wanted:ceil{VARIANT}",
            "desired": "variant:eye_state_pods_desired:sum{VARIANT}",
            "allocated": "variant:eye_state_pods_allocated:sum{VARIANT}",
            "ready": "variant:eye_state_pods_ready:sum{VARIANT}",
        },
        "max(variant:eye_state_pods_wanted:ceil) > max(variant:eye_state_pods_allocated:sum) or max(variant:eye_state_pods_allocated:sum)",
        colours={"wanted": "#7f7f7f", "desired": "#9467bd", "allocated": "#8c564b", "ready": "#2ca02c"}, dashed=["wanted", "desired"], decimals=0,
    ), height=8),
    Row("Concurrency and CPU", pair(
        "Concurrency per pod", "Requests in flight, averaged over 30 s, of each pod, against the target that both autoscalers hold.",
        {"{{pod}}": "variant_pod:eye_state_concurrency:avg30s{VARIANT}", "target": "variant:eye_state_concurrency_target:max{VARIANT}"},
        "max(variant_pod:eye_state_concurrency:avg30s)", colours={"target": "#d62728"}, dashed=["target"],
    ) + pair(
        "CPU per pod", "Cores used by the function's process in each pod.",
        {"{{pod}}": "variant_pod:eye_state_cpu_cores_used:rate30s{VARIANT}"},
        "max(variant_pod:eye_state_cpu_cores_used:rate30s)", unit="none",
    ), columns=2),
    Row("Latency and refusals", pair(
        "Latency", "Median and 99th percentile. At the gateway: with everything in between, cold starts too. At the function: answers only. Refused requests are not in the latter.",
        {
            "p50 at the function": LATENCY + '{VARIANT, point="function", quantile="0.5"}',
            "p99 at the function": LATENCY + '{VARIANT, point="function", quantile="0.99"}',
            "p50 at the gateway": LATENCY + '{VARIANT, point="gateway", quantile="0.5"}',
            "p99 at the gateway": LATENCY + '{VARIANT, point="gateway", quantile="0.99"}',
        },
        f"max({LATENCY})", unit="s", dashed=["p50.*"],
    ) + pair(
        "Refusals and errors", "Requests a second that got no result: refused or failed by the function, by reason, and everything that the gateway or the function answered with 429 or 5xx.",
        {"{{reason}}": "variant_reason:eye_state_rejected:rate30s{VARIANT}", "429 and 5xx": "variant:eye_state_errors:rate30s{VARIANT}"},
        "max(variant:eye_state_errors:rate30s) > max(variant_reason:eye_state_rejected:rate30s) or max(variant_reason:eye_state_rejected:rate30s)", unit="reqps", colours={"429 and 5xx": "#d62728"},
    ), columns=2),
    Row("Cost so far", _cost_panels(), columns=3),
]

CHANGED = "(variant:eye_state_pods_desired:sum{VARIANT} - variant:eye_state_pods_desired:sum{VARIANT} offset 5s) != 0"

ANNOTATIONS = [
    Annotation("Load scenario", "max by (run, scenario, variant, configuration) (comparison_run) > 0", "{{scenario}} {{configuration}}", "{{run}}: load on {{variant}} from start to end", "#7f7f7f"),
    Annotation("KPA panics", 'max by (kn_revision_name) (kn_revision_panic_mode{variant="knative"}) > 0', "Panic", "{{kn_revision_name}} in panic mode", "#d62728", "left"),
    Annotation("KPA decisions", CHANGED.replace("VARIANT", 'variant="knative"'), "KPA", "the KPA changed the number of pods it desires", "#9467bd", "left"),
    Annotation("HPA decisions", CHANGED.replace("VARIANT", 'variant="k8s-autoscalers"'), "HPA", "the HPA changed the number of pods it desires", "#9467bd", "right"),
    Annotation("In-place resizes", "sum(increase(vpa_updater_in_place_updated_pods_total[15s])) > 0", "VPA", "the VPA resized pods in place", "#17becf", "right"),
]

DASHBOARD = dashboard(
    "nv-micro-side-by-side", "Side by side", "The same function and the same load, scaled by Knative on the left and by HPA + VPA on the right, on the same axes.",
    ROWS, [RUN], ANNOTATIONS,
)
