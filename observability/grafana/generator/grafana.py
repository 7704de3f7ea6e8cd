"""Grafana's classic dashboard JSON, as far as these dashboards need it: panels, targets, variables, layout.

Nothing here knows a metric; the dashboards are in the modules beside this one.
"""

from dataclasses import dataclass, field

# The JSON's own version; Grafana migrates older ones when it loads them.
SCHEMA_VERSION = 42
# One look for both variants everywhere: blue and orange are told apart by the colour-blind and in print.
COLOURS = {"knative": "#1f77b4", "k8s-autoscalers": "#ff7f0e"}
WIDTH = 24  # columns of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The chosen run alone. run="live" is always there; see prometheus/rules/cost.yaml.
DURING_RUN = 'and on () run:eye_state:info{run="$run"}'
AXIS = "axis"


def during_run(expr: str) -> str:
    return f"({expr}) {DURING_RUN}"


@dataclass
class Query:
    """One PromQL expression and what its series are called."""

    expr: str
    legend: str
    exemplar: bool = False
    instant: bool = False
    format: str = "time_series"
    every_run: bool = False  # not narrowed to the chosen run

    def target(self, ref_id: str) -> dict:
        target = {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr if self.every_run else during_run(self.expr),
            "format": self.format,
            "legendFormat": self.legend,
            "refId": ref_id,
        }
        target["instant" if self.instant else "range"] = True
        return target | ({"exemplar": True} if self.exemplar else {})


@dataclass
class Panel:
    """A panel without a place; rows() gives it one."""

    title: str
    description: str
    queries: list[Query]
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False
    # Drawn in no colour, to give panels beside each other the same axis: the largest value of both.
    axis: str = ""
    colours: dict[str, str] = field(default_factory=dict)
    dashed: list[str] = field(default_factory=list)
    decimals: int | None = None
    transformations: list[dict] = field(default_factory=list)
    overrides: list[dict] = field(default_factory=list)
    options: dict = field(default_factory=dict)
    audience: str = ""  # "left" or "right": which annotations it shows

    def json(self, number: int, x: int, y: int, width: int, height: int) -> dict:
        targets = [query.target(chr(ord("A") + i)) for i, query in enumerate(self.queries)]
        overrides = [_by_name(name, [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]) for name, colour in self.colours.items()]
        overrides += [_by_name(name, [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}}, {"id": "custom.fillOpacity", "value": 0}]) for name in self.dashed]
        if self.axis:
            targets.append(Query(self.axis, AXIS).target("Z"))
            overrides.append(_by_name(AXIS, [
                {"id": "custom.lineWidth", "value": 0},
                {"id": "custom.fillOpacity", "value": 0},
                {"id": "custom.showPoints", "value": "never"},
                {"id": "custom.hideFrom", "value": {"legend": True, "tooltip": True, "viz": False}},
            ]))
        defaults = {"unit": self.unit, "min": 0, "custom": self._custom()} | ({} if self.decimals is None else {"decimals": self.decimals})
        if self.kind == "table":
            del defaults["min"]
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": overrides + self.overrides},
            "options": self._options(),
        }
        return panel | ({"transformations": self.transformations} if self.transformations else {})

    def _custom(self) -> dict:
        if self.kind != "timeseries":
            return {}
        return {
            "drawStyle": "line",
            # Pods and decisions hold until the next sample: no slope between two samples.
            "lineInterpolation": "stepAfter",
            "lineWidth": 2,
            "fillOpacity": 25 if self.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
        }

    def _options(self) -> dict:
        if self.options:
            return self.options
        if self.kind == "stat":
            return {"colorMode": "none", "graphMode": "none", "justifyMode": "center", "textMode": "auto", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
        if self.kind == "timeseries":
            return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}}
        return {}


def _by_name(name: str, properties: list[dict]) -> dict:
    return {"matcher": {"id": "byRegexp", "options": f"/^{name}$/"}, "properties": properties}


@dataclass
class Row:
    """A heading and the panels under it, sharing the width."""

    title: str
    panels: list[Panel]
    height: int = 7
    columns: int = 0  # panels abreast; all of them when 0


@dataclass
class Annotation:
    """Moments or spans marked in the panels: in all of them, or in those of one side."""

    name: str
    expr: str
    title: str
    text: str
    colour: str
    audience: str = ""


@dataclass
class Variable:
    """A choice at the top of the dashboard, taken from a label."""

    name: str
    label: str
    query: str
    default: str
    multi: bool = False
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
            "refresh": 2,  # when the time range changes
            "sort": 1,
            "multi": self.multi,
            "includeAll": self.multi,
            "allValue": ".+" if self.multi else None,
            "current": {"selected": True, "text": ["All"] if self.multi else self.default, "value": chosen},
        }


RUN = Variable("run", "Run", "label_values(run:eye_state:info, run)", "live", description="A run of the comparison, or live: everything. Table 'Runs' sets the time range too.")


def dashboard(uid: str, title: str, description: str, rows: list[Row], variables: list[Variable], annotations: list[Annotation], time_from: str = "now-30m") -> dict:
    panels, sides = _lay_out(rows)
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
        "links": [{"type": "dashboards", "tags": ["nv-micro"], "title": "nv-micro", "asDropdown": False, "includeVars": True, "keepTime": True, "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}],
        "templating": {"list": [_datasource_variable()] + [variable.json() for variable in variables]},
        "annotations": {"list": [_annotation(annotation, sides) for annotation in annotations]},
        "panels": panels,
    }


def _lay_out(rows: list[Row]) -> tuple[list[dict], dict[str, list[int]]]:
    panels, sides, y, number = [], {"left": [], "right": []}, 0, 0
    for row in rows:
        number += 1
        panels.append({"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []})
        y += 1
        columns = row.columns or len(row.panels)
        for i, panel in enumerate(row.panels):
            number += 1
            panels.append(panel.json(number, (i % columns) * (WIDTH // columns), y + (i // columns) * row.height, WIDTH // columns, row.height))
            if panel.audience:
                sides[panel.audience].append(number)
        y += -(-len(row.panels) // columns) * row.height
    return panels, sides


def _annotation(annotation: Annotation, sides: dict[str, list[int]]) -> dict:
    result = {
        "name": annotation.name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": annotation.colour,
        "expr": annotation.expr,
        "step": "5s",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
        "useValueForTime": False,
    }
    return result | ({"filter": {"exclude": False, "ids": sides[annotation.audience]}} if annotation.audience else {})


def _datasource_variable() -> dict:
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "regex": "", "refresh": 1, "multi": False, "includeAll": False, "current": {"selected": False, "text": "default", "value": "default"}}
