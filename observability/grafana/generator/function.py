"""What goes on inside the function: stages, queue, verdicts, start. Works without a cluster too."""

from grafana import RUN, Panel, Query, Row, Variable, dashboard

VARIANT = Variable("variant", "Variant", "label_values(eye_state_build_info, variant)", "", multi=True)
# The function alone, for one or both variants.
OF = 'variant=~"$variant"'
CLASSIFY = f'{OF}, http_route="/classify"'
STAGES = ["queue", "decode", "preprocess", "inference", "postprocess"]
STAGE_COLOURS = dict(zip(STAGES, ["#d62728", "#9467bd", "#8c564b", "#1f77b4", "#17becf"]))


def quantile(q: float, by: str, histogram: str) -> str:
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({histogram}[$__rate_interval]))) >= 0"


ROWS = [
    Row("Requests", [
        Panel("Requests by status", "Classification requests a second, by HTTP status.", [
            Query(f"sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count{{{CLASSIFY}}}[$__rate_interval]))", "{{http_response_status_code}}"),
        ], unit="reqps", stacked=True),
        Panel("Request duration", "From the request's head to the answer, of requests answered with a result.", [
            Query(quantile(q, "variant", f'http_server_request_duration_seconds_bucket{{{CLASSIFY}, http_response_status_code="200"}}'), f"p{q * 100:g} {{{{variant}}}}") for q in (0.5, 0.9, 0.99)
        ], unit="s"),
        Panel("Rejected", "Requests a second answered with an error, by reason. overloaded: the queue was full (429). deadline-exceeded: waited too long and was not computed (504).", [
            Query(f"sum by (reason) (rate(eye_state_rejected_total{{{OF}}}[$__rate_interval]))", "{{reason}}"),
        ], unit="reqps", stacked=True),
    ]),
    Row("Stages", [
        Panel("Mean time by stage", "Where a classification's time goes. Stacked: the height is the mean of the whole.", [
            Query(f'sum(rate(eye_state_stage_duration_seconds_sum{{{OF}, stage="{stage}"}}[$__rate_interval])) / sum(rate(eye_state_stage_duration_seconds_count{{{OF}, stage="{stage}"}}[$__rate_interval]))', stage) for stage in STAGES
        ], unit="s", stacked=True, colours=STAGE_COLOURS),
        Panel("99th percentile by stage", "The slow end of each stage.", [
            Query(quantile(0.99, "stage", f"eye_state_stage_duration_seconds_bucket{{{OF}}}"), "{{stage}}"),
        ], unit="s", colours=STAGE_COLOURS),
        Panel("Spans by name, with traces", "99th percentile of the function's spans as the trace collector saw them. Each dot is a request: its link opens the trace. Empty without a collector.", [
            Query('histogram_quantile(0.99, sum by (span_name, le) (rate(traces_span_metrics_duration_seconds_bucket{service_name="eye-state"}[$__rate_interval]))) >= 0', "{{span_name}}", exemplar=True),
        ], unit="s"),
    ]),
    Row("Concurrency", [
        Panel("In flight and limit", "Requests being handled, their average over time, and how many inferences may run at once (the CPU allotment, as the VPA may have changed it).", [
            Query(f"sum by (variant) (eye_state_requests_in_flight{{{OF}}})", "in flight {{variant}}"),
            Query(f"sum by (variant) (rate(eye_state_concurrency_seconds_total{{{OF}}}[$__rate_interval]))", "average {{variant}}"),
            Query(f"sum by (variant) (eye_state_inference_limit{{{OF}}})", "limit {{variant}}"),
        ], dashed=["limit.*"]),
        Panel("Queue", "Requests waiting for an inference thread, by pod.", [
            Query(f"eye_state_queue_depth{{{OF}}}", "{{variant}} {{pod}}"),
        ]),
        Panel("Open HTTP requests", "Everything that is being answered, probes and scrapes included.", [
            Query(f"sum by (variant) (http_server_active_requests{{{OF}}})", "{{variant}}"),
        ]),
    ]),
    Row("Answers", [
        Panel("Verdicts", "Images a second, by state.", [
            Query(f"sum by (state) (rate(eye_state_results_total{{{OF}}}[$__rate_interval]))", "{{state}}"),
        ], unit="cps", stacked=True, colours={"open": "#d62728", "closed": "#1f77b4", "no_eyes": "#7f7f7f"}),
        Panel("Share of open eyes", "Of all images in which eyes were found.", [
            Query(f'sum by (variant) (rate(eye_state_results_total{{{OF}, state="open"}}[$__rate_interval])) / sum by (variant) (rate(eye_state_results_total{{{OF}, state=~"open|closed"}}[$__rate_interval])) >= 0', "{{variant}}"),
        ], unit="percentunit"),
    ]),
    Row("Process", [
        Panel("Start-up by phase", "Seconds of each pod's start. process: until main; weights: taking them from the binary; warmup: the first inference; ready: all of it, from the exec.", [
            Query(f"max by (variant, phase) (eye_state_startup_duration_seconds{{{OF}}})", "{{phase}} {{variant}}"),
        ], unit="s"),
        Panel("CPU", "Cores used by the process, by pod.", [
            Query(f"sum by (variant, pod) (rate(process_cpu_time_seconds_total{{{OF}}}[$__rate_interval]))", "{{variant}} {{pod}}"),
        ], unit="none"),
        Panel("Memory", "Resident memory of the process, by pod.", [
            Query(f"process_memory_usage_bytes{{{OF}}}", "{{variant}} {{pod}}"),
        ], unit="bytes"),
        Panel("Age and build", "How long each process has been up; in its name, what it is.", [
            Query(f"process_uptime_seconds{{{OF}}} * on (instance, variant) group_left (version, model_name, model_version) eye_state_build_info{{{OF}}}", "{{version}}, {{model_name}} {{model_version}}, {{pod}}"),
        ], unit="s"),
    ], columns=4),
]

DASHBOARD = dashboard(
    "nv-micro-function", "The function", "Inside the function: requests, stages, queue, verdicts, start.",
    ROWS, [RUN, VARIANT], [],
)
