//! One call, sent as often as it takes to be sent once.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::connection::Slot;
use crate::deadline::{Deadline, GRPC_TIMEOUT, Timer};
use crate::error::FactoryError;
use crate::hedging::{Attempted, HedgingOptions, race};
use crate::http2::Unanswered;
use crate::link::Link;
use crate::message_meter::MessageMeter;
use crate::meter::Recorder;
use crate::request_body::{Fault, RequestBody, Whole};
use crate::response_body::{ResponseBody, Source};
use crate::retry::Pushback;
use crate::span::CallSpan;
use crate::target::Protocol;

/// How often a call is tried of which nothing was sent. Each try has another connection, so this many in a row mean that
/// connections break as fast as they are made.
const UNSENT_MAX: u32 = 4;

/// How often a call is sent again that a server says it took no notice of (gRFC A6).
const REFUSED_MAX: u32 = 1;

const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
/// Stands beside a failure whose call nobody has begun to answer: another peer may have it.
pub const NOT_PROCESSED: HeaderName = HeaderName::from_static("omnirelay-not-processed");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Tells the server how many attempts there were before this one.
pub(crate) fn tell_attempts(headers: &mut HeaderMap, before: u32) {
    if before > 0 {
        headers.insert(PREVIOUS_ATTEMPTS, before.into());
    }
}

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
        Ok(answer) => (answer.code().unwrap_or(Code::Ok), pushback_of(answer.response.headers())),
        Err(error) if matches!(**error, FactoryError::Closed) => (error.code(), Pushback::Stop),
        Err(error) => (error.code(), Pushback::Silent),
    }
}

/// Everything of a request but its body.
#[derive(Debug, Clone)]
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
    /// Returns the status, if the head has one. An answer of plain HTTP is good whatever it says: it is for the caller to judge.
    pub(crate) fn code(&self) -> Option<Code> {
        if self.meter.is_plain() { Some(Code::Ok) } else { status_of(self.response.headers()) }
    }

    /// Returns what the server says if it says that it has not begun to answer.
    pub(crate) fn not_processed(&self) -> Option<String> {
        let headers = self.response.headers();
        let said = headers.get(&MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_refusal = headers.contains_key(&NOT_PROCESSED) && self.code().is_some_and(|code| code != Code::Ok);
        is_refusal.then(|| String::from_utf8_lossy(said).into_owned())
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.slot.connection.protocol()
    }

    pub(crate) fn into_response(self, timer: Option<Timer>, mut recorder: Recorder) -> Response<ResponseBody> {
        let Self { response, slot, meter } = self;
        recorder.answered(slot.connection.protocol());
        if meter.is_plain() {
            recorder.end_plain(response.status());
        } else if let Some(code) = status_of(response.headers()) {
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
    pub(crate) async fn run(self, body: RequestBody, span: &CallSpan) -> Result<Answer, Arc<FactoryError>> {
        let link = Arc::clone(&self.link);
        if let Some(hedging) = link.profile().hedging_of(self.head.uri.path())
            && let Some(request) = body.whole()
        {
            return Box::pin(self.hedged(hedging, &request, span)).await;
        }
        self.retried(body, span).await
    }

    /// Makes the call several times at once.
    async fn hedged(
        self,
        hedging: &HedgingOptions,
        request: &Whole,
        span: &CallSpan,
    ) -> Result<Answer, Arc<FactoryError>> {
        let begin = |before: u32| {
            let (call, body) = (self.again(before), request.body());
            if before > 0 {
                self.link.meter().retries_hedge.increment(1);
                span.resent(before);
            }
            Some(async move {
                let result = call.attempt(body).await;
                let (code, pushback) = judge(&result);
                Attempted { result, code, pushback }
            })
        };
        let decided = race(hedging, self.link.budget(), begin).await;
        let result = decided.expect("the first attempt is always made");
        if judge(&result).0 == Code::Ok {
            self.link.did_well();
        }
        result
    }

    /// Returns the call as it is made now, after so many attempts.
    fn again(&self, before: u32) -> Self {
        let Self { link, head, deadline } = self;
        let (mut head, now) = (head.clone(), Instant::now());
        tell_attempts(&mut head.headers, before);
        if let Some(deadline) = deadline.filter(|_| before > 0) {
            head.headers.insert(GRPC_TIMEOUT, deadline.header(now));
        }
        Self { link: Arc::clone(link), head, deadline: *deadline }
    }

    async fn retried(mut self, mut body: RequestBody, span: &CallSpan) -> Result<Answer, Arc<FactoryError>> {
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
            let Some(wait) = wait.filter(|_wait| replay.is_complete()) else { return result };
            let next = Instant::now() + wait;
            if self.deadline.is_some_and(|deadline| deadline.at <= next) {
                return result;
            }
            drop(result);
            self.link.meter().retries_policy.increment(1);
            sleep_until(next).await;
            span.resent(attempts);
            body = replay;
            tell_attempts(&mut self.head.headers, attempts);
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
        let (mut replay, fault) = (Some(body.replay()), body.fault());
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
                    let meter = MessageMeter::of(&self.head.headers, self.link.profile().max_receive_bytes);
                    return Ok(Answer { response, slot, meter });
                }
                Err(Unanswered::Unsent(back, _)) if unsent < UNSENT_MAX => {
                    unsent += 1;
                    connection.retire();
                    request = self.head.request(*back);
                }
                Err(Unanswered::Refused(error)) if refused < REFUSED_MAX => {
                    refused += 1;
                    connection.retire();
                    let Some(again) = replay.take().filter(RequestBody::is_complete) else {
                        return Err(Arc::new(error));
                    };
                    request = self.head.request(again);
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
