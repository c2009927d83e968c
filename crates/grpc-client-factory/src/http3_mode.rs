//! Whether HTTP/3 is used.

use std::str::FromStr;

use crate::target::Protocol;

/// Whether HTTP/3 is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Http3Mode {
    /// When it works: both are raced, HTTP/3 with a head start, and what has failed is tried again from time to time.
    #[default]
    Auto,
    /// Never: HTTP/2 only.
    Off,
    /// Always: a call fails where HTTP/3 does.
    Only,
}

/// What may take the place of the preferred version: the words that profiles know from elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum VersionPolicy {
    /// `request-version-exact`: nothing.
    Exact,
    /// `request-version-or-higher`: a higher one.
    OrHigher,
    /// `request-version-or-lower`: a lower one.
    #[default]
    OrLower,
}

impl Http3Mode {
    /// Returns the mode for who prefers HTTP/3, or else HTTP/2, and takes what `policy` says in its place.
    #[must_use]
    pub const fn of(prefer_http3: bool, policy: VersionPolicy) -> Self {
        match (prefer_http3, policy) {
            (true, VersionPolicy::OrLower) | (false, VersionPolicy::OrHigher) => Self::Auto,
            (true, VersionPolicy::Exact | VersionPolicy::OrHigher) => Self::Only,
            (false, VersionPolicy::Exact | VersionPolicy::OrLower) => Self::Off,
        }
    }

    pub(crate) const fn prefers(self) -> Protocol {
        match self {
            Self::Auto | Self::Only => Protocol::Http3,
            Self::Off => Protocol::Http2,
        }
    }
}

/// A word that names no version policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "version policy {word:?} is none of `request-version-exact`, `request-version-or-higher`, `request-version-or-lower`"
)]
pub struct ParseVersionPolicyError {
    word: String,
}

impl FromStr for VersionPolicy {
    type Err = ParseVersionPolicyError;

    fn from_str(word: &str) -> Result<Self, ParseVersionPolicyError> {
        match word {
            "request-version-exact" => Ok(Self::Exact),
            "request-version-or-higher" => Ok(Self::OrHigher),
            "request-version-or-lower" => Ok(Self::OrLower),
            _ => Err(ParseVersionPolicyError { word: word.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preference_and_policy_make_the_mode() {
        let of = |prefer, word: &str| Http3Mode::of(prefer, word.parse().expect("a policy"));
        assert_eq!(of(true, "request-version-or-lower"), Http3Mode::Auto);
        assert_eq!(of(true, "request-version-exact"), Http3Mode::Only);
        assert_eq!(of(true, "request-version-or-higher"), Http3Mode::Only);
        assert_eq!(of(false, "request-version-or-lower"), Http3Mode::Off);
        assert_eq!(of(false, "request-version-exact"), Http3Mode::Off);
        assert_eq!(of(false, "request-version-or-higher"), Http3Mode::Auto);
        let error = "or-lower".parse::<VersionPolicy>().expect_err("a word too short");
        assert!(error.to_string().starts_with("version policy \"or-lower\" is none of "));
    }
}
