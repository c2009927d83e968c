//! Why a list of revoked certificates is not used.

use std::io;

use crate::revocations::Revocations;

/// Why a list of revoked certificates is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnRevocationsError {
    /// The list is larger than a node takes from another.
    #[error("revocation list is {bytes} bytes long, more than {}", Revocations::MAX_SPREAD_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The list cannot be decoded.
    #[error("revocation list cannot be decoded")]
    Malformed {
        /// What is wrong with it.
        source: x509_cert::der::Error,
    },
    /// The list is of a kind that is not judged by: a delta, an indirect one, one with an unknown critical extension.
    #[error("revocation list cannot be used")]
    Unsupported {
        /// Why not.
        source: webpki::Error,
    },
    /// The list does not say when the next one is due (RFC 5280 §5.1.2.5 requires it).
    #[error("revocation list does not say when the next one is due")]
    NoNextUpdate,
    /// The list's number is longer than 20 bytes.
    #[error("revocation list has a number of more than 20 bytes")]
    LongNumber,
    /// A CA of the list's issuer's name is trusted, but did not sign it.
    #[error("revocation list is not signed by the trusted CA whose name it bears, or that CA may not sign lists")]
    BadSignature,
    /// Nobody of the list's issuer's name is trusted, and it did not come from our own file.
    #[error("revocation list is of a CA that is not trusted here")]
    UnknownIssuer,
    /// There is room for 64 lists.
    #[error("{} revocation lists are held already", Revocations::MAX_LISTS)]
    Full,
}

impl LearnRevocationsError {
    /// Returns the reason in a word, for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "oversize",
            Self::Malformed { .. } | Self::NoNextUpdate | Self::LongNumber => "malformed",
            Self::Unsupported { .. } => "unsupported",
            Self::BadSignature => "bad_signature",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Full => "full",
        }
    }
}

/// Why a file of revocation lists is not used; nothing in it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationFileError {
    /// The file is larger than 1 MiB.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The file is not well-formed PEM.
    #[error("it is not well-formed PEM")]
    Pem {
        /// Where the PEM breaks off.
        source: io::Error,
    },
    /// The file holds no list.
    #[error("it holds no revocation list")]
    Empty,
    /// A list in it is not used.
    #[error("list {position} in it cannot be used")]
    List {
        /// Its place in the file, from 1.
        position: usize,
        /// Why not.
        source: LearnRevocationsError,
    },
}
