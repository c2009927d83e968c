//! Short names that go into certificates, metrics and URLs as they are.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name accepted, in bytes.
const MAX_BYTES: usize = 63;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("{what} is empty")]
    Empty {
        /// Which name was being read.
        what: &'static str,
    },
    /// The text is longer than 63 bytes.
    #[error("{what} is {bytes} bytes long, more than {MAX_BYTES}")]
    TooLong {
        /// Which name was being read.
        what: &'static str,
        /// How long the text is.
        bytes: usize,
    },
    /// The text holds a character outside `A-Z a-z 0-9 . _ -`.
    #[error("{what} `{text}` holds {found:?}; letters, digits, `.`, `_` and `-` are valid")]
    Character {
        /// Which name was being read.
        what: &'static str,
        /// The text as given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// The text is `.` or `..`, which a URI path would swallow.
    #[error("{what} `{text}` consists of dots only")]
    Dots {
        /// Which name was being read.
        what: &'static str,
        /// The text as given.
        text: String,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > MAX_BYTES {
        return Err(NameError::TooLong { what, bytes: text.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(found) = text.chars().find(|c| !allowed(*c)) {
        return Err(NameError::Character { what, text: text.to_owned(), found });
    }
    if text == "." || text == ".." {
        return Err(NameError::Dots { what, text: text.to_owned() });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 63 bytes of `A-Z a-z 0-9 . _ -` (a SPIFFE path segment); cloning is a reference count.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of a node, unique in its cluster and bound to its certificate.
    NodeId, "node id"
}
name! {
    /// Name of a cluster: the set of nodes that may gossip with one another.
    ClusterId, "cluster id"
}
name! {
    /// What a node is for, such as `dispatcher`, `gateway` or `worker`.
    Role, "role"
}
name! {
    /// Name of a service that is called through the mesh, such as `payments` or `acme.payments.v1.Payments`.
    ServiceName, "service name"
}
name! {
    /// Where a node runs, such as `eu-1`.
    Region, "region"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_node(text: &str, expected: Result<&str, NameError>) {
        assert_eq!(text.parse::<NodeId>().map(|node| node.to_string()), expected.map(str::to_owned));
    }

    #[test]
    fn a_name_is_a_spiffe_path_segment_of_at_most_63_bytes() {
        let what = "node id";
        let longest = "n".repeat(63);
        check_node(&longest, Ok(&longest));
        check_node("Node_7.eu-1", Ok("Node_7.eu-1"));
        check_node("", Err(NameError::Empty { what }));
        check_node(&"n".repeat(64), Err(NameError::TooLong { what, bytes: 64 }));
        check_node("a/b", Err(NameError::Character { what, text: "a/b".to_owned(), found: '/' }));
        check_node("nöd", Err(NameError::Character { what, text: "nöd".to_owned(), found: 'ö' }));
        check_node("..", Err(NameError::Dots { what, text: "..".to_owned() }));
    }
}
