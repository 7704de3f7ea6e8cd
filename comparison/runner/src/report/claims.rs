//! Claims: differences of the primary measures that pass a test corrected for all claims that
//! `comparison/arms.toml` registers. Their number is known before the first run, and does not
//! depend on which of them are recorded.

use super::table::Group;
use crate::analysis::Measure;
use crate::analysis::statistics::{ALPHA, Difference, difference, holm};
use scenario::arms;
use scenario::recording::Origin;

/// The measures about which claims are made, fixed before the runs: quality, and its cost. Every
/// further one makes each claim of the table harder to show.
pub const PRIMARY: [&str; 2] = ["good_share", "cost_per_1000"];

/// The claims that are registered: scenario, names of the arms, key of the measure.
pub fn registered() -> Vec<(String, [String; 2], &'static str)> {
    let of_pair = |pair: &arms::Pair| {
        let in_scenario = |scenario: &String| PRIMARY.map(|key| (scenario.clone(), pair.arms.clone(), key));
        pair.claimed_in.iter().flat_map(in_scenario).collect::<Vec<_>>()
    };
    arms::pairs().iter().flat_map(of_pair).collect()
}

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
    /// p-value after Holm's correction over all registered claims.
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
    let mut p: Vec<f64> = claims.iter().map(|claim| claim.difference.p).collect();
    // A registered claim without runs counts as one that is not shown.
    p.resize(registered().len().max(p.len()), 1.0);
    let corrected = holm(&p);
    claims.iter_mut().zip(corrected).for_each(|(claim, p)| claim.corrected_p = p);
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::by_key;

    #[test]
    fn the_method_lists_exactly_the_registered_claims() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/comparison/method.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let rows: Vec<String> = registered()
            .iter()
            .enumerate()
            .map(|(i, (scenario, [first, second], key))| {
                let measure = by_key(key).expect("a measure").title.to_lowercase();
                format!("| {} | `{scenario}` | `{first}`, `{second}` | {measure} |", i + 1)
            })
            .collect();
        assert_eq!(rows.len(), 8, "the pairs that method.md plans for");
        for row in &rows {
            assert!(text.contains(row.as_str()), "method.md has no line {row}");
        }
        let listed = text.lines().filter(|line| line.starts_with("| ") && line.contains("`spike-apart` | `"));
        assert_eq!(listed.count(), rows.len());
    }
}
