"""The targets that change a cluster check its prerequisites, change nothing when one is missing, and name the command that helps.

Against a stand-in for kubectl (fake_kubectl.py), which knows what a cluster holds and writes down what it is asked.
docs/deployment.md says what was seen on a real cluster, and what was not.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import render

# Without site packages Python starts in a third of the time, and a target asks a dozen times.
FAKE = f"{sys.executable} -IS {Path(__file__).with_name('fake_kubectl.py')}"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def named(kind: str, name: str, namespace: str | None = None, **more: object) -> dict:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"kind": kind, "metadata": metadata, **more}


OURS = {"app.kubernetes.io/part-of": "nv-micro"}


def labelled(found: dict, labels: dict = OURS) -> dict:
    return found | {"metadata": found["metadata"] | {"labels": labels}}


def api(group: str) -> dict:
    status = {"conditions": [{"type": "Available", "status": "True"}]}
    return named("APIService", f"v1.{group}", spec={"group": group}, status=status)


def complete() -> list[dict]:
    """A cluster that has everything, the function deployed."""
    image = f"dev.local/eye-state:{version()}"
    return [
        named("CustomResourceDefinition", "services.serving.knative.dev"),
        named("CustomResourceDefinition", "domainmappings.serving.knative.dev"),
        named("CustomResourceDefinition", "verticalpodautoscalers.autoscaling.k8s.io", spec="InPlaceOrRecreate"),
        named("Deployment", "webhook", "knative-serving", status={"availableReplicas": 1}),
        named("Deployment", "3scale-kourier-gateway", "kourier-system", status={"availableReplicas": 1}),
        named("Deployment", "vpa-recommender", "kube-system", status={"availableReplicas": 1}),
        named("ConfigMap", "config-network", "knative-serving", data={"ingress-class": "kourier.ingress.networking.knative.dev"}),
        named("ConfigMap", "config-autoscaler", "knative-serving", data={"allow-zero-initial-scale": "true"}),
        named("ConfigMap", "config-features", "knative-serving", data={"kubernetes.podspec-topologyspreadconstraints": "enabled"}),
        named("Service", "kourier", "kourier-system", spec={"type": "LoadBalancer", "ports": []}, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}),
        api("metrics.k8s.io"),
        labelled(api("custom.metrics.k8s.io")),
        named("Service", "prometheus", "monitoring"),
        named("StorageClass", "standard", metadata_annotations=None) | {"metadata": {"name": "standard", "annotations": {DEFAULT_CLASS: "true"}}},
        # An image whose tag was taken by a newer one stays on the node without a name.
        named("Node", "one", status={"allocatable": {"cpu": "2"}, "images": [{"names": None}, {"names": [image]}]}),
        named("Namespace", "eye-state"),
        named("Service", "eye-state-knative", "eye-state", status={"url": "http://eye-state-knative.eye-state.example.org"}),
        named("DomainMapping", "eye-state-k8s-autoscalers.eye-state.example.com", "eye-state"),
    ]


def version() -> str:
    done = subprocess.run(["make", "--no-print-directory", "version"], cwd=render.ROOT, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass
class Outcome:
    code: int
    text: str
    changes: list[str]


@dataclass
class Cluster:
    home: Path

    def make(self, *arguments: str, objects: list[dict], **environment: str) -> Outcome:
        (self.home / "objects.json").write_text(json.dumps(objects))
        (self.home / "calls").write_text("")
        inherited = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "IMAGE", "PLATFORM", "SETTINGS")}
        done = subprocess.run(
            ["make", "--no-print-directory", f"KUBECTL={FAKE}", f"KUSTOMIZE={render.KUSTOMIZE}", *arguments],
            cwd=render.ROOT,
            env=inherited | {"FAKE_CLUSTER": str(self.home)} | environment,
            capture_output=True,
            text=True,
        )
        calls = (self.home / "calls").read_text().splitlines()
        reading = ("get ", "api-resources ", "describe ", "config ", "version", "wait ", "rollout status ")
        changes = [c for c in calls if not c.startswith(reading) and "--dry-run=server" not in c]
        return Outcome(done.returncode, done.stdout + done.stderr, changes)

    def names(self) -> set[str]:
        """What is there now."""
        return {f"{o['kind']}/{o['metadata']['name']}" for o in json.loads((self.home / "objects.json").read_text())}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def without(*names: str) -> Callable[[list[dict]], list[dict]]:
    return lambda objects: [o for o in objects if o["metadata"]["name"] not in names]


def changed(name: str, **more: object) -> Callable[[list[dict]], list[dict]]:
    return lambda objects: [o | more if o["metadata"]["name"] == name else o for o in objects]


ZERO = "kubectl --namespace knative-serving patch configmap config-autoscaler --type merge --patch '{\"data\": {\"allow-zero-initial-scale\": \"true\"}}'"
SPREAD = "kubectl --namespace knative-serving patch configmap config-features"
CLASS = "kubectl patch storageclass standard --patch"
MISSING = [
    ("deploy", [], without("services.serving.knative.dev"), "knative.dev/docs/install"),
    ("deploy-knative", [], without("webhook"), "kubectl --namespace knative-serving get pods"),
    ("deploy-knative", [], without("kourier"), "kourier.yaml"),
    ("deploy-knative", [], changed("config-network", data={}), "patch configmap config-network"),
    ("deploy-knative", [], changed("3scale-kourier-gateway", status={}), "kubectl --namespace kourier-system get pods"),
    ("deploy-k8s-autoscalers", [], changed("vpa-recommender", status={}), "kubectl --namespace kube-system get pods"),
    ("deploy-knative", ["PLATFORM=two-cores"], changed("config-autoscaler", data={}), ZERO),
    ("deploy", ["PLATFORM=gke"], changed("config-features", data={}), SPREAD),
    ("deploy-k8s-autoscalers", [], without("verticalpodautoscalers.autoscaling.k8s.io"), "install the VPA"),
    ("deploy-k8s-autoscalers", [], changed("verticalpodautoscalers.autoscaling.k8s.io", spec="Auto"), "install the VPA"),
    ("deploy-k8s-autoscalers", [], without("v1.metrics.k8s.io"), "metrics-server/releases"),
    ("deploy-k8s-autoscalers", [], without("v1.custom.metrics.k8s.io"), "\n  make metrics-adapter\n"),
    ("deploy-k8s-autoscalers", [], without("v1.custom.metrics.k8s.io", "prometheus"), "\n  make observability metrics-adapter\n"),
    ("metrics-adapter", [], without("prometheus"), "\n  make observability\n"),
    ("demo", [], without("prometheus"), "\n  make observability\n"),
    ("observability", [], without("standard"), "\n  make observability STORAGE=emptydir"),
    ("observability", [], changed("standard", metadata={"name": "standard"}), "\n  make observability STORAGE=emptydir"),
    ("observability", [], changed("standard", metadata={"name": "standard"}), CLASS),
    ("metrics-adapter", [], changed("v1.custom.metrics.k8s.io", metadata={"name": "v1.custom.metrics.k8s.io"}), "k8s-autoscalers/metrics/rules.yaml to that adapter"),
    ("metrics-adapter", [], lambda objects: [*objects, named("APIService", "v1beta1.custom.metrics.k8s.io", spec={"group": "custom.metrics.k8s.io", "service": {"namespace": "keda", "name": "its-adapter"}})], "(keda/its-adapter)"),
]


@pytest.mark.parametrize(("target", "arguments", "change", "remedy"), MISSING, ids=[f"{n}-{m[0]}" for n, m in enumerate(MISSING)])
def test_a_missing_prerequisite_is_named_with_the_command_that_helps_and_nothing_changes(
    cluster: Cluster, target: str, arguments: list[str], change: Callable, remedy: str
) -> None:
    outcome = cluster.make(target, *arguments, objects=change(complete()))
    assert outcome.code != 0
    assert remedy in outcome.text
    assert outcome.changes == []


@pytest.mark.parametrize("platform", ["two-cores", "gke"])
def test_doctor_says_all_of_it_before_it_happens(cluster: Cluster, platform: str) -> None:
    objects, remedies = complete(), []
    for _, arguments, change, remedy in MISSING:
        # What only another platform needs, and what hides behind something else that is missing.
        if arguments in ([], [f"PLATFORM={platform}"]) and change(complete()) != complete() and "adapter" not in remedy:
            if not any(word in remedy for word in ("STORAGE", "config-network", "kourier-system get pods", "kube-system get pods")):
                objects = change(objects)
                remedies.append(remedy)
    outcome = cluster.make("doctor", f"PLATFORM={platform}", objects=objects)
    assert outcome.code != 0 and outcome.changes == []
    assert [remedy for remedy in remedies if remedy.strip() not in outcome.text] == []


def test_doctor_finds_nothing_missing_in_a_complete_cluster(cluster: Cluster) -> None:
    text = cluster.make("doctor", objects=complete()).text
    assert "missing" not in text.partition("The current cluster")[2].replace("Something is missing", "").replace("Nothing is missing", "")
    assert "platforms: cluster, gke, kind, two-cores" in text


def test_everything_that_is_missing_is_named_at_once(cluster: Cluster) -> None:
    outcome = cluster.make("deploy", objects=without("services.serving.knative.dev", "v1.metrics.k8s.io")(complete()))
    assert "Knative Serving" in outcome.text and "metrics-server" in outcome.text


@pytest.mark.parametrize("platform", sorted({p.parts[1] for p in render.overlays()}))
def test_a_complete_cluster_is_deployed_to_and_told_where_it_answers(cluster: Cluster, platform: str) -> None:
    outcome = cluster.make("deploy", f"PLATFORM={platform}", objects=complete())
    assert outcome.code == 0, outcome.text
    assert [c for c in outcome.changes if c.startswith("apply ")] == outcome.changes != []
    gateway = "http://127.0.0.1:8080" if platform == "kind" else "http://192.0.2.7"
    for host in ("eye-state-knative.eye-state.example.org", "eye-state-k8s-autoscalers.eye-state.example.com"):
        assert f"curl -H 'Host: {host}' --data-binary @function/samples/open.jpg {gateway}/classify" in outcome.text


def test_a_gateway_that_waits_for_a_load_balancer_is_reached_by_forwarding_or_at_a_node(cluster: Cluster) -> None:
    waiting = {"spec": {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 31234}]}, "status": {"loadBalancer": {}}}
    at = {"addresses": [{"type": "InternalIP", "address": "192.0.2.9"}]}
    objects = changed("one", status=at)(changed("kourier", **waiting)(complete()))
    text = cluster.make("addresses", objects=objects).text
    assert "port-forward service/kourier 8081:80" in text and "http://192.0.2.9:31234" in text
    assert "http://127.0.0.1:8081/classify" in text


def test_what_the_cluster_would_refuse_is_not_applied_by_half(cluster: Cluster) -> None:
    denied = 'Error from server (BadRequest): admission webhook "validation.webhook.serving.knative.dev" denied the request'
    (cluster.home / "refuse").write_text(denied)
    for target in ("deploy", "observability", "metrics-adapter"):
        outcome = cluster.make(target, objects=[*complete(), named("Namespace", "monitoring")])
        assert outcome.code != 0
        assert "denied the request" in outcome.text and "nothing was changed" in outcome.text
        assert outcome.changes == []


def fresh() -> list[dict]:
    """A cluster that has everything but the function and its namespace."""
    return [o for o in complete() if "eye-state" not in (o["metadata"]["name"], o["metadata"].get("namespace"))]


def test_a_namespace_that_is_not_there_is_made_first_and_nothing_is_judged_in_another(cluster: Cluster) -> None:
    # As Kyverno's disallow-default-namespace and AKS do.
    (cluster.home / "closed").write_text("default")
    outcome = cluster.make("deploy", objects=fresh())
    assert outcome.code == 0, outcome.text
    assert [c.split()[0] for c in outcome.changes] == ["apply", "annotate", "apply", "apply"]
    assert "Namespace/eye-state" in cluster.names()


def test_where_the_rest_is_refused_a_namespace_that_was_made_for_it_goes_again(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text("The request is invalid: spec.replicas: must be positive")
    outcome = cluster.make("deploy", objects=fresh())
    assert outcome.code != 0 and "nothing was changed" in outcome.text
    assert [c.split()[0] for c in outcome.changes] == ["apply", "annotate", "delete"]
    assert "Namespace/eye-state" not in cluster.names()


def test_a_namespace_that_was_there_stays_where_the_rest_is_refused(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text("The request is invalid: spec.replicas: must be positive")
    outcome = cluster.make("deploy", objects=[*fresh(), named("Namespace", "eye-state")])
    assert outcome.code != 0 and outcome.changes == [] and "Namespace/eye-state" in cluster.names()


def test_a_namespace_that_may_not_be_looked_at_is_not_taken_for_missing(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text("The request is invalid: spec.replicas: must be positive")
    outcome = cluster.make("deploy", objects=complete(), FAKE_FORBIDDEN="namespace")
    assert outcome.code != 0 and outcome.changes == [] and "Forbidden" in outcome.text


def test_no_script_edits_files_in_place_which_sed_does_differently_on_a_mac() -> None:
    scripts = subprocess.run(["git", "ls-files", "*.sh", "*.mk", "Makefile"], cwd=render.ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert [script for script in scripts if "sed -i" in (render.ROOT / script).read_text()] == []


CONFLICT = 'error: Apply failed with 1 conflict: conflict with "{}" using autoscaling/v2: .spec.maxReplicas\nPlease review the fields above'


def test_settings_that_somebody_changed_on_the_cluster_are_named_and_taken_back_on_demand(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text(CONFLICT.format("kubectl-edit"))
    outcome = cluster.make("deploy", objects=complete())
    assert outcome.code != 0 and outcome.changes == []
    assert ".spec.maxReplicas" in outcome.text and "by kubectl-edit: nothing was changed; OVERWRITE=yes" in outcome.text
    outcome = cluster.make("deploy", "OVERWRITE=yes", objects=complete())
    assert outcome.code == 0 and "--force-conflicts" in outcome.changes[-1], outcome.text


@pytest.mark.parametrize("manager", ["nv-micro-demo", "nv-micro-test"])
def test_what_the_show_and_the_tests_changed_is_taken_back_without_asking(cluster: Cluster, manager: str) -> None:
    (cluster.home / "refuse").write_text(CONFLICT.format(manager))
    outcome = cluster.make("deploy", objects=complete())
    assert outcome.code == 0 and "--force-conflicts" in outcome.changes[-1], outcome.text
    assert manager in (render.ROOT / "observability/demo/demo.py").read_text() + (render.ROOT / "platforms/live/cluster.py").read_text()


def test_a_refusal_in_other_words_is_one_too(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text("The request is invalid: spec.replicas: must be positive")
    outcome = cluster.make("deploy", objects=complete())
    assert outcome.code != 0 and outcome.changes == [] and "nothing was changed" in outcome.text


def test_a_webhook_that_takes_no_dry_run_does_not_stop_the_apply(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text('Error from server (BadRequest): admission webhook "a.b" does not support dry run')
    outcome = cluster.make("metrics-adapter", objects=complete())
    assert outcome.code == 0 and outcome.changes != [], outcome.text


def test_an_old_cluster_is_refused(cluster: Cluster) -> None:
    outcome = cluster.make("deploy", objects=complete(), FAKE_MINOR="34")
    assert outcome.code != 0 and outcome.changes == []
    assert "1.34" in outcome.text


def test_the_user_may_go_on_without(cluster: Cluster) -> None:
    outcome = cluster.make("deploy", "ANYWAY=yes", objects=without("v1.metrics.k8s.io")(complete()))
    assert outcome.code == 0 and outcome.changes != []


def test_without_knative_the_deployment_is_deployed_alone_and_reached_by_forwarding(cluster: Cluster) -> None:
    plain = without("services.serving.knative.dev", "domainmappings.serving.knative.dev", "eye-state-knative")(complete())
    plain.append(named("Service", "eye-state-k8s-autoscalers", "eye-state"))
    outcome = cluster.make("deploy-k8s-autoscalers", objects=plain)
    assert outcome.code == 0, outcome.text
    assert "port-forward service/eye-state-k8s-autoscalers" in outcome.text


@pytest.mark.parametrize("settings", ["keda", "hpa-zero"])
@pytest.mark.parametrize(("missing", "remedy"), [("kourier", "kourier.yaml"), ("prometheus", "\n  make observability\n")])
def test_what_rests_at_zero_pods_is_not_deployed_where_nothing_could_wake_it(cluster: Cluster, settings: str, missing: str, remedy: str) -> None:
    objects = [*complete(), named("CustomResourceDefinition", "scaledobjects.keda.sh")]
    outcome = cluster.make("deploy-k8s-autoscalers", f"SETTINGS={settings}", objects=objects)
    assert outcome.code == 0, outcome.text
    outcome = cluster.make("deploy-k8s-autoscalers", f"SETTINGS={settings}", objects=without(missing)(objects))
    assert outcome.code != 0 and outcome.changes == []
    assert remedy in outcome.text
    # With a pod at least, it is reached without a gateway and scales by the adapter.
    assert cluster.make("deploy-k8s-autoscalers", "SETTINGS=hpa", objects=without(missing)(objects)).code == 0


def test_an_image_that_no_registry_serves_and_no_node_holds_is_said(cluster: Cluster) -> None:
    empty = changed("one", status={"allocatable": {"cpu": "2"}})(complete())
    assert "make image image-load" in cluster.make("deploy", objects=empty).text
    assert "make image image-load" not in cluster.make("deploy", "IMAGE=registry.example/eye-state:1", objects=empty).text


@pytest.mark.parametrize(("platform", "note"), [("two-cores", "room for 9 of 10 pods of 175m"), ("cluster", "room for 1 of 10 pods of 1025m"), ("gke", None)])
def test_the_room_for_ten_pods_is_counted_where_nodes_do_not_come_by_themselves(cluster: Cluster, platform: str, note: str | None) -> None:
    crowded = complete()
    crowded.append(named("Pod", "system", "kube-system", spec={"containers": [{"resources": {"requests": {"cpu": "260m"}}}]}, status={"phase": "Running"}))
    text = cluster.make("doctor", f"PLATFORM={platform}", objects=crowded).text
    assert note in text if note else "room for every pod\n" in text and "of 10 pods" not in text


def test_what_the_manifests_ask_for_is_not_ok_before_they_were_rendered(cluster: Cluster) -> None:
    text = cluster.make("doctor", "KUSTOMIZE=/nowhere/kustomize", objects=complete()).text
    assert text.count("not looked at") == 3 and "ok       room" not in text and "ok       Knative allows" not in text


def test_observability_ends_with_what_to_open(cluster: Cluster) -> None:
    outcome = cluster.make("observability", objects=complete())
    assert outcome.code == 0, outcome.text
    assert "http://localhost:3000/d/" in outcome.text
    outcome = cluster.make("observability", "STORAGE=emptydir", objects=without("standard")(complete()))
    assert outcome.code == 0, outcome.text


def with_knative(*setters: str, **data: str) -> list[dict]:
    """A cluster whose Knative has these settings of its telemetry, each set by all of these field managers."""
    settings = {key.replace("_", "-"): value for key, value in data.items()}
    found = named("ConfigMap", "config-observability", "knative-serving", data=settings)
    fields = {"f:data": {".": {}} | {f"f:{key}": {} for key in settings}}
    found["metadata"]["managedFields"] = [{"manager": setter, "operation": "Apply", "fieldsV1": fields} for setter in setters]
    return [*complete(), named("Namespace", "knative-serving"), found]


def test_knative_starts_again_only_where_its_telemetry_was_switched_on(cluster: Cluster) -> None:
    (cluster.home / "applied.json").write_text(json.dumps(with_knative(metrics_protocol="prometheus")))
    outcome = cluster.make("observability", objects=with_knative())
    assert outcome.code == 0 and "rollout restart" in outcome.changes[-1], outcome.text
    outcome = cluster.make("observability", objects=with_knative(metrics_protocol="prometheus"))
    assert outcome.code == 0 and "rollout restart" not in " ".join(outcome.changes), outcome.text
    # `make cluster` applies Knative's ConfigMaps as released: with one field manager for both, that
    # would remove the keys.
    assert "--field-manager nv-micro-telemetry" in outcome.changes[-1]
    assert "nv-micro-telemetry" not in (render.ROOT / "platforms/kind/cluster.sh").read_text()


@pytest.mark.parametrize("manager", ["nv-micro-telemetry", "nv-micro"])
def test_knative_s_telemetry_is_switched_off_but_for_what_others_set_too(cluster: Cluster, manager: str) -> None:
    (cluster.home / "applied.json").write_text(json.dumps(with_knative()))
    outcome = cluster.make("undeploy-observability", objects=with_knative(manager, metrics_protocol="prometheus"))
    assert outcome.code == 0 and "rollout restart" in outcome.changes[-1], outcome.text
    assert "patch configmap config-observability" in outcome.changes[-2] and '{"data": {"metrics-protocol": null}}' in outcome.changes[-2]
    outcome = cluster.make("undeploy-observability", objects=with_knative(manager, "kubectl-edit", metrics_protocol="prometheus"))
    assert outcome.code == 0, outcome.text
    assert [c for c in outcome.changes if "patch" in c or "rollout restart" in c] == []


def test_knative_is_left_alone_on_demand(cluster: Cluster) -> None:
    for target in ("observability", "undeploy-observability"):
        outcome = cluster.make(target, "KNATIVE_TELEMETRY=no", objects=with_knative("nv-micro-telemetry", metrics_protocol="prometheus"))
        assert outcome.code == 0 and outcome.changes != [], outcome.text
        assert [c for c in outcome.changes if "nv-micro-telemetry" in c or "rollout restart" in c] == []
    outcome = cluster.make("observability", "KNATIVE_TELEMETRY=perhaps", objects=with_knative())
    assert outcome.code != 0 and outcome.changes == [] and "is yes or no" in outcome.text


def test_a_config_map_that_knative_does_not_have_is_not_made(cluster: Cluster) -> None:
    last = cluster.home / "last_apply.yaml"
    cluster.make("observability", objects=with_knative())
    assert "name: config-observability" in last.read_text() and "config-kourier" not in last.read_text()
    cluster.make("observability", objects=[*with_knative(), named("ConfigMap", "config-kourier", "knative-serving", data={})])
    assert "name: config-observability" in last.read_text() and "name: config-kourier" in last.read_text()


def test_what_is_deployed_to_watch_carries_the_label_by_which_it_is_removed() -> None:
    script = (render.ROOT / "observability/undeploy.sh").read_text()
    for document in [*render.render(Path("observability")), *render.render(Path("k8s-autoscalers/metrics"))]:
        assert document["metadata"]["labels"].items() >= OURS.items(), document["metadata"]["name"]
        assert document["kind"] == "Namespace" or f"{document['kind'].lower()}s" in script


def test_what_others_have_under_the_same_names_is_not_removed(cluster: Cluster) -> None:
    others = [
        *complete(),
        named("Namespace", "monitoring"),
        named("Deployment", "grafana", "monitoring"),
        named("Service", "grafana", "monitoring"),
        named("DaemonSet", "node-exporter", "monitoring"),
        named("ClusterRole", "prometheus-adapter"),
    ]
    ours = [
        labelled(named("Deployment", "kube-state-metrics", "monitoring")),
        labelled(named("ConfigMap", "dashboard-cluster", "monitoring")),
        labelled(named("PersistentVolumeClaim", "prometheus", "monitoring")),
        labelled(named("ClusterRole", "nv-micro-prometheus")),
        labelled(named("RoleBinding", "prometheus-adapter:auth-reader", "kube-system")),
    ]
    outcome = cluster.make("undeploy-observability", objects=[*others, *ours])
    assert outcome.code == 0, outcome.text
    # The adapter's APIService is labelled as ours in `complete`.
    left = {f"{o['kind']}/{o['metadata']['name']}" for o in others} - {"APIService/v1.custom.metrics.k8s.io"}
    assert cluster.names() == left
    assert "the namespace monitoring stays: it has" in outcome.text and "DaemonSet/node-exporter" in outcome.text


def monitoring(made_by: str | None = "apply.sh") -> dict:
    """The namespace, with the mark of the script that made it."""
    found = labelled(named("Namespace", "monitoring"))
    return found | {"metadata": found["metadata"] | ({"annotations": {"nv-micro/made-by": made_by}} if made_by else {})}


def owned(found: dict) -> dict:
    """Made by a controller for another object, with which it goes."""
    return found | {"metadata": found["metadata"] | {"ownerReferences": [{"kind": "Deployment", "name": "prometheus"}]}}


OTHERS = ["ConfigMap", "Secret", "Service", "Job", "CronJob", "StatefulSet", "Ingress", "Role", "Pod", "PrometheusRule"]


@pytest.mark.parametrize("kind", [None, *OTHERS])
def test_the_namespace_goes_only_where_nobody_else_has_anything_in_it(cluster: Cluster, kind: str | None) -> None:
    objects = [
        *without("prometheus")(complete()),
        named("CustomResourceDefinition", "prometheusrules.monitoring.coreos.com", spec={"scope": "Namespaced"}),
        monitoring(),
        labelled(named("Deployment", "prometheus", "monitoring")),
        # What every namespace has, and what the cluster makes of what is ours.
        named("ConfigMap", "kube-root-ca.crt", "monitoring"),
        named("ServiceAccount", "default", "monitoring"),
        named("Event", "prometheus.1", "monitoring"),
        named("Endpoints", "prometheus", "monitoring"),
        owned(named("ReplicaSet", "prometheus-1", "monitoring")),
        owned(named("Pod", "prometheus-1-a", "monitoring")),
    ]
    outcome = cluster.make("undeploy-observability", objects=[*objects, *([named(kind, "somebodys", "monitoring")] if kind else [])])
    assert outcome.code == 0, outcome.text
    assert ("Namespace/monitoring" in cluster.names()) == (kind is not None)
    assert "Namespace/eye-state" in cluster.names() and "Deployment/prometheus" not in cluster.names()


def test_a_namespace_of_which_not_everything_is_known_stays(cluster: Cluster) -> None:
    objects = [*without("prometheus")(complete()), monitoring(), labelled(named("Deployment", "grafana", "monitoring"))]
    outcome = cluster.make("undeploy-observability", objects=objects, FAKE_HALF_DISCOVERED="1")
    assert outcome.code == 0 and "not everything in it could be looked at" in outcome.text, outcome.text
    assert "Namespace/monitoring" in cluster.names() and "Deployment/grafana" not in cluster.names()


def test_a_namespace_that_was_there_before_stays_though_nothing_is_in_it(cluster: Cluster) -> None:
    outcome = cluster.make("undeploy-observability", objects=[*without("prometheus")(complete()), monitoring(made_by=None)])
    assert outcome.code == 0 and "was there before make observability" in outcome.text, outcome.text
    assert "Namespace/monitoring" in cluster.names()


def test_only_a_namespace_that_was_made_here_gets_the_mark_by_which_it_is_removed(cluster: Cluster) -> None:
    before = named("Namespace", "monitoring")
    for there, objects in ((False, complete()), (True, [*complete(), before])):
        assert cluster.make("observability", "KNATIVE_TELEMETRY=no", objects=objects).code == 0
        (namespace,) = [o for o in json.loads((cluster.home / "objects.json").read_text()) if o["kind"] == "Namespace" and o["metadata"]["name"] == "monitoring"]
        assert ("nv-micro/made-by" in namespace["metadata"].get("annotations", {})) != there
    for script in ("platforms/kind/cluster.sh", "observability/undeploy.sh"):
        assert "nv-micro/made-by" in (render.ROOT / script).read_text()


@pytest.mark.parametrize(("target", "namespace"), [("deploy-knative", "eye-state"), ("deploy-k8s-autoscalers", "eye-state"), ("observability", "monitoring")])
def test_pods_that_a_quota_refuses_are_explained_by_the_last_events(cluster: Cluster, target: str, namespace: str) -> None:
    refused = named("Event", "one", namespace, message="pods are forbidden: exceeded quota")
    outcome = cluster.make(target, objects=[*complete(), refused], FAKE_NOT_READY="1")
    assert outcome.code != 0 and "is not ready after" in outcome.text
    assert "exceeded quota" in outcome.text


def test_another_metrics_adapter_is_said_by_doctor_and_passed_over_on_demand(cluster: Cluster) -> None:
    other = named("APIService", "v1beta1.custom.metrics.k8s.io", spec={"group": "custom.metrics.k8s.io", "service": {"namespace": "keda", "name": "its-adapter"}})
    outcome = cluster.make("metrics-adapter", "ANYWAY=yes", objects=[*complete(), other])
    assert outcome.code == 0 and outcome.changes != [], outcome.text
    # It may serve the HPA: nothing is missing.
    assert "note     no other custom-metrics adapter" in cluster.make("doctor", objects=[*complete(), other]).text


def by_the_operator() -> list[dict]:
    """The Knative Operator puts Kourier's gateway beside Knative."""
    moved = [o | {"metadata": o["metadata"] | {"namespace": "knative-serving"}} if o["metadata"].get("namespace") == "kourier-system" else o for o in complete()]
    return [*moved, named("Deployment", "net-kourier-controller", "knative-serving", status={"availableReplicas": 1})]


def test_a_gateway_that_the_operator_installed_is_found_beside_knative(cluster: Cluster) -> None:
    outcome = cluster.make("deploy", objects=by_the_operator())
    assert outcome.code == 0 and "http://192.0.2.7/classify" in outcome.text, outcome.text
    outcome = cluster.make("deploy-knative", objects=changed("3scale-kourier-gateway", status={})(by_the_operator()))
    assert outcome.code != 0 and "kubectl --namespace knative-serving get pods" in outcome.text
    text = cluster.make("addresses", objects=changed("kourier", spec={"ports": []}, status={})(by_the_operator())).text
    assert "kubectl --namespace knative-serving port-forward service/kourier 8081:80" in text


def test_a_gateway_in_a_namespace_of_any_name_is_found(cluster: Cluster) -> None:
    elsewhere = [o | {"metadata": o["metadata"] | {"namespace": "edge"}} if o["metadata"].get("namespace") == "kourier-system" else o for o in complete()]
    outcome = cluster.make("deploy", objects=elsewhere)
    assert outcome.code == 0 and "http://192.0.2.7/classify" in outcome.text, outcome.text


def test_a_second_kourier_is_never_advised(cluster: Cluster) -> None:
    outcome = cluster.make("deploy-knative", objects=without("kourier")(by_the_operator()))
    assert outcome.code != 0 and outcome.changes == []
    assert "kourier.yaml" not in outcome.text and "networking.knative.dev/ingress-provider=kourier" in outcome.text


def test_the_remedy_for_another_ingress_says_what_else_it_moves(cluster: Cluster) -> None:
    other = {"ingress-class": "istio.ingress.networking.knative.dev"}
    outcome = cluster.make("deploy-knative", objects=changed("config-network", data=other)(complete()))
    assert outcome.code != 0 and outcome.changes == []
    assert "told to use istio.ingress.networking.knative.dev" in outcome.text and "moves every Knative Service" in outcome.text


def test_a_knative_service_with_a_certificate_is_asked_by_its_name(cluster: Cluster) -> None:
    url = "https://eye-state-knative.eye-state.example.org"
    text = cluster.make("addresses", objects=changed("eye-state-knative", status={"url": url})(complete())).text
    assert f"knative: curl --connect-to '::192.0.2.7:' --data-binary @function/samples/open.jpg {url}/classify" in text


def test_on_gke_the_node_exporter_is_scraped_where_it_was_deployed(cluster: Cluster) -> None:
    last = cluster.home / "last_apply.yaml"
    for there, objects in ((False, complete()), (True, [*complete(), named("Namespace", "monitoring")])):
        outcome = cluster.make("deploy", "PLATFORM=gke", objects=objects)
        assert outcome.code == 0, outcome.text
        assert ("name: node-exporter" in last.read_text()) == there


def test_observability_takes_nothing_over_that_others_have_under_its_names(cluster: Cluster) -> None:
    (cluster.home / "refuse").write_text(CONFLICT.format("helm"))
    outcome = cluster.make("observability", objects=[*complete(), named("Namespace", "monitoring")])
    assert outcome.code != 0 and outcome.changes == []
    assert "by helm: nothing was changed; OVERWRITE=yes" in outcome.text


def test_doctor_asks_no_volume_for_a_prometheus_that_runs_without_one(cluster: Cluster) -> None:
    running = [*without("standard")(complete()), named("Deployment", "prometheus", "monitoring", status={"availableReplicas": 1})]
    assert "ok       a volume for Prometheus" in cluster.make("doctor", objects=running).text
    assert cluster.make("observability", objects=running).code != 0


def test_observability_names_what_is_not_running_beside_prometheus_and_grafana(cluster: Cluster) -> None:
    objects = [*complete(), named("Deployment", "jaeger", "monitoring", status={})]
    text = cluster.make("observability", objects=objects).text
    assert "not running yet: jaeger\n" in text and "http://localhost:3000/d/" in text
    exporter = named("DaemonSet", "node-exporter", "monitoring", status={"desiredNumberScheduled": 2, "numberAvailable": 1})
    assert "not running yet: jaeger, node-exporter\n" in cluster.make("observability", objects=[*objects, exporter]).text


def test_an_unknown_platform_is_answered_with_all_that_there_are(cluster: Cluster) -> None:
    outcome = cluster.make("deploy", "PLATFORM=moon", objects=complete())
    assert outcome.code != 0 and "cluster gke kind two-cores" in outcome.text
    assert outcome.changes == []


def test_without_a_cluster_deploy_fails_and_doctor_only_mentions_it(cluster: Cluster) -> None:
    outcome = cluster.make("deploy", objects=[], FAKE_DEAD="1")
    assert outcome.code != 0 and "make cluster" in outcome.text and outcome.changes == []
    part = cluster.make("doctor", objects=[], FAKE_DEAD="1").text.partition("The current cluster")[2]
    assert "note     a cluster that answers" in part and "make cluster" in part
