//! Kubernetes writes times as `2026-11-22T09:30:00Z`; runs count seconds. This converts between
//! them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 of an RFC 3339 time in UTC, fractions included; `None` for anything else.
pub fn parse(text: &str) -> Option<f64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.split('-').map(|n| n.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hour, minute) = (time.next()?.parse::<f64>().ok()?, time.next()?.parse::<f64>().ok()?);
    let second: f64 = time.next()?.parse().ok()?;
    Some(days(year, month, day) as f64 * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

/// RFC 3339 in UTC, whole seconds.
pub fn format(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (day, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // The year is estimated from the mean length of a year, which is at most one off.
    let guess = 1970 + (day as f64 / 365.2425) as i64;
    let year = (guess - 1..=guess + 1).rev().find(|y| days(*y, 1, 1) <= day).unwrap_or(guess);
    let month = (1..=12).rev().find(|m| days(year, *m, 1) <= day).unwrap_or(1);
    let in_month = day - days(year, month, 1) + 1;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{in_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since 1970, fractions included.
pub fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// Days since 1970-01-01 in the Gregorian calendar. Years start in March, so that the leap day
/// comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // `date -d @N -u` on any machine.
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
            ("2026-11-22T09:30:00Z", 1_795_339_800),
        ] {
            assert_eq!(parse(text), Some(unix as f64), "{text}");
            assert_eq!(format(UNIX_EPOCH + Duration::from_secs(unix)), text);
        }
        assert_eq!(parse("2026-11-22T09:30:00.250000Z"), Some(1_795_339_800.25));
        assert_eq!(parse("yesterday"), None);
    }
}
