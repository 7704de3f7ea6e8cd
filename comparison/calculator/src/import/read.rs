//! What each kind of object says, and what of it is not simulated.

use serde_json::Value;
use simulator::WAKES_ONLY;

use super::metric::{exists_at_zero, in_flight, wakes_only};
use super::pasted::Object;
use crate::quantity;
use crate::settings::{Kind, POLICY_PERIOD_S, Values};

/// A value of this repository's manifests that a kustomize replacement sets.
const SET_LATER: &str = "set-by-replacement";
/// The default of Knative's `container-concurrency-target-default`.
const KNATIVE_TARGET: f64 = 100.0;
/// The default of KEDA's `maxReplicaCount`.
const KEDA_MOST: f64 = 100.0;

/// What is simulated of an HPA.
const ONLY: &str = "only one metric of requests in flight with an averageValue is simulated, of type \
                    Pods, Object or External (beside the latter two, others with an averageValue of \
                    100000 or more, which wake)";

#[derive(Default)]
pub(super) struct Read {
    pub(super) values: Values,
    pub(super) notes: Vec<String>,
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

    pub(super) fn knative(&mut self, service: &Object, scaling: Option<&Value>) -> Result<Kind, String> {
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

    pub(super) fn keda(&mut self, object: &Object, scaling: Option<&Value>) -> Result<Kind, String> {
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

    /// Whether its metrics are those of an object, which exist at zero pods; nothing if a patch has
    /// none.
    pub(super) fn hpa(&mut self, object: &Object, scaling: Option<&Value>) -> Result<Option<bool>, String> {
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
        let metrics = spec["metrics"].as_array().map_or(&[][..], Vec::as_slice);
        let of_object = !metrics.is_empty() && metrics.iter().all(|m| exists_at_zero(m).is_some());
        match metrics {
            all if of_object => self.metrics_of_object(all, object.patch, scaling)?,
            [metric] if metric["type"] == "Pods" => self.metric(&metric["pods"], scaling)?,
            [] if object.patch => self.target(&Value::Null, scaling, "averageValue", quantity::quantity)?,
            [] => return Err(format!("no metrics, which means 80 % of CPU: {ONLY}")),
            [metric] => return Err(format!("a metric of type {}: {ONLY}", metric["type"])),
            metrics => return Err(format!("{} metrics: {ONLY}", metrics.len())),
        }
        self.behavior(&spec["behavior"])?;
        Ok((!metrics.is_empty()).then_some(of_object))
    }

    /// One metric, with its target.
    fn metric(&mut self, metric: &Value, scaling: Option<&Value>) -> Result<(), String> {
        in_flight(&metric["metric"]["name"])?;
        let target = &metric["target"];
        if target["type"] != "AverageValue" || target["averageValue"].is_null() {
            return Err(format!("target of type {}: {ONLY}", target["type"]));
        }
        self.target(&target["averageValue"], scaling, "averageValue", quantity::quantity)
    }

    /// Metrics of an object: one that scales, and others that wake from zero.
    fn metrics_of_object(
        &mut self,
        metrics: &[Value],
        patch: bool,
        scaling: Option<&Value>,
    ) -> Result<(), String> {
        let all = metrics.iter().filter_map(exists_at_zero);
        let (wakes, scales): (Vec<&Value>, Vec<&Value>) = all.partition(|metric| wakes_only(metric));
        let [metric] = scales[..] else {
            return Err(format!("{} metrics that scale: {ONLY}", scales.len()));
        };
        self.metric(metric, scaling)?;
        if !patch {
            // The API's own default, also with such metrics.
            self.values.entry("minReplicas".into()).or_insert(1.0);
        }
        for name in wakes.iter().filter_map(|metric| metric["metric"]["name"].as_str()) {
            self.notes.push(format!("{name} is simulated as the requests that found no pod"));
        }
        // A patch leaves the form's default, which is zero.
        if wakes.is_empty() && self.values.get("minReplicas").is_none_or(|least| *least == 0.0) {
            return Err(format!(
                "nothing wakes it from zero, where no request is in flight: add a metric of the requests \
                 that found no pod, with an averageValue of {WAKES_ONLY} or more"
            ));
        }
        Ok(())
    }

    pub(super) fn vpa(&mut self, object: &Object) -> Result<Kind, String> {
        const IN_PLACE: &str = "InPlaceOrRecreate";
        let spec = &object.value["spec"];
        if spec["updatePolicy"]["updateMode"].is_boolean() {
            return Err("updateMode: write \"Off\" in quotes, YAML reads it as a boolean without".into());
        }
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
