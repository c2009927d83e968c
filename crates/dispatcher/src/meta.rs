//! What goes with the messages of a call.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use tonic::Code;

use crate::encoding::{Encoding, EncodingError};
use crate::header;
use crate::meta_value::{MetaValue, MetaValueError};
use crate::procedure::Shape;
use crate::status::Status;

/// What a caller says beside its messages. The same headers say it over gRPC and over plain HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestMeta {
    /// Who calls, by its own word: for logs and metrics, never for permissions.
    pub caller: Option<MetaValue>,
    /// How the messages are encoded, if the caller says so.
    pub encoding: Option<Encoding>,
    /// Shard that the call is about, `namespace/shard`.
    pub shard_key: Option<MetaValue>,
    /// Key by which calls that belong together find the same peer.
    pub routing_key: Option<MetaValue>,
    /// Service or node by which the call goes instead.
    pub routing_delegate: Option<MetaValue>,
    /// Whether the call may be executed more than once without harm. Default: no.
    pub is_idempotent: bool,
    /// How long the caller waits, counted from when it called.
    pub ttl: Option<Duration>,
    /// Until when the caller waits, by its own clock.
    pub deadline: Option<Timestamp>,
    /// What the application adds. Headers of the protocols and names that begin with `rpc-`, `grpc-` or `omnirelay-` are not written.
    pub headers: HeaderMap,
}

/// What goes before the messages of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseMeta {
    /// How the messages are encoded, if the handler says so.
    pub encoding: Option<Encoding>,
    /// Shape of the procedure, if the answer says so: that of oneway ones does.
    pub shape: Option<Shape>,
    /// What the application adds, with the same exceptions as in a request.
    pub headers: HeaderMap,
}

/// Why metadata cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaError {
    /// A header has a value that none of ours has.
    #[error("header `{header}`: {problem}")]
    Value {
        /// Which one.
        header: HeaderName,
        /// What is wrong with it.
        problem: MetaValueError,
    },
    /// The encoding has no valid name.
    #[error("header `rpc-encoding`: {0}")]
    Encoding(EncodingError),
    /// The time to live is no number.
    #[error("header `rpc-ttl-ms` is `{text}`, not a number of milliseconds")]
    Ttl {
        /// What stands there.
        text: MetaValue,
    },
    /// The deadline is no time.
    #[error("header `rpc-deadline` is `{text}`, not a time like 2025-11-19T15:23:04Z")]
    Deadline {
        /// What stands there.
        text: MetaValue,
    },
}

impl RequestMeta {
    /// Reads what `headers` say.
    ///
    /// # Errors
    /// A header of ours has a value that cannot be read.
    pub fn read(headers: &HeaderMap) -> Result<Self, MetaError> {
        Ok(Self {
            caller: value(headers, &header::CALLER)?,
            encoding: encoding(headers)?,
            shard_key: value(headers, &header::SHARD_KEY)?,
            routing_key: value(headers, &header::ROUTING_KEY)?,
            routing_delegate: value(headers, &header::ROUTING_DELEGATE)?,
            is_idempotent: headers
                .get(header::IDEMPOTENT)
                .is_some_and(|told| told.as_bytes().eq_ignore_ascii_case(b"true")),
            headers: free(headers),
            ..times(headers)?
        })
    }

    /// Writes it into `headers`, which keep what else they have.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Self { caller, shard_key, routing_key, routing_delegate, .. } = self;
        for (name, value) in [
            (header::CALLER, caller),
            (header::SHARD_KEY, shard_key),
            (header::ROUTING_KEY, routing_key),
            (header::ROUTING_DELEGATE, routing_delegate),
        ] {
            if let Some(value) = value {
                headers.insert(name, value.to_header());
            }
        }
        if self.is_idempotent {
            headers.insert(header::IDEMPOTENT, HeaderValue::from_static("true"));
        }
        if let Some(ttl) = self.ttl {
            headers.insert(header::TTL_MS, HeaderValue::from(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)));
        }
        if let Some(deadline) = self.deadline {
            headers.insert(header::DEADLINE, header_of(deadline.to_string()));
        }
        write_encoding(self.encoding.as_ref(), headers);
        write_free(&self.headers, headers);
    }

    /// Returns how long the caller waits at `now`, by all that it says here; zero if that is over already, `None` if it
    /// does not say.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        let until =
            self.deadline.map(|deadline| Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO));
        match (self.ttl, until) {
            (Some(ttl), Some(until)) => Some(ttl.min(until)),
            (one, other) => one.or(other),
        }
    }
}

impl ResponseMeta {
    /// Reads what `headers` say.
    ///
    /// # Errors
    /// The encoding has no valid name.
    pub fn read(headers: &HeaderMap) -> Result<Self, MetaError> {
        let shape = value(headers, &header::SHAPE)?.and_then(|word| Shape::of_word(word.as_str()));
        Ok(Self { encoding: encoding(headers)?, shape, headers: free(headers) })
    }

    /// Writes it into `headers`, which keep what else they have.
    pub fn write(&self, headers: &mut HeaderMap) {
        write_encoding(self.encoding.as_ref(), headers);
        if let Some(shape) = self.shape {
            headers.insert(header::SHAPE, HeaderValue::from_static(shape.as_str()));
        }
        write_free(&self.headers, headers);
    }
}

/// Reads only what `headers` say of time.
pub(crate) fn times(headers: &HeaderMap) -> Result<RequestMeta, MetaError> {
    let ttl = value(headers, &header::TTL_MS)?.map(ttl).transpose()?;
    let deadline = value(headers, &header::DEADLINE)?.map(deadline).transpose()?;
    Ok(RequestMeta { ttl, deadline, ..RequestMeta::default() })
}

fn value(headers: &HeaderMap, name: &HeaderName) -> Result<Option<MetaValue>, MetaError> {
    let wrong = |problem| MetaError::Value { header: name.clone(), problem };
    headers.get(name).map(|value| MetaValue::of_header(value).map_err(wrong)).transpose()
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, MetaError> {
    if let Some(word) = value(headers, &header::ENCODING)? {
        return word.as_str().parse().map(Some).map_err(MetaError::Encoding);
    }
    let content_type = headers.get(http::header::CONTENT_TYPE);
    Ok(content_type.and_then(|kind| kind.to_str().map_or(None, Encoding::of_content_type)))
}

fn ttl(text: MetaValue) -> Result<Duration, MetaError> {
    match text.as_str().parse() {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_not_a_number) => Err(MetaError::Ttl { text }),
    }
}

fn deadline(text: MetaValue) -> Result<Timestamp, MetaError> {
    match text.as_str().parse() {
        Ok(time) => Ok(time),
        Err(_no_time) => Err(MetaError::Deadline { text }),
    }
}

fn free(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    write_free(headers, &mut kept);
    kept
}

fn write_free(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from.iter().filter(|(name, _)| header::is_free(name)) {
        to.append(name, value.clone());
    }
}

fn write_encoding(encoding: Option<&Encoding>, headers: &mut HeaderMap) {
    if let Some(encoding) = encoding {
        headers.insert(header::ENCODING, header_of(encoding.as_str().to_owned()));
    }
}

fn header_of(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("words of encodings and times are visible ASCII")
}

impl From<MetaError> for Status {
    fn from(error: MetaError) -> Self {
        Self::new(Code::InvalidArgument, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, text)| (HeaderName::from_static(name), HeaderValue::from_static(text))).collect()
    }

    fn of(text: &str) -> Option<MetaValue> {
        Some(text.parse().expect("a value"))
    }

    #[test]
    fn metadata_is_written_as_it_was_read() {
        let told = headers(&[
            ("rpc-caller", "billing"),
            ("rpc-encoding", "json"),
            ("rpc-shard-key", "orders/7"),
            ("rpc-routing-key", "tenant 7"),
            ("rpc-routing-delegate", "node-b"),
            ("rpc-idempotent", "true"),
            ("rpc-ttl-ms", "250"),
            ("rpc-deadline", "2025-11-19T15:23:04.5Z"),
            ("x-tenant", "7"),
        ]);
        let read = RequestMeta::read(&told).expect("valid");
        let expected = RequestMeta {
            caller: of("billing"),
            encoding: Some(Encoding::JSON),
            shard_key: of("orders/7"),
            routing_key: of("tenant 7"),
            routing_delegate: of("node-b"),
            is_idempotent: true,
            ttl: Some(Duration::from_millis(250)),
            deadline: "2025-11-19T15:23:04.5Z".parse().ok(),
            headers: headers(&[("x-tenant", "7")]),
        };
        assert_eq!(read, expected);
        let mut written = HeaderMap::new();
        read.write(&mut written);
        assert_eq!(written, told);
    }

    #[test]
    fn headers_of_the_wire_are_neither_read_nor_written_as_the_applications() {
        let told = headers(&[("te", "trailers"), ("content-type", "application/grpc+json"), ("grpc-timeout", "1S")]);
        let read = RequestMeta::read(&told).expect("valid");
        assert_eq!(read, RequestMeta { encoding: Some(Encoding::JSON), ..RequestMeta::default() });
        let mut written = HeaderMap::new();
        ResponseMeta { headers: told, ..ResponseMeta::default() }.write(&mut written);
        assert_eq!(written, HeaderMap::new());
        let oneway = headers(&[("rpc-shape", "oneway"), ("rpc-encoding", "raw")]);
        ResponseMeta::read(&oneway).expect("valid").write(&mut written);
        assert_eq!(written, oneway);
    }

    #[test]
    fn a_header_that_cannot_be_read_is_named() {
        for (name, text, message) in [
            ("rpc-caller", "", "header `rpc-caller`: value is empty"),
            (
                "rpc-encoding",
                "a b",
                "header `rpc-encoding`: encoding \"a b\" is not 1 to 32 bytes of `a-z 0-9 . + _ -`",
            ),
            ("rpc-ttl-ms", "-1", "header `rpc-ttl-ms` is `-1`, not a number of milliseconds"),
            ("rpc-deadline", "soon", "header `rpc-deadline` is `soon`, not a time like 2025-11-19T15:23:04Z"),
        ] {
            let status = RequestMeta::read(&headers(&[(name, text)])).map_err(Status::from).expect_err(name);
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
        }
    }

    #[test]
    fn the_earliest_of_what_the_caller_says_counts() {
        let now: Timestamp = "2025-11-19T15:00:00Z".parse().expect("a time");
        let left = |ttl: Option<u64>, deadline: Option<&str>| {
            let deadline = deadline.map(|text| text.parse().expect("a time"));
            RequestMeta { ttl: ttl.map(Duration::from_millis), deadline, ..RequestMeta::default() }.time_left(now)
        };
        let (second, soon, past) = (Duration::from_secs(1), "2025-11-19T15:00:01Z", "2025-11-19T14:59:59+00:00");
        assert_eq!(left(None, None), None);
        assert_eq!(left(Some(250), None), Some(Duration::from_millis(250)));
        assert_eq!(left(None, Some(soon)), Some(second));
        assert_eq!(left(Some(250), Some(soon)), Some(Duration::from_millis(250)));
        assert_eq!(left(Some(2500), Some(soon)), Some(second));
        assert_eq!(left(Some(250), Some(past)), Some(Duration::ZERO));
    }
}
