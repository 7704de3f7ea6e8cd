//! Metrics as OpenMetrics text, version 1.0
//! (<https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>).
//!
//! The `prometheus` crate (0.14) writes the text format 0.0.4 only. `prometheus-client` writes
//! OpenMetrics, but from instruments of its own, and a bound of 0.00001 not in its canonical form.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::exemplars::{Exemplar, Series, Snapshot};

/// Units that names of metrics end with.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// Writes `families`. Buckets of the histogram named `with_exemplars` get those of `exemplars`.
pub(super) fn encode(families: &[MetricFamily], with_exemplars: &str, exemplars: &Snapshot) -> String {
    let mut text = String::new();
    for family in families {
        let exemplars = (family.name() == with_exemplars).then_some(exemplars);
        // Writing to a string does not fail.
        let _ = write_family(&mut text, family, exemplars);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &MetricFamily, exemplars: Option<&Snapshot>) -> std::fmt::Result {
    let kind = family.get_field_type();
    // The suffix belongs to the samples and not to the family.
    let (name, kind_name) = match kind {
        MetricType::COUNTER => (family.name().strip_suffix("_total").unwrap_or(family.name()), "counter"),
        MetricType::HISTOGRAM => (family.name(), "histogram"),
        _ => match family.name().strip_suffix("_info") {
            Some(name) => (name, "info"),
            None => (family.name(), "gauge"),
        },
    };
    writeln!(text, "# TYPE {name} {kind_name}")?;
    if let Some(unit) =
        UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|name| name.ends_with('_')))
    {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    if !family.help().is_empty() {
        writeln!(text, "# HELP {name} {}", escaped(family.help()))?;
    }
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match kind {
            MetricType::COUNTER => {
                let value = metric.get_counter().get_value();
                write_sample(text, name, "_total", labels, None, value)?;
                text.push('\n');
            }
            MetricType::HISTOGRAM => write_histogram(text, name, metric, exemplars)?,
            _ => {
                let suffix = if kind_name == "info" { "_info" } else { "" };
                write_sample(text, name, suffix, labels, None, metric.get_gauge().get_value())?;
                text.push('\n');
            }
        }
    }
    Ok(())
}

fn write_histogram(
    text: &mut String,
    name: &str,
    metric: &Metric,
    exemplars: Option<&Snapshot>,
) -> std::fmt::Result {
    let (histogram, labels) = (metric.get_histogram(), metric.get_label());
    let series: Series = labels.iter().map(|label| (label.name().into(), label.value().into())).collect();
    let exemplars = exemplars.and_then(|exemplars| exemplars.get(&series));
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let buckets = finite.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let all = [(f64::INFINITY, histogram.get_sample_count())];
    for (place, (bound, count)) in buckets.chain(all).enumerate() {
        write_sample(text, name, "_bucket", labels, Some(bound), count as f64)?;
        if let Some(exemplar) = exemplars.and_then(|exemplars| exemplars.get(place).copied().flatten()) {
            write_exemplar(text, &exemplar)?;
        }
        text.push('\n');
    }
    for (suffix, value) in
        [("_count", histogram.get_sample_count() as f64), ("_sum", histogram.get_sample_sum())]
    {
        write_sample(text, name, suffix, labels, None, value)?;
        text.push('\n');
    }
    Ok(())
}

fn write_sample(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    bound: Option<f64>,
    value: f64,
) -> std::fmt::Result {
    write!(text, "{name}{suffix}")?;
    if !labels.is_empty() || bound.is_some() {
        let labels = labels.iter().map(|label| format!("{}=\"{}\"", label.name(), escaped(label.value())));
        let bound = bound.map(|bound| format!("le=\"{}\"", canonical(bound)));
        write!(text, "{{{}}}", labels.chain(bound).collect::<Vec<_>>().join(","))?;
    }
    write!(text, " {}", number(value))
}

/// Names and values have 64 characters, of at most 128.
fn write_exemplar(text: &mut String, exemplar: &Exemplar) -> std::fmt::Result {
    let Exemplar { span, value, at } = exemplar;
    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(
        text,
        " # {{trace_id=\"{}\",span_id=\"{}\"}} {value} {}.{:03}",
        span.trace_id,
        span.span_id,
        at.as_secs(),
        at.subsec_millis()
    )
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

/// A bound of a bucket as every exposer has to write it ("Numbers"; Go's `%g` with a point), so
/// that its series has the same name everywhere.
fn canonical(value: f64) -> String {
    if !value.is_finite() {
        return number(value);
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    match exponent {
        -4..6 if value.fract() == 0.0 => format!("{value:.1}"),
        -4..6 => value.to_string(),
        _ => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_the_specification_lists_them() {
        let numbers = [
            (1e-10, "1e-10"),
            (0.00001, "1e-05"),
            (0.00002, "2e-05"),
            (0.0001, "0.0001"),
            (0.0125, "0.0125"),
            (0.5, "0.5"),
            (1.0, "1.0"),
            (10.0, "10.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1e10, "1e+10"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, text) in numbers {
            assert_eq!(canonical(value), text);
        }
    }

    #[test]
    fn quotes_backslashes_and_line_ends_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), r#"a\\b\"c\nd"#);
    }
}
