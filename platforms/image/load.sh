#!/usr/bin/env bash
# Brings a built image onto the nodes of the current cluster without a registry: load.sh IMAGE
set -euo pipefail
image=$1
kubectl=${KUBECTL:-kubectl}
tool=${CONTAINER_TOOL:-docker}
context=$($kubectl config current-context 2>/dev/null || true)

archive=$(mktemp -d)/image.tar
trap 'rm -rf "$(dirname "$archive")"' EXIT
save() {
  case $tool in
    # Only this format keeps a name without a registry unchanged.
    buildah) buildah push --quiet "$image" "docker-archive:$archive:$image" ;;
    *) $tool save --output "$archive" "$image" ;;
  esac
}
stream="$tool save $image"
[ "$tool" != buildah ] || stream="buildah push $image docker-archive:/dev/stdout:$image"
case $context in
  kind-*) save; kind load image-archive --name "${context#kind-}" "$archive" ;;
  k3d-*) save; k3d image import --cluster "${context#k3d-}" "$archive" ;;
  minikube) save; minikube image load "$archive" ;;
  *)
    echo "this cluster ('$context') is none that a tool here can hand an image to. Either push it to a registry that the nodes reach:" >&2
    echo "  make image IMAGE=registry.example/eye-state:TAG && $tool push registry.example/eye-state:TAG && make deploy IMAGE=registry.example/eye-state:TAG" >&2
    echo "or import it into containerd on each node (k3s: sudo k3s ctr images import -):" >&2
    $kubectl get nodes -o 'jsonpath={range .items[*]}{.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}' 2>/dev/null |
      while read -r address; do echo "  $stream | ssh $address sudo ctr --namespace k8s.io images import -" >&2; done
    exit 1 ;;
esac
echo "$image is on the nodes of $context"
