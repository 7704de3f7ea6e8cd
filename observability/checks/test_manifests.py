"""The manifests are valid on every supported Kubernetes version, pinned and consistent."""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOM = Path(__file__).parents[1]
VERSIONS = dict(line.split("=", 1) for line in (ROOM.parent / "platforms" / "versions.env").read_text().splitlines() if re.match(r"\w+=", line))


@cache
def rendered(folder: str) -> list[dict]:
    text = subprocess.run([os.environ.get("KUSTOMIZE", "kustomize"), "build", str(ROOM / folder)], check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(*kinds: str) -> list[dict]:
    return [document for document in rendered(".") if document["kind"] in kinds]


WORKLOADS = ("Deployment", "DaemonSet")


@pytest.mark.parametrize("version", VERSIONS["KUBERNETES_SCHEMAS"].split(","))
@pytest.mark.parametrize("folder", [".", "knative"])
def test_every_object_is_valid(folder, version):
    documents = rendered(folder)
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_every_image_is_pinned():
    images = [container["image"] for workload in of_kind(*WORKLOADS) for container in workload["spec"]["template"]["spec"]["containers"]]
    assert len(images) == 6
    for image in images:
        assert re.fullmatch(r"[\w.-]+\.[\w./-]+:v?\d+\.\d+\.\d+", image), image


def test_promtool_is_of_the_prometheus_that_is_deployed():
    (image,) = yaml.safe_load((ROOM / "prometheus" / "kustomization.yaml").read_text())["images"]
    major, minor, patch = image["newTag"].removeprefix("v").split(".")
    # The Go module of Prometheus X.Y.Z is v0.XYY.Z.
    assert VERSIONS["PROMETHEUS_VERSION"] == f"v0.{major}{minor.zfill(2)}.{patch}"


def test_every_config_map_that_is_mounted_exists():
    names = {document["metadata"]["name"] for document in of_kind("ConfigMap")}
    for workload in of_kind(*WORKLOADS):
        mounted = re.findall(r"'configMap': \{[^{}]*'name': '([^']+)'", str(workload))
        assert set(mounted) <= names, workload["metadata"]["name"]


def test_every_workload_is_confined():
    for workload in of_kind(*WORKLOADS):
        for container in workload["spec"]["template"]["spec"]["containers"]:
            context = workload["spec"]["template"]["spec"].get("securityContext", {}) | container["securityContext"]
            assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]} and "limits" in container["resources"]


def test_the_namespace_admits_the_workload_that_needs_the_host():
    pods = {workload["metadata"]["name"]: workload["spec"]["template"]["spec"] for workload in of_kind(*WORKLOADS)}
    needs_the_host = {name for name, pod in pods.items() if pod.get("hostNetwork") or pod.get("hostPID") or any("hostPath" in volume for volume in pod.get("volumes", []))}
    (namespace,) = of_kind("Namespace")
    assert needs_the_host == {"node-exporter"}
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_grafana_starts_without_a_way_to_the_internet():
    (grafana,) = [found for found in of_kind("Deployment") if found["metadata"]["name"] == "grafana"]
    (container,) = grafana["spec"]["template"]["spec"]["containers"]
    settings = {setting["name"]: setting["value"] for setting in container["env"]}
    off = {"ANALYTICS_REPORTING_ENABLED", "ANALYTICS_CHECK_FOR_UPDATES", "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "PLUGINS_PREINSTALL_AUTO_UPDATE", "PLUGINS_PUBLIC_KEY_RETRIEVAL_ON_STARTUP", "NEWS_NEWS_FEED_ENABLED"}
    assert {name for name in off if settings.get(f"GF_{name}") != "false"} == set()
    on = {"PLUGINS_PREINSTALL_DISABLED", "PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED"}
    assert {name for name in on if settings.get(f"GF_{name}") != "true"} == set()


@pytest.mark.parametrize("name", ["kube-state-metrics", "node-exporter"])
def test_prometheus_selects_the_exporters_deployed_here(name):
    (workload,) = [found for found in of_kind(*WORKLOADS) if found["metadata"]["name"] == name]
    labels = workload["spec"]["template"]["metadata"]["labels"]
    config = yaml.safe_load((ROOM / "prometheus" / "prometheus.yaml").read_text())
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == name]
    (keep,) = [rule for rule in job["relabel_configs"] if rule.get("action") == "keep" and len(rule["source_labels"]) == 2]
    ports = [port["containerPort"] for port in workload["spec"]["template"]["spec"]["containers"][0]["ports"]]
    assert any(re.fullmatch(keep["regex"], f"{labels['app.kubernetes.io/name']};{port}") for port in ports)


def test_the_node_exporter_leaves_the_usual_port_to_the_cluster_s_own():
    (exporter,) = [found for found in of_kind("DaemonSet") if found["metadata"]["name"] == "node-exporter"]
    (container,) = exporter["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == port["hostPort"] != 9100
    assert f"--web.listen-address=:{port['hostPort']}" in container["args"]
    # On GKE another Prometheus scrapes it.
    monitors = yaml.safe_load_all((ROOM.parent / "platforms" / "gke" / "component" / "pod-monitoring.yaml").read_text())
    (monitor,) = [monitor for monitor in monitors if monitor["metadata"]["name"] == "node-exporter"]
    assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == [port["hostPort"]]


def test_traces_are_sent_where_the_collector_listens():
    (service,) = [found for found in of_kind("Service") if found["metadata"]["name"] == "trace-collector"]
    ports = {port["port"] for port in service["spec"]["ports"]}
    for config in rendered("knative"):
        host, port = re.match(r"http://([^:/]+):(\d+)", config["data"]["tracing-endpoint"]).groups()
        assert host == "trace-collector.monitoring.svc" and int(port) in ports


def test_the_address_that_is_printed_after_deploying_is_the_dashboard_s():
    (line,) = [line for line in (ROOM / "deploy.sh").read_text().splitlines() if line.startswith("side_by_side=")]
    shown = subprocess.run(["bash", "-c", f'{line}; echo "$side_by_side"'], cwd=ROOM.parent, check=True, capture_output=True, text=True).stdout.strip()
    assert shown == json.loads((ROOM / "grafana" / "dashboards" / "side-by-side.json").read_text())["uid"]
