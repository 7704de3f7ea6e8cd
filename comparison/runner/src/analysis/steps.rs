//! Step functions of time: `(second, value)`, each valid until the next.

/// Value at a moment; `None` before the first.
pub fn at(steps: &[(f64, f64)], second: f64) -> Option<f64> {
    let after = steps.partition_point(|s| s.0 <= second);
    (after > 0).then(|| steps[after - 1].1)
}

/// Area between two moments; zero before the first step.
pub fn integral(steps: &[(f64, f64)], from: f64, to: f64) -> f64 {
    let ends = steps.iter().skip(1).map(|s| s.0).chain(std::iter::once(f64::INFINITY));
    steps
        .iter()
        .zip(ends)
        .map(|(&(start, value), end)| value * (end.min(to) - start.max(from)).max(0.0))
        .sum()
}

/// First moment after `since` (exclusive) and not after `until` at which a value fulfils the
/// condition.
pub fn first(steps: &[(f64, f64)], since: f64, until: f64, condition: impl Fn(f64) -> bool) -> Option<f64> {
    steps.iter().find(|s| s.0 > since && s.0 <= until && condition(s.1)).map(|s| s.0)
}

/// The number of changes between rising and falling.
pub fn direction_changes(steps: &[(f64, f64)]) -> usize {
    let moves: Vec<f64> = steps.windows(2).map(|w| w[1].1 - w[0].1).filter(|d| *d != 0.0).collect();
    moves.windows(2).filter(|w| (w[0] > 0.0) != (w[1] > 0.0)).count()
}

/// The median.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [(f64, f64); 4] = [(0.0, 1.0), (10.0, 3.0), (20.0, 2.0), (30.0, 4.0)];

    #[test]
    fn areas_are_counted_within_the_bounds_and_the_last_value_goes_on() {
        assert_eq!(integral(&STEPS, 0.0, 40.0), 10.0 + 30.0 + 20.0 + 40.0);
        assert_eq!(integral(&STEPS, 5.0, 15.0), 5.0 + 15.0);
        assert_eq!(integral(&STEPS, -10.0, 5.0), 5.0, "nothing before the first step");
        assert_eq!(integral(&[], 0.0, 5.0), 0.0);
    }

    #[test]
    fn values_firsts_and_turns_are_found() {
        assert_eq!((at(&STEPS, -1.0), at(&STEPS, 10.0), at(&STEPS, 99.0)), (None, Some(3.0), Some(4.0)));
        assert_eq!(first(&STEPS, 10.0, 99.0, |v| v > 1.0), Some(20.0));
        assert_eq!(first(&STEPS, 10.0, 25.0, |v| v > 3.0), None);
        assert_eq!(direction_changes(&STEPS), 2);
        assert_eq!(direction_changes(&[(0.0, 1.0), (1.0, 2.0), (2.0, 2.0), (3.0, 5.0)]), 0);
    }

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
