#!/usr/bin/env python3
"""Writes the seeds of every fuzz target, from files that this project makes: seeds.py FOLDER"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORMATS = ROOT / "picture/tests/formats"

# Larger inputs make a fuzzer slow, and find nothing that small ones do not.
MAX_BYTES = 4096


def formats() -> dict[str, bytes]:
    blob = (FORMATS / "formats.bin").read_bytes()
    files = {}
    for entry in json.loads((FORMATS / "formats.json").read_text()):
        name = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in entry["name"])
        content = blob[entry["at"] : entry["at"] + entry["length"]]
        if len(content) <= MAX_BYTES:
            files[name] = content
    return files


def texts(*lines: str) -> dict[str, bytes]:
    return {f"{number:02}": line.encode() for number, line in enumerate(lines)}


def multipart() -> dict[str, bytes]:
    part = '--cut\r\ncontent-disposition: form-data; name="{}"{}\r\n{}\r\n{}\r\n'
    image = "content-type: image/jpeg\r\n"
    bodies = [
        part.format("file", '; filename="a.jpg"', image, "pixels") + "--cut--\r\n",
        "preamble\r\n" + part.format("note", "", "", "text") + part.format("file", "", "", "x" * 300) + "--cut--",
        part.format("file", "", "", "a") * 3 + "--cut--\r\nepilogue",
        part.format("file", "; filename*=UTF-8''%e2%82%ac.jpg", image, "\r\n--cu\r\n--cut-\r\n") + "--cut--",
        part.format("", "", "", ""),
        "--cut\r\n\r\n\r\n--cut--",
        "--cut--\r\n",
        "--cut\ncontent-disposition: form-data; name=file\n\nunix\n--cut--\n",
        part.format("file", "", "content-encoding: gzip\r\n", "\x1f") + "--cut--",
    ]
    # The first byte says into how many pieces the body is cut.
    return {f"{number:02}": bytes([number]) + body.encode() for number, body in enumerate(bodies)}


# Lines: Content-Type, Content-Encoding, Accept.
NEGOTIATION = texts(
    "image/jpeg\n\n*/*",
    "\n\nimage/png;q=0.2, image/jpeg;q=0.8, */*;q=0.1",
    "Image/JPEG; q=1\nidentity\nimage/*;q=0.5, application/json",
    "multipart/form-data; boundary=cut\n\nimage/avif,image/webp,image/*,*/*;q=0.8",
    'multipart/form-data; charset=utf-8; boundary="a b"\ngzip\nimage/png;q=0',
    "application/json\nGZIP, br\nimage/jpeg;q=2, image/png;q=0.1",
    "application/x-www-form-urlencoded\n\napplication/json;q=0.2 , IMAGE/JPEG; Q=0.8",
    "text/html; a=\"b;c\"\n\ntext/html, image/png ; level=1 ; q=1e-1",
)

QUERY = texts(
    "confidence_threshold=0.5&iou_threshold=0.45&bit_depth=12",
    "confidence%5Fthreshold=0%2E5",
    "iou_threshold=NaN&cache=1",
    "bit_depth=16&bit_depth=8",
    "&&=&a=b=c&%&%f&%zz&+=+",
    "confidence_threshold=1e-3&confidence_threshold=-0",
    "iou_threshold= 1 &bit_depth=+9",
)

CONFIGURATION = texts(
    "PORT=8080\nHOST=::\nMAX_IMAGE_BYTES=10485760\nMAX_IMAGE_PIXELS=16777216\nMAX_PARTS=16",
    "MAX_BODY_MEMORY_BYTES=67108864\nCONFIDENCE_THRESHOLD=0.35\nIOU_THRESHOLD=0.45\nMAX_CONCURRENCY=2",
    "QUEUE_CAPACITY=18446744073709551615\nMAX_CONNECTIONS=0\nREQUEST_DEADLINE_MS=2000\nBODY_TIMEOUT_MS=10000",
    "DRAIN_DELAY_MS=0\nDRAIN_TIMEOUT_MS=20000\nCORS_ALLOWED_ORIGINS=https://a.example, http://b:81\nSOURCE_URL=https://c/d",
    "CORS_ALLOWED_ORIGINS=*\nRUST_LOG=info,hyper=debug\nOTEL_SDK_DISABLED=false",
    "RUST_LOG=verbose\nOTEL_SDK_DISABLED=TRUE",
    "OTEL_TRACES_EXPORTER=otlp\nOTEL_METRICS_EXPORTER=none\nOTEL_LOGS_EXPORTER=none\nOTEL_SERVICE_NAME=eyes",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318/\nOTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c/v1/traces",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://[::1]\nOTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nOTEL_EXPORTER_OTLP_COMPRESSION=gzip",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://c\nOTEL_EXPORTER_OTLP_HEADERS=a=b,c=%20\nOTEL_EXPORTER_OTLP_TIMEOUT=3000",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://c\nOTEL_TRACES_SAMPLER=traceidratio\nOTEL_TRACES_SAMPLER_ARG=0.5\nOTEL_PROPAGATORS=baggage",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://c\nOTEL_RESOURCE_ATTRIBUTES=service.name=eyes, a=b\nOTEL_BSP_MAX_QUEUE_SIZE=2048",
)


def models() -> dict[str, bytes]:
    found = {}
    for path in sorted((ROOT / "model-import/forms").glob("*/*.onnx")):
        found[path.stem] = path.read_bytes()
    return found


def main() -> None:
    pictures = formats()
    seeds = {
        "decode": pictures,
        "jpeg_differential": {name: content for name, content in pictures.items() if content.startswith(b"\xff\xd8")},
        "multipart": multipart(),
        "negotiation": NEGOTIATION,
        "query": QUERY,
        "configuration": CONFIGURATION,
        "onnx": models(),
    }
    for target, inputs in seeds.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in inputs.items():
            (folder / f"seed-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
