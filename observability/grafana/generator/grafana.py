"""Grafana's classic dashboard JSON, as far as these dashboards need it: panels, targets, variables, layout.

Nothing here knows a metric; the dashboards are in the modules beside this one. What is written here is
checked against the types of Grafana's own SDK (checks/test_generated.py).
"""

from dataclasses import dataclass, field

# The JSON's own version; Grafana migrates older ones when it loads them.
SCHEMA_VERSION = 42
# One colour a variant on every dashboard: blue and orange are told apart by the colour-blind and in
# print.
NAMES = {"knative": "Knative (KPA)", "k8s-autoscalers": "HPA + VPA"}
COLOURS = {"knative": "#1f77b4", "k8s-autoscalers": "#ff7f0e"}
# Colours of the variants: by label, by name, or by the name of an arm, which begins with its
# autoscaler. No name matches both.
BY_VARIANT = {"(KPA.*|.*(knative|Knative).*)": COLOURS["knative"], "((HPA|KEDA).*|.*k8s-autoscalers.*)": COLOURS["k8s-autoscalers"]}
# What is reference and not measurement: offered load, bounds, capacity. Visible on dark and on
# light.
GREY, LIMIT, OBJECTIVE = "#8c8c8c", "#e377c2", "#d62728"
WIDTH = 24  # columns of Grafana's grid
# Room for "1.25 k" and a unit: panels under each other then begin at the same place.
AXIS_WIDTH = 70
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The range query language of hidden variables looks this far to both sides of the chosen time: as
# far as samples are kept (prometheus/deployment.yaml), so that a run is found wherever the time
# range is.
EVER = "[60d] offset -30d"
AXIS = "axis"
# The kubelet reads a container's CPU every 10 to 15 s, however often it is asked. Of a query with
# this as its shortest step Grafana takes $__rate_interval to be four times as long at least: a
# minute. In the 20 s that follow from the scrapes there often is a single sample, and no rate.
KUBELET_STEP = "15s"


@dataclass
class Query:
    """One PromQL expression and the names of its series."""

    expr: str
    legend: str
    exemplar: bool = False
    instant: bool = False
    format: str = "time_series"
    min_step: str = ""

    def target(self, ref_id: str) -> dict:
        target = {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": self.format,
            "legendFormat": self.legend,
            "refId": ref_id,
        }
        target |= {"instant": self.instant, "range": not self.instant}
        target |= {"interval": self.min_step} if self.min_step else {}
        return target | ({"exemplar": True} if self.exemplar else {})


@dataclass
class Panel:
    """A panel without a position; a row positions it."""

    title: str
    description: str
    queries: list[Query]
    # What it says when there is nothing to draw.
    empty: str
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    bars: bool = False
    # Drawn in no colour, to give panels beside each other the same axis: the largest value of both.
    axis: str = ""
    # The axis reaches at least this far, so that a flat zero line is not magnified into nonsense.
    at_least: float | None = None
    objective: float | None = None  # a dashed line across
    colours: dict[str, str] = field(default_factory=dict)
    dashed: list[str] = field(default_factory=list)
    dotted: list[str] = field(default_factory=list)
    decimals: int | None = None
    transformations: list[dict] = field(default_factory=list)
    overrides: list[dict] = field(default_factory=list)
    options: dict = field(default_factory=dict)
    marks: tuple[str, ...] = ()  # names of the annotations that it shows
    calcs: tuple[str, ...] = ("mean", "max")  # in the legend
    datasource: dict = field(default_factory=lambda: DATASOURCE)
    targets: list[dict] = field(default_factory=list)  # of another data source, as they are

    def json(self, number: int, x: int, y: int, width: int, height: int) -> dict:
        targets = self.targets or [query.target(chr(ord("A") + i)) for i, query in enumerate(self.queries)]
        overrides = [_by_name(name, [_colour(colour)]) for name, colour in self.colours.items()]
        overrides += [_by_name(name, _line("dash", [8, 6])) for name in self.dashed]
        overrides += [_by_name(name, _line("dot", [2, 6])) for name in self.dotted]
        if self.axis:
            targets.append(Query(self.axis, AXIS).target("Z"))
            overrides.append(_by_name(AXIS, [
                {"id": "custom.lineWidth", "value": 0},
                {"id": "custom.fillOpacity", "value": 0},
                {"id": "custom.showPoints", "value": "never"},
                {"id": "custom.hideFrom", "value": {"legend": True, "tooltip": True, "viz": False}},
            ]))
        defaults = {"unit": self.unit, "noValue": self.empty, "custom": self._custom()}
        if self.kind not in ("table", "traces"):
            defaults["min"] = 0
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.kind == "stat":
            defaults["color"] = {"mode": "fixed", "fixedColor": "text"}
        if self.objective is not None:
            defaults["thresholds"] = {"mode": "absolute", "steps": [{"color": "transparent", "value": None}, {"color": OBJECTIVE, "value": self.objective}]}
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": self.datasource,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": overrides + self.overrides},
            "options": self._options(),
        }
        return panel | ({"transformations": self.transformations} if self.transformations else {})

    def _custom(self) -> dict:
        if self.kind not in ("timeseries", "trend"):
            return {}
        custom = {
            "drawStyle": "bars" if self.bars else "line",
            # Pods and decisions hold until the next sample: no slope between two samples.
            "lineInterpolation": "stepAfter",
            "lineWidth": 1 if self.bars else 2,
            "fillOpacity": 60 if self.bars else 25 if self.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "axisWidth": AXIS_WIDTH,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
        }
        if self.at_least is not None:
            custom["axisSoftMax"] = self.at_least
        if self.objective is not None:
            custom["thresholdsStyle"] = {"mode": "dashed"}
        return custom

    def _options(self) -> dict:
        if self.options:
            return self.options
        if self.kind == "stat":
            return {
                "colorMode": "value", "graphMode": "none", "justifyMode": "center", "textMode": "value_and_name", "orientation": "vertical",
                "wideLayout": False, "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            }
        if self.kind in ("timeseries", "trend"):
            return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": list(self.calcs)}, "tooltip": {"mode": "multi", "sort": "desc"}}
        return {}


def _by_name(name: str, properties: list[dict]) -> dict:
    return {"matcher": {"id": "byRegexp", "options": f"/^{name}$/"}, "properties": properties}


def _colour(colour: str) -> dict:
    return {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}


def _line(fill: str, dash: list[int]) -> list[dict]:
    return [{"id": "custom.lineStyle", "value": {"fill": fill, "dash": dash}}, {"id": "custom.fillOpacity", "value": 0}]


def of_query(ref_id: str, *properties: dict) -> dict:
    """An override for the series of one query of a panel."""
    return {"matcher": {"id": "byFrameRefID", "options": ref_id}, "properties": list(properties)}


@dataclass
class Row:
    """Panels under a heading, sharing the width. Without a title there is no heading, which saves a line."""

    title: str
    panels: list[Panel]
    height: int = 7
    columns: int = 0  # panels abreast; all of them when 0
    folded: bool = False  # opened by a click; nothing in it is asked before


@dataclass
class Annotation:
    """Moments or spans marked in the panels that name it."""

    name: str
    expr: str
    title: str
    text: str
    colour: str


@dataclass
class Variable:
    """A variable at the top of the dashboard, or, hidden, a number that queries need."""

    name: str
    label: str
    query: str
    default: str
    regex: str = ""
    multi: bool = False
    hidden: bool = False
    description: str = ""

    def json(self) -> dict:
        chosen = ["$__all"] if self.multi else self.default
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "description": self.description,
            "datasource": DATASOURCE,
            "definition": self.query,
            "query": {"query": self.query, "refId": "variable"},
            "regex": self.regex,
            "hide": 2 if self.hidden else 0,
            # A number follows from what is chosen: in a link it would only be in the way.
            "skipUrlSync": self.hidden,
            "refresh": 2,  # when the time range changes
            "sort": 1,
            "multi": self.multi,
            "includeAll": self.multi,
            "current": {"selected": True, "text": ["All"] if self.multi else self.default, "value": chosen},
        } | ({"allValue": ".+"} if self.multi else {})


@dataclass
class TextVariable:
    """A text that a link fills in."""

    name: str
    label: str

    def json(self) -> dict:
        return {
            "type": "textbox", "name": self.name, "label": self.label, "query": "", "hide": 0,
            "current": {"selected": True, "text": "", "value": ""}, "options": [{"selected": True, "text": "", "value": ""}],
        }


def ever(selector: str) -> str:
    """The largest value of a series over the whole retention time."""
    return f"max_over_time({selector}{EVER})"


# One run of either variant, for the dashboards that do not compare.
RUN = Variable(
    "run", "Run", f'query_result(group by (run) ({ever("comparison_run")}) or group by (run) (run:eye_state:info{{run="live"}}))', "live", regex='/run="([^"]+)"/',
    description="A run of the comparison, or live: everything. The table of recorded pairs on \"Side by side\" sets the time range too.",
)


def during_run(rows: list[Row]) -> list[Row]:
    """All queries narrowed to the chosen run. run="live" is always there; see prometheus/rules/cost.yaml."""
    for query in (query for row in rows for panel in row.panels for query in panel.queries):
        query.expr = f'({query.expr}) and on () (run:eye_state:info{{run="$run"}} == 1)'
    return rows


def short_pod(expr: str) -> str:
    """With the end of a pod's name only: the rest is the same for all and truncated in a legend."""
    return f'label_replace({expr}, "pod", "$1", "pod", ".*-([^-]+)")'


def dashboard(uid: str, title: str, description: str, rows: list[Row], variables: list, annotations: list[Annotation], time_from: str = "now-30m") -> dict:
    panels, marked = _lay_out(rows)
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["nv-micro"],
        "editable": False,  # the definition is in the repository
        "graphTooltip": 1,  # one crosshair through all panels
        "refresh": "5s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": time_from, "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "links": [{"type": "dashboards", "tags": ["nv-micro"], "title": "Dashboards", "asDropdown": True, "includeVars": True, "keepTime": True, "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}],
        "templating": {"list": [_datasource_variable()] + [variable.json() for variable in variables]},
        "annotations": {"list": [_annotation(annotation, marked[annotation.name]) for annotation in annotations]},
        "panels": panels,
    }


def _lay_out(rows: list[Row]) -> tuple[list[dict], dict[str, list[int]]]:
    """All panels with positions, and for each annotation the panels that show it."""
    panels, marked, y, number = [], {}, 0, 0
    for row in rows:
        if row.title:
            number += 1
            heading = {"id": number, "type": "row", "title": row.title, "collapsed": row.folded, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []}
            panels.append(heading)
            y += 1
        columns, own = row.columns or len(row.panels), []
        for i, panel in enumerate(row.panels):
            number += 1
            own.append(panel.json(number, (i % columns) * (WIDTH // columns), y + (i // columns) * row.height, WIDTH // columns, row.height))
            for mark in panel.marks:
                marked.setdefault(mark, []).append(number)
        if row.folded:
            heading["panels"] = own
        else:
            panels += own
            y += -(-len(row.panels) // columns) * row.height
    return panels, marked


def _annotation(annotation: Annotation, panels: list[int]) -> dict:
    return {
        "name": annotation.name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": True,  # always on: a switch for each takes the lines that the panels need
        "iconColor": annotation.colour,
        "expr": annotation.expr,
        "step": "5s",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
        "useValueForTime": False,
        "filter": {"exclude": False, "ids": panels},
    }


def _datasource_variable() -> dict:
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "regex": "", "refresh": 1, "hide": 2, "multi": False, "includeAll": False, "current": {"selected": False, "text": "default", "value": "default"}}
