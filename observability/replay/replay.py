"""make replay: recorded runs of the comparison as a Prometheus to look into, without a cluster.

    python3 observability/replay/replay.py --prometheus … --promtool … [--results folder] [--scenario spike]

The results files become blocks of Prometheus; Grafana, where it is installed, shows them side by side.
"""

import argparse
import signal
import subprocess
import sys
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

import arms
import openmetrics

ROOM = Path(__file__).parents[1]
sys.path.insert(0, str(ROOM / "checks"))

import dashboards  # noqa: E402
import stack  # noqa: E402

RESULTS = ROOM.parent / "comparison" / "results"


def blocks(promtool: str, runs: list[openmetrics.Run], folder: Path) -> Path:
    """Writes the runs as blocks that a Prometheus can start on; gives their folder."""
    text, data = folder / "runs.om", folder / "blocks"
    with text.open("w") as output:
        output.writelines(openmetrics.write(runs))
    made = subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)], capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"promtool does not take the runs:\n{made.stderr[-2000:]}")
    text.unlink()
    return data


def partners(runs: list[openmetrics.Run]) -> list[tuple[openmetrics.Run, openmetrics.Run]]:
    """Runs that belong together: of arms that are compared with each other, of one scenario and repeat, in the order of arms.toml."""
    of = {(run.variant, run.results["configuration"], run.scenario, run.results["repeat"]): run for run in runs}
    found = []
    for pair in arms.PAIRS:
        lefts = [(key[2:], run) for key, run in sorted(of.items()) if key[:2] == (pair.left.variant, pair.left.configuration)]
        rights = [of.get((pair.right.variant, pair.right.configuration, *rest)) for rest, _ in lefts]
        found += [(left, right) for (_, left), right in zip(lefts, rights) if right]
    return found


def chosen_pair(runs: list[openmetrics.Run], scenario: str) -> tuple[openmetrics.Run, openmetrics.Run] | None:
    """The first pair of the scenario; of all where there is none of it."""
    pairs = partners(runs)
    return next((pair for pair in pairs if pair[0].results["scenario"] == scenario), pairs[0] if pairs else None)


def variables(left: openmetrics.Run, right: openmetrics.Run) -> dict[str, str]:
    return {"scenario": left.scenario, "left": left.name, "right": right.name}


def moments(left: openmetrics.Run, right: openmetrics.Run) -> tuple[float, float]:
    """From where to where a pair is looked at: the left run's own time, onto which the right one is moved."""
    return left.start.timestamp(), max(left.end.timestamp(), left.start.timestamp() + right.observed)


def link(base: str, left: openmetrics.Run, right: openmetrics.Run) -> str:
    """Where the dashboard shows the pair. Nothing changes any more: it need not refresh."""
    parameters = dict(zip(("from", "to"), (round(moment * 1000) for moment in moments(left, right))))
    parameters |= {f"var-{name}": value for name, value in variables(left, right).items()}
    return f"{base}/d/nv-micro-side-by-side?{urllib.parse.urlencode(parameters)}&refresh="


def verdict(prometheus: stack.Prometheus, start: float, end: float, chosen: dict[str, str]) -> dict[str, dict[str, tuple[float, str]]]:
    """The first row of the dashboard, by its own queries: for each panel its numbers by name, each with its unit."""
    dashboard = dashboards.load("side-by-side")
    values = dashboards.resolve(dashboard, prometheus, start, end, chosen)
    rows = {}
    for panel in dashboards.panels(dashboard):
        if panel["type"] != "stat":
            continue
        units = {override["matcher"]["options"]: setting["value"] for override in panel["fieldConfig"]["overrides"] for setting in override["properties"] if setting["id"] == "unit"}
        row = rows[dashboards.fill(panel["title"], values)] = {}
        for target in panel["targets"]:
            if found := prometheus.query(dashboards.fill(target["expr"], values), end):
                row[target["legendFormat"]] = (float(found[0]["value"][1]), units[target["refId"]])
    return rows


def shown(value: float, unit: str) -> str:
    """A number as the dashboard writes it."""
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "short":
        return f"{value:.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" + (" s" if unit == "s" else "")


def table(rows: dict[str, dict[str, tuple[float, str]]]) -> str:
    """The first row as text, a line a side."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["", *names]] + [[title, *(shown(*row[name]) if name in row else "-" for name in names)] for title, row in rows.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names) + 1)]
    return "\n".join("  " + "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))) for line in lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--prometheus", required=True, help="Prometheus' binary")
    arguments.add_argument("--promtool", required=True, help="promtool's binary")
    arguments.add_argument("--results", type=Path, default=RESULTS, help="folder with results files")
    arguments.add_argument("--scenario", default="spike", help="the pair to link to")
    arguments.add_argument("--prometheus-port", type=int, default=9090)
    arguments.add_argument("--grafana-port", type=int, default=3000)
    given = arguments.parse_args()
    # SIGTERM ends the program like Control-C: leaving the blocks below stops everything.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    try:
        runs = openmetrics.read_folder(given.results)
    except openmetrics.NotAResult as error:
        raise SystemExit(str(error)) from error
    with ExitStack() as running:
        folder = running.enter_context(stack.scratch())
        prometheus = running.enter_context(stack.archive(given.prometheus, blocks(given.promtool, runs, folder), folder, given.prometheus_port))
        pairs = partners(runs)
        print(f"{len(runs)} runs, {len(pairs)} pairs, {min(run.start for run in runs):%Y-%m-%d %H:%M} to {max(run.end for run in runs):%Y-%m-%d %H:%M} UTC")
        lacks: dict[str, list[str]] = {}
        for run in runs:
            for what in openmetrics.lacking(run):
                lacks.setdefault(what, []).append(run.name)
        for what, names in lacks.items():
            print(f"  not in {names[0] if len(names) == 1 else f'{len(names)} of {len(runs)} files'}: {what}")
        print(f"prometheus  http://{prometheus.address}/")
        pair = chosen_pair(runs, given.scenario)
        binary = stack.grafana_binary()
        if binary:
            running.enter_context(stack.grafana(binary, folder, given.grafana_port, prometheus.address))
            base = f"http://127.0.0.1:{given.grafana_port}"
        else:
            base = "http://127.0.0.1:3000"
            print("grafana     not installed: put grafana or grafana-server on the PATH, or import observability/grafana/dashboards/*.json into yours, with this Prometheus as a data source")
        if pair:
            print(f"{'the pair' if binary else 'there then'}  {link(base, *pair)}")
            print(table(verdict(prometheus, *moments(*pair), variables(*pair))))
        else:
            print("no two runs of both variants belong together: the dashboard shows one side")
        print("Ctrl-C ends everything.", flush=True)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
