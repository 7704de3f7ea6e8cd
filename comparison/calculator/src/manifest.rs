//! Settings as YAML: files of this repository that deploy what was simulated.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::settings::{Kind, POLICY_PERIOD_S, Values};

/// Name of the exported component.
pub const COMPONENT: &str = "calculated";
/// File of the concurrency target that all variants share.
const SCALING: &str = "function/manifests/scaling.yaml";

/// Exported files by path in this repository: a component, and the target that all variants share.
pub fn export(kind: Kind, values: &Values) -> BTreeMap<String, String> {
    let target = match kind {
        Kind::Kpa => "target",
        Kind::Hpa | Kind::HpaVpa | Kind::HpaZero => "averageValue",
        Kind::Keda => "threshold",
    };
    let variant = if kind == Kind::Kpa { "knative" } else { "k8s-autoscalers" };
    let component = match kind {
        Kind::Kpa => kpa(values),
        Kind::Hpa | Kind::HpaVpa | Kind::HpaZero => hpa(kind, values),
        Kind::Keda => keda(),
    };
    let scaling = format!(
        "# The concurrency target of all variants, as it was simulated.\napiVersion: v1\nkind: ConfigMap\n\
         metadata:\n  name: eye-state-scaling\n  namespace: eye-state\n  annotations:\n    \
         config.kubernetes.io/local-config: \"true\"\ndata:\n  target: \"{}\"\n",
        values[target]
    );
    let mut files = BTreeMap::from([
        (format!("{variant}/components/{COMPONENT}/kustomization.yaml"), component),
        (SCALING.to_owned(), scaling),
    ]);
    if kind == Kind::Keda {
        files.insert(format!("{variant}/components/{COMPONENT}/scaled-object.yaml"), scaled_object(values));
    }
    files
}

const HEAD: &str = "# Settings that were simulated with the calculator.\n\
                    apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";

fn kpa(values: &Values) -> String {
    let mut text = format!(
        "{HEAD}patches:\n- target: {{group: serving\\.knative\\.dev, kind: Service}}\n  patch: |-\n    \
         apiVersion: serving.knative.dev/v1\n    kind: Service\n    metadata: {{name: any}}\n    spec:\n      \
         template:\n        metadata:\n          annotations:\n"
    );
    // Knative refuses to be told its default: an activation-scale has to be above 1.
    let stated = |name: &str| name != "target" && !(name == "activation-scale" && values[name] == 1.0);
    for field in Kind::Kpa.fields().iter().filter(|f| stated(f.name)) {
        let value = values[field.name];
        let value = match field.unit {
            // Knative takes whole seconds of some durations, and milliseconds of the others.
            "s" if field.whole => format!("{value}s"),
            "s" => format!("{}ms", (value * 1000.0).round()),
            // With a decimal point, as Knative's own documents write it.
            "%" => format!("\"{value:?}\""),
            _ => format!("\"{value}\""),
        };
        let _ = writeln!(text, "            autoscaling.knative.dev/{}: {value}", field.name);
    }
    text
}

/// `behavior` of an HPA, indented by `indent` spaces.
fn behavior(values: &Values, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut text = format!("{pad}behavior:\n");
    for direction in ["scaleUp", "scaleDown"] {
        let get = |name: &str| values.get(&format!("{direction}.{name}")).copied();
        let policies: Vec<String> = ["Percent", "Pods"]
            .iter()
            .filter_map(|kind| {
                let value = get(kind).filter(|v| *v > 0.0)?;
                let period = get(&format!("{kind}.periodSeconds")).unwrap_or(POLICY_PERIOD_S as f64);
                Some(format!("{pad}    - {{type: {kind}, value: {value}, periodSeconds: {period}}}\n"))
            })
            .collect();
        let _ = write!(
            text,
            "{pad}  {direction}:\n{pad}    stabilizationWindowSeconds: {}\n{pad}    tolerance: \"{}\"\n",
            get("stabilizationWindowSeconds").unwrap_or(0.0),
            get("tolerance").unwrap_or(simulator::hpa::TOLERANCE),
        );
        if policies.is_empty() {
            // The API requires a policy even if scaling in this direction is disabled.
            let _ = write!(
                text,
                "{pad}    selectPolicy: Disabled\n{pad}    policies:\n{pad}    \
                 - {{type: Pods, value: 1, periodSeconds: 15}}\n"
            );
        } else {
            let _ = write!(text, "{pad}    selectPolicy: Max\n{pad}    policies:\n{}", policies.concat());
        }
    }
    text
}

fn hpa(kind: Kind, values: &Values) -> String {
    let mut text = HEAD.to_owned();
    match kind {
        Kind::Hpa => text.push_str("components:\n- ../vpa-off\n"),
        Kind::HpaZero => text.push_str("components:\n- ../hpa-zero\n"),
        _ => {}
    }
    let _ = write!(
        text,
        "patches:\n- target: {{group: autoscaling, kind: HorizontalPodAutoscaler}}\n  patch: |-\n    \
         apiVersion: autoscaling/v2\n    kind: HorizontalPodAutoscaler\n    metadata: {{name: any}}\n    spec:\n      \
         minReplicas: {}\n      maxReplicas: {}\n{}",
        values["minReplicas"],
        values["maxReplicas"],
        behavior(values, 6)
    );
    if kind == Kind::HpaVpa {
        for (path, name) in [("minAllowed", "minAllowed.cpu"), ("maxAllowed", "maxAllowed.cpu")] {
            let operation = format!(
                "    - op: replace\n      path: /spec/resourcePolicy/containerPolicies/0/{path}/cpu\n      value: {}m\n",
                values[name]
            );
            if path == "minAllowed" {
                text.push_str(
                    "- target: {group: autoscaling\\.k8s\\.io, kind: VerticalPodAutoscaler}\n  patch: |-\n",
                );
            }
            text.push_str(&operation);
        }
    }
    text
}

fn keda() -> String {
    format!(
        "{HEAD}components:\n- ../vpa-off\nresources:\n- scaled-object.yaml\npatches:\n\
         - target: {{group: autoscaling, kind: HorizontalPodAutoscaler}}\n  patch: |-\n    $patch: delete\n    \
         apiVersion: autoscaling/v2\n    kind: HorizontalPodAutoscaler\n    metadata: {{name: any}}\n\
         replacements:\n- source: {{kind: ConfigMap, name: eye-state-scaling, fieldPath: data.target}}\n  targets:\n  \
         - select: {{kind: ScaledObject}}\n    fieldPaths:\n    - spec.triggers.[name=concurrency].metadata.threshold\n"
    )
}

fn scaled_object(values: &Values) -> String {
    const QUERY: &str = "sum(rate(eye_state_concurrency_seconds_total{namespace=\"eye-state\",pod=~\"eye-state-k8s-autoscalers-.*\"}[20s])) or vector(0)";
    const ARRIVALS: &str =
        "sum(rate(envoy_cluster_upstream_rq{variant=\"k8s-autoscalers\"}[20s])) or vector(0)";
    const SERVER: &str = "http://prometheus.monitoring.svc:9090";
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata:\n  name: eye-state-k8s-autoscalers\n  \
         namespace: eye-state\n  labels:\n    app.kubernetes.io/name: eye-state\n    \
         app.kubernetes.io/component: k8s-autoscalers\n    app.kubernetes.io/part-of: nv-micro\nspec:\n  \
         scaleTargetRef:\n    apiVersion: apps/v1\n    kind: Deployment\n    name: eye-state-k8s-autoscalers\n  \
         minReplicaCount: {}\n  maxReplicaCount: {}\n  pollingInterval: {}\n  cooldownPeriod: {}\n  advanced:\n    \
         horizontalPodAutoscalerConfig:\n      name: eye-state-k8s-autoscalers\n{}  triggers:\n  \
         - type: prometheus\n    name: concurrency\n    metadata:\n      serverAddress: {SERVER}\n      \
         query: {QUERY}\n      threshold: \"{}\"\n      activationThreshold: \"{}\"\n  \
         - type: prometheus\n    name: arrivals\n    metadata:\n      serverAddress: {SERVER}\n      \
         query: {ARRIVALS}\n      threshold: \"1000000\"\n",
        values["minReplicaCount"],
        values["maxReplicaCount"],
        values["pollingInterval"],
        values["cooldownPeriod"],
        behavior(values, 6),
        values["threshold"],
        values["activationThreshold"],
    )
}
