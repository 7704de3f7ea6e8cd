"""make picture: the overlay of "Side by side" as an SVG, for documents and talks.

    python3 observability/replay/picture.py --prometheus … --promtool … --comparison … --scenario spike > picture.svg

No Grafana is needed: the dashboard's own queries are asked of the replayed runs, and the comparison's report draws
what comes back.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import openmetrics
import replay

sys.path.insert(0, str(replay.ROOM / "checks"))

import dashboards  # noqa: E402
import stack  # noqa: E402

# Grafana's names of units, as the report's charts write them.
UNITS = {"reqps": "per second", "short": "", "s": "seconds"}
COLUMNS = 2


def charts(prometheus: stack.Prometheus, left: openmetrics.Run, right: openmetrics.Run) -> list[dict]:
    """The overlay's panels, each with a line a variant by the seconds since its run began."""
    dashboard = dashboards.load("side-by-side")
    start, end = left.start.timestamp(), left.end.timestamp()
    values = dashboards.resolve(dashboard, prometheus, start, end, replay.variables(left, right))
    drawn = []
    for panel in dashboard["panels"]:
        if panel["type"] != "trend":
            continue
        lines = []
        for target in panel["targets"][:2]:
            series = prometheus.query_range(dashboards.fill(target["expr"], values), start, end)
            lines.append([(moment - start, float(value)) for moment, value in series[0]["values"]] if series else [])
        defaults = panel["fieldConfig"]["defaults"]
        thresholds = defaults.get("thresholds", {"steps": []})["steps"]
        unit = defaults["unit"].removeprefix("suffix: ")
        drawn.append({
            "title": panel["title"], "unit": UNITS.get(unit, unit), "seconds": end - start, "stepped": True, "lines": lines,
            "mark": next((step["value"] for step in thresholds if step["value"] is not None), None),
        })
    return drawn


def picture(prometheus: stack.Prometheus, left: openmetrics.Run, right: openmetrics.Run) -> dict:
    facts, kind = left.results["environment"], "simulated" if left.simulated else "measured"
    where = f" on {facts['Hardware'].split(';')[0]}" if "Hardware" in facts else ""
    return {
        "title": f"{left.name} and {right.name}",
        "names": [left.arm, right.arm],
        "source": f"{kind} {left.start:%Y-%m-%d}{where}; queries of \"Side by side\" over the replayed runs",
        "columns": COLUMNS,
        "charts": charts(prometheus, left, right),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--prometheus", required=True, help="Prometheus' binary")
    arguments.add_argument("--promtool", required=True, help="promtool's binary")
    arguments.add_argument("--comparison", required=True, help="the comparison's binary, which draws")
    arguments.add_argument("--results", type=Path, default=replay.RESULTS, help="folder with results files")
    arguments.add_argument("--scenario", default="spike", help="the pair to draw")
    given = arguments.parse_args()
    try:
        runs = openmetrics.read_folder(given.results)
    except openmetrics.NotAResult as error:
        raise SystemExit(str(error)) from error
    pair = replay.chosen_pair(runs, given.scenario)
    if not pair:
        raise SystemExit(f"no two runs of both variants belong together in {given.results}")
    with stack.scratch() as folder, stack.archive(given.prometheus, replay.blocks(given.promtool, list(pair), folder), folder) as prometheus:
        asked = json.dumps(picture(prometheus, *pair))
    subprocess.run([given.comparison, "draw"], input=asked, text=True, check=True)


if __name__ == "__main__":
    main()
