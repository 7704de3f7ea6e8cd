#!/usr/bin/env python3
"""Prints the pods that the KPA wanted in each block of this campaign, as charts for `comparison draw`.

    python3 comparison/campaigns/quota/pods.py | target/release/comparison draw > docs/comparison/quota-period.svg
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ARMS = {
    "defaults": "10 ms",
    "defaults+cfs-100ms": "100 ms",
    "defaults+utilization-35": "10 ms, half the utilization (blocks 1 to 3)",
}


def wanted(configuration: str, repeat: int) -> tuple[list[tuple[float, float]], float]:
    """The steps of one run, none if it was not recorded, and its length."""
    path = FOLDER / f"steady-knative-{configuration}-{repeat}.json"
    if not path.exists():
        return [], 0.0
    run = json.loads(path.read_text())
    seconds = run["draw"]["rate"][-1][0]
    pods = [(at, pods) for at, pods in run["recording"]["desired"] if at < seconds]
    before = [count for at, count in pods if at <= 0.0] or [0.0]
    return [(0.0, before[-1]), *(point for point in pods if point[0] > 0.0), (seconds, pods[-1][1])], seconds


def chart(repeat: int) -> dict:
    lines, seconds = zip(*(wanted(configuration, repeat) for configuration in ARMS))
    return {
        "title": f"Block {repeat}",
        "unit": "",
        "seconds": seconds[0],
        "mark": None,
        "stepped": True,
        "lines": lines,
    }


repeats = sorted(int(path.stem.rsplit("-", 1)[1]) for path in FOLDER.glob("steady-knative-defaults-*.json"))
json.dump(
    {
        "title": "Pods that the KPA wants under a constant load, by the period of the CPU quota",
        "source": "comparison/campaigns/quota; seconds 120 to 300 are counted",
        "names": list(ARMS.values()),
        "columns": 3,
        "charts": [chart(repeat) for repeat in repeats],
    },
    sys.stdout,
)
