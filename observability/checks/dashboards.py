"""Dashboards as Grafana reads them: variables are queried from Prometheus in their order and filled into every expression."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import stack

FOLDER = stack.ROOM / "grafana" / "dashboards"
# What an overlay says as a series of that name: the trend panel has no sentence of its own.
NO_RUN = "The chosen run is not in this time range: open a pair from the table of recorded pairs"
# A variable in an expression; `$1` of label_replace is none.
VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


@dataclass
class Query:
    """One query, as it stands in the JSON, and where."""

    where: str
    expr: str
    legend: str
    instant: bool = False
    panel: dict | None = None


def load(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def fill(expr: str, values: dict[str, str]) -> str:
    """With the variables' values; an unknown one is an error, as Grafana would send its name."""
    return VARIABLE.sub(lambda match: values[match[1] or match[2]], expr)


def panels(dashboard: dict) -> list[dict]:
    """All of them, those in folded rows too."""
    found = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", []))]
    return [panel for panel in found if panel["type"] != "row"]


def queries(name: str) -> list[Query]:
    """Those of its panels and annotations; the traces of Jaeger are none."""
    dashboard = load(name)
    found = []
    for panel in panels(dashboard):
        for target in panel["targets"]:
            if "expr" in target:
                found.append(Query(f"{name}/{panel['title']}/{target['refId']}", target["expr"], target["legendFormat"], target["instant"], panel))
    for annotation in dashboard["annotations"]["list"]:
        found.append(Query(f"{name}/annotation/{annotation['name']}", annotation["expr"], annotation["titleFormat"] + annotation["textFormat"]))
    return found


def built_in(start: float, end: float) -> dict[str, str]:
    """What Grafana itself knows of a time range."""
    seconds = round(end - start)
    return {"__range": f"{seconds}s", "__range_s": str(seconds), "__interval": "15s", "__rate_interval": "20s", "trace": "4bf92f3577b34da6a3ce929d0e0e4736"}


def shown(series: dict) -> str:
    """A result of an instant query as Grafana's query_result() shows it to a variable's regex."""
    labels = ",".join(f'{key}="{value}"' for key, value in series["metric"].items() if key != "__name__")
    moment, value = series["value"]
    return f"{series['metric'].get('__name__', '')}{{{labels}}} {value} {round(moment * 1000)}"


def options(variable: dict, prometheus: stack.Prometheus, values: dict[str, str], end: float) -> list[str]:
    """What a variable offers: the first group of its regex in each result, each once, in order."""
    query = fill(variable["query"]["query"], values)
    if inner := re.fullmatch(r"query_result\((.*)\)", query, re.S):
        texts = [shown(series) for series in prometheus.query(inner[1], end)]
    elif inner := re.fullmatch(r"label_values\((.*), *(\w+)\)", query):
        texts = sorted({series[inner[2]] for series in prometheus.api("series", **{"match[]": inner[1]}) if inner[2] in series})
    else:
        raise ValueError(f"{variable['name']}: neither query_result nor label_values: {query}")
    if variable["regex"]:
        pattern = re.compile(variable["regex"].strip("/"))
        texts = [match[1] for text in texts if (match := pattern.search(text))]
    return sorted(set(texts))


def resolve(dashboard: dict, prometheus: stack.Prometheus, start: float, end: float, chosen: dict[str, str]) -> dict[str, str]:
    """All variables. As in Grafana one keeps the value it was given where it is offered, and else takes the first."""
    values = built_in(start, end)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "datasource":
            continue
        if variable["type"] == "textbox":
            values[variable["name"]] = chosen.get(variable["name"], "")
            continue
        if variable["multi"]:
            values[variable["name"]] = variable["allValue"]
            continue
        offered = options(variable, prometheus, values, end)
        wanted = chosen.get(variable["name"], variable["current"]["value"])
        values[variable["name"]] = wanted if wanted in offered else offered[0] if offered else ""
    return values
