"""Records what the components of a real cluster expose, for the tests of the queries.

    python3 observability/checks/record.py --prometheus http://localhost:9090 --versions "Kubernetes 1.36.2, …" \\
        --at 2026-11-22T10:46:00Z 2026-11-22T10:47:00Z …

Reads from a Prometheus that runs with this room's configuration, so the moments can be chosen afterwards:
the first at rest, later ones with a panic, with moves of the HPA and the VPA. Only the families that rules and
dashboards read are kept. What Prometheus adds to a series by relabelling is left out: it is added again when
the recording is scraped.
"""

import argparse
import re
from datetime import datetime
from pathlib import Path

import stack

# What is kept of each job. A family that a rule or dashboard newly reads has to be added here.
FAMILIES = {
    "queue-proxy": r"kn_serving_(invocation_duration_seconds_\w+|queue_depth)",
    "knative": r"kn_revision_(pods_desired|panic_mode|capacity_excess|concurrency_\w+|request_\w+)",
    "gateway": r"envoy_cluster_upstream_(rq|rq_total|rq_active|rq_timeout|rq_pending_failure_eject|rq_pending_overflow|cx_none_healthy|rq_time_\w+)",
    "kube-state-metrics": r"kube_(deployment_spec_replicas|pod_status_(phase|ready|scheduled)|pod_container_resource_(requests|limits)"
    r"|pod_container_status_(restarts_total|last_terminated_reason)|node_status_allocatable"
    r"|horizontalpodautoscaler_(spec_target_metric|status_desired_replicas|status_condition)|customresource_verticalpodautoscaler_status_\w+)",
    "kubelet": r"container_(cpu_usage_seconds_total|memory_working_set_bytes)",
    "cadvisor": r"container_(cpu_cfs_(throttled_)?periods_total|oom_events_total)",
    "node-exporter": r"node_(cpu_seconds_total|memory_Mem(Available|Total)_bytes|load1|network_(receive|transmit)_bytes_total)",
    "vpa": r"vpa_updater_(in_place_updated_pods_total|evicted_pods_total|failed_in_place_update_attempts_total|execution_latency_seconds_(sum|count))"
    r"|vpa_recommender_execution_latency_seconds_(sum|count)",
    "trace-collector": r"traces_span_metrics_duration_seconds_\w+",
}
# The two variants and what belongs to them; other people's pods are not recorded.
NAMESPACES = "eye-state|keda|knative-serving|kourier-system|kube-system|monitoring|"
PODS = "eye-state-.+|activator-.+|autoscaler-.+|vpa-.+|prometheus-adapter-.+|keda-.+|3scale-.+|"
# Added by Prometheus, or identifiers of the machine recorded on that nothing reads.
UNWANTED = {"__name__", "collector_instance_id", "job", "instance", "role", "id", "image", "name", "uid"}
ADDED_BY_RELABELLING = {"variant"}
# Node names are removed: they identify the recorder's machines.
NODE = "node-1"


def families(prometheus: stack.Prometheus, job: str) -> dict[str, str]:
    """Names and types, those without a series too."""
    wanted = re.compile(FAMILIES[job])
    suffixes = ("", "_bucket", "_sum", "_count")
    metadata = prometheus.api("metadata").items()
    return {name: about[0]["type"] for name, about in metadata if any(wanted.fullmatch(name + suffix) for suffix in suffixes)}


def moment(prometheus: stack.Prometheus, job: str, at: float, types: dict[str, str]) -> str:
    """The job's exposition as it was then."""
    unwanted = UNWANTED if job == "queue-proxy" else UNWANTED | ADDED_BY_RELABELLING
    lines: dict[str, dict[str, str]] = {name: {} for name in sorted(types)}
    whose = 'service_name="eye-state"' if job in stack.PUSHED else f'job="{job}", namespace=~"{NAMESPACES}", pod=~"{PODS}"'
    for series in prometheus.query(f"{{__name__=~`{FAMILIES[job]}`, {whose}}}", at):
        name = series["metric"]["__name__"]
        family = name if name in types else re.sub("_(bucket|sum|count)$", "", name)
        labels = {key: NODE if key == "node" else value for key, value in sorted(series["metric"].items()) if key not in unwanted}
        shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
        lines.setdefault(family, {})[f"{name}{{{shown}}}"] = series["value"][1]
    text = ""
    for family, series in lines.items():
        text += f"# TYPE {family} {types[family]}\n" if family in types else ""
        text += "".join(f"{key} {value}\n" for key, value in series.items())
    return text


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--prometheus", required=True)
    arguments.add_argument("--versions", required=True, help="what it was recorded on, in words")
    arguments.add_argument("--at", nargs="+", required=True, type=datetime.fromisoformat)
    arguments.add_argument("--jobs", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    given = arguments.parse_args()
    prometheus = stack.Prometheus(given.prometheus.removeprefix("http://"))
    stack.RECORDINGS.mkdir(exist_ok=True)
    for job in given.jobs:
        types = families(prometheus, job)
        moments = [moment(prometheus, job, at.timestamp(), types) for at in given.at]
        counts = [sum(not line.startswith("#") for line in text.splitlines()) for text in moments]
        print(f"{job}: series at each moment {counts}")
        if any(counts):
            head = f"# job: {job}\n# versions: {given.versions}\n# recorded: {given.at[0]:%Y-%m-%d}\n"
            Path(stack.RECORDINGS / f"{job}.prom").write_text(head + "".join(f"# moment\n{text}" for text in moments))


if __name__ == "__main__":
    main()
