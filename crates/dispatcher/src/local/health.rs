//! Whether a service of this node is well.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::body::Body;

use super::service::Local;

/// Longest answer to the question whether a service is well.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// `SERVING` of `grpc.health.v1`.
const SERVING: i32 = 1;

/// How it is found out whether a service of this node is well.
///
/// It is asked by `grpc.health.v1.Health/Check`; one that does not know of that is well while it can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthOptions {
    /// Time between two questions, default 1 s. A call that fails has it asked at once.
    pub interval: Duration,
    /// Longest wait for an answer, default 1 s.
    pub timeout: Duration,
    /// How many answers in a row have to be late until it is not well, default 3. One that says so, and one that cannot be
    /// connected to, is not well at once.
    pub late_max: u32,
}

impl Default for HealthOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), late_max: 3 }
    }
}

/// What a service says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Well,
    Unwell,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The course of the questions to one service.
#[derive(Debug)]
pub(crate) struct Health {
    options: HealthOptions,
    has_begun: bool,
    is_well: bool,
    /// Late answers in a row.
    late: u32,
}

impl Health {
    pub(crate) fn new(options: &HealthOptions) -> Self {
        Self { options: options.clone(), has_begun: false, is_well: false, late: 0 }
    }

    /// Waits until it is time, asks, and returns whether the service is well.
    pub(crate) async fn next(&mut self, local: &Local) -> bool {
        if self.has_begun {
            tokio::select! {
                () = sleep(self.options.interval) => {}
                () = local.doubted() => {}
            }
        }
        self.has_begun = true;
        match timeout(self.options.timeout, ask(local)).await {
            Ok(said) => (self.is_well, self.late) = (said == Said::Well, 0),
            Err(_late) => {
                self.late += 1;
                self.is_well &= self.late < self.options.late_max;
            }
        }
        self.is_well
    }
}

async fn ask(local: &Local) -> Said {
    let question = Bytes::from_static(&[0; PREFIX_BYTES]);
    let mut request = Request::new(Body::new(Full::new(question)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/grpc.health.v1.Health/Check");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let Ok(response) = local.send(request).await else { return Said::Unwell };
    let (head, body) = response.into_parts();
    if let Some(code) = code(&head.headers) {
        return by_code(code);
    }
    let Ok(collected) = Limited::new(body, ANSWER_BYTES_MAX).collect().await else { return Said::Unwell };
    let code = collected.trailers().and_then(code).unwrap_or(Code::Unimplemented);
    match code {
        Code::Ok => by_answer(&collected.to_bytes()),
        code => by_code(code),
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(tonic::Status::GRPC_STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

/// A service that does not want to be asked, or does not know how to answer, is there.
const fn by_code(code: Code) -> Said {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Said::Unwell,
        _ => Said::Well,
    }
}

fn by_answer(framed: &[u8]) -> Said {
    let message = framed.get(PREFIX_BYTES..).unwrap_or_default();
    match HealthCheckResponse::decode(message) {
        Ok(HealthCheckResponse { status: SERVING }) => Said::Well,
        Ok(_) | Err(_) => Said::Unwell,
    }
}
