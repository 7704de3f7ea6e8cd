"""One request's trace. An exemplar's link leads here: viewers may not use Explore."""

from grafana import Panel, Row, TextVariable, dashboard

JAEGER = {"type": "jaeger", "uid": "jaeger"}

ROWS = [
    Row("", [
        Panel(
            "Trace", "The spans of one request, from the gateway to the model. Open it by a dot in \"Spans by name\" on \"The function\".", [],
            "No trace with this id: the store keeps the newest only, and a tenth of the requests is traced.", kind="traces", unit="none", datasource=JAEGER,
            targets=[{"datasource": JAEGER, "query": "$trace", "refId": "A"}],
        ),
    ], height=18),
]

DASHBOARD = dashboard("nv-micro-trace", "Trace", "The spans of one request.", ROWS, [TextVariable("trace", "Trace id")], [], time_from="now-6h")
