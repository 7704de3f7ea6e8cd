"""docs/metrics.md, made from what the running function says about itself in /metrics.

    PROMETHEUS=… python3 observability/checks/metrics_table.py     # write it anew
"""

import os
import re
import sys
from pathlib import Path

import stack

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = REPOSITORY / "docs" / "metrics.md"
# Labels whose values are a closed set of this service's own, worth listing.
CLOSED_SETS = {"stage", "state", "phase"}
HEAD = """# Metrics of the function

Made from the running function's `GET /metrics` by `make metrics-table`; a test compares it. Names
follow OpenTelemetry's semantic conventions where they have one, written as Prometheus has them.
Prometheus adds `namespace`, `pod`, `node` and `variant` when it scrapes
(`observability/prometheus/prometheus.yaml`).

There is no OpenMetrics, and so there are no exemplars in a scrape: the SDK that records the metrics
(opentelemetry_sdk 0.33) leaves the exemplars of every data point empty, and the `prometheus` crate
(0.14) writes the text format 0.0.4 only. `GET /metrics` answers with that whatever `Accept` says,
which Prometheus reads. A trace is found by the `traceparent` of the answer or the `trace_id` of the
log.

| metric | type | labels | what |
| --- | --- | --- | --- |
"""


def table(exposition: str) -> str:
    """One row a family, in the order of the names."""
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", exposition, re.M))
    rows = []
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.M):
        series = re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{(.*)\}} \S+$", exposition, re.M)
        labels: dict[str, set[str]] = {}
        for text in series:
            for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text):
                labels.setdefault(label, set()).add(value)
        labels.pop("le", None)
        shown = [f"`{label}`" + (f" ({', '.join(sorted(values))})" if label in CLOSED_SETS else "") for label, values in sorted(labels.items())]
        rows.append(f"| `{name}` | {kind} | {', '.join(shown)} | {helps.get(name, '')} |")
    return "\n".join(sorted(rows)) + "\n"


def document(exposition: str) -> str:
    return HEAD + table(exposition)


def main() -> None:
    from conftest import put_load_on

    binary = os.environ.get("EYE_STATE", str(REPOSITORY / "target" / "release" / "eye-state"))
    with stack.scratch() as folder, stack.function(binary, folder, MAX_CONCURRENCY="1", QUEUE_CAPACITY="1") as function:
        put_load_on(function)
        exposition = stack.get(f"http://{function}/metrics").decode()
    DOCUMENT.write_text(document(exposition))
    print(f"{DOCUMENT.relative_to(REPOSITORY)}: {exposition.count('# TYPE')} metrics", file=sys.stderr)


if __name__ == "__main__":
    main()
