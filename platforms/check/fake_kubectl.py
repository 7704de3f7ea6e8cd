#!/usr/bin/env python3
"""A fake kubectl for tests of the make targets: answers `get` from a file of objects, and writes down every call.

FAKE_CLUSTER is a folder with `objects.json` (a list of Kubernetes objects), `refuse` (where it exists: the text with
which the API server refuses a dry run), and `calls`, to which every command line is appended.
"""

import json
import os
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_CLUSTER"])
# The kinds that this cluster always knows; all others need their CRD.
BUILT_IN = {
    "apiservice", "apiservices.apiregistration.k8s.io", "configmap", "crd", "deployment", "namespace", "nodes",
    "persistentvolumeclaim", "pods", "service", "storageclass",
}  # fmt: skip


def kind_of(word: str) -> str:
    word = word.split(".")[0]
    return {"crd": "customresourcedefinition"}.get(word, word.removesuffix("s") if word != "storageclass" else word)


def get(arguments: list[str]) -> int:
    if os.environ.get("FAKE_DEAD"):
        print("The connection to the server was refused", file=sys.stderr)
        return 1
    if arguments[:1] == ["--raw"]:
        print('{"major": "1", "minor": "%s"}' % os.environ.get("FAKE_MINOR", "36"))
        return 0
    words, namespace, skip = [], None, False
    for at, word in enumerate(arguments):
        if skip:
            skip = False
        elif word in ("--namespace", "-n", "-o", "--output", "--selector"):
            skip = True
            namespace = arguments[at + 1] if word in ("--namespace", "-n") else namespace
        elif not word.startswith("-"):
            words.append(word)
    objects = json.loads((HOME / "objects.json").read_text())
    crds = {o["metadata"]["name"] for o in objects if o["kind"] == "CustomResourceDefinition"}
    if words[0] not in BUILT_IN and words[0] not in crds:
        print(f"error: the server doesn't have a resource type \"{words[0].split('.')[0]}\"", file=sys.stderr)
        return 1
    found = [o for o in objects if o["kind"].lower() == kind_of(words[0])]
    found = [o for o in found if namespace in (None, o["metadata"].get("namespace"))]
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


def main(arguments: list[str]) -> int:
    with (HOME / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    match arguments:
        case ["get", *rest]:
            return get(rest)
        case ["config", "current-context"]:
            print("pretended")
        case ["apply", *rest] if any(word.startswith("--dry-run") for word in rest):
            # Force settles conflicts, and nothing else.
            if (refuse := HOME / "refuse").exists() and not ("conflict" in refuse.read_text() and "--force-conflicts" in rest):
                print(refuse.read_text(), file=sys.stderr)
                return 1
    return 0


sys.exit(main(sys.argv[1:]))
