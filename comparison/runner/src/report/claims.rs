//! Claims: differences of the primary measures that pass a test corrected for the whole table.

use super::table::Group;
use crate::analysis::Measure;
use crate::analysis::statistics::{ALPHA, Difference, difference, holm};
use scenario::recording::Origin;

/// The measures about which claims are made, fixed before the runs: quality, and its cost. Every
/// further one makes each claim of the table harder to show.
pub const PRIMARY: [&str; 2] = ["good_share", "cost_per_1000"];

/// A tested difference between two arms.
pub struct Claim {
    /// Name of the scenario.
    pub scenario: String,
    /// Names of the arms.
    pub arms: [String; 2],
    /// Their names for people.
    pub titles: [String; 2],
    /// The measure.
    pub measure: &'static Measure,
    /// Second arm minus first.
    pub difference: Difference,
    /// p-value after Holm's correction over all claims of the same origin.
    pub corrected_p: f64,
    /// Names of the results files behind it, without the repeat.
    pub files: [String; 2],
}

impl Claim {
    /// Whether the difference is shown.
    pub fn is_shown(&self) -> bool {
        self.corrected_p <= ALPHA
    }
}

/// All claims of one origin, in the order of the groups.
pub fn claims(groups: &[Group<'_>], origin: Origin) -> Vec<Claim> {
    let mut claims: Vec<Claim> = groups
        .iter()
        .filter(|group| group.origin == origin && group.claimed)
        .flat_map(|group| {
            PRIMARY.iter().filter_map(|key| {
                let row = group.row(key)?;
                let file = |a: &super::table::ArmRuns<'_>| {
                    format!("{}-{}-{}", a.scenario, a.arm.variant, a.arm.configuration)
                };
                Some(Claim {
                    scenario: group.scenario.to_owned(),
                    arms: group.arms.map(|a| a.arm.name.clone()),
                    titles: group.titles().map(str::to_owned),
                    measure: row.measure,
                    difference: difference(&row.differences)?,
                    corrected_p: 1.0,
                    files: group.arms.map(file),
                })
            })
        })
        .collect();
    let corrected = holm(&claims.iter().map(|claim| claim.difference.p).collect::<Vec<_>>());
    claims.iter_mut().zip(corrected).for_each(|(claim, p)| claim.corrected_p = p);
    claims
}
