"""Two runs as one picture: the left one where it was, the right one moved onto it.

A run is of one variant, deployed alone, so two runs are never at the same time. The hidden variable `shift` is
the difference of their starts; everything on the right reads that much earlier or later (`offset`), and both
columns begin together. With scenario "live" both sides show what happens now, and nothing is moved.

In the expressions of the dashboards VARIANT stands for the matcher of one variant and SHIFT for the offset,
which belongs behind every selector.
"""

from dataclasses import dataclass

from grafana import BY_VARIANT, NAMES, Panel, Query, Variable, ever


@dataclass(frozen=True)
class Side:
    """One column."""

    name: str
    variant: str
    shift: str

    @property
    def title(self) -> str:
        return NAMES[self.variant]

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
        """The increase of a counter with labels in braces during the chosen run, independent of the time range."""
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


def _end(side: Side) -> str:
    return _moment("end", side, "time()")


def _number(name: str, expr: str, default: str) -> Variable:
    """A number that queries need. Grafana shows the result of a query as `{} 12 1790000000000`."""
    return Variable(name, name, f"query_result(round({expr}))", default, regex="/{} (-?[0-9.]+) /", hidden=True)


def _run(side: Side, label: str) -> Variable:
    of_scenario = f'variant="{side.variant}", scenario="$scenario"'
    query = f'query_result(group by (run) ({ever(f"comparison_run{{{of_scenario}}}")}) or group by (run) (run:eye_state:info{{{of_scenario}, run="live"}}))'
    return Variable(side.name, label, query, "live", regex='/run="([^"]+)"/', description=f"The run of {side.title} that this side shows; live: what happens now.")


VARIABLES = [
    Variable(
        "scenario", "Scenario", f'query_result(group by (scenario) ({ever("comparison_run")}) or group by (scenario) (run:eye_state:info{{run="live"}}))', "live",
        regex='/scenario="([^"]+)"/', description="Both runs are of this scenario; live: both variants as they are now. The table of recorded pairs sets the time range too.",
    ),
    _run(LEFT, NAMES["knative"]),
    _run(RIGHT, NAMES["k8s-autoscalers"]),
    _number("shift", f"{_start(LEFT)} - {_start(RIGHT)}", "0"),
    _number("left_start", _start(LEFT), "0"),
    *(_number(f"{side.name}_end", _end(side), "0") for side in SIDES),
    # One second more than it lasts: a window of Prometheus leaves out its first moment.
    *(_number(f"{side.name}_s", f"{_end(side)} - {_start(side)} + 1", "1801") for side in SIDES),
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
    return Panel(
        title, description, [*queries, elapsed], kind="trend", unit=unit,
        colours=BY_VARIANT, dashed=[".*HPA.*"],  # told apart in black and white too
        overrides=[{"matcher": {"id": "byName", "options": "elapsed"}, "properties": [{"id": "unit", "value": "suffix: s"}]}],
        transformations=[
            {"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}}},
        ],
        empty=EMPTY, options={"xField": "elapsed", "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]}, "tooltip": {"mode": "multi", "sort": "none"}},
        **options,
    )
