//! The analysis of synthetic recordings with known results.

mod claims;
mod measures;
mod runs;

use std::collections::BTreeMap;

use scenario::recording::{Container, Draw, Origin, Pod, Recording, Run, SCHEMA};
use scenario::summary::LoadSummary;
use scenario::{Outcome, RequestRecord};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

fn pod(name: &str, created: f64, ready: f64, gone: Option<f64>) -> Pod {
    Pod {
        name: name.into(),
        created_s: created,
        scheduled_s: Some(created + 0.5),
        started_s: Some(created + 1.5),
        ready: vec![(ready, true)],
        gone_s: gone,
        containers: vec![
            Container {
                name: "eye-state".into(),
                requests: vec![(created, 1.0, GIB / 4.0)],
                core_seconds: 7.0,
                gib_seconds: 2.0,
            },
            Container {
                name: "queue-proxy".into(),
                requests: vec![(created, 0.025, 0.0)],
                core_seconds: 0.5,
                gib_seconds: 0.1,
            },
        ],
        startup: BTreeMap::from([("weights".into(), 0.02), ("warmup".into(), 0.03), ("ready".into(), 0.06)]),
    }
}

fn run(recording: Recording, steps_up: &[f64]) -> Run {
    let mut requests: Vec<RequestRecord> = (0..100)
        .map(|i| RequestRecord {
            at_us: i * 1_000_000,
            late_us: 10,
            latency_us: 20_000,
            outcome: Outcome::Ok,
        })
        .collect();
    requests[10].latency_us = 900_000;
    requests[20].outcome = Outcome::Refused;
    requests[30].outcome = Outcome::Timeout;
    requests[40].outcome = Outcome::Unavailable;
    Run {
        schema: SCHEMA.into(),
        origin: Origin::Simulated,
        scenario: "made-up".into(),
        variant: "knative".into(),
        configuration: "defaults".into(),
        repeat: 1,
        started: String::new(),
        draw: Draw {
            scale: 1.0,
            pod_load: None,
            stretch: 1.0,
            seed: 1,
            fingerprint: String::new(),
            slo_ms: 500,
            steps_up: steps_up.to_vec(),
            rate: vec![(0.0, 1.0), (100.0, 1.0)],
            counted: None,
        },
        environment: BTreeMap::new(),
        load: LoadSummary::new(&mut requests, 0, 500, 100.0, steps_up),
        recording,
        calibration: None,
        session: None,
        throughput: None,
        void: None,
    }
}

fn two_pods() -> Recording {
    Recording {
        observed_s: 160.0,
        pods: vec![pod("a", -100.0, -97.0, None), pod("b", 20.0, 24.0, Some(90.5))],
        desired: vec![(0.0, 1.0), (19.0, 2.0), (80.0, 1.0)],
        seen: vec![(10.0, 0.8), (14.0, 1.4), (18.0, 2.0)],
        ..Recording::default()
    }
}
