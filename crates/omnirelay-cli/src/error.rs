//! What can go wrong, in words that say what to do.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use identity::LoadCredentialsError;

use crate::client::RequestError;
use crate::output::note;

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
            Self::NoCredentials { .. } | Self::BadCredentials { .. } | Self::LabelTwice { .. } => ExitCode::from(USAGE),
            Self::Request(_) | Self::Resumed | Self::Interrupted | Self::Output(_) | Self::Runtime { .. } => {
                ExitCode::from(FAILURE)
            }
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials { .. } => {
                Some("set --cert, --key and --ca, or OMNIRELAY_CERT, OMNIRELAY_KEY and OMNIRELAY_CA")
            }
            Self::Request(error) => error.hint(),
            Self::BadCredentials { .. }
            | Self::LabelTwice { .. }
            | Self::Resumed
            | Self::Interrupted
            | Self::Output(_)
            | Self::Runtime { .. } => None,
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
