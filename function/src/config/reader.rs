//! Reads variables one by one and collects every error instead of stopping at the first.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// All errors in the environment, one line each.
#[derive(Debug, PartialEq)]
pub struct ConfigError(pub(super) Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bad environment variable(s)", self.0.len())?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for ConfigError {}

/// The environment, and the errors found so far.
pub(super) struct Reader {
    vars: HashMap<String, String>,
    pub(super) errors: Vec<String>,
}

impl Reader {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { vars: vars.into_iter().collect(), errors: Vec::new() }
    }

    /// Names of all variables that are not empty.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.vars.iter().filter(|(_, value)| !value.trim().is_empty()).map(|(name, _)| name.as_str())
    }

    /// The value of a variable; `None` where it is unset or blank.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Records an invalid value of `name`.
    pub(super) fn refuse(&mut self, name: &str, expected: impl fmt::Display) {
        let value = self.text(name).unwrap_or_default();
        self.errors.push(format!("{name}={value:?}: expected {expected}"));
    }

    /// As `refuse`, where the value may hold credentials: errors are logged, so it is not repeated.
    pub(super) fn refuse_unseen(&mut self, name: &str, expected: impl fmt::Display) {
        self.errors.push(format!("{name} (its value is not shown): expected {expected}"));
    }

    /// The variable parsed by `parse`; `None` if it is unset or invalid.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        expected: impl fmt::Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.parsed_or(name, parse, |reader| reader.refuse(name, expected))
    }

    /// As `parsed`, where the value may hold credentials.
    pub(super) fn parsed_unseen<T>(
        &mut self,
        name: &str,
        expected: impl fmt::Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.parsed_or(name, parse, |reader| reader.refuse_unseen(name, expected))
    }

    fn parsed_or<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        refuse: impl FnOnce(&mut Self),
    ) -> Option<T> {
        let value = parse(self.text(name)?);
        if value.is_none() {
            refuse(self);
        }
        value
    }

    /// A whole number within `range`.
    pub(super) fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|value| range.contains(value));
        self.parsed(name, expected, parse).unwrap_or(default)
    }

    /// A duration in whole milliseconds.
    pub(super) fn milliseconds(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, default, range))
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&mut self, name: &str, default: f32) -> f32 {
        let parse = |text: &str| text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
        self.parsed(name, "a number from 0 to 1", parse).unwrap_or(default)
    }
}
