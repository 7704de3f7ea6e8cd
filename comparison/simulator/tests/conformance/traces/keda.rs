//! Traces for KEDA.

use std::fmt::Write;

use simulator::keda::{Keda, KedaSettings};

use super::Case;
use super::load::Draw;

/// Case `number` of KEDA's scaling to and from zero. In between, an HPA sets the replicas.
pub(super) fn to_and_from_zero(number: u64, ticks: usize) -> Case {
    let mut draw = Draw::new(number, 15);
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
