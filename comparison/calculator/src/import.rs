//! Settings from pasted manifests. What the simulator does not have is an error that says what it
//! has, so that an import never stands for something else than what was pasted.

use serde_json::{Value, json};

use crate::quantity;
use crate::settings::{Kind, POLICY_PERIOD_S, Values};

/// Size limit of the pasted text, above any usual set of manifests.
const MOST_TEXT: usize = 1 << 20;
/// A value of this repository's manifests that a kustomize replacement sets.
const SET_LATER: &str = "set-by-replacement";
/// The default of Knative's `container-concurrency-target-default`.
const KNATIVE_TARGET: f64 = 100.0;
/// The default of KEDA's `maxReplicaCount`.
const KEDA_MOST: f64 = 100.0;
/// From this threshold on, a trigger of KEDA wakes a Deployment and never asks for a second pod.
const WAKES_ONLY: f64 = 100_000.0;
/// Parts of the names of metrics that count requests in flight.
const IN_FLIGHT: [&str; 6] =
    ["concurrency", "in_flight", "inflight", "in-flight", "active_requests", "requests_active"];

/// What was imported.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The autoscaler.
    pub kind: Kind,
    /// All of its settings.
    pub values: Values,
    /// What the user has to know about them.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Knative,
    Hpa,
    Vpa,
    Keda,
}

struct Object {
    role: Role,
    value: Value,
    /// A patch has only what it changes: a missing field is not the API's default.
    patch: bool,
}

#[derive(Default)]
struct Pasted {
    objects: Vec<Object>,
    /// The target, of `function/manifests/scaling.yaml` or of a JSON patch.
    target: Option<Value>,
    /// Whether a component takes the VPA away.
    vpa_off: bool,
    notes: Vec<String>,
}

#[derive(Default)]
struct Read {
    values: Values,
    notes: Vec<String>,
}

/// Reads settings from manifests: of a Knative Service, an HPA (optionally with a VPA), or a
/// ScaledObject. Patches of a kustomization are read like the objects that they patch.
pub fn import(text: &str) -> Result<Imported, String> {
    if text.len() > MOST_TEXT {
        return Err("more than 1 MiB: paste the autoscaler's objects only".into());
    }
    let mut pasted = Pasted::default();
    for document in text.split("\n---") {
        let value: Value =
            serde_saphyr::from_str(document).map_err(|error| format!("invalid YAML: {error}"))?;
        pasted.collect(value)?;
    }
    let (knative, hpa) = (pasted.one(Role::Knative)?, pasted.one(Role::Hpa)?);
    let (vpa, keda) = (pasted.one(Role::Vpa)?, pasted.one(Role::Keda)?);
    let mut read = Read { notes: pasted.notes.clone(), ..Read::default() };
    let kind = match (knative, hpa, vpa, keda) {
        (Some(service), None, None, None) => read.knative(service, pasted.target.as_ref())?,
        (None, None, None, Some(object)) => read.keda(object, pasted.target.as_ref())?,
        (None, Some(object), vpa, None) => {
            read.hpa(object, pasted.target.as_ref())?;
            match vpa {
                Some(vpa) => read.vpa(vpa)?,
                None => {
                    if object.patch && !pasted.vpa_off {
                        read.notes.push("there is no VPA in it, so the HPA alone is simulated".into());
                    }
                    Kind::Hpa
                }
            }
        }
        (None, None, _, None) => {
            return Err("there is no Knative Service, HorizontalPodAutoscaler or ScaledObject in it".into());
        }
        _ => {
            return Err("several autoscalers: paste one Knative Service, one HorizontalPodAutoscaler (with \
                        a VerticalPodAutoscaler or without), or one ScaledObject"
                .into());
        }
    };
    Ok(Imported { kind, values: kind.complete(&read.values)?, notes: read.notes })
}

impl Pasted {
    /// Objects of a document: itself, the items of a list, the patches of a kustomization.
    fn collect(&mut self, value: Value) -> Result<(), String> {
        match value["kind"].as_str().unwrap_or_default() {
            "List" => {
                value["items"].as_array().into_iter().flatten().try_for_each(|i| self.collect(i.clone()))
            }
            "Component" | "Kustomization" => self.kustomization(&value),
            "ConfigMap" if value["metadata"]["name"] == "eye-state-scaling" => {
                self.target = Some(value["data"]["target"].clone());
                Ok(())
            }
            _ => {
                self.add(value, false);
                Ok(())
            }
        }
    }

    fn add(&mut self, value: Value, patch: bool) {
        if let Some(role) = role(&value).filter(|_| value["$patch"] != "delete") {
            self.objects.push(Object { role, value, patch });
        }
    }

    fn kustomization(&mut self, value: &Value) -> Result<(), String> {
        for name in ["patchesStrategicMerge", "patchesJson6902"] {
            if !value[name].is_null() {
                return Err(format!("{name}: paste the objects that `kustomize build` prints"));
            }
        }
        for component in value["components"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if component == "../vpa-off" {
                self.vpa_off = true;
            } else {
                self.notes.push(format!("the component {component} was not read"));
            }
        }
        for patch in value["patches"].as_array().into_iter().flatten() {
            let Some(text) = patch["patch"].as_str() else {
                return Err("a patch in a file: paste the objects that `kustomize build` prints".into());
            };
            for document in text.split("\n---") {
                let object: Value = serde_saphyr::from_str(document)
                    .map_err(|error| format!("invalid patch YAML: {error}"))?;
                match object.as_array() {
                    Some(operations) => self.operations(&patch["target"], operations)?,
                    None => self.add(object, true),
                }
            }
        }
        Ok(())
    }

    /// A JSON patch: the target of an HPA, or the CPU bounds of a VPA, as the export has them.
    fn operations(&mut self, target: &Value, operations: &[Value]) -> Result<(), String> {
        let kind = target["kind"].as_str().unwrap_or_default();
        if role(&json!({ "kind": kind, "spec": { "template": {} } })).is_none() {
            return Ok(());
        }
        let mut policy = json!({});
        for operation in operations {
            let path = operation["path"].as_str().unwrap_or_default();
            let sets = operation["op"] == "replace" || operation["op"] == "add";
            if sets && kind == "HorizontalPodAutoscaler" && path == "/spec/metrics/0/pods/target/averageValue"
            {
                self.target = Some(operation["value"].clone());
                continue;
            }
            let bound = ["minAllowed", "maxAllowed"].into_iter().find(|bound| {
                kind == "VerticalPodAutoscaler"
                    && path == format!("/spec/resourcePolicy/containerPolicies/0/{bound}/cpu")
            });
            let Some(bound) = bound.filter(|_| sets) else {
                return Err(format!(
                    "the JSON patch of {path} is not read: paste the objects that `kustomize build` prints"
                ));
            };
            policy[bound] = json!({ "cpu": operation["value"] });
        }
        if policy == json!({}) {
            return Ok(());
        }
        self.add(
            json!({ "kind": kind, "spec": { "resourcePolicy": { "containerPolicies": [policy] } } }),
            true,
        );
        Ok(())
    }

    /// The only object of a kind.
    fn one(&self, role: Role) -> Result<Option<&Object>, String> {
        let mut all = self.objects.iter().filter(|o| o.role == role);
        let first = all.next();
        if all.next().is_some() {
            let kind = first.map_or("", |o| o.value["kind"].as_str().unwrap_or_default());
            return Err(format!("more than one {kind}: paste one"));
        }
        Ok(first)
    }
}

fn role(value: &Value) -> Option<Role> {
    let group = |group: &str| {
        value["apiVersion"].as_str().is_none_or(|v| v.split('/').next() == Some(group) && v.contains('/'))
    };
    match value["kind"].as_str()? {
        // A Service without an `apiVersion` may be Kubernetes' own.
        "Service" if group("serving.knative.dev") && value.pointer("/spec/template").is_some() => {
            Some(Role::Knative)
        }
        "HorizontalPodAutoscaler" if group("autoscaling") => Some(Role::Hpa),
        "VerticalPodAutoscaler" if group("autoscaling.k8s.io") => Some(Role::Vpa),
        "ScaledObject" if group("keda.sh") => Some(Role::Keda),
        _ => None,
    }
}

impl Read {
    fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Takes a value that is not null.
    fn take(
        &mut self,
        value: &Value,
        name: &str,
        parse: fn(&Value) -> Result<f64, String>,
    ) -> Result<(), String> {
        if !value.is_null() {
            let number = parse(value).map_err(|error| format!("{name}: {error}"))?;
            self.set(name, number);
        }
        Ok(())
    }

    /// Takes the target. One that is set by a replacement is in `scaling`, or has to be typed in.
    fn target(
        &mut self,
        own: &Value,
        scaling: Option<&Value>,
        name: &str,
        parse: fn(&Value) -> Result<f64, String>,
    ) -> Result<(), String> {
        let open = own.is_null() || own == SET_LATER;
        match scaling.filter(|_| open) {
            Some(scaling) => self.take(scaling, name, parse),
            None if open => {
                self.notes.push(format!("{name} is set elsewhere: check it"));
                Ok(())
            }
            None => self.take(own, name, parse),
        }
    }

    fn knative(&mut self, service: &Object, scaling: Option<&Value>) -> Result<Kind, String> {
        const PREFIX: &str = "autoscaling.knative.dev/";
        let fields = Kind::Kpa.fields();
        let misplaced = service.value.pointer("/metadata/annotations").and_then(Value::as_object);
        if let Some(name) = misplaced.into_iter().flatten().map(|(n, _)| n).find(|n| n.starts_with(PREFIX)) {
            return Err(format!("{name} has no effect at the Service: move it to spec.template.metadata"));
        }
        let template = &service.value["spec"]["template"];
        let limit = &template["spec"]["containerConcurrency"];
        if !(limit.is_null() || *limit == 0) {
            return Err(format!(
                "containerConcurrency {limit}: a hard limit is not simulated, only 0 with a target"
            ));
        }
        let nothing = serde_json::Map::new();
        let annotations = template["metadata"]["annotations"].as_object().unwrap_or(&nothing);
        for (name, value) in annotations {
            let Some(name) = name.strip_prefix(PREFIX) else { continue };
            match name {
                "class" if value != "kpa.autoscaling.knative.dev" => {
                    return Err(format!("class {value}: only the KPA is simulated"));
                }
                "metric" if value != "concurrency" => {
                    return Err(format!("metric {value}: only concurrency is simulated"));
                }
                "initial-scale" if quantity::number(value) != Ok(1.0) => {
                    return Err(format!("initial-scale {value}: only 1 is simulated"));
                }
                "class" | "metric" | "initial-scale" | "target" => {}
                _ => {
                    let Some(field) = fields.iter().find(|f| f.name == name) else {
                        return Err(format!("{PREFIX}{name} is not simulated"));
                    };
                    let parse = if field.unit == "s" { quantity::duration } else { quantity::number };
                    self.take(value, name, parse)?;
                }
            }
        }
        let target = annotations.get(&format!("{PREFIX}target")).unwrap_or(&Value::Null);
        if target.is_null() && scaling.is_none() && !service.patch {
            self.set("target", KNATIVE_TARGET);
        } else {
            self.target(target, scaling, "target", quantity::number)?;
        }
        if !service.patch {
            // Knative's own default: no limit.
            self.values.entry("max-scale".into()).or_insert(0.0);
        }
        Ok(Kind::Kpa)
    }

    fn keda(&mut self, object: &Object, scaling: Option<&Value>) -> Result<Kind, String> {
        let spec = &object.value["spec"];
        let paused = object
            .value
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .is_some_and(|a| a.keys().any(|name| name.starts_with("autoscaling.keda.sh/paused")));
        let modifiers = &spec["advanced"]["scalingModifiers"];
        if paused || !spec["idleReplicaCount"].is_null() || !modifiers.is_null() {
            return Err(
                "a paused ScaledObject, idleReplicaCount and scalingModifiers are not simulated".into()
            );
        }
        for name in ["minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"] {
            self.take(&spec[name], name, quantity::whole)?;
        }
        for name in ["initialCooldownPeriod", "fallback"] {
            if !spec[name].is_null() {
                self.notes.push(format!("{name} is not simulated"));
            }
        }
        if !object.patch {
            self.values.entry("maxReplicaCount".into()).or_insert(KEDA_MOST);
        }
        let triggers = spec["triggers"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(other) = triggers.iter().find(|t| t["type"] != "prometheus") {
            return Err(format!("trigger {}: only prometheus is simulated", other["type"]));
        }
        let wakes = |t: &&Value| {
            quantity::number(&t["metadata"]["threshold"]).is_ok_and(|threshold| threshold >= WAKES_ONLY)
        };
        let scales: Vec<&Value> = triggers.iter().filter(|t| !wakes(t)).collect();
        match scales[..] {
            [trigger] => {
                let metadata = &trigger["metadata"];
                in_flight(&metadata["query"])?;
                let kind = &trigger["metricType"];
                if !(kind.is_null() || kind == "AverageValue") {
                    return Err(format!("metricType {kind}: only AverageValue is simulated"));
                }
                if metadata["threshold"].is_null() && !object.patch {
                    return Err("threshold: KEDA requires one for prometheus".into());
                }
                self.target(&metadata["threshold"], scaling, "threshold", quantity::number)?;
                self.take(&metadata["activationThreshold"], "activationThreshold", quantity::number)?;
            }
            [] if object.patch => self.target(&Value::Null, scaling, "threshold", quantity::number)?,
            _ => {
                return Err(format!(
                    "{} triggers that scale: one of type prometheus is simulated, over requests in flight \
                     (further ones only with a threshold of {WAKES_ONLY} or more, which wake)",
                    scales.len()
                ));
            }
        }
        self.behavior(&spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"])?;
        Ok(Kind::Keda)
    }

    fn hpa(&mut self, object: &Object, scaling: Option<&Value>) -> Result<(), String> {
        const ONLY: &str =
            "only one metric of type Pods with an averageValue of requests in flight is simulated";
        let (version, spec) = (&object.value["apiVersion"], &object.value["spec"]);
        if !(version.is_null() || version == "autoscaling/v2") {
            return Err(format!("{version}: only autoscaling/v2 is read; {ONLY}"));
        }
        for name in ["minReplicas", "maxReplicas"] {
            self.take(&spec[name], name, quantity::whole)?;
        }
        if !(object.patch || self.values.contains_key("maxReplicas")) {
            return Err("maxReplicas: the HorizontalPodAutoscaler requires it".into());
        }
        match spec["metrics"].as_array().map_or(&[][..], Vec::as_slice) {
            [metric] if metric["type"] == "Pods" => {
                in_flight(&metric["pods"]["metric"]["name"])?;
                let target = &metric["pods"]["target"];
                if target["type"] != "AverageValue" || target["averageValue"].is_null() {
                    return Err(format!("target of type {}: {ONLY}", target["type"]));
                }
                self.target(&target["averageValue"], scaling, "averageValue", quantity::quantity)?;
            }
            [] if object.patch => self.target(&Value::Null, scaling, "averageValue", quantity::quantity)?,
            [] => return Err(format!("no metrics, which means 80 % of CPU: {ONLY}")),
            [metric] => return Err(format!("a metric of type {}: {ONLY}", metric["type"])),
            metrics => return Err(format!("{} metrics: {ONLY}", metrics.len())),
        }
        self.behavior(&spec["behavior"])
    }

    fn vpa(&mut self, object: &Object) -> Result<Kind, String> {
        const IN_PLACE: &str = "InPlaceOrRecreate";
        let spec = &object.value["spec"];
        let mode = spec["updatePolicy"]["updateMode"].as_str();
        match mode {
            Some("Off") => {
                self.notes.push("the VPA is off, so the HPA alone is simulated".into());
                return Ok(Kind::Hpa);
            }
            Some(IN_PLACE) => {}
            None if object.patch => {}
            _ => {
                return Err(format!(
                    "updateMode {}: only {IN_PLACE} and \"Off\" are simulated",
                    mode.unwrap_or("is missing, which means Recreate")
                ));
            }
        }
        if !object.patch && spec["updatePolicy"]["minReplicas"] != 1 {
            self.notes.push("updatePolicy.minReplicas is simulated as 1".into());
        }
        let policies = spec["resourcePolicy"]["containerPolicies"].as_array().map_or(&[][..], Vec::as_slice);
        let active: Vec<&Value> = policies.iter().filter(|p| p["mode"] != "Off").collect();
        let policy = match active[..] {
            [policy] => policy,
            [] if object.patch => return Ok(Kind::HpaVpa),
            _ => {
                return Err(format!(
                    "{} containerPolicies of the VPA are active: one with minAllowed and maxAllowed of cpu \
                     is simulated",
                    active.len()
                ));
            }
        };
        let resources = policy["controlledResources"].as_array();
        if resources.is_some_and(|all| all.iter().all(|r| r != "cpu")) {
            return Err("controlledResources: the VPA is simulated with cpu".into());
        }
        if policy["controlledValues"] == "RequestsOnly" {
            return Err("controlledValues RequestsOnly: only RequestsAndLimits is simulated".into());
        }
        for bound in ["minAllowed", "maxAllowed"] {
            let name = format!("{bound}.cpu");
            self.take(&policy[bound]["cpu"], &name, millicores)?;
            if !(object.patch || self.values.contains_key(&name)) {
                return Err(format!("{name}: the VPA is simulated between two bounds only; add it"));
            }
        }
        Ok(Kind::HpaVpa)
    }

    fn behavior(&mut self, behavior: &Value) -> Result<(), String> {
        for direction in ["scaleUp", "scaleDown"] {
            let rules = &behavior[direction];
            if rules.is_null() {
                continue;
            }
            self.take(
                &rules["stabilizationWindowSeconds"],
                &format!("{direction}.stabilizationWindowSeconds"),
                quantity::whole,
            )?;
            self.take(&rules["tolerance"], &format!("{direction}.tolerance"), quantity::quantity)?;
            self.policies(direction, &rules["selectPolicy"], &rules["policies"])?;
        }
        Ok(())
    }

    fn policies(&mut self, direction: &str, select: &Value, policies: &Value) -> Result<(), String> {
        // Without policies, the API's own: two upwards, one downwards. They are the defaults here.
        let count = match policies.as_array() {
            Some(own) => own.len(),
            None if direction == "scaleUp" => 2,
            None => 1,
        };
        let select = if select.is_null() { "Max" } else { select.as_str().unwrap_or_default() };
        match select {
            "Disabled" => {
                for kind in ["Percent", "Pods"] {
                    self.set(&format!("{direction}.{kind}"), 0.0);
                }
                return Ok(());
            }
            "Max" => {}
            "Min" if count == 1 => {}
            _ => {
                return Err(format!(
                    "{direction}: selectPolicy {select} of {count} policies is not simulated, only Max and \
                     Disabled"
                ));
            }
        }
        let Some(policies) = policies.as_array() else { return Ok(()) };
        if policies.is_empty() {
            return Err(format!("{direction}: the API requires at least one policy"));
        }
        for kind in ["Percent", "Pods"] {
            self.set(&format!("{direction}.{kind}"), 0.0);
        }
        for policy in policies {
            let kind = policy["type"].as_str().unwrap_or_default();
            let name = format!("{direction}.{kind}");
            match self.values.get(&name) {
                Some(0.0) => {}
                Some(_) => return Err(format!("{direction}: one policy of each type at most is simulated")),
                None => return Err(format!("{direction}: policy {}: Percent or Pods", policy["type"])),
            }
            let read = |value: &Value, what: &str| {
                let number = quantity::whole(value).map_err(|error| format!("{name}: {what}: {error}"))?;
                if number > 0.0 { Ok(number) } else { Err(format!("{name}: {what} must be above zero")) }
            };
            let value = read(&policy["value"], "value")?;
            let period = read(&policy["periodSeconds"], "periodSeconds")?;
            self.set(&name, value);
            if direction == "scaleDown" {
                self.set(&format!("{name}.periodSeconds"), period);
            } else if period != POLICY_PERIOD_S as f64 {
                return Err(format!(
                    "{direction}: a period of {period} s; only {POLICY_PERIOD_S} s are simulated here"
                ));
            }
        }
        Ok(())
    }
}

/// A quantity of cores in millicores, without the last digits of a binary fraction.
fn millicores(value: &Value) -> Result<f64, String> {
    Ok((quantity::quantity(value)? * 1e9).round() / 1e6)
}

/// An error if a metric's name or query does not say that it counts requests in flight.
fn in_flight(metric: &Value) -> Result<(), String> {
    let text = metric.as_str().unwrap_or_default().to_lowercase();
    if IN_FLIGHT.iter().any(|part| text.contains(part)) {
        return Ok(());
    }
    Err(format!(
        "metric {metric}: only requests in flight are simulated (their metric has one of these in its name: \
         {})",
        IN_FLIGHT.join(", ")
    ))
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
