#!/usr/bin/env bash
# Applies the manifests on standard input, all of them or none: apply.sh WHAT [kubectl apply's
# arguments]
#
# The API server and every webhook judge them first, without storing anything; only what all of them
# accept is applied. Server-side, so that fields which autoscalers own stay theirs.
#
# FIELD_MANAGER is whose fields they are. An object of which two targets set different fields needs
# two names: a manager that leaves out a field which it set before removes it.
set -euo pipefail
what=$1; shift
kubectl=${KUBECTL:-kubectl}
manager=${FIELD_MANAGER:-nv-micro}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/all.yaml"
[ -s "$work/all.yaml" ] || { echo "apply.sh: there is nothing to apply: $what" >&2; exit 1; }

# A namespace that is not there yet cannot hold anything, not even for judging: what goes into it is
# judged in `default`.
cp "$work/all.yaml" "$work/judged.yaml"
awk 'BEGIN { RS = "---\n" } /(^|\n)kind: Namespace\n/' "$work/all.yaml" | sed -n 's/^  name: //p' | while read -r name; do
  $kubectl get namespace "$name" >/dev/null 2>&1 || sed -i "s/^  namespace: $name\$/  namespace: default/" "$work/judged.yaml"
done
judge() { $kubectl apply --server-side --field-manager "$manager" --dry-run=server "$@" -f "$work/judged.yaml" >/dev/null 2>"$work/refused"; }
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

echo "applying $what to $($kubectl config current-context)"
# Namespaces first, so that the first apply into a fresh cluster succeeds as well.
awk 'BEGIN { RS = "---\n"; ORS = "---\n" } /(^|\n)kind: Namespace\n/' "$work/all.yaml" >"$work/namespaces.yaml"
if [ -s "$work/namespaces.yaml" ]; then
  $kubectl apply --server-side --field-manager "$manager" "$@" -f "$work/namespaces.yaml" >/dev/null
fi
$kubectl apply --server-side --field-manager "$manager" "$@" -f "$work/all.yaml"
