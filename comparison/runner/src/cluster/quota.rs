//! The period of the kernel's CPU quota, which no manifest sets: read from the pod's cgroup where
//! this program runs on the node, or from the kubelet's configuration.

use std::path::Path;

use anyhow::{Result, ensure};
use scenario::arms::{Arm, DEFAULT_HPA_SYNC_S, NodeSetting};
use scenario::recording::LEAST_QUOTA_MS;

use super::cgroup;
use super::config::NodeConfig;
use super::kube::{Kube, pods_path};
use super::node;

/// Where control groups are mounted: version 2, and version 1's controller of CPU time.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"];

/// The period in milliseconds by the group of a container (its id without `containerd://`).
pub fn of_container(id: &str) -> Option<f64> {
    MOUNTS.iter().find_map(|mount| period(&cgroup::find(Path::new(mount), id)?))
}

fn period(group: &Path) -> Option<f64> {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
    // "15000 100000" or "max 100000" in version 2.
    let of_v2 = read("cpu.max").and_then(|text| text.split_whitespace().nth(1).map(str::to_owned));
    let micros: f64 = of_v2.or_else(|| read("cpu.cfs_period_us"))?.trim().parse().ok()?;
    Some(micros / 1000.0)
}

/// The period in milliseconds from the kubelet's configuration, or its default.
pub async fn of_kubelet(kube: &Kube, node: &str) -> Option<f64> {
    let config = kube.get(&format!("/api/v1/nodes/{node}/proxy/configz")).await.ok()?;
    let text = config["kubeletconfig"]["cpuCFSQuotaPeriod"].as_str().unwrap_or("100ms").to_owned();
    let number = |unit: &str| text.strip_suffix(unit)?.parse::<f64>().ok();
    number("ms").or_else(|| number("s").map(|s| s * 1000.0))
}

/// The HPA's period in seconds, from the arguments of a controller manager that runs as a pod, or
/// the default.
pub async fn hpa_sync_period_s(kube: &Kube) -> Option<f64> {
    let pods = kube.list(&pods_path("kube-system"), "component=kube-controller-manager").await.ok()?;
    let arguments = pods.first()?["spec"]["containers"][0].clone();
    let all = ["command", "args"].map(|key| arguments[key].as_array().cloned().unwrap_or_default()).concat();
    let flag = "--horizontal-pod-autoscaler-sync-period=";
    let said = all.iter().filter_map(|a| a.as_str()).find_map(|a| a.strip_prefix(flag));
    said.map_or(Some(DEFAULT_HPA_SYNC_S.into()), |text| text.strip_suffix('s')?.parse().ok())
}

/// What a run found of the node and of its pods.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// The period of the CPU quota, milliseconds.
    pub period_ms: Option<f64>,
    /// The pods' CPU limit, cores.
    pub limit: Option<f64>,
    /// The HPA's sync period, seconds.
    pub sync_s: Option<f64>,
}

/// Whether the node has the settings of an arm, and gives its pods their limit. What cannot be read
/// is assumed, and the results file says so.
pub fn check(arm: &Arm, config: &NodeConfig, found: Found) -> Result<()> {
    let Found { period_ms, limit, sync_s } = found;
    let period_ms = period_ms.filter(|_| arm.has_cpu_quota());
    for (setting, _) in node::wanted(config, Some(arm)) {
        let (name, wanted, unit, found) = match setting {
            NodeSetting::CfsPeriodMs(ms) => ("the period of the CPU quota", ms, "ms", period_ms),
            NodeSetting::HpaSyncPeriodS(s) => ("the HPA's sync period", s, "s", sync_s),
        };
        ensure!(
            found.is_none_or(|found| (found - f64::from(wanted)).abs() < 0.5),
            "{}: {name} is to be {wanted} {unit}, and is {}: it is a setting of the node (docs/comparison/method.md)",
            arm.name,
            found.unwrap_or_default()
        );
    }
    period_ms.zip(limit).map_or(Ok(()), |(period_ms, limit)| check_limit(arm, period_ms, limit))
}

/// Whether the kubelet gives the pods their limit. In a period in which that is less than a
/// millisecond it gives a millisecond, so that a shorter period comes with more CPU.
fn check_limit(arm: &Arm, period_ms: f64, limit: f64) -> Result<()> {
    ensure!(
        // A limit of exactly that is right, whatever the division leaves.
        limit * period_ms > LEAST_QUOTA_MS * 0.999,
        "{}: the kubelet gives a container at least {LEAST_QUOTA_MS} ms of CPU in each period of the quota, \
         which in {period_ms} ms makes a limit of {:.0}m one of {:.0}m: \
         take periods of {:.0} ms or more, or pods of {:.0}m or more",
        arm.name,
        limit * 1000.0,
        LEAST_QUOTA_MS / period_ms * 1000.0,
        (LEAST_QUOTA_MS / limit).ceil(),
        (LEAST_QUOTA_MS / period_ms * 1000.0).ceil(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::config::NodeCommands;
    use super::*;

    #[test]
    fn both_versions_of_control_groups_tell_the_period() {
        let folder = std::env::temp_dir().join(format!("quota-{}", std::process::id()));
        let group = |name: &str, file: &str, text: &str| {
            let path = folder.join("kubepods").join(name);
            std::fs::create_dir_all(&path).expect("a folder");
            std::fs::write(path.join(file), text).expect("written");
        };
        group("cri-containerd-aaaa.scope", "cpu.max", "15000 100000\n");
        group("bbbb", "cpu.cfs_period_us", "10000\n");
        let of = |id: &str| period(&cgroup::find(&folder, id)?);
        assert_eq!((of("aaaa"), of("bbbb"), of("cccc")), (Some(100.0), Some(10.0), None));
        std::fs::remove_dir_all(&folder).expect("cleaned");
    }

    #[test]
    fn an_ablation_of_the_node_is_refused_on_a_node_without_it() {
        let arm = Arm::named("hpa+cfs-20ms").expect("listed");
        let period = |ms| Found { period_ms: Some(ms), ..Found::default() };
        let unknown = NodeConfig::default();
        assert!(
            check(&arm, &unknown, period(20.0)).is_ok() && check(&arm, &unknown, Found::default()).is_ok()
        );
        let error = check(&arm, &unknown, period(100.0)).expect_err("another period").to_string();
        assert!(error.contains("is to be 20 ms, and is 100"), "{error}");
        let usual = NodeCommands { value: 10, set: vec![] };
        let told = NodeConfig { cfs_period_ms: Some(usual), ..unknown };
        let arm = Arm::named("hpa").expect("listed");
        let error = check(&arm, &told, period(100.0)).expect_err("not as the file says").to_string();
        assert!(error.contains("is to be 10 ms, and is 100"), "{error}");
        let unlimited = Arm::named("hpa+no-limit").expect("listed");
        assert!(check(&unlimited, &told, period(100.0)).is_ok(), "it has no quota");
    }

    #[test]
    fn a_period_that_gives_pods_more_than_their_limit_is_refused() {
        let check = |arm: &str, period_ms, limit| {
            let found = Found { period_ms, limit, sync_s: None };
            super::check(&Arm::named(arm).expect("listed"), &NodeConfig::default(), found)
        };
        let error = check("kpa+cfs-5ms", Some(5.0), Some(0.15)).expect_err("0.75 ms become 1 ms").to_string();
        for part in ["kpa+cfs-5ms", "limit of 150m one of 200m", "7 ms or more", "pods of 200m or more"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let allowed = |arm, period_ms, limit| check(arm, period_ms, limit).is_ok();
        assert!(allowed("kpa+cfs-5ms", Some(5.0), Some(0.2)) && allowed("kpa", Some(10.0), Some(0.1)));
        assert!(!allowed("kpa", Some(10.0), Some(0.09)), "whoever set the period");
        assert!(allowed("kpa+no-limit", Some(5.0), Some(0.15)), "it has no quota");
        assert!(allowed("kpa+cfs-5ms", None, Some(0.15)) && allowed("kpa+cfs-5ms", Some(5.0), None));
    }
}
