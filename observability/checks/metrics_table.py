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

`Accept: application/openmetrics-text; version=1.0.0`, which Prometheus sends, is answered as
[OpenMetrics 1.0](https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md);
everyone else gets the text format 0.0.4. The series are the same. Only the bounds of buckets are
spelled as OpenMetrics demands (`le="1.0"` for `le="1"`, `le="1e-05"` for `le="0.00001"`);
Prometheus 3 stores both alike, earlier versions do not. `eye_state_build_info` and `target_info`
are of type info there.

In OpenMetrics each bucket of `http_server_request_duration_seconds` has an exemplar: `trace_id` and
`span_id` of the last sampled request that fell into it. That is the request's own span where the
function exports traces, and else its caller's, where `traceparent` says that it was sampled.
Requests without a sampled trace leave no exemplar. Prometheus keeps them with
`--enable-feature=exemplar-storage`.

A request whose client goes away before its answer has the label `error_type` (`client-went-away`)
in the place of `http_response_status_code`.

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
