//! Numbers as the autoscalers' objects write them: Kubernetes' quantities, Go's durations, and
//! plain ones.

use serde_json::Value;

/// A decimal number, or a string of one.
pub fn number(value: &Value) -> Result<f64, String> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|n: &f64| n.is_finite()).ok_or_else(|| format!("{value} is not a number"))
}

/// A whole number.
pub fn whole(value: &Value) -> Result<f64, String> {
    value
        .as_f64()
        .filter(|n| n.fract() == 0.0 && n.is_finite())
        .ok_or_else(|| format!("{value} is not a whole number"))
}

/// A quantity of Kubernetes: `2`, `500m`, `1k`, `1Ki`, `1e3`.
pub fn quantity(value: &Value) -> Result<f64, String> {
    let Some(text) = value.as_str() else { return number(value) };
    scenario::quantity::parse(text)
        .ok_or_else(|| format!("{value} is not a quantity of Kubernetes (2, 500m, 1k)"))
}

/// A duration of Go, in seconds: `15m`, `1m30s`, `500ms`, `0`. It is rounded to nanoseconds, which
/// Go counts, so that whole minutes are whole seconds.
pub fn duration(value: &Value) -> Result<f64, String> {
    // Longer units first: `ms` also begins with `m`.
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e9),
        ("us", 1e6),
        ("µs", 1e6),
        ("μs", 1e6),
        ("ms", 1e3),
        ("s", 1.0),
        ("m", 1.0 / 60.0),
        ("h", 1.0 / 3600.0),
    ];
    let invalid = || format!("{value} is not a duration of Go (15m, 1m30s, 500ms)");
    if number(value) == Ok(0.0) {
        return Ok(0.0);
    }
    let mut rest = value.as_str().filter(|text| !text.is_empty()).ok_or_else(invalid)?;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let (digits, tail) = rest.split_at(end);
        let (unit, in_a_second) =
            UNITS.iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(invalid)?;
        seconds += digits.parse::<f64>().map_err(|_| invalid())? / in_a_second;
        rest = &tail[unit.len()..];
    }
    Ok((seconds * 1e9).round() / 1e9)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quantity_is_what_kubernetes_means_by_it() {
        let pairs =
            [("1k", 1000.0), ("1500m", 1.5), ("2", 2.0), ("1e3", 1000.0), ("0.5", 0.5), ("1Ki", 1024.0)];
        for (text, expected) in pairs {
            assert_eq!(quantity(&json!(text)), Ok(expected), "{text}");
        }
        for text in ["10rps", "", "m", "inf", "nan", "1 k", "1s"] {
            assert!(quantity(&json!(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_what_go_means_by_it() {
        let pairs = [("15m", 900.0), ("1m30s", 90.0), ("500ms", 0.5), ("1.5h", 5400.0), ("0", 0.0)];
        for (text, expected) in pairs {
            assert_eq!(duration(&json!(text)), Ok(expected), "{text}");
        }
        for text in ["60", "", "15x", "m", "1m30"] {
            assert!(duration(&json!(text)).is_err(), "{text}");
        }
    }
}
