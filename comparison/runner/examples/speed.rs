//! How fast the simulator is: a day of requests at a steady rate, one line a rate.
//!
//!     cargo run --release -p comparison --example speed -- 100 1000

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use comparison::fit::{Arms, Measured};
use rand_pcg::Pcg64;
use scenario::Outcome;
use scenario::rate::RateCurve;
use simulator::Autoscaler;
use simulator::time::{SECOND, micros};

const DAY_S: f64 = 86_400.0;

fn main() -> Result<()> {
    let rates: Vec<f64> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let arms = Arms { root, platform: None, measured: Measured::default() };
    let mut out = std::io::stdout();
    for rate in rates {
        for variant in ["knative", "k8s-autoscalers"] {
            let mut arm = arms.arm(variant, "tuned")?;
            // Room for the rate: the settings' ten pods carry a thousand requests a second.
            match &mut arm.autoscaler {
                Autoscaler::Kpa(s) => s.max_scale = 1000,
                Autoscaler::Hpa(s, _) => s.max = 1000,
                Autoscaler::Keda(s) => s.hpa.max = 1000,
            }
            let curve = RateCurve::new(vec![(0.0, rate), (DAY_S, rate)])?;
            let mut random = Pcg64::new(1, 1);
            let (mut all, mut good) = (0_u64, 0_u64);
            let began = Instant::now();
            let recording = simulator::world::simulate(
                curve.draw(&mut random).map(|s| (s * SECOND as f64) as i64),
                &arm.plant,
                arm.size,
                &arm.autoscaler,
                15 * SECOND,
                micros(DAY_S),
                1,
                |(_, latency, outcome)| {
                    all += 1;
                    good += u64::from(outcome == Outcome::Ok && latency <= SECOND / 2);
                },
            );
            let took = began.elapsed().as_secs_f64();
            writeln!(
                out,
                "{variant}: a day at {rate}/s, {all} requests, {:.2} % good, {} pods, {took:.2} s, {:.2} million a second",
                good as f64 / all as f64 * 100.0,
                recording.pods.len(),
                all as f64 / took / 1e6
            )?;
        }
    }
    Ok(())
}
