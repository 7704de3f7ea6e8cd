#!/usr/bin/env python3
"""Independent clients against the function, with checks of their results.

    python function/tests/foreign.py target/release/eye-state function/samples

Starts the binary and speaks to it with NVIDIA's tritonclient, KServe's Python SDK and the official SDK of
CloudEvents, reads its metrics with the parsers of Prometheus' Python client, validates its OpenAPI document, and has
schemathesis look for answers outside of it. Prints a line for
each case and exits with 1 if one went wrong. What is right is what `POST /classify` answers.
"""

import asyncio
import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import tritonclient.http as triton
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig
from openapi_spec_validator import validate
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from tritonclient.utils import InferenceServerException

binary, samples = sys.argv[1], Path(sys.argv[2])
failures = 0

OPEN, CLOSED = 0, 1
CONTRACT_EXAMPLES = 40  # requests an operation and phase: ten seconds in all


@contextlib.contextmanager
def function(**variables):
    env = {"HOST": "127.0.0.1", "PORT": "0", "RUST_LOG": "info", **variables}
    process = subprocess.Popen([binary], env=env, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        entry = json.loads(line)
        if entry.get("message") == "ready":
            break
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield "127.0.0.1:" + entry["address"].rsplit(":", 1)[1]
    finally:
        process.terminate()
        process.wait()


def case(name, check):
    global failures
    try:
        seen = check()
    except Exception as error:  # a client's exception is a finding
        failures += 1
        print(f"WRONG {name}: {type(error).__name__}: {error}", flush=True)
    else:
        print(f"ok    {name}: {seen}", flush=True)


def right(condition, seen):
    if not condition:
        raise AssertionError(seen)
    return seen


def read(name):
    return (samples / name).read_bytes()


def gray(name):
    """Samples as [1, H, W, 1]."""
    return numpy.asarray(Image.open(io.BytesIO(read(name))).convert("L"))[None, :, :, None]


def classify(address, body):
    request = urllib.request.Request(f"http://{address}/classify", body, {"content-type": "application/octet-stream"})
    return json.load(urllib.request.urlopen(request, timeout=30))


def same(answer, expected):
    """Checks that tensors agree with /classify; `answer` gives a tensor as an array."""
    eyes = expected["eyes"]
    boxes = [[eye["box"][side] for side in ("x", "y", "width", "height")] for eye in eyes]
    ids = [{"open": OPEN, "closed": CLOSED}[eye["state"]] for eye in eyes]
    state = answer("state").reshape(-1)[0]
    state = state.decode() if isinstance(state, bytes) else state
    right(state == expected["state"], state)
    right(numpy.allclose(answer("confidence"), [expected["confidence"]]), answer("confidence"))
    right(answer("boxes").shape == (len(eyes), 4) and numpy.allclose(answer("boxes"), numpy.reshape(boxes, (-1, 4))), answer("boxes"))
    right(numpy.allclose(answer("scores"), [eye["confidence"] for eye in eyes]), answer("scores"))
    right(answer("class_ids").tolist() == ids, answer("class_ids"))
    return f"{state}, {len(eyes)} eyes"


def encoded(name, as_text=False):
    tensor = triton.InferInput("image", [1], "BYTES")
    content = base64.b64encode(read(name)) if as_text else read(name)
    tensor.set_data_from_numpy(numpy.array([content], dtype=object), binary_data=not as_text)
    return [tensor]


def tritonclient_cases(address):
    client = triton.InferenceServerClient(address)
    case("tritonclient, health", lambda: right(client.is_server_live() and client.is_server_ready() and client.is_model_ready("eye-state"), "live and ready"))
    case("tritonclient, an unknown model is not ready", lambda: right(not client.is_model_ready("other"), "not ready"))
    case("tritonclient, server metadata", lambda: right("binary_tensor_data" in client.get_server_metadata()["extensions"], client.get_server_metadata()))
    configuration = client.get_model_config("eye-state")
    case("tritonclient, model configuration", lambda: right(configuration["input"] == [{"name": "image", "data_type": "TYPE_STRING", "dims": [1]}], configuration["input"]))
    metadata = client.get_model_metadata("eye-state-pixels")
    version = metadata["versions"][0]
    case("tritonclient, model metadata", lambda: right(metadata["inputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [1, -1, -1, -1]}], metadata["inputs"]))

    for name in ["open.jpg", "closed.jpg", "covered.jpg"]:
        expected = classify(address, read(name))
        case(f"tritonclient, {name} as bytes", lambda: same(client.infer("eye-state", encoded(name), request_id="7", model_version=version).as_numpy, expected))
        case(f"tritonclient, {name} in base64", lambda: same(client.infer("eye-state", encoded(name, as_text=True)).as_numpy, expected))
        outputs = [triton.InferRequestedOutput(output["name"], binary_data=False) for output in metadata["outputs"]]
        case(f"tritonclient, {name}, outputs in JSON", lambda: same(client.infer("eye-state", encoded(name), outputs=outputs).as_numpy, expected))

        levels = gray(name)
        pgm = b"P5 %d %d 255\n" % (levels.shape[2], levels.shape[1]) + levels.tobytes()
        expected = classify(address, pgm)
        for channels, tensor in [(1, levels), (3, numpy.repeat(levels, 3, axis=3))]:
            pixels = triton.InferInput("pixels", list(tensor.shape), "UINT8")
            pixels.set_data_from_numpy(tensor)
            case(f"tritonclient, {name} as samples of {channels} channels", lambda: same(client.infer("eye-state-pixels", [pixels]).as_numpy, expected))

    def thresholds():
        answer = client.infer("eye-state", encoded("open.jpg"), parameters={"confidence_threshold": 1.0})
        return right(answer.as_numpy("state")[0] == b"no_eyes" and answer.as_numpy("boxes").shape == (0, 4), answer.get_response())

    case("tritonclient, thresholds as parameters", thresholds)

    def request_id():
        answer = client.infer("eye-state", encoded("open.jpg"), request_id="night-7").get_response()
        return right(answer["id"] == "night-7" and answer["model_version"] == version, answer["id"])

    case("tritonclient, the id comes back", request_id)

    def refused(model, tensors, status, **more):
        try:
            client.infer(model, tensors, **more)
        except InferenceServerException as error:
            return right(error.status() == str(status) and error.message(), f"{error.status()} {error.message()}")
        raise AssertionError("it was answered")

    case("tritonclient, an unknown model", lambda: refused("other", encoded("open.jpg"), 404))
    case("tritonclient, an unknown version", lambda: refused("eye-state", encoded("open.jpg"), 404, model_version="0"))
    case("tritonclient, an unknown output", lambda: refused("eye-state", encoded("open.jpg"), 400, outputs=[triton.InferRequestedOutput("heads")]))
    case("tritonclient, a compressed request", lambda: refused("eye-state", encoded("open.jpg"), 415, request_compression_algorithm="gzip"))
    client.close()


async def kserve_cases(address):
    client, base = InferenceRESTClient(RESTConfig(protocol="v2", retries=0)), f"http://{address}"
    live, ready, model, other = [
        await client.is_server_live(base), await client.is_server_ready(base),
        await client.is_model_ready(base, "eye-state"), await client.is_model_ready(base, "other"),
    ]
    case("kserve, health", lambda: right((live, ready, model, other) == (True, True, True, False), "live and ready"))
    for name in ["open.jpg", "closed.jpg", "covered.jpg"]:
        expected = classify(address, read(name))
        for binary_data, content in [(True, read(name)), (False, base64.b64encode(read(name)))]:
            tensor = InferInput("image", [1], "BYTES")
            tensor.set_data_from_numpy(numpy.array([content], dtype=object), binary_data=binary_data)
            for parameters in [None, {"binary_data_output": True}]:
                request = InferRequest("eye-state", [tensor], request_id="9", parameters=parameters)
                answer = await client.infer(base, request, model_name="eye-state")
                arrays = {output.name: output.as_numpy() for output in answer.outputs}
                how = f"{'bytes' if binary_data else 'base64'} in, {'bytes' if parameters else 'JSON'} out"
                case(f"kserve, {name}, {how}", lambda: right(answer.id == "9", answer.id) and same(arrays.get, expected))
    await client.close()


def crowd(address):
    """Each is answered rightly or refused with 429 in the protocol's own form."""

    def ask(_):
        client = triton.InferenceServerClient(address)
        try:
            return client.infer("eye-state", encoded("open.jpg")).as_numpy("state")[0].decode()
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}"

    with ThreadPoolExecutor(12) as threads:
        seen = Counter(threads.map(ask, range(12)))
    return right(set(seen) == {"open", "429 there is no room for another request now: try again in 1 s"}, dict(seen))


def post(address, headers, body, path="/"):
    request = urllib.request.Request(f"http://{address}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


def cloudevents_cases(address):
    began = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for name in ["open.jpg", "closed.jpg", "covered.jpg"]:
        expected = classify(address, read(name))
        attributes = {
            "type": "nv-micro.frame", "source": "/cameras/3", "id": name, "subject": "bed-3",
            "datacontenttype": "image/jpeg", "traceparent": began,
        }
        # Plain attributes: version 1 of the SDK neither encodes nor decodes others in headers.
        event = CloudEvent(attributes, read(name))
        ids = []
        for mode, write in [("binary", to_binary), ("structured", to_structured)]:
            def check():
                headers, body = write(event)
                headers, body = post(address, headers, body)
                answer = from_http(dict(headers.items()), body)
                right(("ce-id" in headers) == (mode == "binary"), dict(headers))
                right((answer["type"], answer["subject"], answer["traceparent"]) == ("nv-micro.eye-state", "bed-3", began), answer)
                data = answer.data if isinstance(answer.data, dict) else json.loads(answer.data)
                right(data["state"] == expected["state"] and data["eyes"] == expected["eyes"], data)
                ids.append((answer["source"], answer["id"]))
                return f"{answer['id']}: {data['state']}"

            case(f"cloudevents, {name}, {mode}", check)
        case(f"cloudevents, {name}, one id in both modes", lambda: right(len(ids) == 2 and len(set(ids)) == 1, ids[:1]))


def metrics_cases(address):
    """Both formats of a scrape; the parser of OpenMetrics refuses what the specification forbids."""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    traced = {"content-type": "image/jpeg", "traceparent": f"00-{trace}-{span}-01"}
    post(address, traced, read("open.jpg"), "/classify")

    def scrape(accept):
        request = urllib.request.Request(f"http://{address}/metrics", headers={"accept": accept})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.headers["content-type"], answer.read().decode()

    def series(families):
        # A bound of 0.00001 is 1e-05 in OpenMetrics.
        number = lambda labels: {name: str(float(value)) if name == "le" else value for name, value in labels.items()}
        return {(sample.name, *sorted(number(sample.labels).items())) for family in families for sample in family.samples}

    scrape("text/plain")  # so that the scrapes below count themselves in the same series
    kind, text = scrape("text/plain")
    open_kind, open_text = scrape("application/openmetrics-text; version=1.0.0")
    families = list(read_openmetrics(open_text))
    case("prometheus_client, types", lambda: right((kind, open_kind) == ("text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8"), open_kind))
    one, other = series(read_text(text)), series(families)
    case("prometheus_client, the same series in both formats", lambda: right(one == other and len(one) > 100, len(one) if one == other else one ^ other))
    units = {family.name: family.unit for family in families if family.unit}
    case("prometheus_client, units", lambda: right(units.get("process_memory_usage") is None and units.get("http_server_request_duration_seconds") == "seconds" and units.get("process_memory_usage_bytes") == "bytes", units))
    kinds = {family.name: family.type for family in families}
    case("prometheus_client, kinds", lambda: right((kinds["eye_state_results"], kinds["target"], kinds["eye_state_build"]) == ("counter", "info", "info"), Counter(kinds.values())))
    found = [(sample, sample.exemplar) for family in families for sample in family.samples if sample.exemplar]
    case("prometheus_client, an exemplar", lambda: right(
        [exemplar.labels for _, exemplar in found] == [{"trace_id": trace, "span_id": span}] and found[0][1].value <= float(found[0][0].labels["le"]), found))


def contract_cases(address):
    """The document against the specification, and the function against the document."""

    def valid():
        document = json.load(urllib.request.urlopen(f"http://{address}/openapi.json"))
        validate(document)
        return f"OpenAPI {document['openapi']}, {len(document['paths'])} paths"

    case("openapi-spec-validator", valid)
    schemathesis = [
        Path(sys.executable).absolute().with_name("schemathesis"), "run", f"http://{address}/openapi.json", "--seed", "1",
        "--max-examples", str(CONTRACT_EXAMPLES), "--generation-database", "none",
        # No schema says which bytes are an image: most that fit it are refused, and rightly.
        "--exclude-checks", "positive_data_acceptance",
    ]
    # It leaves a cache where it runs.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(schemathesis, capture_output=True, text=True, cwd=folder)
    case("schemathesis", lambda: right(done.returncode == 0, summary(done.stdout)))


def summary(output):
    """The end of the report, which counts; all of it where something is wrong."""
    return output if "FAILURES" in output or "ERRORS" in output else " ".join(output.partition("SUMMARY")[2].split())


def main():
    with function() as address:
        tritonclient_cases(address)
        asyncio.run(kserve_cases(address))
        cloudevents_cases(address)
        metrics_cases(address)
        contract_cases(address)
    with function(MAX_CONCURRENCY="1", QUEUE_CAPACITY="0") as address:
        case("tritonclient, twelve at once at an instance that takes one", lambda: crowd(address))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
