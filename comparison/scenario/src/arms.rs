//! The arms of the comparison, as `comparison/arms.toml` lists them: names, titles, and which are
//! compared with which.

use std::sync::LazyLock;

use serde::Deserialize;

/// One workload under one autoscaler with one set of settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The name on the command line.
    pub name: String,
    /// The title.
    pub title: String,
    /// Its distinguishing settings.
    pub about: String,
    /// `knative` or `k8s-autoscalers`: the folder of the workload.
    pub variant: String,
    /// A folder of its `components/`, and the names of ablations after `+`.
    pub configuration: String,
    /// The objects that decide the number and the size of the pods.
    pub autoscaler: Deciding,
    /// Pods at rest.
    pub rest_pods: usize,
    /// Retired: only in old recordings, unless named explicitly.
    #[serde(default)]
    pub retired: bool,
}

/// The objects that hold an arm's decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Deciding {
    /// Knative's PodAutoscaler.
    #[serde(rename = "kpa")]
    Kpa,
    /// A HorizontalPodAutoscaler alone.
    #[serde(rename = "hpa")]
    Hpa,
    /// A HorizontalPodAutoscaler and a VerticalPodAutoscaler.
    #[serde(rename = "hpa+vpa")]
    HpaVpa,
    /// KEDA's ScaledObject, between zero and one, and the HPA that it makes above.
    #[serde(rename = "keda")]
    Keda,
}

/// Two arms that are compared with each other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Names of arms; differences are the second minus the first.
    pub arms: [String; 2],
    /// The question of the comparison.
    pub question: String,
    /// Retired: for old recordings only.
    #[serde(default)]
    pub retired: bool,
}

/// A difference that is claimed, fixed before the runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Name of the scenario.
    pub scenario: String,
    /// Names of the arms of a pair, or of an arm and an ablation of it.
    pub arms: [String; 2],
    /// Key of the measure.
    pub measure: String,
}

/// The default of the controller manager's `--horizontal-pod-autoscaler-sync-period`, seconds.
pub const DEFAULT_HPA_SYNC_S: u32 = 15;

/// One changed condition of an arm.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// After the `+` in the name of a configuration.
    pub name: String,
    /// The change.
    pub about: String,
    /// The arms that it applies to.
    pub variants: Vec<String>,
    /// A setting of the node, which no manifest can change.
    pub node: Option<NodeSetting>,
}

/// A setting of the node that a run requires.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeSetting {
    /// The kubelet's `cpuCFSQuotaPeriod`, milliseconds.
    CfsPeriodMs(u32),
    /// The controller manager's `--horizontal-pod-autoscaler-sync-period`, seconds.
    HpaSyncPeriodS(u32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    arm: Vec<Arm>,
    pair: Vec<Pair>,
    claim: Vec<Claim>,
    ablation: Vec<Ablation>,
}

static FILE: LazyLock<File> =
    LazyLock::new(|| toml::from_str(include_str!("../../arms.toml")).expect("tested: the list is valid"));

/// Every arm, in the order of tables.
pub fn all() -> &'static [Arm] {
    &FILE.arm
}

/// The compared pairs, in the order of the report.
pub fn pairs() -> &'static [Pair] {
    &FILE.pair
}

/// The registered claims, in the order in which they are tested.
pub fn claims() -> &'static [Claim] {
    &FILE.claim
}

/// Every ablation.
pub fn ablations() -> &'static [Ablation] {
    &FILE.ablation
}

impl Arm {
    /// The arm of that name; ablations follow after `+` (`kpa+tbc-0`).
    pub fn named(name: &str) -> Option<Self> {
        let (base, changes) = split(name);
        FILE.arm.iter().find(|arm| arm.name == base)?.changed(changes)
    }

    /// The arm whose runs are recorded under this variant and configuration.
    pub fn of(variant: &str, configuration: &str) -> Option<Self> {
        let (base, changes) = split(configuration);
        let arm = FILE.arm.iter().find(|arm| arm.variant == variant && arm.configuration == base)?;
        arm.changed(changes)
    }

    /// The ablations that are part of it.
    pub fn ablations(&self) -> Vec<&'static Ablation> {
        let (_, changes) = split(&self.configuration);
        changes.filter_map(ablation).collect()
    }

    /// The period of the CPU quota that an ablation asks for, milliseconds.
    pub fn cfs_period_ms(&self) -> Option<u32> {
        self.ablations().iter().find_map(|ablation| match ablation.node {
            Some(NodeSetting::CfsPeriodMs(ms)) => Some(ms),
            _ => None,
        })
    }

    /// The period of the HPA's syncs that an ablation asks for, seconds.
    pub fn hpa_sync_period_s(&self) -> Option<u32> {
        self.ablations().iter().find_map(|ablation| match ablation.node {
            Some(NodeSetting::HpaSyncPeriodS(s)) => Some(s),
            _ => None,
        })
    }

    /// Whether its pods have a CPU limit. Without one, the period of their quota means nothing.
    pub fn has_cpu_quota(&self) -> bool {
        self.ablations().iter().all(|ablation| ablation.name != NO_LIMIT)
    }

    /// The deployed configuration, without the settings of the node.
    pub fn deployed_settings(&self) -> String {
        let (base, changes) = split(&self.configuration);
        let deployed = changes.filter(|name| ablation(name).is_none_or(|a| a.node.is_none()));
        std::iter::once(base).chain(deployed).collect::<Vec<_>>().join("+")
    }

    /// The arm of which this is an ablation.
    pub fn base(&self) -> Option<Self> {
        Self::named(self.name.rsplit_once('+')?.0)
    }

    fn changed<'a>(&self, changes: impl Iterator<Item = &'a str>) -> Option<Self> {
        changes.into_iter().try_fold(self.clone(), |arm, change| {
            let ablation = ablation(change).filter(|a| a.variants.contains(&arm.variant))?;
            let autoscaler = match (ablation.name.as_str(), arm.autoscaler) {
                ("vpa-off", Deciding::HpaVpa) => Deciding::Hpa,
                (_, other) => other,
            };
            Some(Self {
                name: format!("{}+{change}", arm.name),
                title: format!("{}, {change}", arm.title),
                configuration: format!("{}+{change}", arm.configuration),
                about: format!("{} {}", arm.about, ablation.about),
                autoscaler,
                ..arm
            })
        })
    }
}

/// The ablation that takes the CPU limit away.
const NO_LIMIT: &str = "no-limit";

fn ablation(name: &str) -> Option<&'static Ablation> {
    FILE.ablation.iter().find(|a| a.name == name)
}

fn split(name: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut parts = name.split('+');
    (parts.next().unwrap_or_default(), parts)
}

/// The settings under which version 2 of the results file was recorded had other names: its KPA had
/// a utilization of 100 %, which is not Knative's default, and `tuned` was tuned by hand.
pub(crate) fn renamed_from_v2(variant: &str, configuration: &str) -> String {
    match (variant, configuration) {
        ("knative", "defaults") => "hpa-target",
        (_, "tuned") => "hand-tuned",
        (_, other) => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_one_arm_and_every_pair_for_two() {
        for arm in all() {
            assert_eq!(Arm::named(&arm.name).as_ref(), Some(arm));
            assert_eq!(Arm::of(&arm.variant, &arm.configuration).as_ref(), Some(arm));
        }
        assert!(pairs().iter().flat_map(|p| &p.arms).all(|name| Arm::named(name).is_some()));
        let shipped: Vec<String> = crate::Scenario::shipped().into_iter().map(|s| s.name).collect();
        assert!(claims().iter().all(|claim| shipped.contains(&claim.scenario)));
        let ablation = |[first, second]: &[String; 2]| {
            Arm::named(second).and_then(|arm| arm.base()).is_some_and(|base| base.name == *first)
        };
        let compared = |arms: &[String; 2]| pairs().iter().any(|pair| pair.arms == *arms) || ablation(arms);
        assert!(claims().iter().all(|claim| compared(&claim.arms)));
    }

    #[test]
    fn an_ablation_is_an_arm_of_its_own_and_knows_where_it_comes_from() {
        let arm = Arm::named("kpa+tbc-0").expect("known");
        assert_eq!((&*arm.title, &*arm.configuration), ("KPA, tbc-0", "defaults+tbc-0"));
        assert_eq!(Arm::of("knative", "defaults+tbc-0").as_ref(), Some(&arm));
        assert_eq!(arm.base(), Arm::named("kpa"));
        assert_eq!(Arm::named("hpa-vpa+vpa-off").expect("known").autoscaler, Deciding::Hpa);
        assert_eq!(Arm::named("kpa+vpa-off"), None, "Knative has no VPA");
        assert_eq!(Arm::named("kpa").expect("known").base(), None);
        let two = Arm::named("kpa+limit-200m+cfs-5ms").expect("known");
        assert_eq!(two.base(), Arm::named("kpa+limit-200m"));
        assert_eq!(two.deployed_settings(), "defaults+limit-200m");
    }

    #[test]
    fn settings_of_the_node_are_part_of_the_ablation() {
        let arm = Arm::named("hpa+cfs-20ms+hpa-sync-5s").expect("known");
        let nodes: Vec<_> = arm.ablations().iter().filter_map(|a| a.node).collect();
        assert_eq!(arm.deployed_settings(), "hpa", "nothing is deployed for them");
        assert_eq!(nodes, [NodeSetting::CfsPeriodMs(20), NodeSetting::HpaSyncPeriodS(5)]);
        assert_eq!((arm.cfs_period_ms(), arm.has_cpu_quota()), (Some(20), true));
        let unlimited = Arm::named("hpa+no-limit").expect("known");
        assert_eq!((unlimited.cfs_period_ms(), unlimited.has_cpu_quota()), (None, false));
    }
}
