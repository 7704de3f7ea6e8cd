#!/usr/bin/env bash
# Applies the manifests on standard input, all of them or none: apply.sh WHAT [kubectl apply's
# arguments]
#
# The API server and every webhook judge them first, without storing anything; only what all of them
# accept is applied. Server-side, so that fields which autoscalers own stay theirs.
#
# A namespace that is not there yet cannot hold anything, not even for judging. It is made first,
# and removed again where the rest is refused. Another namespace would be judged by other policies:
# many clusters let nothing into `default`.
#
# FIELD_MANAGER is whose fields they are. An object of which two targets set different fields needs
# two names: a manager that leaves out a field which it set before removes it.
set -euo pipefail
what=$1; shift
kubectl=${KUBECTL:-kubectl}
manager=${FIELD_MANAGER:-nv-micro}
work=$(mktemp -d)
made=
undo() {
  if [ -n "$made" ]; then
    # With a time limit: a finalizer of somebody else's may hold it.
    $kubectl delete namespace $made --ignore-not-found --timeout=60s >/dev/null ||
      echo "made to judge in and not removed: kubectl delete namespace $made" >&2
  fi
  rm -rf "$work"
}
trap undo EXIT
cat >"$work/all.yaml"
[ -s "$work/all.yaml" ] || { echo "apply.sh: there is nothing to apply: $what" >&2; exit 1; }

# The namespaces among the manifests whose names match.
namespaces() {
  awk -v names="$1" 'BEGIN { RS = ORS = "---\n" } /(^|\n)kind: Namespace\n/ && $0 ~ "\n  name: (" names ")\n"' "$work/all.yaml"
}
apply() { $kubectl apply --server-side --field-manager "$manager" "$@"; }
new=
for name in $(namespaces '[a-z0-9-]*' | sed -n 's/^  name: //p'); do
  # "Not there" and "not to be looked at" are two things: what is made here may be removed again.
  there=$($kubectl get namespace "$name" --ignore-not-found --output name)
  [ -n "$there" ] || new="$new $name"
done
for name in $new; do
  namespaces "$name" >"$work/new.yaml"
  apply "$@" -f "$work/new.yaml" >/dev/null || { echo "the cluster refuses the namespace $name of $what" >&2; exit 1; }
  made="$made $name"
  # By it make undeploy-observability tells a namespace of this repository from one that was there
  # before. Under a name of its own: an apply that leaves it out would remove it otherwise.
  $kubectl annotate namespace "$name" --overwrite --field-manager nv-micro-made nv-micro/made-by=apply.sh >/dev/null
done

judge() { apply --dry-run=server "$@" -f "$work/all.yaml" >/dev/null 2>"$work/refused"; }
if ! judge "$@"; then
  # Fields that differ here and that another field manager has set. make demo and make cluster-test
  # do so under names of their own: those are taken back.
  setters=$(grep -oE 'conflicts? with "[^"]+"' "$work/refused" | cut -d '"' -f 2 | sort -u || true)
  if [ -n "$setters" ]; then
    if [ "${OVERWRITE:-}" != yes ] && grep -qvE '^nv-micro(-|$)' <<<"$setters"; then
      grep -E '^- \.|conflicts? with "' "$work/refused" >&2
      echo "these settings of $what are set otherwise on the cluster, by $(echo $setters): nothing was changed; OVERWRITE=yes takes them over" >&2
      exit 1
    fi
    set -- "$@" --force-conflicts
    if judge "$@"; then : >"$work/refused"; fi
  fi
  # A webhook with side effects refuses every dry run, which says nothing about the
  # objects.
  if [ -s "$work/refused" ]; then
    if ! grep -q 'does not support dry run' "$work/refused" || grep -v 'does not support dry run' "$work/refused" | grep -qi error; then
      cat "$work/refused" >&2
      echo "the cluster would refuse $what: nothing was changed" >&2
      exit 1
    fi
    echo "a webhook here takes no dry run: $what is applied without" >&2
  fi
fi

made= # and accepted: it stays
echo "applying $what to $($kubectl config current-context)"
# Namespaces first: what else is in them is looked up in what is stored.
namespaces '[a-z0-9-]*' >"$work/namespaces.yaml"
if [ -s "$work/namespaces.yaml" ]; then apply "$@" -f "$work/namespaces.yaml" >/dev/null; fi
apply "$@" -f "$work/all.yaml"
