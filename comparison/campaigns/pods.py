#!/usr/bin/env python3
"""Prints the pods that the KPA wanted in each block of a campaign of `steady`, as charts for `comparison draw`.

    python3 comparison/campaigns/pods.py quota | target/release/comparison draw > docs/comparison/quota-period.svg
    python3 comparison/campaigns/pods.py steady-ablations | target/release/comparison draw > docs/comparison/steady-ablations.svg
"""

import json
import sys
from pathlib import Path

CAMPAIGNS = {
    "quota": {
        "by": "by the period of the CPU quota",
        "each": "block",
        "arms": {
            "defaults": "10 ms",
            "defaults+cfs-100ms": "100 ms",
            "defaults+utilization-35": "10 ms, half the utilization (blocks 1 to 3)",
        },
    },
    "steady-ablations": {
        "by": "with one condition changed",
        "each": "arm",
        "arms": {
            "defaults+cfs-5ms": "Quota in periods of 5 ms",
            "defaults": "Quota in periods of 10 ms",
            "defaults+cfs-20ms": "Quota in periods of 20 ms",
            "defaults+no-limit": "No CPU limit",
            "defaults+tbc-0": "10 ms, burst capacity 0 (no activator)",
        },
    },
}


def wanted(path: Path) -> tuple[list[tuple[float, float]], float]:
    """The steps of one run, none if it was not recorded, and its length."""
    if not path.exists():
        return [], 0.0
    run = json.loads(path.read_text())
    seconds = run["draw"]["rate"][-1][0]
    pods = [(at, pods) for at, pods in run["recording"]["desired"] if at < seconds]
    before = [count for at, count in pods if at <= 0.0] or [0.0]
    last = pods[-1][1] if pods else before[-1]
    return [(0.0, before[-1]), *(point for point in pods if point[0] > 0.0), (seconds, last)], seconds


def charts(folder: Path, arms: dict[str, str], blocks: list[int], each: str) -> tuple[list[str], list[dict]]:
    """The names of the lines, and a chart for each block or each arm: `draw` has three kinds of line."""
    names = {"block": list(arms.values()), "arm": [f"Block {block}" for block in blocks]}[each]
    made = []
    for chart in blocks if each == "block" else arms:
        runs = [(arm, chart) for arm in arms] if each == "block" else [(chart, block) for block in blocks]
        lines, seconds = zip(*(wanted(folder / f"steady-knative-{arm}-{block}.json") for arm, block in runs))
        title = f"Block {chart}" if each == "block" else arms[chart]
        made.append({"title": title, "unit": "", "seconds": max(seconds), "mark": None, "stepped": True, "lines": lines})
    return names, made


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in CAMPAIGNS:
        sys.exit(f"name a campaign: {', '.join(CAMPAIGNS)}")
    name, campaign = sys.argv[1], CAMPAIGNS[sys.argv[1]]
    folder = Path(__file__).parent / name
    recorded = {arm: sorted(folder.glob(f"steady-knative-{arm}-[0-9]*.json")) for arm in campaign["arms"]}
    arms = {arm: label for arm, label in campaign["arms"].items() if recorded[arm]}
    blocks = sorted(int(path.stem.rsplit("-", 1)[1]) for path in recorded["defaults"])
    names, made = charts(folder, arms, blocks, campaign["each"])
    json.dump(
        {
            "title": f"Pods that the KPA wants under a constant load, {campaign['by']}",
            "source": f"comparison/campaigns/{name}; seconds 120 to 300 are counted",
            "names": names,
            "columns": 3,
            "charts": made,
        },
        sys.stdout,
    )


main()
