//! How a caller speaks, and so how it is answered.

use http::{HeaderValue, Request, Response, header};
use tonic::body::Body;

use crate::grpc;
use crate::header as ours;
use crate::status::Status;

/// How a caller speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wire {
    /// gRPC, with this `content-type`.
    Grpc(HeaderValue),
    /// Plain HTTP.
    Http,
}

impl Wire {
    pub(crate) fn of(request: &Request<Body>) -> Self {
        grpc::content_type(request.headers()).map_or(Self::Http, |kind| Self::Grpc(kind.clone()))
    }

    /// Returns an answer that is a failure and nothing else.
    pub(crate) fn failure(&self, status: &Status) -> Response<Body> {
        match self {
            Self::Grpc(_) => grpc::failure(status),
            Self::Http => http_failure(status),
        }
    }
}

/// The body of an answer of plain HTTP that is a failure (contracts §8).
#[derive(Debug, serde::Serialize)]
struct Failure<'a> {
    message: &'a str,
    status: String,
    code: Option<&'a str>,
    metadata: std::collections::BTreeMap<&'a str, &'a str>,
}

impl<'a> Failure<'a> {
    fn of(status: &'a Status) -> Self {
        // Binary metadata has no place in JSON.
        let free = status.metadata().iter().filter(|(name, _)| ours::is_free(name));
        let metadata = free.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let word = status.word().replace('-', "_").to_ascii_uppercase();
        Self { message: status.message(), status: word, code: status.error_code(), metadata }
    }
}

/// Returns the JSON of a failure.
pub(crate) fn failure_json(status: &Status) -> Vec<u8> {
    serde_json::to_vec(&Failure::of(status)).expect("texts and maps of them have a form in JSON")
}

fn http_failure(status: &Status) -> Response<Body> {
    let json = failure_json(status);
    let mut response = Response::new(Body::new(http_body_util::Full::from(json)));
    *response.status_mut() = status.http_status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    write_status(status, headers);
    response
}

/// Says in headers that a call went well.
pub(crate) fn write_ok(headers: &mut http::HeaderMap) {
    headers.insert(ours::STATUS, HeaderValue::from_static("ok"));
}

/// Says in headers how a call failed.
fn write_status(status: &Status, headers: &mut http::HeaderMap) {
    headers.insert(ours::STATUS, HeaderValue::from_static(status.word()));
    headers.insert(ours::TRANSPORT, HeaderValue::from_static("http"));
    let mut trailers = http::HeaderMap::new();
    status.write_trailers(&mut trailers);
    // gRPC's form of the message is one that fits into a header.
    for (from, to) in [(ours::GRPC_ERROR_CODE, ours::ERROR_CODE), (ours::GRPC_ERROR_MESSAGE, ours::ERROR_MESSAGE)] {
        if let Some(value) = trailers.remove(from) {
            headers.insert(to, value);
        }
    }
    for (name, value) in status.metadata().iter().filter(|(name, _)| ours::is_free(name)) {
        headers.append(name, value.clone());
    }
}
