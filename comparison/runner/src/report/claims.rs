//! What may be claimed: differences of the primary measures that pass a test corrected for the
//! whole table.

use super::table::Group;
use crate::analysis::Measure;
use crate::analysis::statistics::{ALPHA, Difference, difference, holm};
use scenario::recording::Origin;

/// The measures about which claims are made, fixed before the runs: quality, and cost. Every
/// further one makes each claim of the table harder to show.
pub const PRIMARY: [&str; 4] = ["good_share", "slo_violation_s", "core_seconds_requested", "cost_per_1000"];

/// A tested difference between the variants.
pub struct Claim {
    /// Scenario and configuration.
    pub group: (String, String),
    /// What differs.
    pub measure: &'static Measure,
    /// Second variant minus first.
    pub difference: Difference,
    /// p-value after Holm's correction over all claims of the same origin.
    pub corrected_p: f64,
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
        .filter(|group| group.origin == origin)
        .flat_map(|group| {
            PRIMARY.iter().filter_map(|key| {
                let row = group.row(key)?;
                Some(Claim {
                    group: (group.scenario.to_owned(), group.configuration.to_owned()),
                    measure: row.measure,
                    difference: difference(&row.differences)?,
                    corrected_p: 1.0,
                })
            })
        })
        .collect();
    let corrected = holm(&claims.iter().map(|claim| claim.difference.p).collect::<Vec<_>>());
    claims.iter_mut().zip(corrected).for_each(|(claim, p)| claim.corrected_p = p);
    claims
}
