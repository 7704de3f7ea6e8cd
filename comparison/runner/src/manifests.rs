//! The autoscalers' settings and the pod's size, read from the manifests that are deployed:
//! `function/manifests`, `knative/`, `k8s-autoscalers/` and, for a platform, `platforms/`. They are
//! written there and nowhere else.
//!
//! This renders as much of kustomize as those files use: strategic merges of maps, and JSON 6902
//! `add` and `replace`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use simulator::hpa::{HpaSettings, Policy, Rules, Select, TOLERANCE};
use simulator::kpa::KpaSettings;
use simulator::vpa::VpaSettings;
use simulator::{Autoscaler, PodSize};

use crate::cluster::quantity;

/// What a variant in a configuration is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The autoscaler with its settings.
    pub autoscaler: Autoscaler,
    /// The function's container.
    pub pod: PodSize,
    /// The window over which prometheus-adapter takes the HPA's metric, seconds.
    pub metric_window_s: f64,
}

/// Reads a variant (`knative`, `k8s-autoscalers`) in a configuration (a folder of its
/// `components/`), as deployed on a platform (a folder of `platforms/`; none: the manifests as they
/// are). `root` is the repository.
pub fn read(root: &Path, variant: &str, configuration: &str, platform: Option<&str>) -> Result<Deployed> {
    let settings = root.join(variant).join("components").join(configuration);
    ensure!(
        settings.is_dir(),
        "no settings for {variant:?} {configuration:?}: there is no {}",
        settings.display()
    );
    let mut patches = Vec::new();
    collect(&settings, &mut patches)?;
    if let Some(platform) = platform {
        collect(&root.join("platforms").join(platform).join("component"), &mut patches)?;
    }
    let pod_patch: Value = yaml(&root.join("function/manifests/pod.yaml"))?;
    let scaling: Value = yaml(&root.join("function/manifests/scaling.yaml"))?;
    let target = text(&scaling, "/data/target").context("function/manifests/scaling.yaml")?;
    let render = |file: &str, kind: &str, pod: bool| -> Result<Value> {
        let mut object: Value = yaml(&root.join(variant).join("base").join(file))?;
        if pod {
            apply(&mut object, &pod_patch)?;
        }
        for patch in patches.iter().filter(|p: &&Patch| p.names(kind)) {
            apply(&mut object, &patch.content()?).with_context(|| format!("patch of {kind}"))?;
        }
        Ok(object)
    };
    let rules: Value = yaml(&root.join("k8s-autoscalers/metrics/rules.yaml"))?;
    let query = text(&rules, "/rules/0/metricsQuery")?;
    let metric_window_s = query
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once("s]"))
        .and_then(|(window, _)| window.parse().ok())
        .context("k8s-autoscalers/metrics/rules.yaml: no window in seconds in metricsQuery")?;
    let (autoscaler, workload) = match variant {
        "knative" => {
            let service = render("service.yaml", "Service", true)?;
            (Autoscaler::Kpa(kpa(&service, target)?), service)
        }
        "k8s-autoscalers" => {
            let hpa = hpa(&render("hpa.yaml", "HorizontalPodAutoscaler", false)?, target)?;
            let vpa = vpa(&render("vpa.yaml", "VerticalPodAutoscaler", false)?)?;
            (Autoscaler::Hpa(hpa, Some(vpa)), render("deployment.yaml", "Deployment", true)?)
        }
        _ => bail!("no variant {variant:?}; there are knative and k8s-autoscalers"),
    };
    let amount = |key: &str| -> Result<f64> {
        let path = format!("/spec/template/spec/containers/0/resources/limits/{key}");
        quantity::parse(text(&workload, &path)?).with_context(|| format!("{path} is no quantity"))
    };
    let pod = PodSize { millicores: (amount("cpu")? * 1000.0).round() as i64, memory: amount("memory")? };
    Ok(Deployed { autoscaler, pod, metric_window_s })
}

fn yaml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not what is expected", path.display()))
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.pointer(path).and_then(Value::as_str).with_context(|| format!("no text at {path}"))
}

#[derive(Deserialize)]
struct Kustomization {
    #[serde(default)]
    patches: Vec<Patch>,
}

#[derive(Deserialize)]
struct Patch {
    #[serde(default)]
    target: Target,
    #[serde(default)]
    patch: String,
}

#[derive(Deserialize, Default)]
struct Target {
    #[serde(default)]
    kind: String,
}

impl Patch {
    fn names(&self, kind: &str) -> bool {
        self.target.kind.split('|').any(|k| k == kind)
    }

    fn content(&self) -> Result<Value> {
        serde_saphyr::from_str(&self.patch).context("a patch is no YAML")
    }
}

fn collect(folder: &Path, patches: &mut Vec<Patch>) -> Result<()> {
    let file: Kustomization = yaml(&folder.join("kustomization.yaml"))?;
    let inline = file.patches.iter().all(|p| !p.patch.is_empty());
    ensure!(inline, "{}: only patches that are written in place are understood", folder.display());
    patches.extend(file.patches);
    Ok(())
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    value: Value,
}

/// A list is JSON 6902, a map is merged.
fn apply(object: &mut Value, patch: &Value) -> Result<()> {
    if !patch.is_array() {
        merge(object, patch);
        return Ok(());
    }
    let operations: Vec<Operation> = serde_json::from_value(patch.clone())?;
    for Operation { op, path, value } in operations {
        ensure!(op == "add" || op == "replace", "{op} {path}: only add and replace are understood");
        let (parent, key) = path.rsplit_once('/').with_context(|| format!("{path} is no path"))?;
        let key = key.replace("~1", "/").replace("~0", "~");
        match object.pointer_mut(parent) {
            Some(Value::Object(map)) => drop(map.insert(key, value)),
            _ => bail!("nothing at {parent}"),
        }
    }
    Ok(())
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            patch.iter().for_each(|(k, v)| merge(object.entry(k).or_insert(Value::Null), v));
        }
        (object, patch) => object.clone_from(patch),
    }
}

const ANNOTATIONS: &str = "/spec/template/metadata/annotations";
const PREFIX: &str = "autoscaling.knative.dev/";

fn kpa(service: &Value, target: &str) -> Result<KpaSettings> {
    let annotations =
        service.pointer(ANNOTATIONS).and_then(Value::as_object).context("no annotations in the Service")?;
    let mut s = KpaSettings::defaults(target.parse().context("scaling.yaml: the target is no number")?);
    for (name, value) in annotations {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        let value = value.as_str().with_context(|| format!("{name} is no text"))?;
        let number = || value.parse::<f64>().with_context(|| format!("{name}: {value:?} is no number"));
        match name {
            // The class and metric that the simulator has; the target is filled in from
            // scaling.yaml; the initial scale is over before a run begins.
            "class" => ensure!(value == "kpa.autoscaling.knative.dev", "class {value}: not simulated"),
            "metric" => ensure!(value == "concurrency", "metric {value}: not simulated"),
            "target" | "initial-scale" => {}
            "target-utilization-percentage" => s.utilization = number()? / 100.0,
            "min-scale" => s.min_scale = number()? as i64,
            "max-scale" => s.max_scale = number()? as i64,
            "activation-scale" => s.activation_scale = number()? as i64,
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

fn hpa(object: &Value, target: &str) -> Result<HpaSettings> {
    let spec = object.get("spec").context("an HPA without spec")?.clone();
    let spec: HpaSpec = serde_json::from_value(spec).context("the HPA's spec")?;
    let [metric] = &spec.metrics[..] else { bail!("the simulator knows one metric") };
    ensure!(metric["type"] == "Pods", "the simulator knows the metric type Pods only");
    let target = quantity::parse(target).context("scaling.yaml: the target is no quantity")?;
    Ok(HpaSettings {
        target_milli: (target * 1000.0).round() as i64,
        min: spec.min_replicas,
        max: spec.max_replicas,
        up: rules(spec.behavior.scale_up)?,
        down: rules(spec.behavior.scale_down)?,
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
fn vpa(object: &Value) -> Result<VpaSettings> {
    let bound = |key: &str| -> Result<f64> {
        let path = format!("/spec/resourcePolicy/containerPolicies/0/{key}");
        quantity::parse(text(object, &path)?).with_context(|| format!("{path} is no quantity"))
    };
    let millicores = |key: &str| -> Result<i64> { Ok((bound(key)? * 1000.0).round() as i64) };
    Ok(VpaSettings {
        cpu: (millicores("minAllowed/cpu")?, millicores("maxAllowed/cpu")?),
        memory: (bound("minAllowed/memory")?, bound("maxAllowed/memory")?),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn kpa_of(configuration: &str) -> KpaSettings {
        match read(&root(), "knative", configuration, None).expect("readable").autoscaler {
            Autoscaler::Kpa(settings) => settings,
            _ => panic!("Knative has the KPA"),
        }
    }

    fn hpa_of(configuration: &str, platform: Option<&str>) -> (HpaSettings, VpaSettings) {
        match read(&root(), "k8s-autoscalers", configuration, platform).expect("readable").autoscaler {
            Autoscaler::Hpa(hpa, Some(vpa)) => (hpa, vpa),
            _ => panic!("an HPA and a VPA"),
        }
    }

    #[test]
    fn the_hpa_as_it_comes_is_what_kubernetes_sets_by_default() {
        let ((settings, _), expected) = (hpa_of("defaults", None), HpaSettings::defaults(1000, 10));
        assert_eq!((&settings.down, settings.min, settings.max), (&expected.down, 1, 10));
        let sorted = |rules: &Rules| {
            let mut policies = rules.policies.clone();
            policies.sort_by_key(|p| matches!(p, Policy::Percent(..)));
            policies
        };
        assert_eq!(sorted(&settings.up), sorted(&expected.up));
    }

    #[test]
    fn the_kpa_as_it_comes_is_knatives_default_but_for_what_the_base_says() {
        let base = kpa_of("defaults");
        let expected = KpaSettings {
            max_scale: base.max_scale,
            utilization: base.utilization,
            ..KpaSettings::defaults(base.total)
        };
        assert_eq!(base, expected);
    }

    #[test]
    fn a_component_changes_what_it_names() {
        let tuned = kpa_of("tuned");
        assert_eq!((tuned.stable_window_s, tuned.panic_window_s()), (30.0, 6.0));
        assert_eq!((tuned.target_burst_capacity, tuned.scale_down_delay_s), (0.0, 60.0));
        let (tuned, _) = hpa_of("tuned", None);
        assert_eq!((tuned.min, tuned.up.tolerance, tuned.down.tolerance), (2, 0.05, 0.2));
        assert_eq!(tuned.down.policies, [Policy::Percent(50, 15)]);
    }

    #[test]
    fn a_platform_changes_the_size_of_the_pod_and_the_bounds_of_the_vpa() {
        let small = read(&root(), "k8s-autoscalers", "defaults", Some("two-cores")).expect("readable");
        let vpa = hpa_of("defaults", Some("two-cores")).1;
        assert_eq!((small.pod.millicores, vpa.cpu), (150, (100, 180)));
        assert_eq!(vpa.memory, (128.0 * 1024.0 * 1024.0, 512.0 * 1024.0 * 1024.0));
        let plain = read(&root(), "knative", "defaults", None).expect("readable");
        assert_eq!((plain.pod.millicores, plain.pod.memory), (1000, 256.0 * 1024.0 * 1024.0));
        assert_eq!(plain.metric_window_s, 20.0);
    }

    #[test]
    fn a_setting_that_is_not_simulated_is_an_error_and_not_ignored() {
        let service = serde_json::json!({"spec": {"template": {"metadata": {"annotations":
            {"autoscaling.knative.dev/metric-aggregation-algorithm": "weightedExponential"}}}}});
        let error = kpa(&service, "1").expect_err("unknown").to_string();
        assert!(error.contains("metric-aggregation-algorithm: the simulator does not know it"), "{error}");
        let error = read(&root(), "knative", "mine", None).expect_err("no such folder").to_string();
        assert!(error.contains("knative/components/mine"), "{error}");
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration_s("1m30s").expect("valid"), 90.0);
        assert_eq!(duration_s("500ms").expect("valid"), 0.5);
        assert!(duration_s("60").is_err() && duration_s("1y").is_err());
    }
}
