//! The upstream projects' own test tables as data. The files in `tests/upstream/` name the version
//! and the test.

use crate::hpa::{Hpa, HpaSettings, Observed, Policy, Rules, Select};
use crate::keda::{Keda, KedaSettings};
use crate::kpa::{Kpa, KpaSettings};
use crate::time::{SECOND, micros};
use crate::updater::{Seen, priority, updated};
use crate::vpa::{Buckets, Histogram, INTERVAL, Recommendation, TOLERANCE, Vpa, VpaSettings};

/// Rows of a table: cells by column name.
fn rows(table: &'static str) -> Vec<Vec<&'static str>> {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let columns = lines.next().expect("a line of names").split(',').count();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns) && !rows.is_empty());
    rows
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(cell: &str) -> T {
    cell.parse().unwrap_or_else(|error| panic!("{cell:?}: {error:?}"))
}

/// Parses `4@120;5@60`: amounts and their age in seconds.
fn aged(cell: &str) -> Vec<(i64, i64)> {
    let one = |text: &str| {
        let (amount, age) = text.split_once('@').expect("an age");
        (-number::<i64>(age) * SECOND, number(amount))
    };
    if cell == "-" { vec![] } else { cell.split(';').map(one).collect() }
}

fn policies(cell: &str, rules: Rules) -> Rules {
    let one = |text: &str| {
        let (value, period) = text.split_once('/').expect("a period");
        match value.strip_prefix("Pods") {
            Some(pods) => Policy::Pods(number(pods), number(period)),
            None => Policy::Percent(number(value.strip_prefix("Percent").expect("a kind")), number(period)),
        }
    };
    let policies = if cell == "-" { rules.policies } else { cell.split(';').map(one).collect() };
    Rules { policies, select: Select::Max, ..rules }
}

#[test]
fn kubernetes_own_rows_of_metrics() {
    for row in rows(include_str!("../tests/upstream/hpa-metric.csv")) {
        let [test, metric, current, target, usage, missing, up, down, expected] = row[..] else {
            panic!("{row:?}")
        };
        let mut settings = HpaSettings::defaults(number(target), 1000);
        (settings.up.tolerance, settings.down.tolerance) = (number(up), number(down));
        let hpa = Hpa::new(settings);
        let values: Vec<i64> = usage.split(';').map(number).collect();
        let sum_milli = values.iter().sum();
        let observed = Observed {
            sum_milli,
            measured: values.len() as i64,
            missing: number(missing),
            ..Observed::default()
        };
        let wanted = match metric {
            "pods" => hpa.recommendation(number(current), &observed),
            _ => Some(hpa.external(number(current), sum_milli)),
        };
        assert_eq!(wanted, Some(number(expected)), "{test}");
    }
}

#[test]
fn kubernetes_own_rows_of_policies() {
    for (i, row) in rows(include_str!("../tests/upstream/hpa-rules.csv")).iter().enumerate() {
        let [current, wanted, min, max, up, down, ups, downs, expected] = row[..] else { panic!("{row:?}") };
        let defaults = HpaSettings::defaults(1000, number(max));
        let mut hpa = Hpa::new(HpaSettings {
            min: number(min),
            up: policies(up, defaults.up.clone()),
            down: policies(down, defaults.down.clone()),
            ..defaults
        });
        (hpa.ups, hpa.downs) = (aged(ups), aged(downs));
        assert_eq!(
            hpa.limit(0, number(current), number(wanted)),
            number::<i64>(expected),
            "row {i}: {row:?}"
        );
    }
}

#[test]
fn kubernetes_own_rows_of_stabilization() {
    for (i, row) in rows(include_str!("../tests/upstream/hpa-stabilization.csv")).iter().enumerate() {
        let [current, wanted, up, down, recommendations, expected] = row[..] else { panic!("{row:?}") };
        let mut settings = HpaSettings::defaults(1000, 1000);
        (settings.up.stabilization_s, settings.down.stabilization_s) = (number(up), number(down));
        let mut hpa = Hpa::new(settings);
        hpa.recommendations = aged(recommendations);
        let stabilized = hpa.stabilize(0, number(current), number(wanted));
        assert_eq!(stabilized, number::<i64>(expected), "row {i}: {row:?}");
    }
}

#[test]
fn knatives_own_rows() {
    let mut kpa: Option<Kpa> = None;
    let mut name = "";
    for row in rows(include_str!("../tests/upstream/kpa.csv")) {
        let [
            test,
            target,
            burst,
            found,
            threshold,
            up,
            down,
            delay,
            activation,
            second,
            ready,
            stable,
            panic,
            desired,
            excess,
        ] = row[..]
        else {
            panic!("{row:?}")
        };
        if !test.is_empty() {
            name = test;
            let settings = KpaSettings {
                utilization: 0.75,
                panic_threshold_percentage: number::<f64>(threshold) * 100.0,
                max_scale_up_rate: number(up),
                max_scale_down_rate: number(down),
                scale_down_delay_s: number(delay),
                activation_scale: number(activation),
                target_burst_capacity: number(burst),
                ..KpaSettings::defaults(number::<f64>(target) / 0.75)
            };
            kpa = Some(Kpa::new(settings, 0, number(found)));
        }
        let kpa = kpa.as_mut().expect("the first row has a name");
        kpa.scale(micros(number(second)), number(stable), number(panic), number(ready));
        assert_eq!(kpa.desired(), number::<i64>(desired), "{name}: {row:?}");
        if excess != "-" {
            assert_eq!(kpa.excess, number::<i64>(excess), "{name}: {row:?}");
        }
    }
}

#[test]
fn kedas_own_rows() {
    for row in rows(include_str!("../tests/upstream/keda.csv")) {
        let [test, min, current, active, expected] = row[..] else { panic!("{row:?}") };
        let mut keda = Keda::new(KedaSettings { min: number(min), ..KedaSettings::defaults(1000, 100) });
        assert_eq!(keda.request(0, number(current), number(active)), number::<i64>(expected), "{test}");
    }
}

const ANYTHING: Recommendation = Recommendation { target: 0, lower: 0, upper: i64::MAX };

#[test]
fn the_updaters_own_rows_of_how_many_are_resized() {
    for row in rows(include_str!("../tests/upstream/vpa-updater.csv")) {
        let [test, replicas, live, min_replicas, tolerance, expected] = row[..] else { panic!("{row:?}") };
        let settings = VpaSettings {
            cpu: (0, i64::MAX),
            memory: (0.0, f64::MAX),
            min_replicas: number(min_replicas),
            tolerance: number(tolerance),
        };
        let pods = vec![Seen { millicores: 1, memory: 0, age: 0, pending: false }; number(live)];
        let cpu = Recommendation { target: 2, lower: 2, upper: 2 };
        let resized = updated(&pods, number(replicas), &settings, &cpu, &ANYTHING);
        assert_eq!(resized.len(), number::<usize>(expected), "{test}");
    }
}

#[test]
fn the_updaters_own_rows_of_how_urgent_a_change_is() {
    for row in rows(include_str!("../tests/upstream/vpa-priority.csv")) {
        let range = |[target, lower, upper]: [&str; 3]| Recommendation {
            target: if target == "-" { 1 } else { number(target) },
            lower: if lower == "-" { 0 } else { number(lower) },
            upper: if upper == "-" { i64::MAX } else { number(upper) },
        };
        let amount = |cell: &str| if cell == "-" { 1 } else { number(cell) };
        let pod = Seen { millicores: amount(row[0]), memory: amount(row[4]), age: 0, pending: false };
        let cpu = range([row[1], row[2], row[3]]);
        let memory = range([row[5], row[6], row[7]]);
        let found = priority(&pod, &cpu, &memory);
        assert_eq!((found.outside, found.grows), (number(row[8]), number(row[9])), "{row:?}");
        assert!((found.change - number::<f64>(row[10])).abs() < 1e-12, "{row:?}: {found:?}");
    }
}

#[test]
fn the_vpas_own_rows_of_buckets() {
    for row in rows(include_str!("../tests/upstream/vpa-buckets.csv")) {
        let [most, first, ratio, kind, of, expected] = row[..] else { panic!("{row:?}") };
        let buckets = Buckets { most: number(most), first: number(first), ratio: number(ratio) };
        let found = match kind {
            "count" => buckets.count() as f64,
            "start" => buckets.start(number(of)),
            _ => buckets.of(number(of)) as f64,
        };
        let expected: f64 = number(expected);
        assert!((found - expected).abs() <= 1e-12 * expected, "{row:?}: {found}");
    }
}

#[test]
fn the_vpas_own_rows_of_histograms() {
    for row in rows(include_str!("../tests/upstream/vpa-histogram.csv")) {
        let [test, most, first, ratio, samples, percentile, expected, within] = row[..] else {
            panic!("{row:?}")
        };
        let buckets = Buckets { most: number(most), first: number(first), ratio: number(ratio) };
        let mut histogram = Histogram::new(buckets, SECOND);
        for sample in samples.split(';') {
            let (value, rest) = sample.split_once('*').expect("a weight");
            let (weight, age) = rest.split_once('@').expect("a time");
            histogram.add_weighted(number(value), number(weight), number::<i64>(age) * SECOND);
        }
        let (found, expected): (f64, f64) = (histogram.percentile(number(percentile)), number(expected));
        let within = number::<f64>(within).max(1e-15);
        assert!((found - expected).abs() <= within * expected, "{test} at {percentile}: {found}");
    }
}

#[test]
fn the_vpas_own_row_of_confidence() {
    for row in rows(include_str!("../tests/upstream/vpa-confidence.csv")) {
        let [samples, minutes, expected] = row[..] else { panic!("{row:?}") };
        let cpu = (0, 100_000);
        let mut vpa =
            Vpa::new(VpaSettings { cpu, memory: (0.0, 0.0), min_replicas: 1, tolerance: TOLERANCE });
        for i in 0..number::<i64>(samples) {
            vpa.observe(1000, i * number::<i64>(minutes) * INTERVAL);
        }
        assert_eq!(vpa.confidence(), Some(number(expected)));
    }
}
