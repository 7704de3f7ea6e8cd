//! Conversion of settings to and from YAML. The export is files of this repository that deploy what
//! was simulated; the import accepts the autoscalers' objects from any manifest.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::settings::{Kind, POLICY_PERIOD_S, Values};

/// Name of the exported component.
pub const COMPONENT: &str = "calculated";
/// File of the concurrency target that all variants share.
const SCALING: &str = "function/manifests/scaling.yaml";

/// Exported files by path in this repository: a component, and the target that all variants share.
pub fn export(kind: Kind, values: &Values) -> BTreeMap<String, String> {
    let target = match kind {
        Kind::Kpa => "target",
        Kind::Hpa | Kind::HpaVpa => "averageValue",
        Kind::Keda => "threshold",
    };
    let variant = if kind == Kind::Kpa { "knative" } else { "k8s-autoscalers" };
    let component = match kind {
        Kind::Kpa => kpa(values),
        Kind::Hpa | Kind::HpaVpa => hpa(kind, values),
        Kind::Keda => keda(values),
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
    for field in Kind::Kpa.fields().iter().filter(|f| f.name != "target") {
        let value = values[field.name];
        let value = match field.unit {
            // Knative takes whole numbers of milliseconds.
            "s" => format!("{}ms", (value * 1000.0).round()),
            "%" => format!("\"{value:.1}\""),
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
    if kind == Kind::Hpa {
        text.push_str("components:\n- ../vpa-off\n");
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

fn keda(_: &Values) -> String {
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

/// Size limit of the pasted text, above any usual set of manifests.
const MOST_TEXT: usize = 1 << 20;

/// Reads settings from manifests: of a Knative Service, an HPA (optionally with a VPA), or a
/// ScaledObject. Patches of a kustomization are read like the objects that they patch.
pub fn import(text: &str) -> Result<(Kind, Values), String> {
    if text.len() > MOST_TEXT {
        return Err("more than 1 MiB: paste the autoscaler's objects only".into());
    }
    let mut objects = vec![];
    for document in text.split("\n---") {
        let value: Value =
            serde_saphyr::from_str(document).map_err(|error| format!("invalid YAML: {error}"))?;
        collect(value, &mut objects)?;
    }
    let of = |kind: &str| objects.iter().find(|o| o["kind"] == kind);
    let mut values = Values::new();
    if let Some(service) = of("Service").filter(|s| s.pointer("/spec/template").is_some()) {
        from_annotations(service, &mut values)?;
        return checked(Kind::Kpa, values);
    }
    if let Some(object) = of("ScaledObject") {
        let spec = &object["spec"];
        for name in ["minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"] {
            take(&spec[name], name, &mut values)?;
        }
        let trigger = &spec["triggers"][0]["metadata"];
        for name in ["threshold", "activationThreshold"] {
            // A value that a kustomize replacement sets later is not a number yet.
            if amount(&trigger[name]).is_some() {
                take(&trigger[name], name, &mut values)?;
            }
        }
        from_behavior(&spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"], &mut values)?;
        return checked(Kind::Keda, values);
    }
    let Some(object) = of("HorizontalPodAutoscaler") else {
        return Err("there is no Knative Service, HorizontalPodAutoscaler or ScaledObject in it".into());
    };
    let spec = &object["spec"];
    for name in ["minReplicas", "maxReplicas"] {
        take(&spec[name], name, &mut values)?;
    }
    let target = &spec["metrics"][0]["pods"]["target"]["averageValue"];
    if amount(target).is_some() {
        take(target, "averageValue", &mut values)?;
    }
    from_behavior(&spec["behavior"], &mut values)?;
    let Some(vpa) = of("VerticalPodAutoscaler") else { return checked(Kind::Hpa, values) };
    for bound in ["minAllowed", "maxAllowed"] {
        let cpu = &vpa["spec"]["resourcePolicy"]["containerPolicies"][0][bound]["cpu"];
        if let Some(cores) = amount(cpu) {
            values.insert(format!("{bound}.cpu"), cores * 1000.0);
        }
    }
    checked(Kind::HpaVpa, values)
}

fn checked(kind: Kind, values: Values) -> Result<(Kind, Values), String> {
    Ok((kind, kind.complete(&values)?))
}

/// Objects of a document: itself, the items of a list, the patches of a kustomization.
fn collect(value: Value, objects: &mut Vec<Value>) -> Result<(), String> {
    let kind = value["kind"].as_str().unwrap_or_default();
    if kind == "List" {
        if let Some(items) = value["items"].as_array() {
            objects.extend(items.iter().cloned());
        }
    } else if kind == "Component" || kind == "Kustomization" {
        for patch in value["patches"].as_array().into_iter().flatten() {
            if let Some(text) = patch["patch"].as_str() {
                let object: Value =
                    serde_saphyr::from_str(text).map_err(|error| format!("invalid patch YAML: {error}"))?;
                if object.is_object() {
                    objects.push(object);
                }
            }
        }
    } else if value.is_object() {
        objects.push(value);
    }
    Ok(())
}

fn from_annotations(service: &Value, values: &mut Values) -> Result<(), String> {
    const PREFIX: &str = "autoscaling.knative.dev/";
    let fields = Kind::Kpa.fields();
    let annotations = service.pointer("/spec/template/metadata/annotations").and_then(Value::as_object);
    for (name, value) in annotations.into_iter().flatten() {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        match name {
            "class" if value != "kpa.autoscaling.knative.dev" => {
                return Err(format!("class {value}: only the KPA is simulated"));
            }
            "metric" if value != "concurrency" => {
                return Err(format!("metric {value}: only concurrency is simulated"));
            }
            "class" | "metric" | "initial-scale" => {}
            "target" if amount(value).is_none() => {}
            _ if fields.iter().any(|f| f.name == name) => take(value, name, values)?,
            _ => return Err(format!("{PREFIX}{name} is not simulated")),
        }
    }
    Ok(())
}

fn from_behavior(behavior: &Value, values: &mut Values) -> Result<(), String> {
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &behavior[direction];
        if rules.is_null() {
            continue;
        }
        for name in ["stabilizationWindowSeconds", "tolerance"] {
            take(&rules[name], &format!("{direction}.{name}"), values)?;
        }
        let select = rules["selectPolicy"].as_str().unwrap_or("Max");
        let Some(policies) = rules["policies"].as_array() else { continue };
        for kind in ["Percent", "Pods"] {
            values.insert(format!("{direction}.{kind}"), 0.0);
        }
        if select == "Disabled" {
            continue;
        }
        if select != "Max" && policies.len() > 1 {
            return Err(format!(
                "{direction}: selectPolicy {select} of several policies is not simulated here"
            ));
        }
        for policy in policies {
            let kind = policy["type"].as_str().unwrap_or_default();
            let name = format!("{direction}.{kind}");
            if values.get(&name) != Some(&0.0) {
                return Err(format!("{direction}: one policy of each type at most"));
            }
            take(&policy["value"], &name, values)?;
            let period = amount(&policy["periodSeconds"]).unwrap_or(POLICY_PERIOD_S as f64);
            if direction == "scaleDown" {
                values.insert(format!("{name}.periodSeconds"), period);
            } else if period != POLICY_PERIOD_S as f64 {
                return Err(format!(
                    "{direction}: a period of {period} s; only {POLICY_PERIOD_S} s are simulated here"
                ));
            }
        }
    }
    Ok(())
}

/// Reads a number if the value is not null.
fn take(value: &Value, name: &str, values: &mut Values) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let number = amount(value).ok_or(format!("{name}: {value} is not a number"))?;
    values.insert(name.to_owned(), number);
    Ok(())
}

/// Parses a number, a quantity (`500m`, `2`) or a Go duration (`1m30s`, `500ms`) in whole units.
fn amount(value: &Value) -> Option<f64> {
    if let Some(number) = value.as_f64() {
        return Some(number);
    }
    let text = value.as_str()?.trim();
    if let Ok(number) = text.parse::<f64>() {
        return Some(number).filter(|n| n.is_finite());
    }
    // In a quantity, a final `m` means a thousandth. In a duration, `m` means minutes; it is
    // followed by seconds, because Go prints a minute as `1m0s`.
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse::<f64>().ok().map(|n| n / 1000.0);
    }
    let (mut sum, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, factor) = units.iter().find(|(unit, _)| tail.starts_with(unit))?;
        sum += number.parse::<f64>().ok()? * factor;
        rest = &tail[unit.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other_than_default(kind: Kind) -> Values {
        // Values that differ from the defaults, within the bounds.
        let other = |f: &crate::settings::Field| {
            let value = if f.default + 1.0 <= f.most { f.default + 1.0 } else { f.default - 1.0 };
            (f.name.to_owned(), if f.most <= 1.0 { f.default / 2.0 } else { value })
        };
        kind.complete(&kind.fields().iter().map(other).collect()).expect("within the bounds")
    }

    #[test]
    fn what_is_exported_is_imported_again() {
        for kind in Kind::ALL {
            let values = other_than_default(kind);
            let files = export(kind, &values);
            let text: Vec<&str> =
                files.iter().filter(|(path, _)| !path.contains("scaling")).map(|f| f.1.as_str()).collect();
            let (found, mut back) = import(&text.join("\n---\n")).expect("valid");
            // The bounds of the VPA are patched by path, and the target is in its own file.
            for name in ["target", "averageValue", "threshold", "minAllowed.cpu", "maxAllowed.cpu"] {
                if let Some(value) =
                    values.get(name).filter(|_| back.contains_key(name) || kind == Kind::HpaVpa)
                {
                    back.insert(name.to_owned(), *value);
                }
            }
            let found = if kind == Kind::HpaVpa { Kind::HpaVpa } else { found };
            assert_eq!((found, back), (kind, values));
        }
    }

    #[test]
    fn objects_of_this_repository_are_read() {
        let (kind, values) =
            import(include_str!("../../../knative/components/hand-tuned/kustomization.yaml")).expect("valid");
        assert_eq!((kind, values["window"], values["scale-down-delay"]), (Kind::Kpa, 30.0, 60.0));
        let vpa = include_str!("../../../k8s-autoscalers/base/vpa.yaml");
        let hpa = include_str!("../../../k8s-autoscalers/base/hpa.yaml");
        let (kind, values) = import(&format!("{hpa}\n---\n{vpa}")).expect("valid");
        assert_eq!((kind, values["maxAllowed.cpu"], values["maxReplicas"]), (Kind::HpaVpa, 2000.0, 10.0));
        let keda = include_str!("../../../k8s-autoscalers/components/keda/scaled-object.yaml");
        assert_eq!(import(keda).expect("valid").0, Kind::Keda);
    }

    #[test]
    fn what_is_not_simulated_is_an_error_that_names_it() {
        let service = "kind: Service\nspec: {template: {metadata: {annotations: {autoscaling.knative.dev/metric: rps}}}}";
        assert!(import(service).expect_err("rps").contains("only concurrency"));
        assert!(import("a: [").is_err() && import("kind: ConfigMap").is_err());
    }
}
