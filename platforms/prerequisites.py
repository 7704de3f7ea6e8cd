#!/usr/bin/env python3
"""What a target needs of the current cluster, looked at before anything is changed.

    prerequisites.py check NEED...    exit 1 and name everything that is missing, each with the command that helps
    prerequisites.py doctor           the same for every need, grouped by target
    prerequisites.py addresses        where the variants answer: gateway, Host header, a command to try

Reads KUBECTL, KUBERNETES_PLATFORM (a folder of platforms/), IMAGE, and MANIFESTS: the rendered manifests that
are about to be applied, from which follows what Knative has to allow. Standard library only.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

KUBECTL = shlex.split(os.environ.get("KUBECTL") or "kubectl")
PLATFORM = os.environ.get("KUBERNETES_PLATFORM") or "cluster"
IMAGE = os.environ.get("IMAGE") or ""
NAMESPACE = "eye-state"
ROOM = Path(__file__).resolve().parent
VERSIONS = dict(
    line.split("=", 1) for line in (ROOM / "versions.env").read_text().splitlines() if re.match(r"\w+=", line)
)

# In-place resize of pods is on without a feature gate from here on.
KUBERNETES_MINOR = 35
# A call that takes longer than this has no API server behind it.
TIMEOUT_SECONDS = 20
# What Knative gives queue-proxy by default (config-deployment, queue-sidecar-cpu-request), in
# thousandths of a core.
QUEUE_PROXY_MILLICORES = 25
# What both autoscalers may ask for (max-scale, maxReplicas).
MOST_PODS = 10
# Names for which Knative asks no registry, and which no registry serves.
LOCAL_REGISTRIES = ("dev.local/", "ko.local/", "kind.local/")


class Unknown(Exception):
    """The cluster did not let us look."""


@cache
def _run(*arguments: str) -> tuple[int, str, str]:
    try:
        done = subprocess.run([*KUBECTL, *arguments], capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except FileNotFoundError:
        return 127, "", f"{KUBECTL[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {TIMEOUT_SECONDS} s"
    return done.returncode, done.stdout, done.stderr.strip()


def get(*arguments: str) -> dict:
    """`kubectl get … -o json`; an empty dictionary where there is no such object or no such kind."""
    code, out, error = _run("get", *arguments, "--ignore-not-found", "-o", "json")
    if code == 0:
        return json.loads(out) if out.strip() else {}
    if "doesn't have a resource type" in error or "NotFound" in error:
        return {}
    raise Unknown(error.splitlines()[-1] if error else f"kubectl exited with {code}")


def manifests() -> str:
    path = os.environ.get("MANIFESTS")
    return Path(path).read_text() if path else ""


# Each need returns None where it is met, or what is wrong and the one command that helps.
Need = Callable[[], tuple[str, str] | None]


def kubectl() -> tuple[str, str] | None:
    code, _, error = _run("version", "--client")
    return (error, "install it: https://kubernetes.io/docs/tasks/tools") if code else None


def cluster() -> tuple[str, str] | None:
    code, _, _ = _run("get", "--raw", "/version")
    if not code:
        return None
    context = _run("config", "current-context")[1].strip()
    which = f"no cluster answers at context '{context}'" if context else "kubectl has no current context"
    return which, "make cluster (starts one) or kubectl config use-context NAME (picks another)"


def version() -> tuple[str, str] | None:
    server = json.loads(_run("get", "--raw", "/version")[1] or "{}")
    minor = int(re.sub(r"\D.*", "", server.get("minor", "")) or 0)
    if server.get("major") == "1" and minor < KUBERNETES_MINOR:
        return f"this is Kubernetes 1.{minor}; resizing pods in place takes 1.{KUBERNETES_MINOR}", "make cluster (starts one)"
    return None


def crd(name: str, missing: str, remedy: str) -> Need:
    return lambda: None if get("crd", name) else (missing, remedy)


keda = crd(
    "scaledobjects.keda.sh",
    "no KEDA here",
    f"kubectl apply --server-side -f https://github.com/kedacore/keda/releases/download/v{VERSIONS['KEDA_VERSION']}/keda-{VERSIONS['KEDA_VERSION']}.yaml",
)

knative_crds = crd(
    "services.serving.knative.dev",
    "no Knative Serving here",
    f"install {VERSIONS['KNATIVE_VERSION']}: https://knative.dev/docs/install/yaml-install/serving (with Kourier)",
)


def knative_webhook() -> tuple[str, str] | None:
    webhook = get("deployment", "webhook", "--namespace", "knative-serving")
    if webhook.get("status", {}).get("availableReplicas"):
        return None
    return "Knative's webhook is not running, and without it nothing of Knative's can be applied", "kubectl --namespace knative-serving get pods"


def _setting(config_map: str, key: str) -> str:
    return get("configmap", config_map, "--namespace", "knative-serving").get("data", {}).get(key, "")


def _patch(config_map: str, key: str, value: str) -> str:
    data = json.dumps({"data": {key: value}})
    return f"kubectl --namespace knative-serving patch configmap {config_map} --type merge --patch '{data}'"


def _down(name: str, namespace: str) -> bool:
    """Whether there is such a Deployment, and none of its pods is available."""
    found = get("deployment", name, "--namespace", namespace)
    return bool(found) and not found.get("status", {}).get("availableReplicas")


def _anywhere(kind: str, name: str, likely: tuple[str, ...]) -> dict:
    """An object of this name in whatever namespace. First in the likely ones: not everybody may list all of them."""
    for namespace in likely:
        if found := get(kind, name, "--namespace", namespace):
            return found
    everywhere = get(kind, "--all-namespaces", "--field-selector", f"metadata.name={name}")
    return next(iter(everywhere.get("items", [])), {})


def kourier_service() -> dict:
    """Kourier's release has its gateway in kourier-system, the Knative Operator in knative-serving."""
    return _anywhere("service", "kourier", ("kourier-system", "knative-serving"))


def kourier() -> tuple[str, str] | None:
    service = kourier_service()
    if not service:
        if _anywhere("deployment", "net-kourier-controller", ("knative-serving",)):
            # The release would be a second gateway beside the one that this controller serves.
            look = "kubectl get deployments,services --all-namespaces --selector networking.knative.dev/ingress-provider=kourier"
            return "Kourier's controller is here, and no Service 'kourier' of its gateway", look
        release = f"https://github.com/knative-extensions/net-kourier/releases/download/{VERSIONS['KNATIVE_VERSION']}/kourier.yaml"
        return "no Kourier here: the gateway of both variants", f"kubectl apply -f {release}"
    classes = [named for key in ("ingress-class", "ingress.class") if (named := _setting("config-network", key))]
    if not any(named.startswith("kourier.") for named in classes):
        patch = _patch("config-network", "ingress-class", "kourier.ingress.networking.knative.dev")
        if classes:
            return f"Knative is told to use {classes[0]}, not Kourier", f"{patch} (this moves every Knative Service of the cluster to Kourier)"
        return "Knative is not told to use Kourier", patch
    for name, namespace in (("3scale-kourier-gateway", service["metadata"]["namespace"]), ("net-kourier-controller", "knative-serving")):
        if _down(name, namespace):
            return f"Kourier's {name} is not running: no request would reach a variant", f"kubectl --namespace {namespace} get pods"
    return None


def knative_settings() -> tuple[str, str] | None:
    text = manifests()
    if re.search(r"autoscaling\.knative\.dev/initial-scale: \"?0\"?$", text, re.MULTILINE):
        if _setting("config-autoscaler", "allow-zero-initial-scale").lower() != "true":
            return "Knative refuses initial-scale 0", _patch("config-autoscaler", "allow-zero-initial-scale", "true")
    if "topologySpreadConstraints:" in text:
        flag = "kubernetes.podspec-topologyspreadconstraints"
        if _setting("config-features", flag).lower() not in ("enabled", "allowed"):
            return "Knative refuses topologySpreadConstraints", _patch("config-features", flag, "enabled")
    return None


def vpa() -> tuple[str, str] | None:
    found = get("crd", "verticalpodautoscalers.autoscaling.k8s.io")
    install = f"install the VPA {VERSIONS['VPA_VERSION']}: https://github.com/kubernetes/autoscaler/tree/master/vertical-pod-autoscaler"
    if not found:
        return "no VPA here", install
    if "InPlaceOrRecreate" not in json.dumps(found):
        return "this VPA is too old: it does not resize pods in place (InPlaceOrRecreate)", install
    # Where its own installation puts them; a provider's VPA has none of them.
    for name in ("vpa-recommender", "vpa-updater", "vpa-admission-controller"):
        if _down(name, "kube-system"):
            return f"{name} is not running", "kubectl --namespace kube-system get pods"
    return None


def _api_available(group: str) -> bool:
    for service in get("apiservices.apiregistration.k8s.io").get("items", []):
        if service["spec"].get("group") == group:
            conditions = service.get("status", {}).get("conditions", [])
            if any(c["type"] == "Available" and c["status"] == "True" for c in conditions):
                return True
    return False


def metrics_server() -> tuple[str, str] | None:
    if _api_available("metrics.k8s.io"):
        return None
    release = f"https://github.com/kubernetes-sigs/metrics-server/releases/download/{VERSIONS['METRICS_SERVER_VERSION']}/components.yaml"
    return "no metrics-server answers: the VPA learns from it", f"kubectl apply -f {release}"


def prometheus() -> tuple[str, str] | None:
    if get("service", "prometheus", "--namespace", "monitoring"):
        return None
    return "no Prometheus at prometheus.monitoring:9090", "make observability"


def beside_prometheus() -> tuple[str, str] | None:
    """Traces, pod counts and nodes on the dashboards come from these."""
    down = [name for name in ("kube-state-metrics", "trace-collector", "jaeger") if _down(name, "monitoring")]
    nodes = get("daemonset", "node-exporter", "--namespace", "monitoring").get("status", {})
    if nodes.get("numberAvailable", 0) < nodes.get("desiredNumberScheduled", 0):
        down.append("node-exporter")
    return (f"not running yet: {', '.join(down)}", "kubectl --namespace monitoring get pods, should it stay so") if down else None


def custom_metrics() -> tuple[str, str] | None:
    if _api_available("custom.metrics.k8s.io"):
        return None
    if PLATFORM == "gke":
        return "no custom-metrics adapter answers: the HPA scales on its metric", "see platforms/gke/README.md"
    # One command that helps now: the adapter itself needs Prometheus first.
    return "no custom-metrics adapter answers: the HPA scales on its metric", prometheus() and "make observability metrics-adapter" or "make metrics-adapter"


def no_other_adapter() -> tuple[str, str] | None:
    """An HPA asks the group's preferred version: beside another adapter, ours would be asked for all."""
    for service in get("apiservices.apiregistration.k8s.io").get("items", []):
        ours = service["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == "nv-micro"
        if service["spec"].get("group") == "custom.metrics.k8s.io" and not ours:
            by = service["spec"].get("service") or {}
            return (
                f"another adapter serves {service['metadata']['name']} ({by.get('namespace', '?')}/{by.get('name', '?')}), and every HPA of the cluster would ask ours instead",
                "add the rules of k8s-autoscalers/metrics/rules.yaml to that adapter, in place of make metrics-adapter",
            )
    return None


def storage() -> tuple[str, str] | None:
    """A claim binds to the default class; one that is bound already needs none."""
    if get("persistentvolumeclaim", "prometheus", "--namespace", "monitoring").get("status", {}).get("phase") == "Bound":
        return None
    classes = get("storageclass").get("items", [])
    default = "storageclass.kubernetes.io/is-default-class"
    if any(c["metadata"].get("annotations", {}).get(default) == "true" for c in classes):
        return None
    if classes:
        patch = json.dumps({"metadata": {"annotations": {default: "true"}}})
        return "no StorageClass is the default one: Prometheus would stay Pending", (
            "make observability STORAGE=emptydir (samples go with the pod), or make one the default for every claim of the cluster:"
            f" kubectl patch storageclass {classes[0]['metadata']['name']} --patch '{patch}'"
        )
    return "no StorageClass here: Prometheus would stay Pending", "make observability STORAGE=emptydir (samples go with the pod)"


def image() -> tuple[str, str] | None:
    """Nodes name the 50 largest images that they hold, some time after they got them: a hint, not proof."""
    if not IMAGE.startswith(LOCAL_REGISTRIES):
        return None
    nodes = get("nodes").get("items", [])
    def holds(node: dict) -> bool:
        return any(IMAGE in (image.get("names") or []) for image in node["status"].get("images") or [])

    without = [node["metadata"]["name"] for node in nodes if not holds(node)]
    if without:
        return f"no registry serves {IMAGE}, and these nodes do not say that they hold it: {', '.join(without)}", "make image image-load"
    return None


def _millicores(quantity: str) -> int:
    return int(quantity[:-1]) if quantity.endswith("m") else round(float(quantity) * 1000)


def _request(pod: dict) -> int:
    requests = [c.get("resources", {}).get("requests", {}).get("cpu", "0") for c in pod["spec"]["containers"]]
    return sum(_millicores(str(r)) for r in requests)


def room() -> tuple[str, str] | None:
    """Whether all pods that the autoscalers may ask for would find a place."""
    found = re.search(r"requests:\n\s+cpu: \"?(\w+)\"?", manifests())
    # GKE adds nodes for pods that find no room.
    if PLATFORM == "gke" or not found:
        return None
    pod = _millicores(found[1]) + QUEUE_PROXY_MILLICORES
    free = sum(_millicores(n["status"]["allocatable"]["cpu"]) for n in get("nodes").get("items", []))
    for other in get("pods", "--all-namespaces").get("items", []):
        if other["metadata"]["namespace"] != NAMESPACE and other.get("status", {}).get("phase") in ("Pending", "Running"):
            free -= _request(other)
    if free >= MOST_PODS * pod:
        return None
    return (
        f"room for {max(free, 0) // pod} of {MOST_PODS} pods of {pod}m: {free}m are left beside the system's requests",
        "see platforms/two-cores/README.md: smaller pods, and smaller requests of the system's pods",
    )


NEEDS: dict[str, tuple[str, Need]] = {
    "kubectl": ("kubectl", kubectl),
    "cluster": ("a cluster that answers", cluster),
    "version": (f"Kubernetes 1.{KUBERNETES_MINOR} or newer", version),
    "knative": ("Knative Serving", knative_crds),
    "knative-webhook": ("Knative's webhook", knative_webhook),
    "kourier": ("Kourier, and Knative told to use it", kourier),
    "knative-settings": ("Knative allows what the manifests ask for", knative_settings),
    "vpa": ("the VPA, with InPlaceOrRecreate", vpa),
    "metrics-server": ("metrics-server", metrics_server),
    "custom-metrics": ("a custom-metrics adapter", custom_metrics),
    "no-other-adapter": ("no other custom-metrics adapter", no_other_adapter),
    "keda": ("KEDA", keda),
    "prometheus": ("Prometheus, for the adapter", prometheus),
    "storage": ("a volume for Prometheus", storage),
    "beside-prometheus": ("what feeds Prometheus runs", beside_prometheus),
    "image": ("the image is on the nodes", image),
    "room": ("room for every pod", room),
}
# Missing, these do not make an apply fail or a pod wait for good; they are said, and do not stop
# anything.
NOTES = {"image", "room", "beside-prometheus"}
# What these look at follows from the rendered manifests.
OF_MANIFESTS = {"knative-settings", "room"}
# Without these there is nothing further to ask.
FIRST = ("kubectl", "cluster")

TARGETS: dict[str, list[str]] = {
    "make observability": ["storage"],
    "make metrics-adapter": ["prometheus", "no-other-adapter"],
    "make deploy-knative": ["version", "knative", "knative-webhook", "kourier", "knative-settings", "image", "room"],
    "make deploy-k8s-autoscalers": ["version", "vpa", "metrics-server", "custom-metrics", "image", "room"],
}


def outcome(need: str) -> tuple[str, str] | None:
    try:
        return NEEDS[need][1]()
    except Unknown as error:
        return f"it could not be looked at: {error}", "kubectl auth whoami"


def check(needs: list[str]) -> int:
    """Names everything that is missing at once; 1 where something is that stops the target."""
    unknown = [need for need in needs if need not in NEEDS]
    if unknown:
        print(f"prerequisites.py: no such need: {', '.join(unknown)}; there are {', '.join(NEEDS)}", file=sys.stderr)
        return 2
    missing = 0
    for need in dict.fromkeys([*FIRST, *needs]):
        if found := outcome(need):
            stops = need not in NOTES
            print(f"{'missing' if stops else 'note'}: {found[0]}\n  {found[1]}", file=sys.stderr)
            missing += stops
            if need in FIRST:
                break
    if not missing:
        return 0
    if os.environ.get("ANYWAY") == "yes":
        print("going on all the same (ANYWAY=yes)", file=sys.stderr)
        return 0
    print("nothing was changed (make doctor says more; ANYWAY=yes goes on without)", file=sys.stderr)
    return 1


def doctor() -> int:
    missing = 0
    for title, needs in {"Any cluster": list(FIRST), **TARGETS}.items():
        print(title)
        for need in needs:
            what = NEEDS[need][0]
            if need in OF_MANIFESTS and not manifests():
                print(f"  note     {what}: not looked at\n           make render (builds kustomize), then ask again")
                continue
            found = outcome(need)
            # Prometheus that runs on the node's disk (STORAGE=emptydir) lacks no volume.
            if not found or need == "storage" and get("deployment", "prometheus", "--namespace", "monitoring").get("status", {}).get("availableReplicas"):
                print(f"  ok       {what}")
                continue
            # Building and testing take no cluster: where none was asked for, neither it nor kubectl
            # is missing. Nor is anything where another adapter can serve the HPA.
            note = need in NOTES or need in (*FIRST, "no-other-adapter")
            print(f"  {'note   ' if note else 'missing'}  {what}: {found[0]}\n           {found[1]}")
            missing += not note
            if need in FIRST:
                return 1 if missing else 0
    return 1 if missing else 0


def gateway() -> tuple[str, str]:
    """A URL of the gateway, and what has to run first so that it answers."""
    if PLATFORM == "kind":
        return "http://127.0.0.1:8080", ""
    service = kourier_service()
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress", []):
        if address := ingress.get("ip") or ingress.get("hostname"):
            return f"http://{address}", ""
    if service.get("spec", {}).get("type") == "NodePort" and (address := node_port(service)):
        return address, ""
    namespace = service.get("metadata", {}).get("namespace", "kourier-system")
    return "http://127.0.0.1:8081", f"kubectl --namespace {namespace} port-forward service/kourier 8081:80"


def node_port(service: dict) -> str | None:
    """The gateway at a node. Services that wait for a load balancer have such a port too."""
    for port in service.get("spec", {}).get("ports", []):
        if port.get("nodePort") and port["port"] == 80:
            for node in get("nodes").get("items", []):
                for address in node["status"].get("addresses", []):
                    if address["type"] == "InternalIP":
                        return f"http://{address['address']}:{port['nodePort']}"
    return None


def addresses() -> int:
    hosts = {}
    url = get("services.serving.knative.dev", "eye-state-knative", "--namespace", NAMESPACE).get("status", {}).get("url")
    if url:
        hosts["knative"] = re.sub(r"^https?://", "", url)
    for mapping in get("domainmappings.serving.knative.dev", "--namespace", NAMESPACE).get("items", []):
        hosts["k8s-autoscalers"] = mapping["metadata"]["name"]
    if hosts:
        address, first = gateway()
        if first:
            print(f"the gateway has no address outside the cluster; in another shell: {first}")
            if within := node_port(kourier_service()):
                print(f"where the nodes can be reached, and for load: {within}")
        for variant, host in hosts.items():
            at = f"-H 'Host: {host}' --data-binary @function/samples/open.jpg {address}"
            if variant == "knative" and url.startswith("https://"):
                # By its own name, which the certificate is for, and yet at the gateway's address.
                to = address.removeprefix("http://")
                at = f"--connect-to '::{to}{'' if ':' in to else ':'}' --data-binary @function/samples/open.jpg {url}"
            print(f"{variant}: curl {at}/classify")
        if "k8s-autoscalers" in hosts:
            forward = f"kubectl --namespace {NAMESPACE} port-forward service/eye-state-k8s-autoscalers 8082:80"
            print(f"the page in a browser: {forward}   then http://127.0.0.1:8082")
    elif get("service", "eye-state-k8s-autoscalers", "--namespace", NAMESPACE):
        print(f"in another shell: kubectl --namespace {NAMESPACE} port-forward service/eye-state-k8s-autoscalers 8081:80")
        print("k8s-autoscalers: curl --data-binary @function/samples/open.jpg http://127.0.0.1:8081/classify, or open that address")
    else:
        print("neither variant is deployed here: make deploy")
    return 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["check", *needs] if needs:
            return check(needs)
        case ["doctor"]:
            return doctor()
        case ["addresses"]:
            return addresses()
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
