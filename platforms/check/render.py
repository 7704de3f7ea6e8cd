"""Renders kustomizations and reads the pinned versions, independent of their content."""

import os
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = ROOT / "platforms"
KUSTOMIZE = os.environ.get("KUSTOMIZE", str(ROOT / ".tools" / "bin" / "kustomize"))


def overlays() -> list[Path]:
    """Every platform with every settings, as directories relative to the repository."""
    return sorted(
        path.parent.relative_to(ROOT)
        for path in PLATFORMS.glob("*/*/kustomization.yaml")
        if path.parent.name in ("defaults", "tuned")
    )


def arms() -> list[dict]:
    """Every arm of the comparison, as comparison/arms.toml lists them."""
    return tomllib.loads((ROOT / "comparison/arms.toml").read_text())["arm"]


def ablations() -> list[dict]:
    """Every ablation that something is deployed for."""
    return [a for a in tomllib.loads((ROOT / "comparison/arms.toml").read_text())["ablation"] if "node" not in a]


@cache
def overlay(platform: str, settings: str) -> Path:
    """The folder that `make render` takes for a platform and settings."""
    done = subprocess.run([ROOT / "platforms/overlay.sh", platform, settings], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def add_ons() -> list[Path]:
    """Kustomizations besides the variants: the metrics adapter, and the broker with its triggers."""
    return [Path("k8s-autoscalers/metrics"), Path("knative/eventing")]


@cache
def render_text(directory: Path) -> str:
    """The manifests of one kustomization, as kustomize prints them."""
    done = subprocess.run([KUSTOMIZE, "build", str(ROOT / directory)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{directory} does not render: {done.stderr.strip()}")
    return done.stdout


def render(directory: Path) -> list[dict]:
    """The manifests of one kustomization; a fresh copy each time, so that a test may change it."""
    return [document for document in yaml.safe_load_all(render_text(directory)) if document]


def versions() -> dict[str, str]:
    """versions.env as a dictionary."""
    lines = (PLATFORMS / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
