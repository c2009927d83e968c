//! The SPIFFE ID of a node: who it is, as its certificate says.

use std::fmt;
use std::str::FromStr;

use mesh_types::{ClusterId, NameError, NodeId, Role};

use crate::trust_domain::{TrustDomain, TrustDomainError};

/// Who a node is: `spiffe://<trust-domain>/cluster/<c>/role/<r>/node/<n>`.
///
/// Each part is valid and the text has one form only, so equal IDs are equal texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    cluster: ClusterId,
    role: Role,
    node: NodeId,
}

/// Which part of a text keeps it from being the SPIFFE ID of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseSpiffeIdError {
    /// The text is longer than 2048 bytes (SPIFFE-ID §2.3).
    #[error("SPIFFE ID is {bytes} bytes long, more than {}", SpiffeId::MAX_BYTES)]
    TooLong {
        /// How long the text is.
        bytes: usize,
    },
    /// The text does not begin with `spiffe://`.
    #[error("SPIFFE ID {text:?} does not begin with `spiffe://`")]
    Scheme {
        /// The text as given.
        text: String,
    },
    /// The part before the path is not a trust domain.
    #[error("SPIFFE ID has no valid trust domain")]
    TrustDomain {
        /// What is wrong with it.
        source: TrustDomainError,
    },
    /// The path ends before it has named the node.
    #[error("path of SPIFFE ID {text:?} ends where `{expected}` is due")]
    Missing {
        /// The text as given.
        text: String,
        /// The segment that should come next.
        expected: &'static str,
    },
    /// A fixed segment of the path is another.
    #[error("path of SPIFFE ID has {found:?} where `{expected}` is due")]
    Segment {
        /// The segment that should be there.
        expected: &'static str,
        /// The segment that is there.
        found: String,
    },
    /// The cluster, role or node is not a valid name; the source says which.
    #[error("SPIFFE ID holds an invalid name")]
    Name {
        /// What is wrong with it.
        source: NameError,
    },
    /// The path goes on after the node, be it with a `/` only.
    #[error("path of SPIFFE ID goes on with {found:?} after the node")]
    Extra {
        /// The first segment too many.
        found: String,
    },
}

impl SpiffeId {
    /// Longest SPIFFE ID, in bytes.
    pub const MAX_BYTES: usize = 2048;

    const SCHEME: &'static str = "spiffe://";

    /// Makes the ID of `node`, which acts as `role` in `cluster`.
    #[must_use]
    pub const fn new(trust_domain: TrustDomain, cluster: ClusterId, role: Role, node: NodeId) -> Self {
        Self { trust_domain, cluster, role, node }
    }

    /// Returns the root of trust that vouches for the node.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Returns the cluster the node may gossip in.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Returns what the node is for.
    #[must_use]
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// Returns the node's name.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }
}

impl FromStr for SpiffeId {
    type Err = ParseSpiffeIdError;

    fn from_str(text: &str) -> Result<Self, ParseSpiffeIdError> {
        if text.len() > Self::MAX_BYTES {
            return Err(ParseSpiffeIdError::TooLong { bytes: text.len() });
        }
        let Some(rest) = text.strip_prefix(Self::SCHEME) else {
            return Err(ParseSpiffeIdError::Scheme { text: text.to_owned() });
        };
        let mut path = Path { text, segments: rest.split('/') };
        let trust_domain = path.next("trust domain")?;
        let trust_domain = trust_domain.parse().map_err(|source| ParseSpiffeIdError::TrustDomain { source })?;
        let cluster = path.name("cluster")?;
        let role = path.name("role")?;
        let node = path.name("node")?;
        path.end()?;
        Ok(Self { trust_domain, cluster, role, node })
    }
}

/// What is left of a SPIFFE ID while it is read.
struct Path<'a> {
    text: &'a str,
    segments: std::str::Split<'a, char>,
}

impl<'a> Path<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, ParseSpiffeIdError> {
        let missing = || ParseSpiffeIdError::Missing { text: self.text.to_owned(), expected };
        self.segments.next().ok_or_else(missing)
    }

    /// Reads `<label>/<name>`.
    fn name<T: FromStr<Err = NameError>>(&mut self, label: &'static str) -> Result<T, ParseSpiffeIdError> {
        let found = self.next(label)?;
        if found != label {
            return Err(ParseSpiffeIdError::Segment { expected: label, found: found.to_owned() });
        }
        self.next(label)?.parse().map_err(|source| ParseSpiffeIdError::Name { source })
    }

    fn end(mut self) -> Result<(), ParseSpiffeIdError> {
        match self.segments.next() {
            None => Ok(()),
            Some(found) => Err(ParseSpiffeIdError::Extra { found: found.to_owned() }),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, cluster, role, node } = self;
        write!(f, "{}{trust_domain}/cluster/{cluster}/role/{role}/node/{node}", Self::SCHEME)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
