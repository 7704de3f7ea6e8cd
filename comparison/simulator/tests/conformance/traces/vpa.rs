//! Traces for the vertical pod autoscaler: recommender and updater.

use std::fmt::Write;

use simulator::time::micros;
use simulator::updater::{Seen, updated};
use simulator::vpa::{INTERVAL, Recommendation, TOLERANCE, Vpa, VpaSettings};

use super::Case;
use super::load::{self, Draw, Load};

const VPA: VpaSettings =
    VpaSettings { cpu: (0, i64::MAX), memory: (0.0, f64::MAX), min_replicas: 1, tolerance: TOLERANCE };

/// Case `number` of the VPA with the CPU use of a recorded run's pods, sampled every 5 s, in each
/// round.
pub(super) fn recorded(number: u64, ticks: usize) -> Case {
    let run = load::recorded("k8s-autoscalers", number);
    let mut vpa = Vpa::new(VPA);
    let mut trace = "{\"settings\":{}}\n".to_owned();
    let mut decisions = vec![];
    for tick in 0..ticks as i64 {
        let at_ms = (tick + 1) * INTERVAL / 1000;
        let (at, cores) = run.recording.cores_used[tick as usize % run.recording.cores_used.len()];
        let pods = run.recording.pods.iter().filter(|pod| pod.ready_at(at)).count().max(1);
        let usage = vec![(cores * 1000.0 / pods as f64) as i64; pods];
        let _ = writeln!(trace, "{{\"t\":{at_ms},\"usage\":{usage:?}}}");
        usage.iter().for_each(|u| vpa.observe(*u, at_ms * 1000));
        let r = vpa.uncapped().expect("there are samples");
        decisions.push(format!("{}/{}/{}", r.target, r.lower, r.upper));
    }
    Case { trace, decisions }
}

/// Case `number` of the VPA with one sample per pod in each round.
pub(super) fn drawn(number: u64, ticks: usize) -> Case {
    let mut draw = Draw::new(number, 13);
    let mut vpa = Vpa::new(VPA);
    let mut trace = "{\"settings\":{}}\n".to_owned();
    let peak = draw.of(&[50.0, 150.0, 1000.0, 4000.0]);
    let mut load = Load::Drifting { level: peak / 2.0, goal: peak / 2.0, peak };
    let interval_ms = INTERVAL / 1000 * draw.of(&[1, 1, 30]);
    let mut decisions = vec![];
    for tick in 0..ticks as i64 {
        let at_ms = (tick + 1) * interval_ms + draw.below(2000) as i64;
        let pods = 1 + draw.below(5);
        let usage: Vec<i64> = (0..pods).map(|_| load.next(&mut draw) as i64).collect();
        let _ = writeln!(trace, "{{\"t\":{at_ms},\"usage\":{usage:?}}}");
        usage.iter().for_each(|u| vpa.observe(*u, micros(at_ms as f64 / 1000.0)));
        let r = vpa.uncapped().expect("there are samples");
        decisions.push(format!("{}/{}/{}", r.target, r.lower, r.upper));
    }
    Case { trace, decisions }
}

/// Largest number of pods in a round. With more, Go's sort does not keep the order of equal pods.
const PODS_OF_A_ROUND: usize = 12;

/// Case `number` of the VPA's updater: independent rounds.
pub(super) fn updater(number: u64, ticks: usize) -> Case {
    const MEBIBYTE: i64 = 1 << 20;
    let mut draw = Draw::new(number, 16);
    let mut trace = "{\"settings\":{}}\n".to_owned();
    let mut decisions = vec![];
    let range = |draw: &mut Draw, unit: i64| {
        let target = (25 + draw.below(2000) as i64) * unit;
        let lower = (target as f64 * (0.3 + 0.7 * draw.uniform())) as i64;
        let upper = (target as f64 * (1.0 + 3.0 * draw.uniform())) as i64;
        Recommendation { target, lower, upper }
    };
    for tick in 0..ticks {
        let (cpu, memory) = (range(&mut draw, 1), range(&mut draw, MEBIBYTE));
        let settings = VpaSettings { min_replicas: draw.of(&[1, 1, 2, 4]), ..VPA };
        let count = draw.below(PODS_OF_A_ROUND + 1);
        let off = draw.of(&[0, 0, 1, -1, 3]);
        let replicas = (count as i64 + off).max(1);
        let troubled = draw.chance(0.3);
        // Within the range, on its bounds, or random; often equal for several pods.
        let mut request = |r: &Recommendation| match draw.below(6) {
            0 => r.lower,
            1 => r.upper,
            2 => r.target,
            3 => r.lower - 1,
            _ => (r.target as f64 * (0.5 + draw.uniform() * 2.0)) as i64,
        };
        let asked: Vec<[i64; 2]> = (0..count).map(|_| [request(&cpu), request(&memory)]).collect();
        let pods: Vec<Seen> = asked
            .into_iter()
            .map(|[millicores, memory]| Seen {
                millicores,
                memory,
                age: draw.of(&[60, 3600, 43_199, 43_200, 86_400]) * 1_000_000,
                pending: troubled && draw.chance(0.3),
            })
            .collect();
        let listed = |r: &Recommendation| format!("[{},{},{}]", r.target, r.lower, r.upper);
        let listed_pods: Vec<String> = pods
            .iter()
            .map(|p| {
                format!(
                    "{{\"cpu\":{},\"memory\":{},\"age\":{},\"pending\":{}}}",
                    p.millicores,
                    p.memory,
                    p.age / 1_000_000,
                    p.pending
                )
            })
            .collect();
        let _ = writeln!(
            trace,
            "{{\"t\":{},\"round\":{{\"configured\":{replicas},\"min\":{},\"cpu\":{},\"memory\":{},\"pods\":[{}]}}}}",
            tick as i64 * INTERVAL / 1000,
            settings.min_replicas,
            listed(&cpu),
            listed(&memory),
            listed_pods.join(",")
        );
        let chosen = updated(&pods, replicas, &settings, &cpu, &memory);
        let words: Vec<String> = chosen.iter().map(usize::to_string).collect();
        decisions.push(if words.is_empty() { "-".into() } else { words.join(",") });
    }
    Case { trace, decisions }
}
