#!/usr/bin/env python3
"""A fake kubectl for tests of the make targets: answers `get` from a file of objects, and writes down every call.

FAKE_CLUSTER is a folder with `objects.json` (a list of Kubernetes objects), `refuse` (where it exists: the text with
which the API server refuses a dry run), `closed` (where it exists: a namespace into which a policy lets nothing),
`applied.json` (where it exists: the objects once Knative's telemetry was applied or patched), `last_apply.yaml` (what was
applied last), and `calls`, to which every command line is appended. Of what is applied only namespaces become objects. With
FAKE_NOT_READY nothing that is waited for becomes ready, with FAKE_FORBIDDEN the kind that it names may not be looked at, and
with FAKE_HALF_DISCOVERED the API server does not reach one of its APIs.
"""

import json
import os
import re
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_CLUSTER"])
# Kinds of objects in a namespace, as `api-resources` names them. Usage is metrics-server's, and not
# to be had here.
NAMESPACED = [
    "configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "resourcequotas", "secrets", "serviceaccounts",
    "services", "daemonsets.apps", "deployments.apps", "replicasets.apps", "statefulsets.apps", "cronjobs.batch", "jobs.batch",
    "events.events.k8s.io", "ingresses.networking.k8s.io", "rolebindings.rbac.authorization.k8s.io", "roles.rbac.authorization.k8s.io",
]  # fmt: skip
USAGE = "pods.metrics.k8s.io"
# The kinds that this cluster always knows; all others need their CRD.
BUILT_IN = {
    *NAMESPACED,
    "apiservice", "apiservices.apiregistration.k8s.io", "clusterrolebindings", "clusterroles", "configmap", "configmaps", "crd",
    "cronjobs", "daemonset", "daemonsets", "deployment", "deployments", "events", "jobs", "namespace", "nodes",
    "persistentvolumeclaim", "persistentvolumeclaims", "pods", "resourcequotas", "rolebindings", "roles", "secrets", "service",
    "serviceaccounts", "services", "statefulsets", "storageclass",
}  # fmt: skip
WITH_VALUE = ("--namespace", "-n", "-o", "--output", "--selector", "--field-selector", "--field-manager", "-f")
# Where everybody may have something.
ALWAYS_THERE = {"default", "kube-system"}


def kind_of(word: str) -> str:
    word = word.split(".")[0]
    own = {"crd": "customresourcedefinition", "storageclass": "storageclass", "endpoints": "endpoints", "ingresses": "ingress"}
    return own.get(word, word.removesuffix("s"))


def options(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """What is no option, and the values of those that have one."""
    words, values, option = [], {}, None
    for word in arguments:
        if option:
            values[option], option = word, None
        elif word in WITH_VALUE:
            option = word
        elif not word.startswith("-"):
            words.append(word)
    return words, values


def selected(found: dict, selector: str) -> bool:
    """Of `key=value` and `key!=value`, which also those have that lack the label."""
    labels = found["metadata"].get("labels", {})
    for condition in selector.split(","):
        key, sign, value = condition.partition("!=" if "!=" in condition else "=")
        if (labels.get(key) == value) != (sign == "="):
            return False
    return True


def of_kinds(objects: list[dict], kinds: list[str], values: dict[str, str]) -> list[dict]:
    """The objects of these kinds in the namespace that is asked for, with the labels and the name."""
    namespace = values.get("--namespace", values.get("-n"))
    found = [o for o in objects if o["kind"].lower() in map(kind_of, kinds)]
    found = [o for o in found if namespace in (None, o["metadata"].get("namespace"))]
    if name := values.get("--field-selector", "").partition("metadata.name=")[2]:
        found = [o for o in found if o["metadata"]["name"] == name]
    return [o for o in found if "--selector" not in values or selected(o, values["--selector"])]


def get(arguments: list[str]) -> int:
    if os.environ.get("FAKE_DEAD"):
        print("The connection to the server was refused", file=sys.stderr)
        return 1
    if arguments[:1] == ["--raw"]:
        print('{"major": "1", "minor": "%s"}' % os.environ.get("FAKE_MINOR", "36"))
        return 0
    words, values = options(arguments)
    objects = json.loads((HOME / "objects.json").read_text())
    crds = {o["metadata"]["name"] for o in objects if o["kind"] == "CustomResourceDefinition"}
    kinds = words[0].split(",")
    if os.environ.get("FAKE_FORBIDDEN") in kinds:
        print(f"Error from server (Forbidden): {words[0]} is forbidden", file=sys.stderr)
        return 1
    if unknown := [kind for kind in kinds if kind not in BUILT_IN and kind not in crds]:
        print(f"error: the server doesn't have a resource type \"{unknown[0].split('.')[0]}\"", file=sys.stderr)
        return 1
    found = of_kinds(objects, kinds, values)
    if len(words) == 1 and "name" in arguments:
        print("\n".join(f"{o['kind'].lower()}/{o['metadata']['name']}" for o in found), end="")
        return 0
    if len(words) == 1:
        print(json.dumps({"kind": "List", "items": found}))
        return 0
    found = [o for o in found if o["metadata"]["name"] == words[1]]
    if found:
        print(json.dumps(found[0]))
    elif "--ignore-not-found" not in arguments:
        print(f'Error from server (NotFound): {words[0]} "{words[1]}" not found', file=sys.stderr)
        return 1
    return 0


def delete(arguments: list[str]) -> None:
    """By kinds and labels, or by kind and name; what is read from a file stays."""
    words, values = options(arguments)
    if not words:
        return
    objects = json.loads((HOME / "objects.json").read_text())
    gone = [o for o in of_kinds(objects, words[0].split(","), values) if o["metadata"]["name"] in words[1:] or not words[1:]]
    (HOME / "objects.json").write_text(json.dumps([o for o in objects if o not in gone]))


def api_resources() -> int:
    """The names of all kinds in a namespace."""
    objects = json.loads((HOME / "objects.json").read_text())
    crds = [o for o in objects if o["kind"] == "CustomResourceDefinition" and isinstance(o.get("spec"), dict)]
    print(*NAMESPACED, USAGE, *(o["metadata"]["name"] for o in crds if o["spec"].get("scope") == "Namespaced"), sep="\n")
    if os.environ.get("FAKE_HALF_DISCOVERED"):
        print("error: unable to retrieve the complete list of server APIs: somebodys.example/v1: stale", file=sys.stderr)
        return 1
    return 0


def refusal(text: str) -> str | None:
    """Why the API server stores none of these manifests; None where it does."""
    # Force settles conflicts, and nothing else.
    if (refuse := HOME / "refuse").exists() and not ("conflict" in refuse.read_text() and "--force-conflicts" in sys.argv):
        return refuse.read_text()
    into = set(re.findall(r"^  namespace: (\S+)$", text, re.MULTILINE))
    if (closed := HOME / "closed").exists() and closed.read_text() in into:
        return f'Error from server: admission webhook "policies" denied the request: nothing may be in {closed.read_text()}'
    objects = json.loads((HOME / "objects.json").read_text())
    there = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"} | {o["metadata"].get("namespace") for o in objects}
    if missing := sorted(into - there - ALWAYS_THERE):
        return f'Error from server (NotFound): namespaces "{missing[0]}" not found'
    return None


def keep_namespaces(text: str) -> None:
    """Those among the manifests become objects, with their labels."""
    objects = json.loads((HOME / "objects.json").read_text())
    there = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"}
    for document in text.split("---\n"):
        name = re.search(r"^  name: (\S+)$", document, re.MULTILINE)
        if re.search(r"^kind: Namespace$", document, re.MULTILINE) and name and name[1] not in there:
            labels = dict(re.findall(r"^    (\S+): (\S+)$", document, re.MULTILINE))
            objects.append({"kind": "Namespace", "metadata": {"name": name[1], "labels": labels}})
    (HOME / "objects.json").write_text(json.dumps(objects))


def annotate(arguments: list[str]) -> None:
    (kind, name, *given), _ = options(arguments)
    objects = json.loads((HOME / "objects.json").read_text())
    for found in of_kinds(objects, [kind], {}):
        if found["metadata"]["name"] == name:
            found["metadata"].setdefault("annotations", {}).update(text.split("=", 1) for text in given)
    (HOME / "objects.json").write_text(json.dumps(objects))


def main(arguments: list[str]) -> int:
    with (HOME / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    match arguments:
        case ["get", *rest]:
            return get(rest)
        case ["api-resources", *_]:
            return api_resources()
        case ["annotate", *rest]:
            annotate(rest)
        case ["delete", *rest]:
            delete(rest)
        case ["config", "current-context"]:
            print("pretended")
        case ["wait", *_] | ["rollout", "status", *_] if os.environ.get("FAKE_NOT_READY"):
            return 1
        case ["apply", *rest] if any(word.startswith("--dry-run") for word in rest):
            if why := refusal(Path(options(rest)[1]["-f"]).read_text()):
                print(why, file=sys.stderr)
                return 1
        case ["apply" | "patch", *rest]:
            if "nv-micro-telemetry" in rest and (applied := HOME / "applied.json").exists():
                applied.rename(HOME / "objects.json")
            if file := options(rest)[1].get("-f"):
                (HOME / "last_apply.yaml").write_text(Path(file).read_text())
                keep_namespaces(Path(file).read_text())
    return 0


sys.exit(main(sys.argv[1:]))
