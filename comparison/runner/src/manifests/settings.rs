//! What the autoscalers' objects say: the settings of the KPA, the HPA, the VPA and KEDA.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use simulator::WAKES_ONLY;
use simulator::hpa::{HpaSettings, Policy, Rules, Select, TOLERANCE};
use simulator::keda::KedaSettings;
use simulator::kpa::KpaSettings;
use simulator::vpa::{MIN_REPLICAS, VpaSettings};

use super::kustomize::text;
use scenario::quantity;

const ANNOTATIONS: &str = "/spec/template/metadata/annotations";
const PREFIX: &str = "autoscaling.knative.dev/";
/// Placeholder in the bases for the target, which function/manifests fills in.
const REPLACED: &str = "set-by-replacement";

pub(super) fn kpa(service: &Value, target: &str) -> Result<KpaSettings> {
    let annotations =
        service.pointer(ANNOTATIONS).and_then(Value::as_object).context("no annotations in the Service")?;
    let mut s = KpaSettings::defaults(target.parse().context("scaling.yaml: the target is no number")?);
    for (name, value) in annotations {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        let value = value.as_str().with_context(|| format!("{name} is no text"))?;
        let number = || value.parse::<f64>().with_context(|| format!("{name}: {value:?} is no number"));
        let count = || value.parse::<i64>().with_context(|| format!("{name}: {value:?} is no whole number"));
        match name {
            // The class and metric that the simulator has; the initial scale is over before a run
            // begins.
            "class" => ensure!(value == "kpa.autoscaling.knative.dev", "class {value}: not simulated"),
            "metric" => ensure!(value == "concurrency", "metric {value}: not simulated"),
            "initial-scale" => {}
            // The target of scaling.yaml, unless the settings have their own.
            "target" if value == REPLACED => {}
            "target" => s.total = number()?,
            "target-utilization-percentage" => s.utilization = number()? / 100.0,
            "min-scale" => s.min_scale = count()?,
            "max-scale" => s.max_scale = count()?,
            "activation-scale" => s.activation_scale = count()?,
            "window" => s.stable_window_s = duration_s(value)?,
            "panic-window-percentage" => s.panic_window_percentage = number()?,
            "panic-threshold-percentage" => s.panic_threshold_percentage = number()?,
            "target-burst-capacity" => s.target_burst_capacity = number()?,
            "scale-down-delay" => s.scale_down_delay_s = duration_s(value)?,
            "scale-to-zero-pod-retention-period" => s.pod_retention_s = duration_s(value)?,
            _ => bail!("{PREFIX}{name}: the simulator does not know it"),
        }
    }
    Ok(s)
}

/// Go's notation, as far as it is used: `60s`, `1m30s`, `500ms`.
fn duration_s(text: &str) -> Result<f64> {
    let (mut sum, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits =
            rest.find(|c: char| !c.is_ascii_digit() && c != '.').context("a duration needs a unit")?;
        let (number, tail) = rest.split_at(digits);
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, factor) = units
            .iter()
            .find(|(unit, _)| tail.starts_with(unit))
            .with_context(|| format!("{text:?} is no duration"))?;
        sum += number.parse::<f64>().with_context(|| format!("{text:?} is no duration"))? * factor;
        rest = &tail[unit.len()..];
    }
    Ok(sum)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HpaSpec {
    #[serde(rename = "scaleTargetRef")]
    _target: Value,
    min_replicas: i64,
    max_replicas: i64,
    metrics: Vec<Value>,
    behavior: Behavior,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Behavior {
    scale_up: Direction,
    scale_down: Direction,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Direction {
    stabilization_window_seconds: i64,
    select_policy: String,
    tolerance: Option<String>,
    policies: Vec<PolicySpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PolicySpec {
    #[serde(rename = "type")]
    kind: String,
    value: i64,
    period_seconds: i64,
}

/// And whether its metrics are those of an object, which exist at zero pods.
pub(super) fn hpa(object: &Value, target: &str) -> Result<(HpaSettings, bool)> {
    let spec = object.get("spec").context("an HPA without spec")?.clone();
    let spec: HpaSpec = serde_json::from_value(spec).context("the HPA's spec")?;
    let [metric, others @ ..] = &spec.metrics[..] else { bail!("an HPA without metrics") };
    // Those of an object: the load's metric, and one that only wakes.
    let of_object = metric["type"] == "Object";
    let (kind, path, count) = match of_object {
        true => ("Object", "/object/target/averageValue", 1),
        false => ("Pods", "/pods/target/averageValue", 0),
    };
    ensure!(
        others.len() == count && spec.metrics.iter().all(|metric| metric["type"] == kind),
        "the simulator knows one metric of type Pods, or two of type Object"
    );
    ensure!(of_object || spec.min_replicas > 0, "minReplicas 0 takes metrics of type Object");
    for other in others {
        let wakes = quantity::parse(text(other, path)?).is_some_and(|target| target >= WAKES_ONLY);
        ensure!(wakes, "the second metric's target is so low that it would ask for more than one pod");
    }
    let own = text(metric, path)?;
    let target = if own == REPLACED { target } else { own };
    let target = quantity::parse(target).context("the HPA's target is no quantity")?;
    let settings = HpaSettings {
        target_milli: (target * 1000.0).round() as i64,
        min: spec.min_replicas,
        max: spec.max_replicas,
        up: rules(spec.behavior.scale_up)?,
        down: rules(spec.behavior.scale_down)?,
    };
    Ok((settings, of_object))
}

/// Of a trigger: what its value is divided by.
const THRESHOLD: &str = "/metadata/threshold";

/// KEDA's own intervals and bounds; its HPA has the defaults. The first trigger scales, the others
/// only wake.
pub(super) fn keda(object: &Value, target: &str) -> Result<KedaSettings> {
    let spec = object.get("spec").context("a ScaledObject without spec")?;
    let number = |key: &str| spec[key].as_i64().with_context(|| format!("the ScaledObject has no {key}"));
    let triggers = spec["triggers"].as_array().context("a ScaledObject without triggers")?;
    let [trigger, others @ ..] = &triggers[..] else { bail!("a ScaledObject without triggers") };
    for other in others {
        let wakes = quantity::parse(text(other, THRESHOLD)?).is_some_and(|target| target >= WAKES_ONLY);
        ensure!(wakes, "another trigger's threshold is so low that it would ask for more than one pod");
    }
    let own = text(trigger, THRESHOLD)?;
    let target = if own == REPLACED { target } else { own };
    let target = quantity::parse(target).context("KEDA's threshold is no quantity")?;
    let mut settings = KedaSettings::defaults((target * 1000.0).round() as i64, number("maxReplicaCount")?);
    if let Some(behavior) = spec.pointer("/advanced/horizontalPodAutoscalerConfig/behavior") {
        let behavior: Behavior = serde_json::from_value(behavior.clone()).context("KEDA's behavior")?;
        (settings.hpa.up, settings.hpa.down) = (rules(behavior.scale_up)?, rules(behavior.scale_down)?);
    }
    if let Some(threshold) = trigger.pointer("/metadata/activationThreshold") {
        settings.activation =
            threshold.as_str().and_then(|t| t.parse().ok()).context("activationThreshold is no number")?;
    }
    Ok(KedaSettings {
        min: number("minReplicaCount")?,
        polling_s: number("pollingInterval")? as f64,
        cooldown_s: number("cooldownPeriod")? as f64,
        ..settings
    })
}

fn rules(direction: Direction) -> Result<Rules> {
    let policy = |p: &PolicySpec| match p.kind.as_str() {
        "Pods" => Ok(Policy::Pods(p.value, p.period_seconds)),
        "Percent" => Ok(Policy::Percent(p.value, p.period_seconds)),
        kind => bail!("policy type {kind:?}: there are Pods and Percent"),
    };
    let select = match direction.select_policy.as_str() {
        "Max" => Select::Max,
        "Min" => Select::Min,
        "Disabled" => Select::Disabled,
        other => bail!("selectPolicy {other:?}: there are Max, Min and Disabled"),
    };
    let tolerance = direction.tolerance.as_deref().map_or(Some(TOLERANCE), quantity::parse);
    Ok(Rules {
        stabilization_s: direction.stabilization_window_seconds,
        tolerance: tolerance.context("tolerance is no quantity")?,
        policies: direction.policies.iter().map(policy).collect::<Result<_>>()?,
        select,
    })
}

/// `minAllowed` and `maxAllowed` for the function's container.
pub(super) fn vpa(object: &Value) -> Result<VpaSettings> {
    let bound = |key: &str| -> Result<f64> {
        let path = format!("/spec/resourcePolicy/containerPolicies/0/{key}");
        quantity::parse(text(object, &path)?).with_context(|| format!("{path} is no quantity"))
    };
    let millicores = |key: &str| -> Result<i64> { Ok((bound(key)? * 1000.0).round() as i64) };
    Ok(VpaSettings {
        cpu: (millicores("minAllowed/cpu")?, millicores("maxAllowed/cpu")?),
        memory: (bound("minAllowed/memory")?, bound("maxAllowed/memory")?),
        min_replicas: object
            .pointer("/spec/updatePolicy/minReplicas")
            .map_or(Some(MIN_REPLICAS), Value::as_i64)
            .context("minReplicas is no number")?,
        tolerance: simulator::vpa::TOLERANCE,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{duration_s, keda};

    #[test]
    fn a_trigger_may_have_a_threshold_of_its_own_and_a_second_one_only_wakes() {
        let object = |first: &str, second: &str| {
            let trigger = |threshold: &str| json!({"metadata": {"threshold": threshold}});
            json!({"spec": {
                "minReplicaCount": 0, "maxReplicaCount": 10, "pollingInterval": 30, "cooldownPeriod": 300,
                "triggers": [trigger(first), trigger(second)],
            }})
        };
        let target = |first: &str| keda(&object(first, "1000000"), "1").expect("valid").hpa.target_milli;
        assert_eq!((target("set-by-replacement"), target("2")), (1000, 2000));
        let error = keda(&object("1", "5"), "1").expect_err("it would scale").to_string();
        assert!(error.contains("more than one pod"), "{error}");
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration_s("1m30s").expect("valid"), 90.0);
        assert_eq!(duration_s("500ms").expect("valid"), 0.5);
        assert!(duration_s("60").is_err() && duration_s("1y").is_err());
    }
}
