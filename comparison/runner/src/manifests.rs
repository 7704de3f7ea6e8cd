//! The autoscalers' settings and the pod's size, read from the manifests that are deployed:
//! `function/manifests`, `knative/`, `k8s-autoscalers/` and, for a platform, `platforms/`. They are
//! defined only there.
//!
//! This implements the part of kustomize that those files use: components within components,
//! strategic merges of maps and `$patch: delete`, JSON 6902 `add`, `replace` and `remove`, and
//! replacements of one field by another. `platforms/check` renders the same with kustomize itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use simulator::hpa::{HpaSettings, Policy, Rules, Select, TOLERANCE};
use simulator::keda::KedaSettings;
use simulator::kpa::KpaSettings;
use simulator::vpa::{MIN_REPLICAS, VpaSettings};
use simulator::{Autoscaler, PodSize};

use scenario::quantity;

/// The settings of a variant in a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The autoscaler with its settings.
    pub autoscaler: Autoscaler,
    /// The function's container.
    pub pod: PodSize,
    /// The window over which prometheus-adapter takes the HPA's metric, seconds.
    pub metric_window_s: f64,
}

/// Checks that `root` is the repository, and has that platform.
pub fn ensure_there(root: &Path, platform: Option<&str>) -> Result<()> {
    let folder = root.join("platforms");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("--root takes the repository's root folder: no {}", folder.display()))?;
    let Some(platform) = platform else { return Ok(()) };
    let mut known = vec![];
    for path in entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()? {
        if path.join("component").is_dir() {
            known.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    known.sort();
    let there = known.iter().any(|name| name == platform);
    ensure!(there, "no platform {platform:?}; --platform takes {}", known.join(", "));
    Ok(())
}

/// Reads a variant (`knative`, `k8s-autoscalers`) in a configuration (a folder of its
/// `components/`, further ones after `+`), as deployed on a platform (a folder of `platforms/`;
/// none: the manifests as they are). `root` is the repository.
pub fn read(root: &Path, variant: &str, configuration: &str, platform: Option<&str>) -> Result<Deployed> {
    let mut changes = Changes::default();
    // In the order of platforms/overlay.sh.
    if let Some(platform) = platform {
        changes.collect(&root.join("platforms").join(platform).join("component"))?;
    }
    for part in configuration.split('+') {
        let own = root.join(variant).join("components").join(part);
        let shared = root.join("function/manifests").join(part);
        let node = scenario::arms::ablations().iter().any(|a| a.name == part && a.node.is_some());
        match [&own, &shared].into_iter().find(|folder| folder.is_dir()) {
            Some(folder) => changes.collect(folder)?,
            None if node => bail!("{part} is a setting of the node: the simulator does not have it"),
            None => bail!("no settings for {variant:?} {part:?}: there is no {}", own.display()),
        }
    }
    let pod_patch: Value = yaml(&root.join("function/manifests/pod.yaml"))?;
    let scaling: Value = yaml(&root.join("function/manifests/scaling.yaml"))?;
    let target = text(&scaling, "/data/target").context("function/manifests/scaling.yaml")?;
    let render = |file: &str, kind: &str, pod: bool| -> Result<Value> {
        let mut object: Value = yaml(&root.join(variant).join("base").join(file))?;
        if pod {
            apply(&mut object, &pod_patch)?;
        }
        for patch in changes.patches.iter().filter(|p: &&Patch| p.names(kind)) {
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
        "k8s-autoscalers" if changes.scaled_object.is_some() => {
            let object: Value = yaml(&changes.scaled_object.context("there is one")?)?;
            (Autoscaler::Keda(keda(&object, target)?), render("deployment.yaml", "Deployment", true)?)
        }
        "k8s-autoscalers" => {
            let hpa = hpa(&render("hpa.yaml", "HorizontalPodAutoscaler", false)?, target)?;
            let deployment = render("deployment.yaml", "Deployment", true)?;
            let mut vertical = render("vpa.yaml", "VerticalPodAutoscaler", false)?;
            let vpa = if vertical.is_null() {
                None
            } else {
                changes.replace(&[&deployment], &mut vertical)?;
                Some(vpa(&vertical)?)
            };
            (Autoscaler::Hpa(hpa, vpa), deployment)
        }
        _ => bail!("no variant {variant:?}; there are knative and k8s-autoscalers"),
    };
    let amount = |key: &str| -> Result<f64> {
        let path = format!("/spec/template/spec/containers/0/resources/limits/{key}");
        let limited = workload.pointer(&path).is_some();
        ensure!(limited, "{configuration}: a pod without a limit of its {key} is not simulated");
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
    components: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    patches: Vec<Patch>,
    #[serde(default)]
    replacements: Vec<Replacement>,
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

#[derive(Deserialize)]
struct Replacement {
    source: Source,
    targets: Vec<Destination>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    kind: String,
    field_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    select: Target,
    field_paths: Vec<String>,
}

impl Patch {
    fn names(&self, kind: &str) -> bool {
        self.target.kind.split('|').any(|k| k == kind)
    }

    fn content(&self) -> Result<Value> {
        serde_saphyr::from_str(&self.patch).context("a patch is no YAML")
    }
}

/// What components change, in their order.
#[derive(Default)]
struct Changes {
    patches: Vec<Patch>,
    replacements: Vec<Replacement>,
    /// Where KEDA's object is, in settings that have one.
    scaled_object: Option<PathBuf>,
}

impl Changes {
    fn collect(&mut self, folder: &Path) -> Result<()> {
        let file: Kustomization = yaml(&folder.join("kustomization.yaml"))?;
        let inline = file.patches.iter().all(|p| !p.patch.is_empty());
        ensure!(inline, "{}: only patches that are written in place are understood", folder.display());
        // Routing and placement of pods are not simulated.
        let settings =
            |path: &&String| !path.ends_with("kourier-route") && !path.ends_with("topology-spread");
        file.components.iter().filter(settings).try_for_each(|path| self.collect(&folder.join(path)))?;
        self.patches.extend(file.patches);
        self.replacements.extend(file.replacements);
        let scaled_object = file.resources.iter().find(|r| *r == "scaled-object.yaml");
        self.scaled_object = scaled_object.map(|name| folder.join(name)).or(self.scaled_object.take());
        Ok(())
    }

    /// Copies the fields that the replacements name from one of `sources` into `object`.
    fn replace(&self, sources: &[&Value], object: &mut Value) -> Result<()> {
        for Replacement { source, targets } in &self.replacements {
            let Some(from) = sources.iter().find(|s| s["kind"] == source.kind.as_str()) else { continue };
            let mut from = (*from).clone();
            let value = field(&mut from, &source.field_path)?.clone();
            for Destination { select, field_paths } in targets {
                let paths = field_paths.iter().filter(|_| object["kind"] == select.kind.as_str());
                for path in paths.collect::<Vec<_>>() {
                    *field(object, path)? = value.clone();
                }
            }
        }
        Ok(())
    }
}

/// A field by kustomize's notation: names and numbers between dots, `[key=value]` for an item of a
/// list.
fn field<'a>(object: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    path.split('.').try_fold(object, |at, part| {
        let found = match part.strip_prefix('[').and_then(|p| p.strip_suffix(']')?.split_once('=')) {
            Some((key, value)) => {
                at.as_array_mut().and_then(|items| items.iter_mut().find(|item| item[key] == value))
            }
            None => at.get_mut(part),
        };
        found.with_context(|| format!("no {part} in {path}"))
    })
}

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    value: Value,
}

/// A list is JSON 6902, a map is merged. Deleted fields become null.
fn apply(object: &mut Value, patch: &Value) -> Result<()> {
    if patch["$patch"] == "delete" {
        *object = Value::Null;
        return Ok(());
    }
    if !patch.is_array() {
        merge(object, patch);
        return Ok(());
    }
    let operations: Vec<Operation> = serde_json::from_value(patch.clone())?;
    for Operation { op, path, value } in operations {
        ensure!(
            ["add", "replace", "remove"].contains(&&*op),
            "{op} {path}: only add, replace and remove are understood"
        );
        let (parent, key) = path.rsplit_once('/').with_context(|| format!("{path} is no path"))?;
        let key = key.replace("~1", "/").replace("~0", "~");
        match object.pointer_mut(parent) {
            Some(Value::Object(map)) if op == "remove" => drop(map.remove(&key)),
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
/// Placeholder in the bases for the target, which function/manifests fills in.
const REPLACED: &str = "set-by-replacement";

fn kpa(service: &Value, target: &str) -> Result<KpaSettings> {
    let annotations =
        service.pointer(ANNOTATIONS).and_then(Value::as_object).context("no annotations in the Service")?;
    let mut s = KpaSettings::defaults(target.parse().context("scaling.yaml: the target is no number")?);
    for (name, value) in annotations {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        let value = value.as_str().with_context(|| format!("{name} is no text"))?;
        let number = || value.parse::<f64>().with_context(|| format!("{name}: {value:?} is no number"));
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
    let own = text(metric, "/pods/target/averageValue")?;
    let target = if own == REPLACED { target } else { own };
    let target = quantity::parse(target).context("the HPA's target is no quantity")?;
    Ok(HpaSettings {
        target_milli: (target * 1000.0).round() as i64,
        min: spec.min_replicas,
        max: spec.max_replicas,
        up: rules(spec.behavior.scale_up)?,
        down: rules(spec.behavior.scale_down)?,
    })
}

/// KEDA's own intervals and bounds; its HPA has the defaults.
fn keda(object: &Value, target: &str) -> Result<KedaSettings> {
    let spec = object.get("spec").context("a ScaledObject without spec")?;
    let number = |key: &str| spec[key].as_i64().with_context(|| format!("the ScaledObject has no {key}"));
    let target = quantity::parse(target).context("scaling.yaml: the target is no quantity")?;
    let mut settings = KedaSettings::defaults((target * 1000.0).round() as i64, number("maxReplicaCount")?);
    if let Some(behavior) = spec.pointer("/advanced/horizontalPodAutoscalerConfig/behavior") {
        let behavior: Behavior = serde_json::from_value(behavior.clone()).context("KEDA's behavior")?;
        (settings.hpa.up, settings.hpa.down) = (rules(behavior.scale_up)?, rules(behavior.scale_down)?);
    }
    // The first trigger scales, the others only activate.
    if let Some(threshold) = spec.pointer("/triggers/0/metadata/activationThreshold") {
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
fn vpa(object: &Value) -> Result<VpaSettings> {
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
    fn the_kpa_as_it_comes_is_knatives_default() {
        let base = kpa_of("defaults");
        let expected = KpaSettings { max_scale: base.max_scale, ..KpaSettings::defaults(base.total) };
        assert_eq!((base.utilization, &base), (0.7, &expected));
        let at_the_hpas = kpa_of("hpa-target");
        assert_eq!(at_the_hpas, KpaSettings { utilization: 1.0, ..base });
    }

    #[test]
    fn a_component_changes_what_it_names() {
        let tuned = kpa_of("hand-tuned");
        assert_eq!((tuned.stable_window_s, tuned.panic_window_s()), (30.0, 6.0));
        assert_eq!((tuned.target_burst_capacity, tuned.scale_down_delay_s), (0.0, 60.0));
        assert_eq!(kpa_of("hand-tuned+tbc-211").target_burst_capacity, 211.0);
        let (tuned, _) = hpa_of("hand-tuned", None);
        assert_eq!((tuned.min, tuned.up.tolerance, tuned.down.tolerance), (2, 0.05, 0.2));
        assert_eq!(tuned.down.policies, [Policy::Percent(50, 15)]);
    }

    #[test]
    fn the_vpa_can_be_left_out_or_given_a_floor() {
        let without = read(&root(), "k8s-autoscalers", "hpa", None).expect("readable").autoscaler;
        assert_eq!(without, Autoscaler::Hpa(hpa_of("defaults", None).0, None));
        let (_, floor) = hpa_of("defaults+vpa-floor", Some("two-cores"));
        assert_eq!(floor.cpu, (150, 180), "no less than the pod's own 150m");
    }

    #[test]
    fn every_arm_can_be_read_and_rests_where_its_settings_say() {
        for arm in scenario::arms::all() {
            let read = read(&root(), &arm.variant, &arm.configuration, Some("two-cores"));
            let least = match read.expect("readable").autoscaler {
                Autoscaler::Kpa(s) => s.min_scale,
                Autoscaler::Hpa(s, _) => s.min,
                Autoscaler::Keda(s) => {
                    assert_eq!(s, KedaSettings::defaults(1000, 10), "KEDA as it comes");
                    s.min
                }
            };
            assert_eq!(least as usize, arm.rest_pods, "{}", arm.name);
        }
    }

    #[test]
    fn a_platform_changes_the_size_of_the_pod_and_the_bounds_of_the_vpa() {
        let small = read(&root(), "k8s-autoscalers", "defaults", Some("two-cores")).expect("readable");
        let vpa = hpa_of("defaults", Some("two-cores")).1;
        assert_eq!((small.pod.millicores, vpa.cpu), (150, (100, 180)));
        assert_eq!(vpa.min_replicas, 1);
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
