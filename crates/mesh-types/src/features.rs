//! What a node can do beyond the least that all can.

use std::fmt;

/// An optional ability, one bit each. What needs everybody to have it waits until
/// [`Membership::common_features`](crate::Membership::common_features) contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// It knows that a node can be cordoned or draining, and gives it no new work then.
    Lifecycle,
    /// It takes user events, and passes them on.
    UserEvents,
}

/// A set of [`Feature`]s, those of newer builds included: they are carried, and have no name here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Features(u64);

impl Feature {
    /// All that this build knows, by their bits.
    pub const ALL: [Self; 2] = [Self::Lifecycle, Self::UserEvents];

    /// Returns its name, in kebab case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::UserEvents => "user-events",
        }
    }

    /// The number of its bit is for ever: other builds read it.
    const fn bit(self) -> u64 {
        match self {
            Self::Lifecycle => 1,
            Self::UserEvents => 1 << 1,
        }
    }
}

impl Features {
    /// What a node of this build has.
    pub const OF_THIS_BUILD: Self = Self(Feature::Lifecycle.bit() | Feature::UserEvents.bit());

    /// All that could ever be: what the members of an empty mesh have in common.
    pub const ALL: Self = Self(u64::MAX);

    /// Makes the set of these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether `feature` is in it.
    #[must_use]
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// Returns what is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns those that have a name here.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Feature::ALL.into_iter().filter(move |feature| self.contains(*feature)).map(Feature::name)
    }
}

impl fmt::Display for Features {
    /// Writes the names, with commas between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.names().enumerate() {
            let gap = if number == 0 { "" } else { "," };
            write!(f, "{gap}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_has_a_bit_of_its_own_and_unknown_bits_are_carried() {
        let bits: u64 = Feature::ALL.iter().map(|feature| feature.bit()).sum();
        assert_eq!(bits, Features::OF_THIS_BUILD.bits());
        assert_eq!(bits.count_ones() as usize, Feature::ALL.len());
        let newer = Features::from_bits(1 << 63 | Feature::Lifecycle.bit());
        assert_eq!((newer.bits(), newer.to_string().as_str()), (1 << 63 | 1, "lifecycle"));
        assert_eq!(newer.and(Features::OF_THIS_BUILD).bits(), 1);
        assert!(!Features::default().contains(Feature::Lifecycle));
    }
}
