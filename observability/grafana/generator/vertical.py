"""What the VPA recommends, what the pods request, and what they use."""

from grafana import RUN, Annotation, Panel, Query, Row, dashboard

OF = 'variant="k8s-autoscalers", container="eye-state"'
RECOMMENDED = "kube_customresource_verticalpodautoscaler_status_recommendation_containerrecommendations_"


def bounds(resource: str, usage: str, unit: str, title: str) -> Panel:
    queries = [Query(f'max({RECOMMENDED}{bound}{{{OF}, resource="{resource}"}})', name) for name, bound in [("upper bound", "upperbound"), ("target", "target"), ("target without bounds", "uncappedtarget"), ("lower bound", "lowerbound")]]
    queries += [
        Query(f'max(kube_pod_container_resource_requests{{{OF}, resource="{resource}"}})', "requested (largest pod)"),
        Query(f'min(kube_pod_container_resource_requests{{{OF}, resource="{resource}"}})', "requested (smallest pod)"),
        Query(f'max(kube_pod_container_resource_limits{{{OF}, resource="{resource}"}})', "limit"),
        Query(usage, "used (largest pod)"),
    ]
    return Panel(
        title, "The VPA moves a pod whose request lies outside lower and upper bound, towards the target. Target without bounds: what it would want but for minAllowed and maxAllowed.",
        queries, unit=unit, dashed=[".*bound", "target without bounds", "limit"],
        colours={"target": "#d62728", "used.*": "#2ca02c", "requested.*": "#1f77b4", ".*bound": "#7f7f7f", "limit": "#000000", "target without bounds": "#ff9896"},
    )


ROWS = [
    Row("CPU", [bounds("cpu", f"max(sum by (pod) (rate(container_cpu_usage_seconds_total{{{OF}}}[$__rate_interval])))", "none", "CPU cores: recommended, requested, used")], height=10),
    Row("Memory", [bounds("memory", f"max(container_memory_working_set_bytes{{{OF}}})", "bytes", "Memory: recommended, requested, used")], height=10),
    Row("Moves", [
        Panel("Resizes and evictions", "Pods that the updater resized in place, evicted, or failed to resize, since the updater's start.", [
            Query("sum(vpa_updater_in_place_updated_pods_total) or vector(0)", "resized in place"),
            Query("sum(vpa_updater_evicted_pods_total) or vector(0)", "evicted"),
            Query("sum(vpa_updater_failed_in_place_update_attempts_total) or vector(0)", "failed to resize"),
        ], decimals=0),
        Panel("The function follows", "CPU limit of each pod against the inferences that the function runs at once: after a resize in place it uses what it was given, without a restart.", [
            Query(f'sum by (pod) (kube_pod_container_resource_limits{{{OF}, resource="cpu"}})', "CPU limit {{pod}}"),
            Query('sum by (pod) (eye_state_inference_limit{variant="k8s-autoscalers"})', "inferences at once {{pod}}"),
        ], dashed=["CPU limit.*"]),
        Panel("Restarts", "Restarts of the function's container. A resize in place causes none.", [
            Query(f"sum by (pod) (kube_pod_container_status_restarts_total{{{OF}}})", "{{pod}}"),
        ], decimals=0),
        Panel("Updater's loop", "Mean time of one round of the updater, and of the recommender.", [
            Query("sum by (component) (rate(vpa_updater_execution_latency_seconds_sum[5m])) / sum by (component) (rate(vpa_updater_execution_latency_seconds_count[5m])) >= 0", "{{component}}"),
            Query("sum by (component) (rate(vpa_recommender_execution_latency_seconds_sum[5m])) / sum by (component) (rate(vpa_recommender_execution_latency_seconds_count[5m])) >= 0", "{{component}}"),
        ], unit="s"),
    ], columns=2),
]

ANNOTATIONS = [Annotation("In-place resizes", "sum(increase(vpa_updater_in_place_updated_pods_total[15s])) > 0", "VPA", "the VPA resized pods in place", "#17becf")]

DASHBOARD = dashboard(
    "nv-micro-vertical", "Vertical", "VPA recommendation bounds against requests and usage.",
    ROWS, [RUN], ANNOTATIONS, time_from="now-1h",
)
