"""Two runs as one picture: the left one where it was, the right one moved onto it.

A run is of one variant, deployed alone, so two runs are never at the same time. The hidden variable `shift` is
the difference of their starts; everything on the right reads that much earlier or later (`offset`), and both
columns begin together. With scenario "live" both sides show what happens now, and nothing is moved.

A side is of one variant, and of whichever of its arms the chosen run is: the hidden variables `left_arm` and
`right_arm` name it.

In the expressions of the dashboards VARIANT stands for the matcher of one variant and SHIFT for the offset,
which belongs behind every selector.
"""

from dataclasses import dataclass

from grafana import BY_VARIANT, GREY, NAMES, Panel, Query, Variable, ever


@dataclass(frozen=True)
class Side:
    """One column."""

    name: str
    variant: str
    shift: str

    @property
    def title(self) -> str:
        """The arm of the chosen run, as Grafana fills it in."""
        return f"${{{self.name}_arm}}"

    @property
    def gate(self) -> str:
        """Present during the chosen run only."""
        return self.of(f'run:eye_state:info{{VARIANT, run="${self.name}"}} SHIFT == 1')

    def of(self, expr: str) -> str:
        """The expression for this side, restricted to the chosen run."""
        return expr.replace("VARIANT", f'variant="{self.variant}"').replace(" SHIFT", self.shift)

    def gated(self, expr: str) -> str:
        return f"({self.of(expr)}) and on () ({self.gate})"

    def grown(self, counter: str) -> str:
        """The increase of a counter with labels in braces over the counted time of the chosen run, independent of the time range."""
        window = f"[${{{self.name}_s}}s] @ ${{{self.name}_end}}"
        counter = self.of(counter)
        return f"(max_over_time({counter}{window}) - min_over_time({counter}{window}))"


EMPTY = "The chosen run is not in this time range: open a pair from the table of recorded pairs"
LEFT = Side("left", "knative", "")
RIGHT = Side("right", "k8s-autoscalers", " offset ${shift}s")
SIDES = (LEFT, RIGHT)


def _moment(which: str, side: Side, live: str) -> str:
    """When a run began or ended, in Unix seconds; for live, the edge of the time range."""
    pushed = f'comparison_run_{which}_timestamp_seconds{{run="${side.name}"}}'
    return f"(max({ever(pushed)}) or vector({live}))"


def _start(side: Side) -> str:
    return _moment("start", side, "time() - $__range_s")


def _counted(which: str, side: Side, otherwise: str) -> str:
    """When counting began or ended: of a run in cycles, whole cycles without the warm-up; of another, all of it."""
    pushed = f'comparison_run_counted_{which}_timestamp_seconds{{run="${side.name}"}}'
    return f"(max({ever(pushed)}) or {otherwise})"


def _counted_start(side: Side) -> str:
    return _counted("start", side, _start(side))


def _counted_end(side: Side) -> str:
    return _counted("end", side, _moment("end", side, "time()"))


def _number(name: str, expr: str, default: str) -> Variable:
    """A number that queries need. Grafana shows the result of a query as `{} 12 1790000000000`."""
    return Variable(name, name, f"query_result(round({expr}))", default, regex="/{} (-?[0-9.]+) /", hidden=True)


def _run(side: Side, label: str) -> Variable:
    of_scenario = f'variant="{side.variant}", scenario="$scenario"'
    query = f'query_result(group by (run) ({ever(f"comparison_run{{{of_scenario}}}")}) or group by (run) (run:eye_state:info{{{of_scenario}, run="live"}}))'
    return Variable(side.name, label, query, "live", regex='/run="([^"]+)"/', description=f"The run of {NAMES[side.variant]} that this side shows, of any of its arms; live: what happens now.")


def _arm(side: Side) -> Variable:
    """What to call the side: live, and in marks of runs from before they named their arm, by its variant."""
    marked = f'comparison_run{{run="${side.name}", arm!=""}}'
    query = f'query_result(group by (arm) ({ever(marked)}) or on () label_replace(vector(1), "arm", "{NAMES[side.variant]}", "", ""))'
    return Variable(f"{side.name}_arm", f"{side.name}_arm", query, NAMES[side.variant], regex='/arm="([^"]+)"/', hidden=True)


VARIABLES = [
    Variable(
        "scenario", "Scenario", f'query_result(group by (scenario) ({ever("comparison_run")}) or group by (scenario) (run:eye_state:info{{run="live"}}))', "live",
        regex='/scenario="([^"]+)"/', description="Both runs are of this scenario; live: both variants as they are now. The table of recorded pairs sets the time range too.",
    ),
    # Short: at 1366 pixels three choices and the time range have to stay in one line.
    _run(LEFT, "Left"),
    _run(RIGHT, "Right"),
    *(_arm(side) for side in SIDES),
    _number("shift", f"{_start(LEFT)} - {_start(RIGHT)}", "0"),
    _number("left_start", _start(LEFT), "0"),
    *(_number(f"{side.name}_end", _counted_end(side), "0") for side in SIDES),
    # One second more than it lasts: a window of Prometheus leaves out its first moment.
    *(_number(f"{side.name}_s", f"{_counted_end(side)} - {_counted_start(side)} + 1", "1801") for side in SIDES),
]


def _largest(expressions: list[str]) -> str:
    """The largest value of all of them at each moment. The label keeps `or` from taking one for another."""
    labelled = [f'label_replace(max({expr}), "axis", "{number}", "", "")' for number, expr in enumerate(expressions)]
    return f"max({' or '.join(labelled)})"


def pair(title: str, description: str, queries: dict[str, str], marks: dict[str, tuple[str, ...]] | None = None, **options) -> list[Panel]:
    """The same panel for both runs, on one axis: every series of either is behind it.

    An axis is only drawn where its own run is: a panel without anything says so instead of showing an empty grid.
    """
    axis = _largest([side.gated(expr) for side in SIDES for expr in queries.values()])
    return [
        Panel(
            f"{title}: {side.title}", description, [Query(side.gated(expr), legend) for legend, expr in queries.items()], EMPTY,
            axis=f"{axis} and on () ({side.gate})", marks=(marks or {}).get(side.name, ()), **options,
        )
        for side in SIDES
    ]


def overlay(title: str, description: str, expr: str, unit: str, **options) -> Panel:
    """Both runs in one chart, by the time since they began."""
    queries = [Query(side.gated(expr), side.title) for side in SIDES]
    elapsed = Query("time() - ${left_start}", "elapsed")
    # A trend panel has no sentence for itself: without its x axis it complains of the missing
    # field, with it it is not empty. So the sentence is a series that is there when no run is.
    nothing = Query(f"vector(0) unless on () ({' or '.join(side.gate for side in SIDES)})", EMPTY)
    return Panel(
        title, description, [*queries, elapsed, nothing], kind="trend", unit=unit,
        colours=BY_VARIANT | {f"{EMPTY}.*": GREY}, dashed=["(HPA|KEDA).*"],  # told apart in black and white too
        overrides=[{"matcher": {"id": "byName", "options": "elapsed"}, "properties": [{"id": "unit", "value": "suffix: s"}]}],
        transformations=[
            {"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}}},
        ],
        empty=EMPTY, options={"xField": "elapsed", "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]}, "tooltip": {"mode": "multi", "sort": "none"}},
        **options,
    )
