//! gRPC: frames, compression, heads and trailers.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod compression;
pub(crate) mod frame;
mod passed_on;
pub(crate) mod timeout;
pub(crate) mod unframe;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tonic::body::Body;

use crate::status::Status;

pub(crate) use passed_on::passed_on;

const CONTENT_TYPE: &str = "application/grpc";

/// Returns the `content-type` if it is gRPC's, whatever the encoding; gRPC-Web is another protocol.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<&HeaderValue> {
    let kind = headers.get(header::CONTENT_TYPE)?;
    let rest = kind.as_bytes().strip_prefix(CONTENT_TYPE.as_bytes())?;
    matches!(rest.first(), None | Some(b'+' | b';')).then_some(kind)
}

/// Returns an answer that is a failure and nothing else.
pub(crate) fn failure(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    status.write_trailers(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let is = |kind: &'static str| {
            content_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])).is_some()
        };
        let kinds = ["application/grpc", "application/grpc+json", "application/grpc;charset=utf-8"];
        assert_eq!(kinds.map(is), [true; 3]);
        assert_eq!(["application/grpc-web", "application/grpcx", "application/json"].map(is), [false; 3]);
        assert_eq!(content_type(&HeaderMap::new()), None);
    }
}
