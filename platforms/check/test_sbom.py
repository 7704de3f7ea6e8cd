"""The list of parts in the image: valid by CycloneDX' own schema, complete, and limited to what is linked."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

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
    assert {"burn-flex", "warp", "tokio", "image", "model-runtime", "picture"} <= names
    # An optional backend of burn's, and a library of the build script: in the lock file, not in the
    # binary.
    assert "burn-cuda" not in names
    assert "burn-onnx" not in names


def test_every_crate_from_a_registry_has_a_checksum_and_a_licence(sbom: str) -> None:
    ours = {"model-runtime", "picture"}
    parts = [c for c in json.loads(sbom)["components"] if c.get("purl", "").startswith("pkg:cargo/") and c["name"] not in ours]
    assert len(parts) > 100
    assert [c["name"] for c in parts if "hashes" not in c or "licenses" not in c] == []


def test_the_libraries_that_are_no_crates_are_named(sbom: str) -> None:
    parts = {c["name"]: c for c in json.loads(sbom)["components"] if c.get("purl", "").startswith("pkg:generic/")}
    # What each says of itself, by other ways than the script's.
    release = subprocess.run(["rustc", "--version"], cwd=render.ROOT, capture_output=True, text=True, check=True).stdout.split()[1]
    glibc = os.confstr("CS_GNU_LIBC_VERSION").removeprefix("glibc ")
    assert {(name, c["type"], c["version"], c["licenses"][0]["expression"]) for name, c in parts.items()} == {
        ("glibc", "library", glibc, "LGPL-2.1-or-later"),
        ("rust-std", "library", release, "MIT OR Apache-2.0"),
    }


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if k not in ("MODEL", "MODEL_LICENSE")}
    return subprocess.run([f"platforms/image/{script}", *arguments], cwd=render.ROOT, env=clean | environment, capture_output=True, text=True)


def metadata(**environment: str) -> dict[str, str]:
    done = run("metadata.sh", **environment)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture
def another(tmp_path: Path) -> Path:
    model = tmp_path / "another.onnx"
    model.write_bytes(b"a model of somebody else's")
    return model


def test_the_binary_is_under_the_licences_of_its_code_and_of_its_weights(sbom: str) -> None:
    document = json.loads(sbom)
    assert document["metadata"]["component"]["licenses"] == [{"expression": "Apache-2.0 AND AGPL-3.0-only"}]
    (model,) = [c for c in document["components"] if c["type"] == "machine-learning-model"]
    assert model["licenses"] == [{"expression": "AGPL-3.0-only"}]
    (weights,) = (render.ROOT / "model-import/weights/int8").glob("*.onnx")
    assert (model["name"], model["hashes"][0]["content"]) == (weights.stem, hashlib.sha256(weights.read_bytes()).hexdigest())


def test_every_model_in_the_repository_states_its_licence() -> None:
    models = sorted((render.ROOT / "model-import/weights").rglob("*.onnx"))
    assert models
    assert {metadata(MODEL=str(model))["MODEL_LICENSE"] for model in models} == {"AGPL-3.0-only"}


def test_another_model_brings_its_own_licence(another: Path) -> None:
    another.with_suffix(".onnx.license").write_text("SPDX-License-Identifier: MIT\n")
    said = metadata(MODEL=str(another))
    assert (said["MODEL_NAME"], said["LICENSES"]) == ("another", "Apache-2.0 AND MIT")
    assert said["MODEL_VERSION"] == hashlib.sha256(another.read_bytes()).hexdigest()[:12]
    given = metadata(MODEL=str(another), MODEL_LICENSE="MIT OR CC-BY-4.0")
    assert given["LICENSES"] == "Apache-2.0 AND (MIT OR CC-BY-4.0)"


def test_a_licence_that_nobody_stated_is_not_made_up(another: Path) -> None:
    done = run("metadata.sh", MODEL=str(another))
    assert "LICENSES=Apache-2.0 AND LicenseRef-model-licence-not-stated\n" in done.stdout
    assert "MODEL_LICENSE=" in done.stderr
    source = (render.ROOT / "model-import/src/license.rs").read_text()
    assert 'LICENSE_NOT_STATED: &str = "LicenseRef-model-licence-not-stated"' in source


def test_a_list_of_parts_with_another_model_meets_the_schema_too(another: Path) -> None:
    done = run("sbom.sh", "x86_64-unknown-linux-gnu", MODEL=str(another), MODEL_LICENSE="MIT OR CC-BY-4.0")
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(done.stdout) is None
    assert json.loads(done.stdout)["metadata"]["component"]["licenses"] == [{"expression": "Apache-2.0 AND (MIT OR CC-BY-4.0)"}]
