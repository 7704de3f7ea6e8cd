"""The overlays of `make observability` for a small cluster and for one without volumes are valid, and as small as stated."""

from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

import render

COMPONENTS = sorted(p.parent.name for p in (render.ROOT / "observability/components").glob("*/kustomization.yaml"))


@pytest.fixture
def overlay() -> Iterator[Path]:
    """A folder in the repository, as deploy.sh makes one."""
    folder = render.ROOT / "target" / "observability.check"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    (folder / "kustomization.yaml").unlink()
    folder.rmdir()


def rendered(overlay: Path, *components: str) -> list[dict]:
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources: [../../observability]", "components:"]
    lines += [f"- ../../observability/components/{component}" for component in components]
    (overlay / "kustomization.yaml").write_text("\n".join(lines))
    render.render_text.cache_clear()
    return render.render(overlay.relative_to(render.ROOT))


def requested(documents: list[dict]) -> int:
    """Thousandths of a core that all pods of these workloads ask for on one node."""
    containers = [c for d in documents if d["kind"] in ("Deployment", "DaemonSet") for c in d["spec"]["template"]["spec"]["containers"]]
    return sum(int(c["resources"]["requests"]["cpu"].removesuffix("m")) for c in containers)


def test_every_component_renders_to_valid_objects(overlay: Path) -> None:
    for document in rendered(overlay, *COMPONENTS):
        for version in render.versions()["KUBERNETES_SCHEMAS"].split(","):
            kubernetes_validate.validate(document, version, strict=True)


def test_without_a_storage_class_nothing_claims_a_volume(overlay: Path) -> None:
    documents = rendered(overlay, "emptydir")
    assert not [d for d in documents if d["kind"] == "PersistentVolumeClaim"]
    assert "persistentVolumeClaim" not in str(documents)


def test_on_two_cores_ten_pods_of_the_function_find_room_beside_it(overlay: Path) -> None:
    beside = requested(rendered(overlay, "small")) + requested(render.render(Path("k8s-autoscalers/metrics")))
    (knative,) = [d for d in render.render(Path("platforms/two-cores/tuned")) if d["apiVersion"].startswith("serving.knative.dev/v1") and d["kind"] == "Service"]
    pod = int(knative["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"].removesuffix("m"))
    queue_proxy = 25
    assert beside == 80
    assert 10 * (pod + queue_proxy) + beside <= 2000
