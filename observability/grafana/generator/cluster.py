"""The nodes, and what is on them: whether a result says something about autoscaling or about a full machine."""

from grafana import RUN, Panel, Query, Row, dashboard

ROWS = [
    Row("Nodes", [
        Panel("CPU used", "Share of each node's CPU time that is not idle. Near 100 % every latency on this page is the node's, not the autoscaler's.", [
            Query('1 - avg by (node) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))', "{{node}}"),
        ], unit="percentunit"),
        Panel("CPU stolen", "Share of each node's CPU time that the hypervisor gave to somebody else: nothing on this page can be blamed for that.", [
            Query('avg by (node) (rate(node_cpu_seconds_total{mode="steal"}[$__rate_interval]))', "{{node}}"),
        ], unit="percentunit"),
        Panel("Memory used", "Share of each node's memory that is not available.", [
            Query("1 - sum by (node) (node_memory_MemAvailable_bytes) / sum by (node) (node_memory_MemTotal_bytes)", "{{node}}"),
        ], unit="percentunit"),
        Panel("Load average", "Tasks that run or want to, over one minute.", [
            Query("sum by (node) (node_load1)", "{{node}}"),
        ]),
        Panel("CPU requested and allocatable", "Cores that all pods request, against what the node gives out: what is left decides whether a new pod is Pending.", [
            Query('sum by (node) (kube_pod_container_resource_requests{resource="cpu"})', "requested {{node}}"),
            Query('sum by (node) (kube_node_status_allocatable{resource="cpu"})', "allocatable {{node}}"),
        ], unit="none", dashed=["allocatable.*"]),
        Panel("Network", "Bytes a second received and sent, loopback left out.", [
            Query('sum by (node) (rate(node_network_receive_bytes_total{device!="lo"}[$__rate_interval]))', "received {{node}}"),
            Query('sum by (node) (rate(node_network_transmit_bytes_total{device!="lo"}[$__rate_interval]))', "sent {{node}}"),
        ], unit="Bps"),
    ], columns=3),
    Row("What autoscaling itself costs", [
        Panel("CPU by variant and role", "Cores used: the function's pods with their sidecars, and the platform's parts that only this variant needs.", [
            Query("variant_role:eye_state_cpu_cores_used:rate1m", "{{variant}} {{role}}"),
        ], unit="none"),
        Panel("Memory by variant and role", "Working set, counted the same way.", [
            Query("variant_role:eye_state_memory_bytes_used:sum", "{{variant}} {{role}}"),
        ], unit="bytes"),
        Panel("Sidecars", "CPU used by queue-proxy, and how long it takes around the function (99th percentile).", [
            Query('sum(rate(container_cpu_usage_seconds_total{variant="knative", container="queue-proxy"}[$__rate_interval]))', "queue-proxy, cores"),
            Query("histogram_quantile(0.99, sum by (le) (rate(kn_serving_invocation_duration_seconds_bucket[$__rate_interval]))) >= 0", "p99 at queue-proxy, s"),
        ], unit="none"),
    ]),
    Row("Pods", [
        Panel("Throttled", "Share of scheduling periods in which a container, or its pod, hit its CPU limit: the worst of each variant.", [
            Query('max by (variant) (rate(container_cpu_cfs_throttled_periods_total{variant!="", role="function"}[$__rate_interval]) / rate(container_cpu_cfs_periods_total{variant!="", role="function"}[$__rate_interval])) >= 0', "{{variant}}"),
        ], unit="percentunit"),
        Panel("Pods by phase", "Pods of both variants. Pending for long: no room.", [
            Query('sum by (variant, phase) (kube_pod_status_phase{variant!="", role="function"}) > 0', "{{variant}} {{phase}}"),
        ], decimals=0),
        Panel("Held by the activator", "Requests that the activator holds or passes on, and the burst capacity that is left: below zero the activator stays in the path.", [
            Query('sum(kn_revision_request_concurrency{variant="knative"})', "concurrency in the activator"),
            Query('max(kn_revision_capacity_excess{variant="knative"})', "excess burst capacity"),
            Query('max(kn_revision_concurrency_stable{variant="knative"})', "stable window"),
            Query('max(kn_revision_concurrency_panic{variant="knative"})', "panic window"),
        ]),
    ]),
]

DASHBOARD = dashboard(
    "nv-micro-cluster", "Cluster", "Nodes, pods and what autoscaling itself costs.",
    ROWS, [RUN], [],
)
