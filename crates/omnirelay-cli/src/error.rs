//! What can go wrong, in words that say what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use dispatcher::{ProcedureName, ProcedureNameError};
use hyper::header::HeaderName;
use identity::LoadCredentialsError;

use crate::client::RequestError;
use crate::endpoint::Endpoint;
use crate::output::note;
use crate::rpc::{CallError, Listener};

/// Exit code: it failed.
const FAILURE: u8 = 1;
/// Exit code: it was called wrongly.
pub(crate) const USAGE: u8 = 2;

/// Why the command ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("https:// needs a certificate, and {missing} is not set")]
    NoCredentials { missing: String },
    #[error("cannot load the certificate")]
    BadCredentials { source: LoadCredentialsError },
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("label `{key}` is named twice")]
    LabelTwice { key: String },
    #[error("`{name}` is not a header of applications")]
    ReservedHeader { name: HeaderName },
    #[error("there can be no such procedure")]
    Procedure { source: ProcedureNameError },
    #[error("the message is not JSON")]
    NotJson { source: serde_json::Error },
    #[error("cannot read `{}`", file.display())]
    Data { file: PathBuf, source: io::Error },
    #[error("the message is larger than {bytes} bytes")]
    TooLarge { bytes: usize },
    #[error("`{endpoint}` cannot be called")]
    Listener { endpoint: Endpoint, source: Box<dyn Error + Send + Sync> },
    #[error("`{listener}` does not tell about itself")]
    Introspect { listener: Listener, source: CallError },
    #[error("{procedure} failed")]
    Call { procedure: ProcedureName, source: CallError },
    #[error("{failed} calls failed")]
    CallsFailed { failed: u64 },
    #[error("`omnirelay-node`, which reads configurations, is neither beside this program nor on PATH")]
    NoNode,
    #[error("cannot start `{}`", program.display())]
    Node { program: PathBuf, source: io::Error },
    #[error("the drain was ended by somebody else: the node takes work again")]
    Resumed,
    #[error("not waited for any longer; the node goes on with what it was told")]
    Interrupted,
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    #[error("cannot start")]
    Runtime { source: io::Error },
}

impl CliError {
    /// Tells people on standard error, and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // The reader has seen enough, as in `omnirelay … | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            _ => note(&format!("error: {}", chain(self))),
        }
        if let Some(hint) = self.hint() {
            note(&format!("hint: {hint}"));
        }
        match self {
            Self::NoCredentials { .. }
            | Self::BadCredentials { .. }
            | Self::LabelTwice { .. }
            | Self::ReservedHeader { .. }
            | Self::Procedure { .. }
            | Self::NotJson { .. }
            | Self::Data { .. }
            | Self::TooLarge { .. } => ExitCode::from(USAGE),
            Self::Listener { .. }
            | Self::Introspect { .. }
            | Self::Call { .. }
            | Self::CallsFailed { .. }
            | Self::NoNode
            | Self::Node { .. }
            | Self::Request(_)
            | Self::Resumed
            | Self::Interrupted
            | Self::Output(_)
            | Self::Runtime { .. } => ExitCode::from(FAILURE),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials { .. } => {
                Some("set --cert, --key and --ca, or OMNIRELAY_CERT, OMNIRELAY_KEY and OMNIRELAY_CA")
            }
            Self::Request(error) => error.hint(),
            Self::Call { source: CallError::Way { .. }, .. }
            | Self::Introspect { source: CallError::Way { .. }, .. } => {
                Some("is the node running? --via says where it takes calls, and --wire how it is spoken to")
            }
            Self::NotJson { .. } => Some("--encoding raw sends a message as it is"),
            _ => None,
        }
    }
}

/// Returns the error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        // Some libraries repeat their cause in their own words.
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
