"""What the calculator's page exported, through kustomize: the settings that were simulated are what is deployed.

The browser's tests write the files and the settings (EXPORTS, target/calculator/exports).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "platforms/check"))

import render  # noqa: E402
import schemas  # noqa: E402

EXPORTS = Path(os.environ.get("EXPORTS", ROOT / "target/calculator/exports"))
KINDS = ["kpa", "hpa", "hpa-vpa", "keda", "hpa-zero"]
POLICY_PERIOD_S = 15


def deployed(tmp_path: Path, files: dict[str, str]) -> list[dict]:
    """The manifests with these files in their place, as kustomize renders them."""
    for folder in ["function/manifests", "knative", "k8s-autoscalers", "platforms"]:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    overlay = subprocess.run([tmp_path / "platforms/overlay.sh", "cluster", "calculated"], capture_output=True, text=True, check=True)
    directory = tmp_path / overlay.stdout.strip()
    done = subprocess.run([render.KUSTOMIZE, "build", directory], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def find(documents: list[dict], kind: str, group: str) -> dict | None:
    return next((d for d in documents if d["kind"] == kind and d["apiVersion"].startswith(group)), None)


def behavior(rules: dict) -> dict[str, float]:
    """`behavior` under the calculator's names."""
    found = {}
    for direction in ("scaleUp", "scaleDown"):
        own = rules[direction]
        found[f"{direction}.stabilizationWindowSeconds"] = own["stabilizationWindowSeconds"]
        found[f"{direction}.tolerance"] = float(own["tolerance"])
        chosen = [] if own["selectPolicy"] == "Disabled" else own["policies"]
        for kind in ("Percent", "Pods"):
            policy = next((p for p in chosen if p["type"] == kind), None)
            found[f"{direction}.{kind}"] = policy["value"] if policy else 0
            if direction == "scaleUp":
                assert policy is None or policy["periodSeconds"] == POLICY_PERIOD_S
            elif policy:
                found[f"{direction}.{kind}.periodSeconds"] = policy["periodSeconds"]
    return found


def millicores(quantity: str) -> float:
    text = str(quantity)
    return float(text[:-1]) if text.endswith("m") else float(text) * 1000


def amount(quantity: str) -> float:
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def number(text: str) -> float:
    """An annotation of Knative: a number, or a duration in seconds."""
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def settings(kind: str, documents: list[dict]) -> dict[str, float]:
    """The autoscaler's settings under the calculator's names."""
    if kind == "kpa":
        service = find(documents, "Service", "serving.knative.dev")
        prefix = "autoscaling.knative.dev/"
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        own = {name.removeprefix(prefix): text for name, text in annotations.items() if name.startswith(prefix)}
        # An activation-scale of 1 is Knative's default, which it refuses to be told.
        assert own.get("activation-scale") != "1"
        return {"activation-scale": 1.0} | {name: number(text) for name, text in own.items() if name not in ("class", "metric")}
    if kind == "keda":
        assert find(documents, "HorizontalPodAutoscaler", "autoscaling/") is None
        spec = find(documents, "ScaledObject", "keda.sh")["spec"]
        trigger = next(t for t in spec["triggers"] if t["name"] == "concurrency")["metadata"]
        counts = ["minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"]
        return (
            {name: spec[name] for name in counts}
            | {name: float(trigger[name]) for name in ("threshold", "activationThreshold")}
            | behavior(spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"])
        )
    spec = find(documents, "HorizontalPodAutoscaler", "autoscaling/")["spec"]
    found = {"minReplicas": spec["minReplicas"], "maxReplicas": spec["maxReplicas"]} | behavior(spec["behavior"])
    metric = spec["metrics"][0]
    found["averageValue"] = amount(metric["object" if kind == "hpa-zero" else "pods"]["target"]["averageValue"])
    vertical = find(documents, "VerticalPodAutoscaler", "autoscaling.k8s.io")
    assert (vertical is not None) == (kind == "hpa-vpa")
    if vertical:
        policy = vertical["spec"]["resourcePolicy"]["containerPolicies"][0]
        found |= {f"{bound}.cpu": millicores(policy[bound]["cpu"]) for bound in ("minAllowed", "maxAllowed")}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_deploys_the_settings_that_were_simulated(kind: str, tmp_path: Path) -> None:
    exported = json.loads((EXPORTS / f"{kind}.json").read_text())
    documents = deployed(tmp_path, exported["files"])
    found, simulated = settings(kind, documents), exported["values"]
    # A policy that is not there has no period.
    without = {name for name in simulated if name.endswith(".periodSeconds") and simulated[name.removesuffix(".periodSeconds")] == 0}
    assert {name: found.get(name) for name in simulated if name not in without} == {
        name: value for name, value in simulated.items() if name not in without
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_meets_every_strict_schema(kind: str, tmp_path: Path) -> None:
    exported = json.loads((EXPORTS / f"{kind}.json").read_text())
    documents = deployed(tmp_path, exported["files"])
    assert [v for document in documents for v in schemas.violations(document)] == []
