"""What the VPA recommends, what the pods request, and what they use."""

from grafana import GREY, KUBELET_STEP, LIMIT, RUN, Annotation, Panel, Query, Row, dashboard, during_run, short_pod

OF = 'variant="k8s-autoscalers", container="eye-state"'
RECOMMENDED = "kube_customresource_verticalpodautoscaler_status_recommendation_containerrecommendations_"
EMPTY = "No VPA and no pod of HPA + VPA in this time range, or no kube-state-metrics (make observability)"
MARK = "Resizes in place"


def bounds(resource: str, usage: str, unit: str, title: str, recorded: str) -> Panel:
    queries = [Query(f'max({RECOMMENDED}{bound}{{{OF}, resource="{resource}"}})', name) for name, bound in [("lower bound", "lowerbound"), ("upper bound", "upperbound"), ("target", "target"), ("target without bounds", "uncappedtarget")]]
    queries += [
        Query(f'max(kube_pod_container_resource_requests{{{OF}, resource="{resource}"}})', "requested (largest pod)"),
        Query(f'min(kube_pod_container_resource_requests{{{OF}, resource="{resource}"}})', "requested (smallest pod)"),
        Query(f'max(kube_pod_container_resource_limits{{{OF}, resource="{resource}"}})', "limit"),
        Query(usage, "used (largest pod)", min_step=KUBELET_STEP if "rate(" in usage else ""),
    ]
    return Panel(
        title, f"The VPA changes the request of a pod outside the grey band between lower and upper bound towards the target. Target without bounds: the target before minAllowed and maxAllowed. {recorded}",
        queries, EMPTY, unit=unit, marks=(MARK,), dashed=["limit"], dotted=["target without bounds", "lower bound", "requested .smallest.*"],
        colours={"lower bound": "#b0b0b0", "upper bound": GREY, "target": "#d62728", "target without bounds": "#ff9896", "requested.*": "#1f77b4", "used.*": "#2ca02c", "limit": LIMIT},
        # The band between the bounds: told apart by what lies between them.
        overrides=[{"matcher": {"id": "byName", "options": "upper bound"}, "properties": [{"id": "custom.fillBelowTo", "value": "lower bound"}, {"id": "custom.fillOpacity", "value": 15}, {"id": "custom.lineWidth", "value": 1}]}],
    )


def moved(counter: str, name: str) -> Query:
    return Query(f"sum(increase({counter}[$__rate_interval])) > 0", name)


ROWS = [
    Row("", [bounds("cpu", f"max(sum by (pod) (rate(container_cpu_usage_seconds_total{{{OF}}}[$__rate_interval])))", "none", "CPU cores: recommended, requested, used", "Recorded runs: target and requests.")], height=10),
    Row("", [bounds("memory", f"max(container_memory_working_set_bytes{{{OF}}})", "bytes", "Memory: recommended, requested, used", "Recorded runs: requests.")], height=10),
    Row("What the VPA did", [
        Panel("Moves", "Pods that the updater resized in place, evicted, or failed to resize, in each interval.", [
            moved("vpa_updater_in_place_updated_pods_total", "resized in place"),
            moved("vpa_updater_evicted_pods_total", "evicted"),
            moved("vpa_updater_failed_in_place_update_attempts_total", "failed to resize"),
        ], "The VPA moved no pod in this time range", bars=True, decimals=0, at_least=1, calcs=("sum",), colours={"resized in place": "#17becf", "evicted": "#e0a800", "failed to resize": "#d62728"}),
        Panel("The function follows", "CPU limit of each pod against the inferences that the function runs at once: after a resize in place it adapts without a restart.", [
            Query(short_pod(f'sum by (pod) (kube_pod_container_resource_limits{{{OF}, resource="cpu"}})'), "CPU limit {{pod}}"),
            Query(short_pod('sum by (pod) (eye_state_inference_limit{variant="k8s-autoscalers"})'), "inferences at once {{pod}}"),
        ], EMPTY, dashed=["CPU limit.*"], at_least=1),
        Panel("Restarts", "Restarts of the function's container since its pod began. A resize in place causes none.", [
            Query(short_pod(f"sum by (pod) (kube_pod_container_status_restarts_total{{{OF}}})"), "{{pod}}"),
        ], EMPTY, decimals=0, at_least=1),
        Panel("Time of one round", "Of the updater and of the recommender, mean over five minutes.", [
            Query("sum by (component) (rate(vpa_updater_execution_latency_seconds_sum[5m])) / sum by (component) (rate(vpa_updater_execution_latency_seconds_count[5m])) >= 0", "{{component}}"),
            Query("sum by (component) (rate(vpa_recommender_execution_latency_seconds_sum[5m])) / sum by (component) (rate(vpa_recommender_execution_latency_seconds_count[5m])) >= 0", "{{component}}"),
        ], "The VPA's parts have not been scraped in this time range", unit="s"),
    ], columns=2),
]

ANNOTATIONS = [Annotation(MARK, "sum(increase(vpa_updater_in_place_updated_pods_total[15s])) > 0", "VPA", "the VPA resized pods in place", "#17becf")]

DASHBOARD = dashboard(
    "nv-micro-vertical", "Vertical", "VPA recommendation bounds against requests and usage.",
    during_run(ROWS), [RUN], ANNOTATIONS, time_from="now-1h",
)
