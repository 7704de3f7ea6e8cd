#!/usr/bin/env python3
"""A fake kubectl for tests of the make targets: answers `get` from a file of objects, and writes down every call.

FAKE_CLUSTER is a folder with `objects.json` (a list of Kubernetes objects), `refuse` (where it exists: the text with
which the API server refuses a dry run), `applied.json` (where it exists: the objects once Knative's telemetry was applied
or patched), `last_apply.yaml` (what was applied last), and `calls`, to which every command line is appended. With
FAKE_NOT_READY nothing that is waited for becomes ready.
"""

import json
import os
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_CLUSTER"])
# The kinds that this cluster always knows; all others need their CRD.
BUILT_IN = {
    "apiservice", "apiservices.apiregistration.k8s.io", "clusterrolebindings", "clusterroles", "configmap", "configmaps", "crd",
    "cronjobs", "daemonset", "daemonsets", "deployment", "deployments", "events", "jobs", "namespace", "nodes",
    "persistentvolumeclaim", "persistentvolumeclaims", "pods", "resourcequotas", "rolebindings", "roles", "secrets", "service",
    "serviceaccounts", "services", "statefulsets", "storageclass",
}  # fmt: skip
WITH_VALUE = ("--namespace", "-n", "-o", "--output", "--selector", "--field-selector", "-f")


def kind_of(word: str) -> str:
    word = word.split(".")[0]
    return {"crd": "customresourcedefinition"}.get(word, word.removesuffix("s") if word != "storageclass" else word)


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
    """The objects of these kinds in the namespace that is asked for, with the labels."""
    namespace = values.get("--namespace", values.get("-n"))
    found = [o for o in objects if o["kind"].lower() in map(kind_of, kinds)]
    found = [o for o in found if namespace in (None, o["metadata"].get("namespace"))]
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


def main(arguments: list[str]) -> int:
    with (HOME / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    match arguments:
        case ["get", *rest]:
            return get(rest)
        case ["delete", *rest]:
            delete(rest)
        case ["config", "current-context"]:
            print("pretended")
        case ["wait", *_] | ["rollout", "status", *_] if os.environ.get("FAKE_NOT_READY"):
            return 1
        case ["apply", *rest] if any(word.startswith("--dry-run") for word in rest):
            # Force settles conflicts, and nothing else.
            if (refuse := HOME / "refuse").exists() and not ("conflict" in refuse.read_text() and "--force-conflicts" in rest):
                print(refuse.read_text(), file=sys.stderr)
                return 1
        case ["apply" | "patch", *rest]:
            if "nv-micro-telemetry" in rest and (applied := HOME / "applied.json").exists():
                applied.rename(HOME / "objects.json")
            if file := options(rest)[1].get("-f"):
                (HOME / "last_apply.yaml").write_text(Path(file).read_text())
    return 0


sys.exit(main(sys.argv[1:]))
