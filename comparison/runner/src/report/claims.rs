//! Claims: differences of the primary measures, tested one after the other in the order in which
//! `comparison/arms.toml` registers them. The order is known before the first run.

use super::table::{ArmRuns, Group, Row};
use crate::analysis::Measure;
use crate::analysis::statistics::{ALPHA, Difference, difference, in_sequence};
use scenario::arms;
use scenario::recording::Origin;

/// The measures about which claims are made, fixed before the runs: quality, and its cost.
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
    /// The same of each block.
    pub by_block: Vec<f64>,
    /// p-value, corrected for the claims that are tested before it.
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

/// The registered claims of one origin that enough runs are recorded of, in their order. One with
/// too few runs keeps all after it from being shown; one without any does not.
pub fn claims(groups: &[Group<'_>], origin: Origin) -> Vec<Claim> {
    let recorded: Vec<(&Group<'_>, Row)> = arms::claims()
        .iter()
        .filter_map(|claim| {
            let group = groups.iter().find(|group| group.origin == origin && group.has(claim))?;
            Some((group, group.row(&claim.measure)?))
        })
        .collect();
    let differences: Vec<Option<Difference>> =
        recorded.iter().map(|(_, row)| difference(&row.differences)).collect();
    let p: Vec<f64> = differences.iter().map(|d| d.as_ref().map_or(1.0, |d| d.p)).collect();
    let file = |a: &ArmRuns<'_>| format!("{}-{}-{}", a.scenario, a.arm.variant, a.arm.configuration);
    recorded
        .iter()
        .zip(differences)
        .zip(in_sequence(&p))
        .filter_map(|(((group, row), difference), corrected_p)| {
            Some(Claim {
                scenario: group.scenario.to_owned(),
                arms: group.arms.map(|a| a.arm.name.clone()),
                titles: group.titles().map(str::to_owned),
                measure: row.measure,
                difference: difference?,
                by_block: row.differences.clone(),
                corrected_p,
                files: group.arms.map(file),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::by_key;

    #[test]
    fn the_method_lists_exactly_the_registered_claims() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/comparison/method.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let rows: Vec<String> = arms::claims()
            .iter()
            .enumerate()
            .map(|(i, arms::Claim { scenario, arms: [first, second], measure })| {
                let measure = by_key(measure).expect("a measure").title.to_lowercase();
                format!("| {} | `{scenario}` | `{first}`, `{second}` | {measure} |", i + 1)
            })
            .collect();
        assert!(arms::claims().iter().all(|claim| PRIMARY.contains(&claim.measure.as_str())));
        for row in &rows {
            assert!(text.contains(row.as_str()), "method.md has no line {row}");
        }
        let is_claim = |line: &&str| line.starts_with("| ") && line.split(" | `").count() == 3;
        assert_eq!(text.lines().filter(is_claim).count(), rows.len());
    }
}
