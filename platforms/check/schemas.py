"""Strict schemas: an unknown field is an error, as it is for `kubectl apply --validate=strict`.

Kubernetes' own kinds come from kubernetes-validate. Those of custom resources are made on the spot from
the CustomResourceDefinitions in the Go module of the project that defines them.
"""

import json
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from render import versions

# Google publishes no module that holds this definition, so here is the part of it that is used,
# after its API reference. Anything else is refused until it is added here.
_LABEL_SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
}
POD_MONITORING = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["selector", "endpoints"],
            "additionalProperties": False,
            "properties": {
                "selector": _LABEL_SELECTOR,
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["port"],
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": ["string", "integer"]},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+[smh]$"},
                        },
                    },
                },
            },
        },
    },
}


def _download(module: str) -> Path:
    """The directory of a Go module, downloaded once by the go command and checked by its checksums."""
    done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, cwd="/")
    if done.returncode != 0:
        raise RuntimeError(f"cannot download {module} for its schemas: {(done.stdout + done.stderr).strip()}")
    return Path(json.loads(done.stdout)["Dir"])


def _networking_module(serving: Path) -> str:
    """The version of knative.dev/networking that this version of Knative Serving was built with."""
    for line in (serving / "go.mod").read_text().splitlines():
        words = line.split()
        if words[:1] == ["knative.dev/networking"]:
            return f"{words[0]}@{words[1]}"
    raise RuntimeError(f"{serving}/go.mod names no knative.dev/networking")


def strict(schema: object) -> object:
    """An OpenAPI v3 schema of a CustomResourceDefinition as a JSON schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        # The `anyOf` that comes with it says the same, next to a `type` that contradicts it.
        return {"type": ["integer", "string"], **{k: v for k, v in out.items() if k == "pattern"}}
    closed = "properties" in schema and isinstance(schema["properties"], dict)
    if closed and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = False
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        out["type"] = [schema["type"], "null"]
    return out


@cache
def custom_resources() -> dict[tuple[str, str], dict]:
    """Strict schemas by apiVersion and kind."""
    pins = versions()
    serving = _download(pins["KNATIVE_SERVING_MODULE"])
    files = [
        *sorted((serving / "config/core/300-resources").glob("*.yaml")),
        *sorted((_download(_networking_module(serving)) / "config").glob("domain-claim.yaml")),
        *(_download(pins["KNATIVE_EVENTING_MODULE"]) / "config/core/resources" / f"{kind}.yaml" for kind in ("broker", "trigger")),
        _download(pins["VPA_MODULE"]) / "deploy/vpa-v1-crd-gen.yaml",
        _download(pins["KEDA_MODULE"]) / "config/crd/bases/keda.sh_scaledobjects.yaml",
    ]
    schemas = {("monitoring.googleapis.com/v1", "PodMonitoring"): POD_MONITORING}
    for definition in (d for f in files for d in yaml.safe_load_all(f.read_text()) if d):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # The API server adds these three where a definition leaves them out.
            for name, kind in (("apiVersion", "string"), ("kind", "string"), ("metadata", "object")):
                schema["properties"].setdefault(name, {"type": kind})
            schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return schemas


def violations(document: dict) -> list[str]:
    """What is wrong with one manifest, by every schema that applies to it."""
    name = f"{document['kind']}/{document['metadata']['name']}"
    custom = custom_resources().get((document["apiVersion"], document["kind"]))
    if custom:
        validator = jsonschema.Draft202012Validator(custom)
        return [f"{name}: {e.json_path}: {e.message}" for e in validator.iter_errors(document)]
    found = []
    for version in versions()["KUBERNETES_SCHEMAS"].split(","):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{name}: Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{name}: no schema for {document['apiVersion']} {document['kind']}")
    return found
