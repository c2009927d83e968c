//! One call, sent as often as it takes to be sent once.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::connection::Slot;
use crate::deadline::{Deadline, GRPC_TIMEOUT, Timer};
use crate::error::FactoryError;
use crate::http2::Unanswered;
use crate::link::Link;
use crate::message_meter::MessageMeter;
use crate::meter::Recorder;
use crate::request_body::{Fault, RequestBody};
use crate::response_body::{ResponseBody, Source};
use crate::retry::Pushback;
use crate::span::CallSpan;
use crate::target::Protocol;

/// How often a call is tried of which nothing was sent. Each try has another connection, so this many in a row mean that
/// connections break as fast as they are made.
const UNSENT_MAX: u32 = 4;

/// How often a call is sent again that a server says it took no notice of (gRFC A6).
const REFUSED_MAX: u32 = 1;

pub(crate) const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Returns the status that headers or trailers hold.
pub(crate) fn status_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(&STATUS).map(|status| Code::from_bytes(status.as_bytes()))
}

/// Returns what headers or trailers say about another attempt.
pub(crate) fn pushback_of(headers: &HeaderMap) -> Pushback {
    Pushback::read(headers.get(&PUSHBACK).map(HeaderValue::as_bytes))
}

/// Returns how an attempt ended, as far as its head says, and what the server says about another. An answer whose head has no
/// status has begun: there is no way back.
pub(crate) fn judge(result: &Result<Answer, Arc<FactoryError>>) -> (Code, Pushback) {
    match result {
        Ok(answer) => {
            let headers = answer.response.headers();
            (status_of(headers).unwrap_or(Code::Ok), pushback_of(headers))
        }
        Err(error) if matches!(**error, FactoryError::Closed) => (error.code(), Pushback::Stop),
        Err(error) => (error.code(), Pushback::Silent),
    }
}

/// Everything of a request but its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Head {
    fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// One call. It is sent again only if nothing of it was sent, or if the server says that it took no notice of it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) link: Arc<Link>,
    pub(crate) head: Head,
    /// The caller's own deadline, which the server is told of.
    pub(crate) deadline: Option<Deadline>,
}

/// The head of an answer, and what its body comes from.
pub(crate) struct Answer {
    response: Response<Source>,
    slot: Slot,
    meter: MessageMeter,
}

impl Answer {
    /// Returns the status, if the head has one.
    pub(crate) fn code(&self) -> Option<Code> {
        status_of(self.response.headers())
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.slot.connection.protocol()
    }

    pub(crate) fn into_response(self, timer: Option<Timer>, mut recorder: Recorder) -> Response<ResponseBody> {
        let Self { response, slot, meter } = self;
        recorder.answered(slot.connection.protocol());
        if let Some(code) = status_of(response.headers()) {
            recorder.end(code);
        }
        response.map(|source| ResponseBody::new(source, slot, meter, (timer, recorder)))
    }
}

impl Call {
    /// Makes the call, and makes it again as the profile allows, until an answer has begun that is more than a failure.
    ///
    /// # Cancel safety
    /// Dropping the future takes the call back: the server is told.
    pub(crate) async fn run(mut self, mut body: RequestBody, span: &CallSpan) -> Result<Answer, Arc<FactoryError>> {
        let mut attempts: u32 = 0;
        loop {
            attempts += 1;
            let replay = body.replay();
            let result = self.attempt(body).await;
            let (code, pushback) = judge(&result);
            if code == Code::Ok {
                self.link.did_well();
                return result;
            }
            let wait = self.link.next_attempt(attempts, code, pushback);
            let (Some(wait), Some(again)) = (wait, replay) else { return result };
            let next = Instant::now() + wait;
            if self.deadline.is_some_and(|deadline| deadline.at <= next) {
                return result;
            }
            drop(result);
            self.link.meter().retries_policy.increment(1);
            sleep_until(next).await;
            span.resent(attempts);
            body = again;
            self.head.headers.insert(PREVIOUS_ATTEMPTS, attempts.into());
            if let Some(deadline) = &self.deadline {
                self.head.headers.insert(GRPC_TIMEOUT, deadline.header(next));
            }
        }
    }

    /// Makes the call once, as often as it takes until a server has seen it.
    ///
    /// # Cancel safety
    /// As [`Call::run`].
    pub(crate) async fn attempt(&self, body: RequestBody) -> Result<Answer, Arc<FactoryError>> {
        let (mut unsent, mut refused) = (0, 0);
        let (mut replay, fault) = (body.replay(), body.fault());
        let mut request = self.head.request(body);
        loop {
            let connection = self.link.connection().await?;
            let Some(slot) = connection.slot(fault.clone()).await else {
                // Retired while we waited for our turn: as good as never sent.
                unsent += 1;
                if unsent > UNSENT_MAX {
                    let (endpoint, protocol) = (connection.target().endpoint.clone(), connection.protocol());
                    return Err(Arc::new(FactoryError::Refused { endpoint, protocol }));
                }
                continue;
            };
            match connection.send(request).await {
                Ok(response) => {
                    self.link.answered(&connection);
                    let meter = MessageMeter::new(self.link.profile().max_receive_bytes);
                    return Ok(Answer { response, slot, meter });
                }
                Err(Unanswered::Unsent(back, _)) if unsent < UNSENT_MAX => {
                    unsent += 1;
                    connection.retire();
                    request = self.head.request(*back);
                }
                Err(Unanswered::Refused(_)) if refused < REFUSED_MAX && replay.is_some() => {
                    refused += 1;
                    connection.retire();
                    request = self.head.request(replay.take().expect("the guard has looked"));
                }
                Err(Unanswered::Unsent(_, error) | Unanswered::Refused(error) | Unanswered::Failed(error)) => {
                    return Err(fault.as_ref().and_then(Fault::read).unwrap_or_else(|| Arc::new(error)));
                }
            }
            self.link.meter().retries_transparent.increment(1);
            self.renew_timeout(&mut request);
        }
    }

    /// Tells the server what is left of the time, not what there was.
    fn renew_timeout(&self, request: &mut Request<RequestBody>) {
        if let Some(deadline) = &self.deadline {
            request.headers_mut().insert(GRPC_TIMEOUT, deadline.header(Instant::now()));
        }
    }
}
