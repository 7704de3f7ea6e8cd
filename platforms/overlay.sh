#!/usr/bin/env bash
# Prints the folder of the overlay for a platform and settings:
#   overlay.sh PLATFORM SETTINGS
#
# SETTINGS is a folder of a variant's `components/`, and further ones after `+` that change it
# (defaults+tbc-0). Where platforms/PLATFORM/SETTINGS is not there, an overlay of both variants is
# written under target/overlays: a variant without the settings gets its defaults.
set -euo pipefail
cd "$(dirname "$0")/.."
platform=$1 settings=$2
there=platforms/$platform/$settings
if [ -f "$there/kustomization.yaml" ]; then
  echo "$there"
  exit
fi
if [ ! -d "platforms/$platform/component" ]; then
  known=$(cd platforms && for file in */component/kustomization.yaml; do echo "${file%%/*}"; done | xargs)
  echo "there is no platform $platform: PLATFORM is one of $known" >&2
  exit 1
fi
components=()
IFS=+ read -ra parts <<<"$settings"
for index in "${!parts[@]}"; do
  part=${parts[$index]} found=
  for variant in knative k8s-autoscalers; do
    if [ -f "$variant/components/$part/kustomization.yaml" ]; then
      components+=("$variant/components/$part") found=yes
    elif [ "$index" = 0 ]; then
      components+=("$variant/components/defaults")
    fi
  done
  if [ "$index" != 0 ] && [ -f "function/manifests/$part/kustomization.yaml" ]; then
    components+=("function/manifests/$part") found=yes
  fi
  if [ -z "$found" ]; then
    known=$(ls -d {knative,k8s-autoscalers}/components/*/ function/manifests/*/ | xargs -n1 basename | grep -v kourier-route | sort -u | xargs)
    echo "there are no settings $part: SETTINGS is one of $known, and more after +" >&2
    exit 1
  fi
done
overlay=target/overlays/$platform/$settings
mkdir -p "$overlay"
up=../../../..
{
  echo "# Written by platforms/overlay.sh."
  echo "apiVersion: kustomize.config.k8s.io/v1beta1"
  echo "kind: Kustomization"
  echo "resources:"
  printf -- "- $up/%s\n" knative/base k8s-autoscalers/base
  echo "components:"
  printf -- "- $up/%s\n" function/manifests "platforms/$platform/component" "${components[@]}"
} >"$overlay/kustomization.yaml.new"
mv "$overlay/kustomization.yaml.new" "$overlay/kustomization.yaml"
echo "$overlay"
