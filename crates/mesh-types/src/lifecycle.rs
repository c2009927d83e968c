//! What work a node takes.

use std::fmt;
use std::str::FromStr;

/// What work a node takes, as its operator wants it and the node tells everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum NodeLifecycle {
    /// Any.
    #[default]
    Active,
    /// Nothing new; what it has stays.
    Cordoned,
    /// Nothing new, and what it has is to end or to go elsewhere.
    Draining,
}

/// A text that names no lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lifecycle `{text}` is not one of active, cordoned, draining")]
pub struct ParseLifecycleError {
    /// The text.
    pub text: String,
}

impl NodeLifecycle {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Active, Self::Cordoned, Self::Draining];

    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for NodeLifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NodeLifecycle {
    type Err = ParseLifecycleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|lifecycle| lifecycle.as_str() == text);
        named.ok_or_else(|| ParseLifecycleError { text: text.to_owned() })
    }
}
