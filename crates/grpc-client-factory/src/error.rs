//! Why a call failed on its way, and as which status its caller is told.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mesh_types::Endpoint;
use peers_core::PickError;
use tonic::{Code, Status};

use crate::factory::ChannelError;
use crate::target::Protocol;
use crate::tls_failure::TlsFailure;

/// Cause of an error, shared by all calls that it ended.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a call failed on its way, before or beside what the server has to say about it.
///
/// Callers find it as the `source()` of the [`Status`] they get, as an `Arc<FactoryError>`; see [`FactoryError::of`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactoryError {
    /// One side does not accept the other's certificate. No other protocol is tried: the certificates would be the same.
    #[error(transparent)]
    Tls(Box<TlsFailure>),
    /// The name of the endpoint could not be looked up.
    #[error("cannot resolve `{endpoint}`")]
    Resolve {
        /// Whose name.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
    /// No connection came about.
    #[error("cannot connect to `{endpoint}` over {protocol}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Over what.
        protocol: Protocol,
        /// What failed.
        source: Cause,
    },
    /// No connection came about in time.
    #[error("no connection to `{endpoint}` over {protocol} within {after:?}")]
    ConnectTimeout {
        /// Where.
        endpoint: Endpoint,
        /// Over what.
        protocol: Protocol,
        /// How long it was tried.
        after: Duration,
    },
    /// The connection was lost under the call. Whether the server has executed it is not known.
    #[error("connection to `{endpoint}` over {protocol} was lost; the call may have been executed")]
    Lost {
        /// Where.
        endpoint: Endpoint,
        /// Over what.
        protocol: Protocol,
        /// What ended the connection.
        source: Cause,
    },
    /// The server broke the call off without a status.
    #[error("`{endpoint}` reset the call over {protocol} with code {code:#x}")]
    Reset {
        /// Where.
        endpoint: Endpoint,
        /// Over what; the code is one of its error codes.
        protocol: Protocol,
        /// The error code.
        code: u64,
    },
    /// The server took no notice of the call: it is draining or has too much to do. It is safe to call again.
    #[error("`{endpoint}` did not take the call over {protocol}")]
    Refused {
        /// Where.
        endpoint: Endpoint,
        /// Over what.
        protocol: Protocol,
    },
    /// The server serves nothing of the kind any more, or is about to end; it has not begun to answer. It is safe to call another.
    #[error("`{endpoint}` did not process the call: {said}")]
    NotProcessed {
        /// Where.
        endpoint: Endpoint,
        /// Why, in its own words.
        said: String,
    },
    /// The time of the call was over.
    #[error("no answer from `{endpoint}` within {after:?}")]
    Deadline {
        /// Who was called.
        endpoint: Endpoint,
        /// How long the call had.
        after: Duration,
    },
    /// A message is larger than the profile allows. It was not sent, or not taken.
    #[error("message of {bytes} bytes is larger than {limit}, the most that is {done}")]
    TooLarge {
        /// How large it is.
        bytes: u64,
        /// The most that is allowed.
        limit: u64,
        /// `sent` or `received`.
        done: &'static str,
    },
    /// The call's deadline cannot be read.
    #[error("grpc-timeout {text:?} is none")]
    BadTimeout {
        /// What stands in its place.
        text: String,
    },
    /// None of the peers can be called, and nothing was sent.
    #[error("no peer can be called{}", told(*retry_in))]
    NoPeer {
        /// Why not.
        source: PickError,
        /// When the first breaker lets a call through, if that is what it takes.
        retry_in: Option<Duration>,
    },
    /// There is no channel to the peer that was picked.
    #[error("no channel to the peer that was picked")]
    NoChannel(#[from] ChannelError),
    /// The factory was closed.
    #[error("client factory is closed")]
    Closed,
}

impl FactoryError {
    /// Returns the error behind `status`, if the call failed on its way.
    #[must_use]
    pub fn of(status: &Status) -> Option<&Self> {
        let mut source = status.source();
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref::<Arc<Self>>() {
                return Some(found);
            }
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }

    /// Returns the status code that callers are told.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Tls(_) => Code::Unauthenticated,
            Self::Deadline { .. } | Self::NoPeer { source: PickError::DeadlineExpired, .. } => Code::DeadlineExceeded,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::BadTimeout { .. } => Code::InvalidArgument,
            Self::Reset { protocol: Protocol::Http2, code, .. } => code_of_h2(*code),
            Self::Reset { protocol: Protocol::Http3, code, .. } => code_of_h3(*code),
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Lost { .. }
            | Self::Refused { .. }
            | Self::NotProcessed { .. }
            | Self::NoPeer { .. }
            | Self::NoChannel(_)
            | Self::Closed => Code::Unavailable,
        }
    }

    /// Returns whether another protocol would fare no better: who the two are stays the same.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Tls(failure) => failure.reason.is_about_identity(),
            Self::Closed | Self::Resolve { .. } => true,
            _ => false,
        }
    }

    /// Returns whether the host has said that nobody listens for TCP.
    pub(crate) fn is_refused_over_tcp(&self) -> bool {
        let Self::Connect { protocol: Protocol::Http2, source, .. } = self else { return false };
        source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Returns whether no server has seen anything of the call, so that another may have it.
    pub(crate) const fn is_unseen(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Connect { .. }
                | Self::ConnectTimeout { .. }
                | Self::Refused { .. }
                | Self::NotProcessed { .. }
        )
    }

    /// Returns the error as a status, with itself as the source.
    #[must_use]
    pub fn status(self: &Arc<Self>) -> Status {
        let mut status = Status::new(self.code(), chain(self.as_ref()));
        status.set_source(Arc::new(Arc::clone(self)));
        status
    }
}

impl From<TlsFailure> for FactoryError {
    fn from(failure: TlsFailure) -> Self {
        Self::Tls(Box::new(failure))
    }
}

impl From<FactoryError> for Status {
    fn from(error: FactoryError) -> Self {
        Arc::new(error).status()
    }
}

fn told(retry_in: Option<Duration>) -> String {
    retry_in.map(|wait| format!(" for {wait:?}")).unwrap_or_default()
}

/// Returns an error with its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Libraries repeat their cause as often as not.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// grpc/grpc `PROTOCOL-HTTP2.md`, "Errors".
const fn code_of_h2(code: u64) -> Code {
    match code {
        0x7 => Code::Unavailable,       // REFUSED_STREAM
        0x8 => Code::Cancelled,         // CANCEL
        0xb => Code::ResourceExhausted, // ENHANCE_YOUR_CALM
        0xc => Code::PermissionDenied,  // INADEQUATE_SECURITY
        _ => Code::Internal,
    }
}

/// grpc/proposal G2, "HTTP/3 error codes".
const fn code_of_h3(code: u64) -> Code {
    match code {
        0x107 => Code::ResourceExhausted, // H3_EXCESSIVE_LOAD
        0x10b => Code::Unavailable,       // H3_REQUEST_REJECTED
        0x10c => Code::Cancelled,         // H3_REQUEST_CANCELLED
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        "node-a:7070".parse().unwrap()
    }

    #[track_caller]
    fn check_reset(protocol: Protocol, code: u64, expected: Code) {
        assert_eq!(FactoryError::Reset { endpoint: endpoint(), protocol, code }.code(), expected, "{code:#x}");
    }

    #[test]
    fn resets_have_the_codes_that_grpc_gives_them() {
        for (code, expected) in [
            (0x100, Code::Internal),
            (0x102, Code::Internal),
            (0x107, Code::ResourceExhausted),
            (0x10b, Code::Unavailable),
            (0x10c, Code::Cancelled),
        ] {
            check_reset(Protocol::Http3, code, expected);
        }
        for (code, expected) in [
            (0x0, Code::Internal),
            (0x1, Code::Internal),
            (0x7, Code::Unavailable),
            (0x8, Code::Cancelled),
            (0xb, Code::ResourceExhausted),
            (0xc, Code::PermissionDenied),
        ] {
            check_reset(Protocol::Http2, code, expected);
        }
    }

    #[test]
    fn a_status_tells_the_whole_story_and_keeps_the_error() {
        let source: Cause = Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        let error = FactoryError::Connect { endpoint: endpoint(), protocol: Protocol::Http2, source };
        let status = Status::from(error);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "cannot connect to `node-a:7070` over HTTP/2: connection refused");
        assert!(matches!(FactoryError::of(&status), Some(FactoryError::Connect { .. })));
        // tonic hands errors on through this.
        let handed_on = Status::from_error(Box::new(status));
        assert!(matches!(FactoryError::of(&handed_on), Some(FactoryError::Connect { .. })));
    }

    #[test]
    fn a_status_of_the_server_holds_no_error_of_ours() {
        assert!(FactoryError::of(&Status::not_found("nobody")).is_none());
    }
}
