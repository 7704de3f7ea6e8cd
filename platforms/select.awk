# Passes on the manifests whose app.kubernetes.io/component is one of `components` (separated by |).
# kubectl's --selector would do, were it not to fail on kinds that it then leaves out, such as Knative's
# on a cluster without Knative.
BEGIN { RS = "---\n"; ORS = "---\n" }
$0 ~ "\n    app.kubernetes.io/component: (" components ")\n"
