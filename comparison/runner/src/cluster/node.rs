//! Settings of the node that no manifest can change. The commands of the cluster file make them
//! before each run, so that a block has runs with and without an ablation in the order that its
//! seed draws. Done one after the other instead, all runs of one setting and then all of the other,
//! whatever changes with time would look like an effect of the setting. They are called for a
//! setting that is there already, too: what else they do, such as a restart, belongs to every run.

use anyhow::{Context, Result};
use scenario::arms::{Arm, NodeSetting};

use super::config::{NodeCommands, NodeConfig, VALUE};
use super::kube::shell;
use super::runner::{Runner, log_progress};

/// The settings that an arm needs (without an arm: those of runs without an ablation), each with
/// the commands that make it, if there are any.
pub fn wanted<'a>(config: &'a NodeConfig, arm: Option<&Arm>) -> Vec<(NodeSetting, Option<&'a NodeCommands>)> {
    let ablations = arm.map(Arm::ablations).unwrap_or_default();
    let of = |commands: &'a Option<NodeCommands>, kind: fn(u32) -> NodeSetting| {
        let same =
            |setting: &NodeSetting| std::mem::discriminant(setting) == std::mem::discriminant(&kind(0));
        let changed = ablations.iter().filter_map(|a| a.node).find(same);
        let usual = commands.as_ref().map(|c| kind(c.value));
        changed.or(usual).map(|setting| (setting, commands.as_ref()))
    };
    let period = of(&config.cfs_period_ms, NodeSetting::CfsPeriodMs);
    period.into_iter().chain(of(&config.hpa_sync_period_s, NodeSetting::HpaSyncPeriodS)).collect()
}

impl Runner<'_> {
    /// Makes the settings of the node for an arm, or those of runs without an ablation. Those that
    /// the cluster file has no commands for are left alone.
    pub(super) fn set_node(&mut self, arm: Option<&Arm>) -> Result<()> {
        if self.plan.as_is {
            return Ok(());
        }
        for (setting, commands) in wanted(&self.config.node, arm) {
            let Some(commands) = commands else { continue };
            let (name, value) = named(setting);
            log_progress(&format!("  {name}: {value}"));
            // From here on it has to be put right at the end, even if a command fails.
            self.node_changed = true;
            let set = |command: &String| shell(&command.replace(VALUE, &value.to_string()));
            commands.set.iter().try_for_each(set).with_context(|| format!("setting {name} of the node"))?;
        }
        Ok(())
    }
}

/// A setting's name in the cluster file, and its value.
fn named(setting: NodeSetting) -> (&'static str, u32) {
    match setting {
        NodeSetting::CfsPeriodMs(ms) => ("cfs_period_ms", ms),
        NodeSetting::HpaSyncPeriodS(s) => ("hpa_sync_period_s", s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ablation_changes_its_setting_and_leaves_the_other_as_in_all_runs() {
        let commands = |value| Some(NodeCommands { value, set: vec!["true".into()] });
        let config = NodeConfig { cfs_period_ms: commands(10), hpa_sync_period_s: commands(15) };
        let settings = |config: &NodeConfig, arm: Option<&str>| -> Vec<NodeSetting> {
            let arm = arm.map(|name| Arm::named(name).expect("listed"));
            wanted(config, arm.as_ref()).into_iter().map(|(setting, _)| setting).collect()
        };
        use NodeSetting::{CfsPeriodMs, HpaSyncPeriodS};
        assert_eq!(settings(&config, None), [CfsPeriodMs(10), HpaSyncPeriodS(15)]);
        assert_eq!(settings(&config, Some("hpa+cfs-100ms")), [CfsPeriodMs(100), HpaSyncPeriodS(15)]);
        assert_eq!(settings(&config, Some("hpa+hpa-sync-5s")), [CfsPeriodMs(10), HpaSyncPeriodS(5)]);
        let without = NodeConfig::default();
        assert_eq!(settings(&without, Some("kpa")), [], "nothing is known of the node");
        assert_eq!(settings(&without, Some("kpa+cfs-100ms")), [CfsPeriodMs(100)]);
    }
}
