#!/usr/bin/env python3
"""Prints the pods that an autoscaler wanted in each block of a campaign, as charts for `comparison draw`.

    python3 comparison/campaigns/pods.py CAMPAIGN | target/release/comparison draw > docs/comparison/CAMPAIGN.svg

The picture of `quota` is docs/comparison/quota-period.svg.
"""

import json
import sys
from pathlib import Path

# `each` is what has a chart of its own: `draw` has three kinds of line.
CAMPAIGNS = {
    "quota": {
        "title": "Pods that the KPA wants under a constant load, by the period of the CPU quota",
        "runs": "steady-knative",
        "each": "block",
        "arms": {
            "defaults": "10 ms",
            "defaults+cfs-100ms": "100 ms",
            "defaults+utilization-35": "10 ms, half the utilization (blocks 1 to 3)",
        },
    },
    "steady-ablations": {
        "title": "Pods that the KPA wants under a constant load, with one condition changed",
        "runs": "steady-knative",
        "each": "arm",
        "arms": {
            "defaults": "Quota in periods of 10 ms",
            "defaults+cfs-20ms": "Quota in periods of 20 ms",
            "defaults+no-limit": "No CPU limit",
            "defaults+tbc-0": "10 ms, burst capacity 0 (no activator)",
        },
    },
    "steady-cfs-5ms": {
        "title": "Pods that the KPA wants under a constant load, by the CPU that the kubelet gives a pod",
        "runs": "steady-knative",
        "each": "arm",
        "arms": {"defaults": "1.5 ms in 10 ms: 150m", "defaults+cfs-5ms": "1 ms in 5 ms: 200m"},
    },
    "spike-once-ablations": {
        "title": "Pods that the HPA wants at a spike of a minute, with one condition changed",
        "runs": "spike-once-k8s-autoscalers",
        "each": "arm",
        "arms": {
            "defaults": "HPA + VPA, every 15 s",
            "defaults+vpa-floor": "HPA + VPA, no pod smaller than 150m",
            "hpa": "HPA, every 15 s",
            "hpa+hpa-sync-5s": "HPA, every 5 s",
            "hpa+hpa-sync-2s": "HPA, every 2 s",
        },
    },
    "trace": {
        "title": "Pods that the autoscalers want in six stretches of a real trace",
        "runs": "azure-llm-code",
        "each": "block",
        "arms": {"knative-defaults": "KPA", "k8s-autoscalers-defaults": "HPA + VPA", "k8s-autoscalers-keda": "KEDA"},
    },
    "steady-requests": {
        "title": "Pods that the KPA wants under a constant load, with another limit, period or request of CPU",
        "runs": "steady-knative",
        "each": "arm",
        "arms": {
            "defaults": "Limit 150m, 10 ms",
            "defaults+limit-200m": "Limit 200m, 10 ms",
            "defaults+limit-200m+cfs-5ms": "Limit 200m, 5 ms",
            "defaults+cfs-100ms": "Limit 150m, 100 ms",
            "defaults+cfs-100ms+requests-75m": "Limit 150m, 100 ms, requests 75m",
        },
    },
}


def wanted(run: dict | None) -> tuple[list[tuple[float, float]], float]:
    """The steps of one run, none if it was not recorded, and its length."""
    if run is None:
        return [], 0.0
    seconds = run["draw"]["rate"][-1][0]
    pods = [(at, pods) for at, pods in run["recording"]["desired"] if at < seconds]
    before = [count for at, count in pods if at <= 0.0] or [0.0]
    last = pods[-1][1] if pods else before[-1]
    return [(0.0, before[-1]), *(point for point in pods if point[0] > 0.0), (seconds, last)], seconds


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in CAMPAIGNS:
        sys.exit(f"name a campaign: {', '.join(CAMPAIGNS)}")
    name, campaign = sys.argv[1], CAMPAIGNS[sys.argv[1]]
    # By the name of the arm and of the block: one of them is a chart, the other a line in it.
    runs = {
        frozenset((label, f"Block {path.stem.rsplit('-', 1)[1]}")): json.loads(path.read_text())
        for arm, label in campaign["arms"].items()
        for path in (Path(__file__).parent / name).glob(f"{campaign['runs']}-{arm}-[0-9]*.json")
    }
    recorded = {label for run in runs for label in run}
    arms = [label for label in campaign["arms"].values() if label in recorded]
    blocks = sorted(recorded.difference(arms), key=lambda block: int(block.split()[1]))
    titles, names = (blocks, arms) if campaign["each"] == "block" else (arms, blocks)
    charts = []
    for title in titles:
        lines, seconds = zip(*(wanted(runs.get(frozenset((title, line)))) for line in names))
        charts.append(
            {"title": title, "unit": "", "seconds": max(seconds), "mark": None, "stepped": True, "lines": lines}
        )
    # One scenario, unstretched, in all runs of a campaign.
    draw = next(iter(runs.values()))["draw"]
    counted = "seconds {:.0f} to {:.0f} are counted".format(*draw["counted"])
    steps = "".join(f", the rate steps up at {at:.0f}" for at in draw["steps_up"])
    json.dump(
        {
            "title": campaign["title"],
            "source": f"comparison/campaigns/{name}; {counted}{steps}",
            "names": names,
            "columns": 3,
            "charts": charts,
        },
        sys.stdout,
    )


main()
