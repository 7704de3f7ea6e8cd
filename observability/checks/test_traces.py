"""A request's trace: the function continues its caller's, has one child per stage, and sends it by OTLP."""

import gzip
import http.server
import json
import os
import threading
import time
import urllib.request

import pytest
import stack
from conftest import REPOSITORY, SAMPLES
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # W3C Trace Context's own example
UNTRACED = "0af7651916cd43dd8448eb211c80319c"
STAGES = {"queue", "decode", "preprocess", "inference", "postprocess"}


class Receiver(http.server.ThreadingHTTPServer):
    """As much of a collector as a test needs: POST /v1/traces, protobuf, perhaps gzipped."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _ReceiverHandler)
        self.resources, self.spans, self.answered = [], [], {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _ReceiverHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces", self.path
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resources.append({item.key: item.value.string_value for item in resource_spans.resource.attributes})
            self.server.spans += [span for scope in resource_spans.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def exported():
    """What arrived of two requests, of which one caller wanted a trace. The function flushes when it ends."""
    receiver = Receiver()
    binary = os.environ.get("EYE_STATE", str(REPOSITORY / "target" / "release" / "eye-state"))
    endpoint = f"http://127.0.0.1:{receiver.server_address[1]}"
    with stack.scratch() as folder, stack.function(binary, folder, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, DRAIN_DELAY_MS="0") as function:
        for trace, flags in (UNTRACED, "00"), (TRACE, "01"):
            request = urllib.request.Request(f"http://{function}/classify", (SAMPLES / "open.jpg").read_bytes(), {"Content-Type": "image/jpeg", "traceparent": f"00-{trace}-{CALLER}-{flags}"})
            with urllib.request.urlopen(request, timeout=stack.PATIENCE_S) as answer:
                receiver.answered[trace] = answer.headers.get("traceparent")
    for _ in range(50):
        if receiver.spans:
            break
        time.sleep(0.1)
    receiver.shutdown()
    return receiver


def test_the_request_goes_on_with_its_callers_trace(exported):
    (request,) = [span for span in exported.spans if span.parent_span_id.hex() == CALLER]
    assert request.trace_id.hex() == TRACE
    attributes = {item.key: item.value for item in request.attributes}
    assert attributes["http.route"].string_value == "/classify"
    assert request.kind == request.SPAN_KIND_SERVER


def test_a_request_whose_caller_decided_against_a_trace_has_none(exported):
    assert {span.trace_id.hex() for span in exported.spans} == {TRACE}
    assert exported.answered[UNTRACED] is None
    assert TRACE in exported.answered[TRACE]


def test_the_status_is_a_number(exported):
    (request,) = [span for span in exported.spans if span.parent_span_id.hex() == CALLER]
    attributes = {item.key: item.value for item in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200


def test_each_stage_is_a_child_within_the_requests_time(exported):
    (request,) = [span for span in exported.spans if span.parent_span_id.hex() == CALLER]
    children = {span.name: span for span in exported.spans if span.parent_span_id == request.span_id}
    assert children.keys() == STAGES
    for span in children.values():
        assert request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= request.end_time_unix_nano


def test_the_sender_says_who_it_is(exported):
    """trace-collector's span metrics, and so the dashboard, go by service.name."""
    assert {resource["service.name"] for resource in exported.resources} == {"eye-state"}


def test_prometheus_has_the_traces_of_slow_and_fast_requests(observed):
    """Scraped as OpenMetrics, buckets of the request's duration name the trace of one of their requests."""
    headers = {"Content-Type": "image/jpeg", "traceparent": f"00-{TRACE}-{CALLER}-01"}
    request = urllib.request.Request(f"http://{observed.function}/classify", (SAMPLES / "open.jpg").read_bytes(), headers)
    urllib.request.urlopen(request, timeout=stack.PATIENCE_S).close()
    found = []
    for _ in range(stack.PATIENCE_S):
        answer = stack.get(f"http://{observed.prometheus.address}/api/v1/query_exemplars", query="http_server_request_duration_seconds_bucket", start=str(observed.start), end=str(time.time()))
        found = json.loads(answer)["data"]
        if found:
            break
        time.sleep(1)
    assert {series["seriesLabels"]["http_route"] for series in found} == {"/classify"}
    (labels,) = {tuple(sorted(exemplar["labels"].items())) for series in found for exemplar in series["exemplars"]}
    assert labels == (("span_id", CALLER), ("trace_id", TRACE))
