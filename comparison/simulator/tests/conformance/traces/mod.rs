//! Traces for the oracles: settings and observations, random but reproducible from the case number.
//! They are written as JSON lines for `oracles/` and replayed with the simulator's autoscalers.

mod hpa;
mod keda;
mod kpa;
mod load;
mod vpa;

/// One case: its input for the oracle, and the decisions of the simulator.
pub(crate) struct Case {
    /// Input as JSON lines.
    pub(crate) trace: String,
    /// Decisions, one word per tick.
    pub(crate) decisions: Vec<String>,
}

/// Generates a case from its number and the number of ticks.
pub(crate) type Make = fn(u64, usize) -> Case;

/// All traces, by the names of their fixtures.
pub(crate) const ALL: [(&str, Make); 10] = [
    ("hpa", hpa::pods),
    ("hpa-external", hpa::external),
    ("hpa-recorded", hpa::recorded),
    ("hpa-zero", hpa::to_zero),
    ("keda", keda::to_and_from_zero),
    ("kpa", kpa::drawn),
    ("kpa-recorded", kpa::recorded),
    ("vpa", vpa::drawn),
    ("vpa-recorded", vpa::recorded),
    ("vpa-updater", vpa::updater),
];

/// The generator with this name.
pub(crate) fn named(name: &str) -> Option<Make> {
    ALL.iter().find(|(own, _)| *own == name).map(|(_, make)| *make)
}
