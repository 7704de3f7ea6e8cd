//! How many pairs of runs a claim needs, from the differences and their variance in recorded runs.

use std::fmt::Write;

use super::claims::PRIMARY;
use super::table::{Group, amount};
use crate::analysis::statistics::{deviation, pairs_needed};

/// A Markdown table: for each group and primary measure the mean paired difference, its standard
/// deviation, and the pairs needed to show a true difference of that size, if all claims before it
/// are shown.
pub fn table(groups: &[Group<'_>]) -> String {
    let mut text = String::from(
        "Pairs needed for a power of 0.8 (sign-flip test, if every claim before it is shown):\n\n\
         | scenario | arms | measure | pairs recorded | mean difference | standard deviation | pairs needed |\n\
         |---|---|---|--:|--:|--:|--:|\n",
    );
    for group in groups {
        for row in PRIMARY.iter().filter_map(|key| group.row(key)).filter(|row| row.differences.len() > 1) {
            let mean = row.differences.iter().sum::<f64>() / row.differences.len() as f64;
            let deviation = deviation(&row.differences);
            let needed = pairs_needed(mean, deviation).map_or("over 1000".into(), |n| n.to_string());
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {needed} |",
                group.scenario,
                group.titles().join(" and "),
                row.measure.title,
                row.differences.len(),
                amount(mean, row.measure),
                amount(deviation, row.measure),
            );
        }
    }
    text
}
