"""Inside the function: stages, queue, verdicts, start. Works without a cluster too."""

from grafana import BY_VARIANT, LIMIT, RUN, Panel, Query, Row, Variable, dashboard, during_run, short_pod

VARIANT = Variable("variant", "Variant", "label_values(eye_state_build_info, variant)", "", multi=True)
# The function alone, for one or both variants.
OF = 'variant=~"$variant"'
CLASSIFY = f'{OF}, http_route="/classify"'
STAGES = ["queue", "decode", "preprocess", "inference", "postprocess"]
STAGE_COLOURS = dict(zip(STAGES, ["#d62728", "#9467bd", "#8c564b", "#1f77b4", "#17becf"]))
# Answered; refused on purpose; the sender's fault; the function's fault.
STATUS_COLOURS = {"2..": "#2ca02c", "(429|503)": "#e0a800", "4..": "#9467bd", "5..": "#d62728"}
EMPTY = "The function has not been scraped in this time range"
NOT_RECORDED = EMPTY + ", or the run is a recorded one: this is not in results files"


def quantile(q: float, by: str, histogram: str) -> str:
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({histogram}[$__rate_interval]))) >= 0"


ROWS = [
    Row("Requests", [
        Panel("By status", "Classification requests a second, by HTTP status. Green: answered. Yellow: refused (429 full, 503 draining). Violet: the client's error. Red: failed.", [
            Query(f"sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count{{{CLASSIFY}}}[$__rate_interval]))", "{{http_response_status_code}}"),
        ], NOT_RECORDED, unit="reqps", stacked=True, colours=STATUS_COLOURS, at_least=1),
        Panel("Duration", "From the request's head to the answer, of requests answered with a result. Each dot is a traced request: its link opens the trace.", [
            Query(quantile(q, "variant", f'http_server_request_duration_seconds_bucket{{{CLASSIFY}, http_response_status_code="200"}}'), f"p{q * 100:g} {{{{variant}}}}", exemplar=q == 0.99) for q in (0.5, 0.9, 0.99)
        ], NOT_RECORDED, unit="s", colours=BY_VARIANT, dashed=["p90.*"], dotted=["p50.*"]),
        Panel("Rejected by reason", "Requests a second answered with an error. overloaded: the queue was full (429). deadline-exceeded: waited too long and was not computed (504).", [
            Query(f"sum by (reason) (rate(eye_state_rejected_total{{{OF}}}[$__rate_interval]))", "{{reason}}"),
        ], "No request was rejected in this time range", unit="reqps", stacked=True, at_least=1),
    ]),
    Row("Where the time goes", [
        Panel("Mean by stage", "The time of a classification by stage. Stacked: the height is the mean of the whole.", [
            Query(f'sum(rate(eye_state_stage_duration_seconds_sum{{{OF}, stage="{stage}"}}[$__rate_interval])) / sum(rate(eye_state_stage_duration_seconds_count{{{OF}, stage="{stage}"}}[$__rate_interval])) >= 0', stage) for stage in STAGES
        ], NOT_RECORDED, unit="s", stacked=True, colours=STAGE_COLOURS),
        Panel("99th percentile by stage", "The slow end of each stage.", [
            Query(quantile(0.99, "stage", f"eye_state_stage_duration_seconds_bucket{{{OF}}}"), "{{stage}}"),
        ], NOT_RECORDED, unit="s", colours=STAGE_COLOURS),
        Panel("Spans by name", "99th percentile of the function's spans as the trace collector saw them. Each dot is a request: its link opens the trace.", [
            Query('histogram_quantile(0.99, sum by (span_name, le) (rate(traces_span_metrics_duration_seconds_bucket{service_name="eye-state"}[$__rate_interval]))) >= 0', "{{span_name}}", exemplar=True),
        ], "No spans: no trace collector is deployed (make observability), or no request was traced", unit="s"),
    ]),
    Row("Concurrency", [
        Panel("In flight and limit", "Classifications being handled, queued ones included, averaged over time; and how many may be computed at once (the CPU allotment, as the VPA may have changed it).", [
            Query(f"sum by (variant) (rate(eye_state_concurrency_seconds_total{{{OF}}}[$__rate_interval]))", "in flight {{variant}}"),
            Query(f"sum by (variant) (eye_state_inference_limit{{{OF}}})", "limit {{variant}}"),
        ], NOT_RECORDED, colours=BY_VARIANT | {"limit.*": LIMIT}, dashed=["limit.*"], at_least=1),
        Panel("In flight by pod", "Averaged over time. If the lines diverge, the balancing is uneven.", [
            Query(short_pod(f"sum by (variant, pod) (rate(eye_state_concurrency_seconds_total{{{OF}}}[$__rate_interval]))"), "{{pod}}"),
        ], NOT_RECORDED, at_least=1),
        Panel("Queue by pod", "Requests waiting for an inference thread.", [
            Query(short_pod(f"max by (variant, pod) (eye_state_queue_depth{{{OF}}})"), "{{pod}}"),
        ], NOT_RECORDED, at_least=1),
    ]),
    Row("Answers", [
        Panel("Verdicts", "Images a second, by state.", [
            Query(f"sum by (state) (rate(eye_state_results_total{{{OF}}}[$__rate_interval]))", "{{state}}"),
        ], "No image was classified in this time range, or the run is a recorded one: this is not in results files", unit="cps", stacked=True, colours={"open": "#d62728", "closed": "#1f77b4", "no_eyes": "#7f7f7f"}, at_least=1),
        Panel("Share of open eyes", "Of all images in which eyes were found.", [
            Query(f'sum by (variant) (rate(eye_state_results_total{{{OF}, state="open"}}[$__rate_interval])) / sum by (variant) (rate(eye_state_results_total{{{OF}, state=~"open|closed"}}[$__rate_interval])) >= 0', "{{variant}}"),
        ], "No eyes were found in this time range, or the run is a recorded one: this is not in results files", unit="percentunit", colours=BY_VARIANT, at_least=1),
    ]),
    Row("Process", [
        Panel("CPU by pod", "Cores used by the process.", [
            Query(short_pod(f"sum by (variant, pod) (rate(process_cpu_time_seconds_total{{{OF}}}[$__rate_interval]))"), "{{pod}}"),
        ], NOT_RECORDED, unit="none", at_least=0.1),
        Panel("Memory by pod", "Resident memory of the process.", [
            Query(short_pod(f"max by (variant, pod) (process_memory_usage_bytes{{{OF}}})"), "{{pod}}"),
        ], NOT_RECORDED, unit="bytes"),
        Panel("Start-up", "Seconds of the slowest start in this time range. process: until main; weights: loading them from the binary; warmup: the first inference; ready: all of it, from the exec.", [
            Query(f"max by (variant, phase) (max_over_time(eye_state_startup_duration_seconds{{{OF}}}[$__range]))", "{{phase}} {{variant}}", instant=True),
        ], "No pod started or was scraped in this time range", unit="s", kind="bargauge", decimals=3, colours=BY_VARIANT, options={
            "displayMode": "basic", "orientation": "horizontal", "showUnfilled": False, "valueMode": "text", "namePlacement": "left", "sizing": "auto", "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 300,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []}, "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }),
        Panel("Builds", "The running versions, and the uptime of each process.", [
            Query(f'{short_pod(f"process_uptime_seconds{{{OF}}}")} * on (instance, variant) group_left (version, model_name, model_version) eye_state_build_info{{{OF}}}', "", instant=True, format="table"),
        ], NOT_RECORDED, unit="s", kind="table", decimals=0, transformations=[
            {"id": "organize", "options": {
                "excludeByName": {"Time": True, "instance": True, "job": True, "namespace": True, "node": True},
                "renameByName": {"Value": "up", "model_name": "model", "model_version": "weights"},
                "indexByName": {"variant": 0, "pod": 1, "version": 2, "model_name": 3, "model_version": 4, "Value": 5},
            }},
        ], options={"showHeader": True, "cellHeight": "sm"}),
    ], columns=4, height=8),
]

DASHBOARD = dashboard(
    "nv-micro-function", "The function", "Inside the function: requests, stages, queue, verdicts, start.",
    during_run(ROWS), [RUN, VARIANT], [],
)
