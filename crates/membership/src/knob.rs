//! Ranges of options: what validation asks, and what documentation shows.

use std::fmt;
use std::time::Duration;

/// The value of an option that has a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// A number of things.
    Count(u64),
    /// A length of time.
    Time(Duration),
}

impl Amount {
    /// Makes a length of time of milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self::Time(Duration::from_millis(ms))
    }

    /// Makes a length of time of seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self::Time(Duration::from_secs(secs))
    }
}

impl fmt::Display for Amount {
    /// Writes times as configuration takes them, in the largest unit that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Time(Duration::ZERO) => f.write_str("0s"),
            Self::Time(time) if time.subsec_nanos() % 1_000_000 != 0 => write!(f, "{time:?}"),
            Self::Time(time) => {
                let ms = time.as_millis();
                let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
                let largest = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
                let (unit, name) = largest.unwrap_or((1, "ms"));
                write!(f, "{}{name}", ms / unit)
            }
        }
    }
}

/// One end of a range.
#[derive(Debug, Clone, Copy)]
pub enum Bound<O> {
    /// Always the same.
    Is(Amount),
    /// Follows from another option: in words that spell it as configuration does, and as a value.
    Of(&'static str, fn(&O) -> Amount),
}

/// An option with a range, among the options `O`.
#[derive(Debug, Clone, Copy)]
pub struct Knob<O: 'static> {
    /// Its name, as configuration spells it.
    pub option: &'static str,
    /// Its value in some options.
    pub value: fn(&O) -> Amount,
    /// The least that is valid.
    pub least: Bound<O>,
    /// The most that is valid.
    pub most: Bound<O>,
    /// What it is, which way to turn it, and what that costs.
    pub turn: &'static str,
}

/// What is to be known of a knob beside its name, for documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnobFacts {
    /// Its name, as configuration spells it.
    pub option: &'static str,
    /// Its value in the options that were asked.
    pub value: Amount,
    /// What is valid.
    pub valid: String,
    /// What it is, which way to turn it, and what that costs.
    pub turn: &'static str,
}

/// An option out of its range, named as configuration spells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}; valid is {valid}")]
pub struct OptionsError {
    /// The option, such as `suspicionInterval`.
    pub option: &'static str,
    /// The value given.
    pub value: String,
    /// What would be valid.
    pub valid: String,
}

impl<O> Bound<O> {
    fn amount(&self, options: &O) -> Amount {
        match self {
            Self::Is(amount) => *amount,
            Self::Of(_, amount) => amount(options),
        }
    }
}

impl<O> fmt::Display for Bound<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(amount) => amount.fmt(f),
            Self::Of(words, _) => f.write_str(words),
        }
    }
}

impl<O> Knob<O> {
    /// Checks the option's value in `options`.
    ///
    /// # Errors
    /// It is out of its range.
    pub fn check(&self, options: &O) -> Result<(), OptionsError> {
        let value = (self.value)(options);
        if value >= self.least.amount(options) && value <= self.most.amount(options) {
            return Ok(());
        }
        Err(OptionsError { option: self.option, value: value.to_string(), valid: self.valid() })
    }

    /// Returns what is to be known of the option, with its value in `options`.
    pub fn facts(&self, options: &O) -> KnobFacts {
        KnobFacts { option: self.option, value: (self.value)(options), valid: self.valid(), turn: self.turn }
    }

    fn valid(&self) -> String {
        format!("{} to {}", self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_configuration_takes_it() {
        let written = |amount: Amount| amount.to_string();
        assert_eq!(written(Amount::ms(0)), "0s");
        assert_eq!(written(Amount::ms(1_999)), "1999ms");
        assert_eq!(written(Amount::secs(90)), "90s");
        assert_eq!(written(Amount::secs(600)), "10m");
        assert_eq!(written(Amount::secs(86_400)), "24h");
        assert_eq!(written(Amount::Time(Duration::from_micros(1_500))), "1.5ms");
        assert_eq!(written(Amount::Count(72)), "72");
    }
}
