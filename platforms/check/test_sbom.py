"""The list of parts in the image: valid by CycloneDX' own schema, complete, and not more than what is linked."""

import json
import subprocess

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import render


@pytest.fixture(scope="module")
def sbom() -> str:
    target = "x86_64-unknown-linux-gnu"
    done = subprocess.run(["platforms/image/sbom.sh", target], cwd=render.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_meets_the_strict_schema(sbom: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(sbom) is None


def test_it_names_what_is_linked_and_nothing_that_is_not(sbom: str) -> None:
    names = {component["name"] for component in json.loads(sbom)["components"]}
    assert {"burn-flex", "warp", "tokio", "image", "model-runtime"} <= names
    # An optional backend of burn's, and a library of the build script: in the lock file, not in the binary.
    assert "burn-cuda" not in names
    assert "burn-onnx" not in names


def test_every_crate_from_a_registry_has_a_checksum_and_a_licence(sbom: str) -> None:
    parts = [c for c in json.loads(sbom)["components"] if c["name"] != "model-runtime"]
    assert [c["name"] for c in parts if "hashes" not in c or "licenses" not in c] == []
