//! The autoscalers' settings and the pod's size, read from the manifests that are deployed:
//! `function/manifests`, `knative/`, `k8s-autoscalers/` and, for a platform, `platforms/`. They are
//! defined only there.

mod kustomize;
mod settings;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kustomize::{Changes, Patch, apply, text, yaml};
use serde_json::Value;
use settings::{hpa, keda, kpa, vpa};
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
            // No manifest has it (`Arms::arm`).
            None if node => {}
            None => bail!("no settings for {variant:?} {part:?}: there is no {}", own.display()),
        }
    }
    let pod_patch: Value = yaml(&root.join("function/manifests/pod.yaml"))?;
    let scaling: Value = yaml(&root.join("function/manifests/scaling.yaml"))?;
    let target = text(&scaling, "/data/target").context("function/manifests/scaling.yaml")?;
    let patched = |mut object: Value, kind: &str| -> Result<Value> {
        for patch in changes.patches.iter().filter(|p: &&Patch| p.names(kind)) {
            apply(&mut object, &patch.content()?).with_context(|| format!("patch of {kind}"))?;
        }
        Ok(object)
    };
    let render = |file: &str, kind: &str, pod: bool| -> Result<Value> {
        let mut object: Value = yaml(&root.join(variant).join("base").join(file))?;
        if pod {
            apply(&mut object, &pod_patch)?;
        }
        patched(object, kind)
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
            let object = yaml(changes.scaled_object.as_ref().context("there is one")?)?;
            let object = patched(object, "ScaledObject")?;
            (Autoscaler::Keda(keda(&object, target)?), render("deployment.yaml", "Deployment", true)?)
        }
        "k8s-autoscalers" => {
            let (hpa, of_object) = hpa(&render("hpa.yaml", "HorizontalPodAutoscaler", false)?, target)?;
            let deployment = render("deployment.yaml", "Deployment", true)?;
            let mut vertical = render("vpa.yaml", "VerticalPodAutoscaler", false)?;
            let vpa = if vertical.is_null() {
                None
            } else {
                changes.replace(&[&deployment], &mut vertical)?;
                Some(vpa(&vertical)?)
            };
            let autoscaler = match (of_object, vpa) {
                (true, None) => Autoscaler::HpaToZero(hpa),
                (true, Some(_)) => {
                    bail!("{configuration}: an HPA on metrics of an object beside a VPA is not simulated")
                }
                (false, vpa) => Autoscaler::Hpa(hpa, vpa),
            };
            (autoscaler, deployment)
        }
        _ => bail!("no variant {variant:?}; there are knative and k8s-autoscalers"),
    };
    let amount = |kind: &str, key: &str| -> Result<f64> {
        let path = format!("/spec/template/spec/containers/0/resources/{kind}/{key}");
        let there = workload.pointer(&path).is_some();
        ensure!(there, "{configuration}: a pod without {kind} of its {key} is not simulated");
        quantity::parse(text(&workload, &path)?).with_context(|| format!("{path} is no quantity"))
    };
    let cpu = amount("limits", "cpu")?;
    ensure!(
        amount("requests", "cpu")? == cpu,
        "{configuration}: a pod with a CPU limit above its requests is not simulated"
    );
    let pod = PodSize { millicores: (cpu * 1000.0).round() as i64, memory: amount("limits", "memory")? };
    Ok(Deployed { autoscaler, pod, metric_window_s })
}

#[cfg(test)]
mod tests {
    use simulator::hpa::{HpaSettings, Policy, Rules};
    use simulator::keda::KedaSettings;
    use simulator::kpa::KpaSettings;
    use simulator::vpa::VpaSettings;

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
        assert_eq!(kpa_of("defaults+utilization-35").utilization * 2.0, kpa_of("defaults").utilization);
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
                Autoscaler::HpaToZero(s) => {
                    assert_eq!(s, HpaSettings { min: 0, ..hpa_of("defaults", None).0 }, "as it comes");
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
        for (ablation, said) in [
            ("no-limit", "a pod without limits of its cpu is not simulated"),
            ("limit-200m", "a CPU limit above its requests is not simulated"),
            ("requests-75m", "a CPU limit above its requests is not simulated"),
        ] {
            let settings = format!("defaults+{ablation}");
            let error = read(&root(), "knative", &settings, Some("two-cores")).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
