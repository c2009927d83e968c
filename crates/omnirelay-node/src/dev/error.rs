//! Why a development mesh failed.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use bootstrap::CaError;
use grpc_client_factory::BuildFactoryError;

/// Why a development mesh failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot make a directory for certificates and logs")]
    Directory(#[source] io::Error),
    #[error("cannot remove `{}`", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("cannot make certificates")]
    Certificates(#[from] CaError),
    #[error("there is no node `{name}`; there are {} to {}", names.0, names.1)]
    Unknown { name: String, names: Box<(String, String)> },
    #[error("cannot name the nodes")]
    Name(#[from] identity::ParseSpiffeIdError),
    #[error("cannot load the operator's certificate")]
    Operator(#[from] identity::LoadCredentialsError),
    #[error("cannot call the nodes")]
    Calls(#[from] BuildFactoryError),
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot start {name}")]
    Start { name: String, source: io::Error },
    #[error("{name} ended before it was up: {status}{log}")]
    Ended { name: String, status: ExitStatus, log: String },
    #[error("cannot read what {name} reports")]
    Report { name: String, source: io::Error },
    #[error("nodes did not find one another within {limit:?}: {seen}")]
    NotDiscovered { limit: Duration, seen: String },
    #[error("nodes were not up within {limit:?}{logs}")]
    NotUp { limit: Duration, logs: String },
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("{signal} came before the nodes had found one another")]
    Interrupted { signal: &'static str },
    #[error("cannot stop {name}")]
    Stop { name: String, source: io::Error },
}
