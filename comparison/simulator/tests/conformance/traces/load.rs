//! What the autoscalers are given: random numbers, and random and recorded loads.

use std::path::Path;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use scenario::recording::Run;

/// A random number generator.
pub(super) struct Draw(Pcg64);

impl Draw {
    /// The numbers of case `number` of the traces `of`.
    pub(super) fn new(number: u64, of: u128) -> Self {
        Self(Pcg64::new(u128::from(number), of))
    }

    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    pub(super) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }
}

/// Requests in flight over time.
pub(super) enum Load {
    /// Random drifts, jumps and pauses, between 0 and about `peak`.
    Drifting { level: f64, goal: f64, peak: f64 },
    /// A recorded load, repeated.
    Recorded { values: Vec<f64>, next: usize },
}

impl Load {
    pub(super) fn next(&mut self, draw: &mut Draw) -> f64 {
        match self {
            Self::Drifting { level, goal, peak } => {
                if draw.chance(0.03) {
                    *goal = if draw.chance(0.3) { 0.0 } else { draw.uniform() * *peak };
                    if draw.chance(0.4) {
                        *level = *goal;
                    }
                }
                *level += (*goal - *level) * 0.1;
                if *level < 0.01 * *peak && *goal == 0.0 {
                    *level = 0.0;
                }
                *level * (0.8 + 0.4 * draw.uniform())
            }
            Self::Recorded { values, next } => {
                *next += 1;
                values[(*next - 1) % values.len()]
            }
        }
    }
}

/// Run `number` of the recorded runs of a variant.
pub(super) fn recorded(variant: &str, number: u64) -> Run {
    const SCENARIOS: [&str; 6] = ["idle-wake", "night-wave", "ramp", "sawtooth", "soak", "spike"];
    let scenario = SCENARIOS[number as usize % 6];
    let configuration = ["defaults", "tuned"][number as usize / 6 % 2];
    let name = format!("{scenario}-{variant}-{configuration}-{}.json", number / 12 % 3 + 1);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Run::parse(&text).expect("a results file")
}

/// Requests in flight in each second of a recorded run: answers times their median latency.
pub(super) fn in_flight(run: &Run) -> Vec<f64> {
    run.load.seconds.iter().map(|s| s.ok as f64 * s.p50_ms.unwrap_or(0.0) / 1000.0).collect()
}
