//! Traces for the oracles: settings and observations, random but reproducible from the case number.
//! They are written as JSON lines for `oracles/` and replayed with the simulator's autoscalers.

use std::fmt::Write;
use std::path::Path;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use scenario::recording::Run;
use simulator::hpa::{Hpa, HpaSettings, Observed, Policy, Rules, SYNC, Select};
use simulator::keda::{Keda, KedaSettings};
use simulator::kpa::{Kpa, KpaSettings, TICK};
use simulator::time::{Micros, micros};
use simulator::updater::{Seen, updated};
use simulator::vpa::{INTERVAL, Recommendation, TOLERANCE, Vpa, VpaSettings};

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
    ("hpa", hpa),
    ("hpa-external", hpa_external),
    ("hpa-recorded", hpa_recorded),
    ("hpa-zero", hpa_zero),
    ("keda", keda),
    ("kpa", kpa),
    ("kpa-recorded", kpa_recorded),
    ("vpa", vpa),
    ("vpa-recorded", vpa_recorded),
    ("vpa-updater", vpa_updater),
];

/// The generator with this name.
pub(crate) fn named(name: &str) -> Option<Make> {
    ALL.iter().find(|(own, _)| *own == name).map(|(_, make)| *make)
}

/// A random number generator.
struct Draw(Pcg64);

impl Draw {
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }
}

/// Requests in flight over time.
enum Load {
    /// Random drifts, jumps and pauses, between 0 and about `peak`.
    Drifting { level: f64, goal: f64, peak: f64 },
    /// A recorded load, repeated.
    Recorded { values: Vec<f64>, next: usize },
}

impl Load {
    fn next(&mut self, draw: &mut Draw) -> f64 {
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
fn recorded(variant: &str, number: u64) -> Run {
    const SCENARIOS: [&str; 6] = ["idle-wake", "night-wave", "ramp", "sawtooth", "soak", "spike"];
    let scenario = SCENARIOS[number as usize % 6];
    let configuration = ["defaults", "tuned"][number as usize / 6 % 2];
    let name = format!("{scenario}-{variant}-{configuration}-{}.json", number / 12 % 3 + 1);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Run::parse(&text).expect("a results file")
}

/// Requests in flight in each second of a recorded run: answers times their median latency.
fn in_flight(run: &Run) -> Vec<f64> {
    run.load.seconds.iter().map(|s| s.ok as f64 * s.p50_ms.unwrap_or(0.0) / 1000.0).collect()
}

const PENDING: i64 = -2;
const MISSING: i64 = -1;

/// Case `number` of the HPA. The first four cases use the settings of the two variants' files and
/// of Kubernetes.
pub(crate) fn hpa(number: u64, ticks: usize) -> Case {
    hpa_under(None, number, ticks)
}

/// The same with the load of a recorded run.
pub(crate) fn hpa_recorded(number: u64, ticks: usize) -> Case {
    let seconds = in_flight(&recorded("k8s-autoscalers", number));
    // Each sync observes an average of the last 20 s.
    let values = (0..seconds.len()).step_by(15).map(|end| {
        let window = &seconds[end.saturating_sub(20)..=end];
        window.iter().sum::<f64>() / window.len() as f64 * 1000.0
    });
    hpa_under(Some(values.collect()), number, ticks)
}

fn hpa_under(load: Option<Vec<f64>>, number: u64, ticks: usize) -> Case {
    let mut draw = Draw(Pcg64::new(u128::from(number), 11));
    let settings = hpa_settings(number, &mut draw);
    let mut replicas = draw.below(6) as i64 + 1;
    let mut trace = format!("{{\"settings\":{}}}\n", hpa_json(&settings, replicas));
    let mut hpa = Hpa::new(settings.clone());
    let exact = draw.chance(0.5);
    let peak = settings.max as f64 * 1.3 * settings.target_milli as f64;
    let mut load = match load {
        Some(values) => Load::Recorded { values, next: 0 },
        None => Load::Drifting { level: peak / 4.0, goal: peak / 4.0, peak },
    };
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    for _ in 0..ticks {
        now_ms += SYNC / 1000 + if exact { 0 } else { draw.below(400) as i64 };
        let set = draw.chance(0.01).then(|| draw.below(settings.max as usize + 4) as i64);
        replicas = set.unwrap_or(replicas);
        let total = load.next(&mut draw) as i64;
        let troubled = draw.chance(0.2);
        let slots: Vec<i64> = (0..settings.max + 4)
            .map(|_| match draw.below(12) {
                0 if troubled => MISSING,
                1 if troubled => PENDING,
                2 if troubled => draw.of(&[-3, -4]),
                _ => 700 + draw.below(600) as i64,
            })
            .collect();
        let mut observed = Observed::default();
        for slot in &slots[..(replicas as usize).min(slots.len())] {
            match *slot {
                MISSING => observed.missing += 1,
                PENDING => observed.pending += 1,
                weight if weight >= 0 => {
                    observed.measured += 1;
                    observed.sum_milli += total * weight / (1000 * replicas);
                }
                _ => {}
            }
        }
        let _ = write!(trace, "{{\"t\":{now_ms},\"load\":{total},\"pods\":{slots:?}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = hpa.sync(now_ms * 1000, replicas, &observed);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

/// Case `number` of the HPA with an external metric, as KEDA creates it.
pub(crate) fn hpa_external(number: u64, ticks: usize) -> Case {
    let mut draw = Draw(Pcg64::new(u128::from(number), 14));
    let settings = hpa_settings(number, &mut draw);
    let mut replicas = draw.below(6) as i64 + 1;
    let json = hpa_json(&settings, replicas);
    let mut trace = format!("{{\"settings\":{},\"external\":true}}}}\n", &json[..json.len() - 1]);
    let mut hpa = Hpa::new(settings.clone());
    let peak = settings.max as f64 * 1.3 * settings.target_milli as f64;
    let mut load = Load::Drifting { level: peak / 4.0, goal: peak / 4.0, peak };
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    for _ in 0..ticks {
        now_ms += SYNC / 1000 + draw.below(400) as i64;
        let set = draw.chance(0.01).then(|| draw.below(settings.max as usize + 4) as i64);
        replicas = set.unwrap_or(replicas);
        let total = load.next(&mut draw) as i64;
        let _ = write!(trace, "{{\"t\":{now_ms},\"load\":{total}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = hpa.sync_external(now_ms * 1000, replicas, total);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

/// Case `number` of the HPA with metrics of an object and a minimum of zero. At times there is no
/// load at all, or there are requests that find no pod.
pub(crate) fn hpa_zero(number: u64, ticks: usize) -> Case {
    let mut draw = Draw(Pcg64::new(u128::from(number), 18));
    let settings = HpaSettings { min: 0, ..hpa_settings(number, &mut draw) };
    let mut replicas = draw.below(4) as i64;
    let json = hpa_json(&settings, replicas);
    let mut trace = format!("{{\"settings\":{},\"to_zero\":true}}}}\n", &json[..json.len() - 1]);
    let mut hpa = Hpa::new(settings.clone());
    let peak = settings.max as f64 * 1.3 * settings.target_milli as f64;
    let mut load = Load::Drifting { level: peak / 4.0, goal: peak / 4.0, peak };
    let mut asleep = false;
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    for _ in 0..ticks {
        now_ms += SYNC / 1000 + draw.below(400) as i64;
        if draw.chance(if asleep { 0.03 } else { 0.02 }) {
            asleep = !asleep;
        }
        let set = draw.chance(0.01).then(|| draw.below(settings.max as usize + 4) as i64);
        replicas = set.unwrap_or(replicas);
        let level = load.next(&mut draw) as i64;
        // What nobody serves is not in flight.
        let total = if asleep || replicas == 0 { 0 } else { level };
        let waiting =
            if !asleep && (replicas == 0 || draw.chance(0.1)) { 1 + draw.below(90_000) as i64 } else { 0 };
        let _ = write!(trace, "{{\"t\":{now_ms},\"load\":{total},\"waiting\":{waiting}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = hpa.sync_to_zero(now_ms * 1000, replicas, total, waiting > 0);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

/// Case `number` of KEDA's scaling to and from zero. In between, an HPA sets the replicas.
pub(crate) fn keda(number: u64, ticks: usize) -> Case {
    let mut draw = Draw(Pcg64::new(u128::from(number), 15));
    let settings = KedaSettings {
        min: draw.of(&[0, 0, 0, 1, 3]),
        polling_s: draw.of(&[30.0, 30.0, 10.0, 5.0]),
        cooldown_s: draw.of(&[300.0, 300.0, 60.0, 30.0, 0.0]),
        ..KedaSettings::defaults(1000, 10)
    };
    let mut replicas = draw.below(6) as i64;
    let mut trace = format!(
        "{{\"settings\":{{\"min\":{},\"max\":10,\"polling\":{},\"cooldown\":{},\"replicas\":{replicas}}}}}\n",
        settings.min, settings.polling_s, settings.cooldown_s
    );
    let mut keda = Keda::new(settings.clone());
    let mut active = false;
    let (mut now_ms, mut decisions) = (draw.below(1000) as i64, vec![]);
    for _ in 0..ticks {
        now_ms += settings.polling_s as i64 * 1000 + draw.below(300) as i64;
        if draw.chance(0.08) {
            active = !active;
        }
        let set = draw.chance(0.15).then(|| draw.below(11) as i64);
        replicas = set.unwrap_or(replicas);
        let _ = write!(trace, "{{\"t\":{now_ms},\"active\":{active}");
        if let Some(set) = set {
            let _ = write!(trace, ",\"set\":{set}");
        }
        trace.push_str("}\n");
        replicas = keda.request(now_ms * 1000, replicas, active);
        decisions.push(replicas.to_string());
    }
    Case { trace, decisions }
}

fn hpa_settings(number: u64, draw: &mut Draw) -> HpaSettings {
    let mut settings = HpaSettings::defaults(1000, 10);
    if number == 0 {
        return settings;
    }
    settings.target_milli = draw.of(&[500, 1000, 1000, 2500, 700]);
    settings.max = draw.of(&[5, 10, 20, 40]);
    settings.min = draw.of(&[1, 1, 2, 3]);
    for (rules, windows) in [(&mut settings.up, [0, 0, 15, 60]), (&mut settings.down, [0, 60, 120, 300])] {
        rules.stabilization_s = draw.of(&windows);
        rules.tolerance = draw.of(&[0.1, 0.1, 0.05, 0.2, 0.0]);
        rules.select =
            draw.of(&[Select::Max, Select::Max, Select::Max, Select::Min, Select::Min, Select::Disabled]);
        rules.policies = (0..=draw.below(3))
            .map(|_| {
                let period = draw.of(&[15, 30, 60, 120]);
                if draw.chance(0.5) {
                    Policy::Pods(draw.of(&[1, 2, 4, 10]), period)
                } else {
                    Policy::Percent(draw.of(&[10, 25, 50, 100, 300, 900]), period)
                }
            })
            .collect();
    }
    settings
}

fn hpa_json(s: &HpaSettings, replicas: i64) -> String {
    let rules = |r: &Rules| {
        let policies: Vec<String> = r
            .policies
            .iter()
            .map(|p| {
                let (kind, value, period) = match *p {
                    Policy::Pods(value, period) => ("Pods", value, period),
                    Policy::Percent(value, period) => ("Percent", value, period),
                };
                format!("{{\"type\":\"{kind}\",\"value\":{value},\"periodSeconds\":{period}}}")
            })
            .collect();
        format!(
            "{{\"stabilizationWindowSeconds\":{},\"tolerance\":\"{}\",\"selectPolicy\":\"{:?}\",\"policies\":[{}]}}",
            r.stabilization_s,
            r.tolerance,
            r.select,
            policies.join(",")
        )
    };
    format!(
        "{{\"target_milli\":{},\"min\":{},\"max\":{},\"replicas\":{replicas},\"behavior\":{{\"scaleUp\":{},\"scaleDown\":{}}}}}",
        s.target_milli,
        s.min,
        s.max,
        rules(&s.up),
        rules(&s.down)
    )
}

/// Case `number` of the KPA.
pub(crate) fn kpa(number: u64, ticks: usize) -> Case {
    kpa_under(None, number, ticks)
}

/// The same with the load of a recorded run.
pub(crate) fn kpa_recorded(number: u64, ticks: usize) -> Case {
    kpa_under(Some(in_flight(&recorded("knative", number))), number, ticks)
}

fn kpa_under(load: Option<Vec<f64>>, number: u64, ticks: usize) -> Case {
    let mut draw = Draw(Pcg64::new(u128::from(number), 12));
    let settings = kpa_settings(number, &mut draw);
    let mut replicas = draw.below(4) as i64;
    let panic_ms = settings.panic_window_s() * 1000.0;
    let mut trace = format!(
        "{{\"settings\":{{\"target\":{},\"total\":{},\"stable_window_ms\":{},\"panic_window_ms\":{},\"panic_threshold\":{},\
         \"max_scale_up_rate\":{},\"max_scale_down_rate\":{},\"scale_down_delay_ms\":{},\"target_burst_capacity\":{},\
         \"activation_scale\":{},\"min\":{},\"max\":{},\"grace_ms\":{},\"retention_ms\":{},\"replicas\":{replicas}}}}}\n",
        settings.target(),
        settings.total,
        settings.stable_window_s * 1000.0,
        panic_ms.round(),
        settings.panic_threshold_percentage / 100.0,
        settings.max_scale_up_rate,
        settings.max_scale_down_rate,
        settings.scale_down_delay_s * 1000.0,
        settings.target_burst_capacity,
        settings.activation_scale,
        settings.min_scale,
        settings.max_scale,
        settings.grace_period_s * 1000.0,
        settings.pod_retention_s * 1000.0,
    );
    let mut kpa = Kpa::new(settings.clone(), 0, replicas);
    let peak = settings.target() * draw.of(&[3.0, 10.0, 25.0]);
    let mut load = match load {
        Some(values) => Load::Recorded { values, next: 0 },
        None => Load::Drifting { level: 0.0, goal: peak / 2.0, peak },
    };
    // Phases of the statistics and of the ticks within their periods.
    let (phase, tick_phase) = (draw.below(1000) as i64, draw.below(2000) as i64);
    let (mut now_ms, mut decisions) = (0_i64, vec![]);
    let mut second = 0;
    for tick in 0..ticks as i64 {
        let tick_ms = (tick + 1) * (TICK / 1000) + tick_phase;
        while second * 1000 + phase <= tick_ms {
            let at_ms = second * 1000 + phase;
            second += 1;
            now_ms = now_ms.max(at_ms);
            let value = load.next(&mut draw);
            // At zero pods, there is nothing to scrape unless the activator holds requests. Some
            // scrapes fail at random.
            if draw.chance(0.02) || (replicas == 0 && value == 0.0) {
                continue;
            }
            let value = (value * 1000.0).round() / 1000.0;
            let _ = writeln!(trace, "{{\"t\":{at_ms},\"c\":{value}}}");
            kpa.record(at_ms * 1000, value);
        }
        now_ms = now_ms.max(tick_ms);
        let up_to = if draw.chance(0.15) { draw.below(4) as i64 } else { 1000 };
        let _ = writeln!(trace, "{{\"t\":{now_ms},\"ready\":{up_to}}}");
        let (now, ready): (Micros, i64) = (now_ms * 1000, up_to.min(replicas));
        kpa.evaluate(now, ready);
        replicas = kpa.reconcile(now, replicas, ready);
        let path = if kpa.proxied() { "p" } else { "s" };
        decisions.push(format!("{}{path}{replicas}", kpa.desired()));
    }
    Case { trace, decisions }
}

fn kpa_settings(number: u64, draw: &mut Draw) -> KpaSettings {
    let mut settings = KpaSettings::defaults(1.0);
    if number == 0 {
        return settings;
    }
    settings.total = draw.of(&[1.0, 1.0, 2.0, 10.0, 100.0]);
    settings.utilization = draw.of(&[0.7, 0.7, 0.8, 1.0]);
    settings.stable_window_s = draw.of(&[60.0, 60.0, 30.0, 6.0, 45.0, 120.0]);
    settings.panic_window_percentage = draw.of(&[10.0, 10.0, 20.0, 50.0, 100.0]);
    settings.panic_threshold_percentage = draw.of(&[200.0, 200.0, 150.0, 110.0, 1000.0]);
    settings.max_scale_up_rate = draw.of(&[1000.0, 1000.0, 10.0, 2.0, 1.1]);
    settings.max_scale_down_rate = draw.of(&[2.0, 2.0, 1.1, 10.0]);
    settings.scale_down_delay_s = draw.of(&[0.0, 0.0, 30.0, 60.0, 61.0, 300.0]);
    settings.target_burst_capacity = draw.of(&[211.0, 200.0, 0.0, 0.0, -1.0, 5.0]);
    settings.activation_scale = draw.of(&[1, 1, 2, 5]);
    settings.min_scale = draw.of(&[0, 0, 0, 1, 2]);
    settings.max_scale = draw.of(&[0, 10, 20]);
    settings.grace_period_s = draw.of(&[30.0, 30.0, 6.0, 90.0]);
    settings.pod_retention_s = draw.of(&[0.0, 0.0, 60.0, 20.0, 300.0]);
    settings
}

const VPA: VpaSettings =
    VpaSettings { cpu: (0, i64::MAX), memory: (0.0, f64::MAX), min_replicas: 1, tolerance: TOLERANCE };

/// Case `number` of the VPA with the CPU use of a recorded run's pods, sampled every 5 s, in each
/// round.
pub(crate) fn vpa_recorded(number: u64, ticks: usize) -> Case {
    let run = recorded("k8s-autoscalers", number);
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
pub(crate) fn vpa(number: u64, ticks: usize) -> Case {
    let mut draw = Draw(Pcg64::new(u128::from(number), 13));
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
pub(crate) fn vpa_updater(number: u64, ticks: usize) -> Case {
    const MEBIBYTE: i64 = 1 << 20;
    let mut draw = Draw(Pcg64::new(u128::from(number), 16));
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
