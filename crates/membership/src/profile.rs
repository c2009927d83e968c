//! Sets of options with a name, and classes of round trips.

use std::str::FromStr;
use std::time::Duration;

use crate::options::Options;

/// A set of options with a name: where a mesh runs, in a word. Every option can still be set by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// One room: finds the dead in half the time, for twice the probes.
    Fast,
    /// One site; the defaults.
    #[default]
    Balanced,
    /// Sites far apart: forgives slow and lossy paths, and finds the dead later.
    Wan,
}

/// A word that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`fast`, `balanced` or `wan` is valid")]
pub struct ParseProfileError;

impl Profile {
    /// Returns the name, as configuration spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Balanced => "balanced",
            Self::Wan => "wan",
        }
    }

    /// Returns the options that it names.
    #[must_use]
    pub fn options(self) -> Options {
        let ms = Duration::from_millis;
        match self {
            Self::Fast => Options {
                interval: ms(500),
                suspicion_interval: ms(2_500),
                ping_timeout: ms(1_000),
                ..Options::default()
            },
            Self::Balanced => Options::default(),
            Self::Wan => Options {
                interval: ms(2_000),
                suspicion_interval: ms(15_000),
                ping_timeout: ms(5_000),
                retransmit_limit: 4,
                link_bytes_per_second: 262_144,
                link_datagrams_per_second: 500,
                ..Options::default()
            },
        }
    }
}

impl FromStr for Profile {
    type Err = ParseProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Fast, Self::Balanced, Self::Wan]
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or(ParseProfileError)
    }
}

/// How far away a member is, by its smoothed round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RttClass {
    /// Less than 6 ms: the same site.
    Lan,
    /// Less than 50 ms: the same region.
    Region,
    /// Farther.
    Wan,
}

impl RttClass {
    /// All classes, the nearest first.
    pub const ALL: [Self; 3] = [Self::Lan, Self::Region, Self::Wan];

    /// Returns the class of a round trip.
    #[must_use]
    pub const fn of(rtt: Duration) -> Self {
        match rtt.as_millis() {
            0..6 => Self::Lan,
            6..50 => Self::Region,
            _ => Self::Wan,
        }
    }

    /// Returns the class as a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Region => "region",
            Self::Wan => "wan",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_has_its_name_and_valid_options() {
        for profile in [Profile::Fast, Profile::Balanced, Profile::Wan] {
            assert_eq!(profile.name().parse(), Ok(profile));
            assert_eq!(profile.options().validate(), Ok(()));
        }
        assert_eq!("lan".parse::<Profile>(), Err(ParseProfileError));
        assert_eq!(Profile::default().options(), Options::default());
    }

    #[test]
    fn a_round_trip_is_classed_by_its_length() {
        let classes = [0, 5, 6, 49, 50, 900].map(|ms| RttClass::of(Duration::from_millis(ms)).name());
        assert_eq!(classes, ["lan", "lan", "region", "region", "wan", "wan"]);
    }
}
