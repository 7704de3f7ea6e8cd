"""Records what the components of a real cluster expose, for the tests of the queries.

    python3 observability/checks/record.py --kubectl kubectl --every 20 --moments 6

Run it while load starts: the first moment should be at rest, later ones should see a panic, an HPA's and
a VPA's move. Only the families that rules and dashboards read are kept, and only labels that they need.
"""

import argparse
import json
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "recordings"

# What is kept of each job. A family that a rule or dashboard newly reads has to be added here.
FAMILIES = {
    "queue-proxy": r"kn_serving_(invocation_duration_seconds|queue_depth).*",
    "knative": r"kn_revision_(pods_desired|panic_mode|capacity_excess|concurrency_\w+|request_\w+).*",
    "gateway": r"envoy_cluster_upstream_(rq|rq_total|rq_active|rq_pending_failure_eject|rq_pending_overflow|cx_none_healthy|rq_time_.*)",
    "kube-state-metrics": r"kube_(pod_status_(phase|ready|scheduled)|pod_container_resource_(requests|limits)|pod_container_status_(restarts_total|last_terminated_reason)"
    r"|horizontalpodautoscaler_(spec_target_metric|status_desired_replicas|status_condition)|node_status_allocatable|customresource_verticalpodautoscaler_status_.*)",
    "cadvisor": r"container_(cpu_usage_seconds_total|memory_working_set_bytes|cpu_cfs_(throttled_)?periods_total|oom_events_total)",
    "node-exporter": r"node_(cpu_seconds_total|pressure_cpu_waiting_seconds_total|memory_Mem(Available|Total)_bytes|load1|network_(receive|transmit)_bytes_total)",
    "vpa": r"vpa_updater_(in_place_updated_pods_total|evicted_pods_total|failed_in_place_update_attempts_total|execution_latency_seconds_(sum|count))|vpa_recommender_execution_latency_seconds_(sum|count)",
}
# Series of these namespaces and of these clusters of Envoy are the two variants and their platform.
WANTED = re.compile(r'namespace="(eye-state|knative-serving|kube-system|monitoring)"|envoy_cluster_name="eye-state/|k8s_namespace_name="eye-state"')
# Addresses, identifiers and paths of the machine recorded on; nothing reads them.
UNWANTED_LABELS = re.compile(r'(?<=[{,])(id|image|name|uid|container_id|instance|otel_scope_\w+|server_\w+)="(?:[^"\\]|\\.)*",?')


@dataclass
class Target:
    job: str
    path: str  # for kubectl get --raw, or a URL
    labels: dict[str, str]
    version: str
    moments: list[str] = field(default_factory=list)


def trim(job: str, exposition: str) -> str:
    """Only what is read, without timestamps: Prometheus takes its own."""
    kept, wanted_family = [], re.compile(FAMILIES[job])
    for line in exposition.splitlines():
        if line.startswith("# TYPE"):
            name = line.split()[2]
            if wanted_family.fullmatch(name) or wanted_family.fullmatch(f"{name}_bucket") or wanted_family.fullmatch(f"{name}_sum"):
                kept.append(line)
        elif not line.startswith("#") and (match := re.match(r"([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)", line)):
            name, labels, value = match[1], match[2] or "", match[3]
            global_job = job in ("node-exporter", "vpa", "queue-proxy") or name.startswith("kube_node_")
            if wanted_family.fullmatch(name) and (global_job or WANTED.search(labels)) and not (job == "cadvisor" and 'container=""' in labels):
                kept.append(f"{name}{UNWANTED_LABELS.sub('', labels).replace(',}', '}')} {value}")
    return "\n".join(kept) + "\n"


class Cluster:
    def __init__(self, kubectl: str):
        self.kubectl = kubectl.split()

    def raw(self, path: str) -> str:
        if path.startswith("http"):
            with urllib.request.urlopen(path, timeout=10) as reply:
                return reply.read().decode()
        return subprocess.run([*self.kubectl, "get", "--raw", path], capture_output=True, text=True, check=True).stdout

    def pods(self) -> list[dict]:
        return json.loads(self.raw("/api/v1/pods"))["items"]

    def targets(self, nodes: list[str], node_exporter: str) -> dict[str, Target]:
        """Every target of now, with the labels that prometheus.yaml's relabelling gives it."""
        found = {}
        for pod in self.pods():
            if pod["status"].get("phase") != "Running":
                continue
            meta, labels = pod["metadata"], pod["metadata"].get("labels", {})
            where, app = {"namespace": meta["namespace"], "pod": meta["name"]}, labels.get("app", "")
            proxy = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}:{{}}/proxy{{}}"
            image = pod["spec"]["containers"][-1]["image"].rsplit("/", 1)[-1].split("@")[0]
            if meta["namespace"] == "eye-state" and any(container["name"] == "queue-proxy" for container in pod["spec"]["containers"]):
                found[f"queue-proxy-{meta['name']}"] = Target("queue-proxy", proxy.format(9091, "/metrics"), where | {"variant": "knative"}, image)
            elif meta["namespace"] == "knative-serving" and app in ("activator", "autoscaler"):
                found[f"knative-{app}"] = Target("knative", proxy.format(9090, "/metrics"), where, image)
            elif app == "3scale-kourier-gateway":
                found["gateway"] = Target("gateway", proxy.format(9000, "/stats/prometheus"), where, image)
            elif labels.get("app.kubernetes.io/name") == "kube-state-metrics":
                found["kube-state-metrics"] = Target("kube-state-metrics", proxy.format(8080, "/metrics"), {}, image)
            elif app in ("vpa-recommender", "vpa-updater"):
                port = 8942 if app == "vpa-recommender" else 8943
                found[app] = Target("vpa", proxy.format(port, "/metrics"), {"component": app}, image)
        kubelet = json.loads(self.raw("/version"))["gitVersion"]
        for node in nodes:
            found[f"cadvisor-{node}"] = Target("cadvisor", f"/api/v1/nodes/{node}/proxy/metrics/cadvisor", {"node": node}, f"kubelet {kubelet}")
        if node_exporter:
            version = re.search(r'node_exporter_build_info\{.*version="([^"]*)"', self.raw(node_exporter))
            found["node-exporter"] = Target("node-exporter", node_exporter, {"node": nodes[0]}, f"node-exporter {version[1] if version else '?'}")
        return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kubectl", default="kubectl")
    arguments.add_argument("--node-exporter", default="", help="its URL, where it is no pod")
    arguments.add_argument("--every", type=float, default=20, help="seconds between two moments")
    arguments.add_argument("--moments", type=int, default=6)
    given = arguments.parse_args()
    cluster = Cluster(given.kubectl)
    nodes = [node["metadata"]["name"] for node in json.loads(cluster.raw("/api/v1/nodes"))["items"]]
    recorded: dict[str, Target] = {}
    for moment in range(given.moments):
        began = time.monotonic()
        for name, target in cluster.targets(nodes, given.node_exporter).items():
            target = recorded.setdefault(name, target)
            # A target that was not there before exposed nothing before.
            target.moments += [""] * (moment - len(target.moments))
            try:
                target.moments.append(trim(target.job, cluster.raw(target.path)))
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"{name}: {error}")
        print(f"moment {moment + 1} of {given.moments}: {len(recorded)} targets")
        time.sleep(max(0.0, given.every - (time.monotonic() - began)))
    FOLDER.mkdir(exist_ok=True)
    for name, target in recorded.items():
        target.moments += [""] * (given.moments - len(target.moments))
        head = f"# job: {target.job}\n# labels: {json.dumps(target.labels)}\n# version: {target.version}\n# recorded: {time.strftime('%Y-%m-%d')}\n"
        (FOLDER / f"{name}.prom").write_text(head + "".join(f"# moment\n{text}" for text in target.moments))


if __name__ == "__main__":
    main()
