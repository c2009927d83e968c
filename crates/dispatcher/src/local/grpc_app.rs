//! An application that speaks gRPC.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use lanes::PerLane;
use mesh_types::ServiceName;
use prost::Message;
use tonic::Code;
use tonic::body::Body;

use super::dial::SendError;
use super::endpoint::LocalEndpoint;
use super::link::{Answer, Link};

/// Longest answer to the question whether a service is well.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// `SERVING` of `grpc.health.v1`.
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An application that speaks gRPC.
#[derive(Debug)]
pub(crate) struct GrpcApp {
    authority: Authority,
    /// Calls stay on the lane that they come in on.
    links: PerLane<Box<Link>>,
    endpoint: LocalEndpoint,
}

impl GrpcApp {
    pub(crate) fn new(service: &ServiceName, endpoint: LocalEndpoint) -> Self {
        // Names that are no host are called by another.
        let authority = Authority::try_from(service.as_str());
        let authority = authority.unwrap_or_else(|_no_host| Authority::from_static("localhost"));
        Self { authority, links: PerLane::new(), endpoint }
    }

    /// Has the application answer; everything passes as it is, but for who is addressed.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Answer>, SendError> {
        let path = request.uri().path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make a URI");
        *request.version_mut() = Version::HTTP_2;
        // Servers of gRPC refuse calls whose caller, or a proxy on the way, does not know of trailers.
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        self.links.get_or_make(|| Box::new(Link::new(self.endpoint.clone()))).send(request).await
    }

    /// Asks whether it is well.
    pub(crate) async fn is_well(&self) -> bool {
        let question = Bytes::from_static(&[0; PREFIX_BYTES]);
        let mut request = Request::new(Body::new(Full::new(question)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/grpc.health.v1.Health/Check");
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let Ok(response) = self.send(request).await else { return false };
        let (head, body) = response.into_parts();
        if let Some(code) = code(&head.headers) {
            return by_code(code);
        }
        let Ok(collected) = Limited::new(body, ANSWER_BYTES_MAX).collect().await else { return false };
        let code = collected.trailers().and_then(code).unwrap_or(Code::Unimplemented);
        match code {
            Code::Ok => by_answer(&collected.to_bytes()),
            code => by_code(code),
        }
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(tonic::Status::GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

/// A service that does not want to be asked, or does not know how to answer, is there.
const fn by_code(code: Code) -> bool {
    !matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
}

fn by_answer(framed: &[u8]) -> bool {
    let message = framed.get(PREFIX_BYTES..).unwrap_or_default();
    HealthCheckResponse::decode(message).is_ok_and(|answer| answer.status == SERVING)
}
