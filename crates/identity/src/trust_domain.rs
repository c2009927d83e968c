//! The trust domain: the authority part of a SPIFFE ID.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Name of the root of trust that a mesh shares, such as `mesh.example`.
///
/// 1 to 255 bytes of `a-z 0-9 . - _` (SPIFFE-ID §2.1); cloning is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// Why a text is not a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustDomainError {
    /// The text is empty.
    #[error("trust domain is empty")]
    Empty,
    /// The text is longer than 255 bytes.
    #[error("trust domain is {bytes} bytes long, more than {}", TrustDomain::MAX_BYTES)]
    TooLong {
        /// How long the text is.
        bytes: usize,
    },
    /// The text holds a character outside `a-z 0-9 . - _`; a port, a user or a capital letter, say.
    #[error("trust domain {text:?} holds {found:?}; lower-case letters, digits, `.`, `-` and `_` are valid")]
    Character {
        /// The text as given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
}

impl TrustDomain {
    /// Longest trust domain, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// Returns the trust domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, TrustDomainError> {
        if text.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(TrustDomainError::TooLong { bytes: text.len() });
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        if let Some(found) = text.chars().find(|c| !allowed(*c)) {
            return Err(TrustDomainError::Character { text: text.to_owned(), found });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
