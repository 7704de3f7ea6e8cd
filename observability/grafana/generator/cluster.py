"""The nodes and their load: whether a result is due to autoscaling or to a full machine."""

from grafana import BY_VARIANT, COLOURS, GREY, KUBELET_STEP, LIMIT, NAMES, RUN, Panel, Query, Row, dashboard, during_run

EMPTY = "No node was scraped in this time range: node-exporter and kube-state-metrics come with make observability"
NOT_RECORDED = "No sample in this time range, or the run is a recorded one: this is not in results files"
CORES = 'count by (node) (node_cpu_seconds_total{mode="idle"})'
# A pod that is done keeps its requests in the API and holds nothing on its node. Recorded runs have
# no phases: there every pod counts.
REQUESTED = 'kube_pod_container_resource_requests{resource="cpu"} unless on (namespace, pod) (kube_pod_status_phase{phase=~"Failed|Succeeded"} == 1)'


def by_role(series: str) -> list[Query]:
    return [Query(f'{series}{{variant="{variant}"}}', f"{name} {{{{role}}}}") for variant, name in NAMES.items()]


def named(expr: str) -> str:
    """Unscheduled pods have an empty node name."""
    return f'label_replace({expr}, "node", "not scheduled", "node", "")'


def of_both(expr: str, legend: str = "") -> list[Query]:
    return [Query(expr.replace("VARIANT", f'variant="{variant}"'), f"{name}{legend}") for variant, name in NAMES.items()]


ROWS = [
    Row("Alerts", [
        Panel("Firing", "Firing alerts over time; Prometheus' page Alerts says what to do about each.", [
            Query('max by (alertname, variant, severity) (ALERTS{alertstate="firing"})', "{{severity}}: {{alertname}} {{variant}}"),
        ], "No alert has fired in this time range", kind="state-timeline", colours={"critical.*": "#d62728", "warning.*": "#e0a800", "info.*": "#1f77b4"}, options={
            "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.8,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []}, "tooltip": {"mode": "single", "sort": "none"},
        }),
    ], height=5),
    Row("Nodes", [
        Panel("CPU used", "Share of each node's CPU time that is not idle. Near 100 %, latencies on these dashboards are due to the node, not to the autoscaler.", [
            Query("node:eye_state_cpu_busy:ratio30s", "{{node}}"),
        ], EMPTY, unit="percentunit", at_least=1),
        Panel("CPU stolen", "Share of each node's CPU time that the hypervisor gave to other virtual machines, for reasons outside of this cluster.", [
            Query('avg by (node) (rate(node_cpu_seconds_total{mode="steal"}[$__rate_interval]))', "{{node}}"),
        ], NOT_RECORDED, unit="percentunit", at_least=0.1),
        Panel("Memory used", "Share of each node's memory that is not available.", [
            Query("1 - sum by (node) (node_memory_MemAvailable_bytes) / sum by (node) (node_memory_MemTotal_bytes)", "{{node}}"),
        ], NOT_RECORDED, unit="percentunit", at_least=1),
        Panel("Load average and cores", "Running and runnable tasks, over one minute. Above the number of cores, some of them wait.", [
            Query("sum by (node) (node_load1)", "load {{node}}"),
            Query(CORES, "cores {{node}}"),
        ], NOT_RECORDED, dashed=["cores.*"], colours={"cores.*": LIMIT}),
        Panel("CPU requested and allocatable", "Cores requested by all pods that are not done, against the node's allocatable cores: the rest decides whether a new pod stays Pending. Not scheduled: pods that wait for a node.", [
            Query(named(f"sum by (node) ({REQUESTED})"), "requested {{node}}"),
            Query('sum by (node) (kube_node_status_allocatable{resource="cpu"})', "allocatable {{node}}"),
        ], EMPTY, unit="none", dashed=["allocatable.*"], colours={"allocatable.*": LIMIT}),
        Panel("Network", "Bytes a second received and sent, without loopback.", [
            Query('sum by (node) (rate(node_network_receive_bytes_total{device!="lo"}[$__rate_interval]))', "received {{node}}"),
            Query('sum by (node) (rate(node_network_transmit_bytes_total{device!="lo"}[$__rate_interval]))', "sent {{node}}"),
        ], NOT_RECORDED, unit="Bps", dashed=["sent.*"]),
    ], columns=3),
    Row("What autoscaling itself costs", [
        Panel("CPU by variant and role", "Cores used: the function's pods with their sidecars, and, dashed, the platform components that only this variant needs. Those that are installed are counted, also while the settings of the moment do not use them: VPA, adapter and KEDA.", by_role("variant_role:eye_state_cpu_cores_used:rate1m"),
              NOT_RECORDED, unit="none", colours=BY_VARIANT, dashed=[".*platform"], at_least=0.1),
        Panel("Memory by variant and role", "Working set, counted the same way.", by_role("variant_role:eye_state_memory_bytes_used:sum"), NOT_RECORDED, unit="bytes", colours=BY_VARIANT, dashed=[".*platform"]),
        Panel("CPU of the sidecars", "Cores used by queue-proxy, in all of Knative's pods.", [
            Query('sum(rate(container_cpu_usage_seconds_total{variant="knative", container="queue-proxy"}[$__rate_interval]))', "queue-proxy", min_step=KUBELET_STEP),
        ], NOT_RECORDED, unit="none", colours={"queue-proxy": COLOURS["knative"]}, at_least=0.01),
        Panel("Time at the sidecars", "How long queue-proxy takes with the function behind it: 99th percentile.", [
            Query("histogram_quantile(0.99, sum by (le) (rate(kn_serving_invocation_duration_seconds_bucket[$__rate_interval]))) >= 0", "p99 at queue-proxy"),
        ], "No request passed queue-proxy in this time range, or the run is a recorded one: this is not in results files", unit="s", colours={"p99.*": COLOURS["knative"]}),
    ], columns=4),
    Row("Pods", [
        Panel("Throttled", "Share of scheduling periods in which a container, or its pod, hit its CPU limit: the worst of each variant. Pods without a limit have none.", [
            Query('max by (variant) (rate(container_cpu_cfs_throttled_periods_total{variant!="", role="function"}[$__rate_interval]) / rate(container_cpu_cfs_periods_total{variant!="", role="function"}[$__rate_interval])) >= 0', "{{variant}}", min_step=KUBELET_STEP),
        ], NOT_RECORDED, unit="percentunit", colours=BY_VARIANT, at_least=1),
        Panel("Pods by phase", "Pods of both variants; dashed: Pending. Pending for long: the node is full.", of_both('sum by (phase) (kube_pod_status_phase{VARIANT, role="function", phase=~"Pending|Running|Failed"}) > 0', " {{phase}}"),
              NOT_RECORDED, decimals=0, colours=BY_VARIANT, dashed=[".*Pending"], dotted=[".*Failed"], at_least=1),
        Panel("Concurrency at Knative", "Requests in the activator, and the averages that the KPA scales on: over its stable and over its panic window.", [
            Query('sum(kn_revision_request_concurrency{variant="knative"})', "in the activator"),
            Query('max(kn_revision_concurrency_stable{variant="knative"})', "stable window"),
            Query('max(kn_revision_concurrency_panic{variant="knative"})', "panic window"),
        ], NOT_RECORDED, colours={"in the activator": GREY, "stable window": "#1f77b4", "panic window": "#d62728"}, at_least=1),
        Panel("Burst capacity left", "Below zero the activator stays in the path.", [
            Query('max(kn_revision_capacity_excess{variant="knative"})', "excess burst capacity"),
        ], NOT_RECORDED, colours={"excess.*": COLOURS["knative"]}, overrides=[{"matcher": {"id": "byName", "options": "excess burst capacity"}, "properties": [{"id": "min", "value": None}]}]),
    ], columns=4),
]

DASHBOARD = dashboard(
    "nv-micro-cluster", "Cluster", "Alerts, nodes, pods and the cost of autoscaling itself.",
    during_run(ROWS), [RUN], [],
)
