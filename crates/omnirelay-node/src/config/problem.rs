//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::origin::Origin;
use crate::chain::Chain;

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug)]
pub(crate) struct ConfigError {
    /// At least one.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "configuration has {count} problem{}", if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {}", Chain(problem)))
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A configuration file cannot be read.
    #[error("cannot read configuration file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A configuration file is not TOML.
    #[error("file {}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// Nobody knows that key.
    #[error("{origin}: unknown key `{key}`{}", .suggestion.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownKey {
        /// Who sets it.
        origin: Origin,
        /// The key as given.
        key: String,
        /// A key that resembles it.
        suggestion: Option<&'static str>,
    },
    /// A `--set` without `=`.
    #[error("flag --set: `{text}` is not of the form `key=value`")]
    NoAssignment {
        /// What was given.
        text: String,
    },
    /// An environment variable's value is not text.
    #[error("env {variable}: the value is not valid UTF-8")]
    NotUnicode {
        /// The variable.
        variable: String,
    },
    /// Two environment variables give one key two values.
    #[error("env {first} and env {second} set `{key}` to different values; keep one")]
    Contradiction {
        /// The one variable.
        first: String,
        /// The other one.
        second: String,
        /// The key.
        key: String,
    },
    /// A value is not one of the valid ones.
    #[error("{origin}: `{key}` is {found}; {valid}")]
    WrongValue {
        /// Who set it.
        origin: String,
        /// The key.
        key: String,
        /// The value as given.
        found: String,
        /// What would be valid.
        valid: String,
    },
    /// A value is too long or too much of it.
    #[error("{origin}: `{key}` is not valid: {reason}")]
    Unfit {
        /// Who set it.
        origin: String,
        /// The key.
        key: &'static str,
        /// What is wrong and what would be valid.
        reason: String,
    },
    /// A setting is needed and not set.
    #[error("`{key}` is not set: {what}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it has to hold.
        what: &'static str,
    },
    /// The control endpoint would be unencrypted.
    #[error(
        "{origin}: `control.plaintext` is true; only `omnirelay-node dev` may serve plain HTTP, and only on loopback"
    )]
    Plaintext {
        /// Who set it.
        origin: String,
    },
    /// The certificate is of another node, cluster or role.
    #[error("`{key}` is `{configured}`, but the certificate is of `{certified}`; set it to that or leave it out")]
    NotTheCertificates {
        /// The key.
        key: &'static str,
        /// Its value.
        configured: String,
        /// What the certificate says.
        certified: String,
    },
    /// Every part of the node is switched off.
    #[error("`mesh.gossip.enabled` and `control.enabled` are both false: nothing is left to run")]
    NothingEnabled,
}
