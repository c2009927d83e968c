//! How a call failed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tonic::Code;

use crate::code;
use crate::header;
use crate::meta_value::MetaValue;

const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// gRPC's base64: with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a call failed: a code, a message for people, and what the application adds. One word of memory.
///
/// It is a [`tonic::Status`] that keeps the application's own error code among its metadata, so that it passes through gRPC as
/// it is, details and cause included.
#[derive(Clone)]
pub struct Status(tonic::Status);

impl Status {
    /// Makes a failure.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(tonic::Status::new(code, message))
    }

    /// Returns it with the application's own word for what went wrong.
    #[must_use]
    pub fn with_error_code(mut self, error_code: &MetaValue) -> Self {
        self.metadata_mut().insert(header::GRPC_ERROR_CODE, error_code.to_header());
        self
    }

    /// Returns it with details: the bytes of a `google.rpc.Status`, by custom.
    #[must_use]
    pub fn with_details(self, details: Bytes) -> Self {
        let Self(status) = self;
        let metadata = status.metadata().clone();
        let mut detailed = tonic::Status::with_details_and_metadata(status.code(), status.message(), details, metadata);
        if let Some(source) = source_of(&status) {
            detailed.set_source(source);
        }
        Self(detailed)
    }

    /// Returns it with its cause, which is for this process only.
    #[must_use]
    pub fn with_source(mut self, source: Arc<dyn Error + Send + Sync>) -> Self {
        self.0.set_source(source);
        self
    }

    /// Reads how a call over gRPC ended: from its trailers, or from its headers if there was nothing else. `None` if they do
    /// not say. Details that cannot be read are left out.
    #[must_use]
    pub fn of_trailers(trailers: &HeaderMap) -> Option<Self> {
        let readable = |details: &HeaderValue| BASE64.decode(details.as_bytes()).is_ok();
        if trailers.get(GRPC_DETAILS).is_none_or(readable) {
            return tonic::Status::from_header_map(trailers).map(Self);
        }
        // tonic would panic.
        let mut without = trailers.clone();
        without.remove(GRPC_DETAILS);
        tonic::Status::from_header_map(&without).map(Self)
    }

    /// Writes it as the trailers of a call over gRPC.
    pub fn write_trailers(&self, trailers: &mut HeaderMap) {
        if let Err(unwritable) = self.0.add_header(trailers) {
            // tonic encodes all that could not be written as it is; should it fail, the code is what callers need.
            trailers.insert(tonic::Status::GRPC_STATUS, HeaderValue::from(self.code() as i32));
            tracing::debug!(%unwritable, status = %self, "status is told without its message");
        }
        trailers.insert(header::GRPC_STATUS_WORD, HeaderValue::from_static(self.word()));
        if let Some(message) = trailers.get(tonic::Status::GRPC_MESSAGE).cloned() {
            trailers.insert(header::GRPC_ERROR_MESSAGE, message);
        }
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code()
    }

    /// Returns the word for the code, such as `resource-exhausted`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        code::word(self.code())
    }

    /// Returns what it is over plain HTTP.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        code::to_http(self.code())
    }

    /// Returns the message for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.message()
    }

    /// Returns the application's own word for what went wrong.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        self.metadata().get(header::GRPC_ERROR_CODE).and_then(|value| value.to_str().ok())
    }

    /// Returns the details.
    #[must_use]
    pub fn details(&self) -> &[u8] {
        self.0.details()
    }

    /// Returns what the application adds.
    #[must_use]
    pub fn metadata(&self) -> &HeaderMap {
        self.0.metadata().as_ref()
    }

    /// Returns what the application adds, to be changed.
    pub fn metadata_mut(&mut self) -> &mut HeaderMap {
        self.0.metadata_mut().as_mut()
    }
}

/// Keeps the whole status as a cause: tonic shows its cause, and does not give it.
fn source_of(status: &tonic::Status) -> Option<Arc<dyn Error + Send + Sync>> {
    status.source().is_some().then(|| Arc::new(status.clone()) as _)
}

impl From<tonic::Status> for Status {
    fn from(status: tonic::Status) -> Self {
        Self(status)
    }
}

impl From<Status> for tonic::Status {
    fn from(Status(status): Status) -> Self {
        status
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.word(), self.message())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("code", &self.code()).field("message", &self.message()).finish_non_exhaustive()
    }
}

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Status {
        let mut status =
            Status::new(Code::ResourceExhausted, "100 % full: über").with_details(Bytes::from_static(b"\0\x9f"));
        status.metadata_mut().insert("x-tenant", HeaderValue::from_static("7"));
        status.with_error_code(&"quota.daily".parse().expect("a value"))
    }

    #[test]
    fn a_status_passes_through_trailers_whole() {
        let mut trailers = HeaderMap::new();
        refused().write_trailers(&mut trailers);
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(text("omnirelay-status"), Some("resource-exhausted"));
        assert_eq!(text("omnirelay-error-code"), Some("quota.daily"));
        assert_eq!((text("omnirelay-error-message"), text("grpc-status")), (text("grpc-message"), Some("8")));
        let read = Status::of_trailers(&trailers).expect("a status");
        assert_eq!((read.code(), read.message()), (Code::ResourceExhausted, "100 % full: über"));
        assert_eq!((read.error_code(), read.details()), (Some("quota.daily"), &b"\0\x9f"[..]));
        assert_eq!(read.metadata().get("x-tenant"), Some(&HeaderValue::from_static("7")));
        assert_eq!(read.to_string(), "resource-exhausted: 100 % full: über");
    }

    #[test]
    fn details_that_are_no_base64_are_left_out() {
        let mut trailers = HeaderMap::new();
        assert!(Status::of_trailers(&trailers).is_none());
        refused().write_trailers(&mut trailers);
        trailers.insert(GRPC_DETAILS, HeaderValue::from_static("***"));
        let read = Status::of_trailers(&trailers).expect("a status");
        assert_eq!((read.code(), read.details()), (Code::ResourceExhausted, &b""[..]));
    }

    #[test]
    fn the_cause_is_kept_and_stays_here() {
        let cause = Arc::new(std::io::Error::other("disk is full"));
        let status =
            Status::new(Code::Internal, "cannot store").with_source(cause).with_details(Bytes::from_static(b"d"));
        let whole = status.source().and_then(Error::source);
        assert!(whole.is_some_and(|kept| kept.is::<std::io::Error>()));
        let mut trailers = HeaderMap::new();
        status.write_trailers(&mut trailers);
        assert!(Status::of_trailers(&trailers).is_some_and(|read| read.source().is_none()));
    }
}
