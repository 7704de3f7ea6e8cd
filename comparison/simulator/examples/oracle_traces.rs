//! Writes the traces that `oracles/` read, or compares the decisions of the oracles with the
//! simulator's.
//!
//!     oracle_traces hpa 20 2000 > trace.jsonl
//!     oracle_traces hpa 20 2000 --against decisions.txt

#[path = "../tests/conformance/traces/mod.rs"]
mod traces;

use std::io::{Error, Write, stdout};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || {
        let names: Vec<&str> = traces::ALL.iter().map(|(name, _)| *name).collect();
        Error::other(format!("usage: oracle_traces {} CASES TICKS [--against DECISIONS]", names.join("|")))
    };
    let [which, cases, ticks, rest @ ..] = &arguments[..] else { return Err(usage()) };
    let case = traces::named(which).ok_or_else(usage)?;
    let cases: u64 = cases.parse().map_err(|_| usage())?;
    let ticks: usize = ticks.parse().map_err(|_| usage())?;
    let [flag, file] = rest else {
        return (0..cases).try_for_each(|number| stdout().write_all(case(number, ticks).trace.as_bytes()));
    };
    if flag != "--against" {
        return Err(usage());
    }
    let text = std::fs::read_to_string(file)?;
    let (mut all, mut equal) = (0, 0);
    for (number, line) in (0..cases).zip(text.lines()) {
        let decided: Vec<&str> = line.split_whitespace().collect();
        let own = case(number, ticks).decisions;
        assert_eq!(decided.len(), own.len(), "case {number}: the oracle read another trace");
        let differs = decided.iter().zip(&own).position(|(a, b)| a != b);
        if let Some(tick) = differs {
            let (theirs, ours) = (decided[tick], &own[tick]);
            writeln!(stdout(), "case {number}, first at tick {tick}: oracle {theirs}, simulator {ours}")?;
        }
        all += own.len();
        equal += decided.iter().zip(&own).filter(|(a, b)| a == b).count();
    }
    writeln!(stdout(), "{equal} of {all} decisions equal ({:.4} %)", equal as f64 / all as f64 * 100.0)
}
