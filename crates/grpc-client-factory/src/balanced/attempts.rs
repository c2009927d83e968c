//! One call, made with one peer after the other until one answers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;
use peers_core::{Http3Learned, PeerKey, PickCx, PickError};
use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::balanced::body::Leased;
use crate::balanced::{Affinity, Balanced, Idempotent, outcome};
use crate::call::{Answer, Call, judge, tell_attempts};
use crate::deadline::{Deadline, GRPC_TIMEOUT, Timer};
use crate::error::FactoryError;
use crate::hedging::{Attempted, HedgingOptions, race};
use crate::link::Link;
use crate::request_body::{RequestBody, Whole};
use crate::retry::Pushback;
use crate::span::CallSpan;
use crate::target::Protocol;

/// How many further peers a call is taken to at once that the ones before have not seen.
const MOVES_MAX: u32 = 4;

/// One call through a balanced channel.
pub(crate) struct Attempts<'a> {
    pub(crate) balanced: &'a Balanced,
    pub(crate) span: &'a CallSpan,
    pub(crate) parts: Parts,
    /// The caller's own deadline, which servers are told of.
    pub(crate) own: Option<Deadline>,
    /// The deadline that holds for the head.
    pub(crate) deadline: Option<Deadline>,
    pub(crate) timer: Option<Timer>,
    /// Where the call has been; as many as there may be attempts.
    pub(crate) tried: Vec<PeerKey>,
    /// How often it was made again, one attempt after the other.
    pub(crate) resent: u32,
}

/// The head of an answer, and the lease of the peer it is from if that peer's part is not known yet.
pub(crate) type Answered = (Answer, Option<Leased>);

impl Attempts<'_> {
    /// Makes the call. A peer that has not seen it is left for another at once; one that has failed is left as the profile's retries
    /// allow; one that takes long is joined by others as its hedging allows.
    ///
    /// # Cancel safety
    /// Dropping the future takes the call back; nothing is learned about the peer.
    pub(crate) async fn run(&mut self, body: RequestBody) -> Result<Answered, Arc<FactoryError>> {
        if let Some(hedging) = self.balanced.profile.hedging_of(self.parts.uri.path())
            && let Some(request) = body.whole()
        {
            return Box::pin(self.hedged(hedging, &request)).await;
        }
        self.one_by_one(body).await
    }

    /// Makes the call with several peers at once. Of those whose answer is not waited for, nothing is learned.
    async fn hedged(&self, hedging: &HedgingOptions, request: &Whole) -> Result<Answered, Arc<FactoryError>> {
        let mut first = Some(self.pick(&[]).map_err(|error| self.nobody(error))?);
        let mut tried = Vec::new();
        let begin = |before: u32| {
            // With nobody else to ask, the attempts under way are all there are.
            let another = first.take().map_or_else(|| self.pick(&tried), Ok);
            let Ok(leased) = another else { return None };
            let (body, mut headers) = (request.body(), self.headers(before));
            tried.push(leased.key());
            if before > 0 {
                self.balanced.meter.retries_hedge.increment(1);
                self.span.resent(before);
            }
            Some(async move {
                // The first to be late decides for all: they have one deadline.
                let mut timer = self.deadline.map(Timer::new);
                let (result, code, pushback) = self.attempt(leased, &mut headers, body, timer.as_mut()).await;
                Attempted { result, code, pushback }
            })
        };
        let decided = race(hedging, &self.balanced.budget, begin).await;
        let result = decided.expect("there is a first peer");
        if result.as_ref().is_ok_and(|(answer, _)| answer.code().is_none_or(|code| code == Code::Ok)) {
            self.balanced.did_well();
        }
        result
    }

    /// Returns the headers of an attempt after so many others.
    fn headers(&self, before: u32) -> HeaderMap {
        let mut headers = self.parts.headers.clone();
        tell_attempts(&mut headers, before);
        if let Some(own) = self.own.filter(|_| before > 0) {
            headers.insert(GRPC_TIMEOUT, own.header(Instant::now()));
        }
        headers
    }

    async fn one_by_one(&mut self, mut body: RequestBody) -> Result<Answered, Arc<FactoryError>> {
        let (mut attempts, mut moves) = (1, 0);
        let mut leased = self.pick_another().map_err(|error| self.nobody(error))?;
        loop {
            self.tried.push(leased.key());
            let replay = body.replay();
            let (mut timer, mut headers) = (self.timer.take(), std::mem::take(&mut self.parts.headers));
            let (result, code, pushback) = self.attempt(leased, &mut headers, body, timer.as_mut()).await;
            (self.timer, self.parts.headers) = (timer, headers);
            if code == Code::Ok {
                self.balanced.did_well();
                return result;
            }
            if !replay.is_complete() {
                return result;
            }
            let is_unseen = result.as_ref().is_err_and(|error| error.is_unseen()) && moves < MOVES_MAX;
            if is_unseen && let Ok(other) = self.pick_another() {
                moves += 1;
                self.balanced.meter.retries_transparent.increment(1);
                leased = other;
            } else {
                let Some(wait) = self.next_attempt(attempts, code, pushback) else { return result };
                let next = Instant::now() + wait;
                if self.deadline.is_some_and(|deadline| deadline.at <= next) {
                    return result;
                }
                drop(result);
                self.balanced.meter.retries_policy.increment(1);
                sleep_until(next).await;
                tell_attempts(&mut self.parts.headers, attempts);
                attempts += 1;
                leased = self.pick_again().map_err(|error| self.nobody(error))?;
            }
            self.resent = attempts - 1 + moves;
            self.span.resent(self.resent);
            body = replay;
            if let Some(own) = &self.own {
                self.parts.headers.insert(GRPC_TIMEOUT, own.header(Instant::now()));
            }
        }
    }

    /// Tries the call with one peer, and reports what that has shown unless it takes the whole answer to know.
    async fn attempt(
        &self,
        mut leased: Leased,
        headers: &mut HeaderMap,
        body: RequestBody,
        timer: Option<&mut Timer>,
    ) -> (Result<Answered, Arc<FactoryError>>, Code, Pushback) {
        let result = self.send(&leased, headers, body, timer).await;
        let (code, pushback) = judge(&result);
        let result = match result {
            Ok(answer) if answer.code().is_none() => {
                leased.head_came();
                Ok((answer, Some(leased)))
            }
            Ok(answer) => {
                leased.report(outcome::of_status(code, pushback));
                Ok((answer, None))
            }
            Err(error) => {
                leased.report(outcome::of_error(&error));
                Err(error)
            }
        };
        (result, code, pushback)
    }

    async fn send(
        &self,
        leased: &Leased,
        headers: &mut HeaderMap,
        body: RequestBody,
        timer: Option<&mut Timer>,
    ) -> Result<Answer, Arc<FactoryError>> {
        let channel = self.balanced.channel(&leased.lease)?;
        self.span.goes_to(&channel.target().endpoint);
        let head = channel.head(self.parts.method.clone(), &self.parts.uri, std::mem::take(headers));
        let call = Call { link: Arc::clone(channel.link()), head, deadline: self.own };
        let answer = {
            let sent = pin!(call.attempt(body));
            match timer {
                Some(timer) => timer.bound(&channel.target().endpoint, sent).await,
                None => sent.await,
            }
        };
        // The next attempt has them.
        *headers = call.head.headers;
        let answer = answer?;
        self.learn(leased, channel.link(), answer.protocol());
        match answer.not_processed() {
            Some(said) => {
                Err(Arc::new(FactoryError::NotProcessed { endpoint: channel.target().endpoint.clone(), said }))
            }
            None => Ok(answer),
        }
    }

    fn next_attempt(&self, attempts: u32, code: Code, pushback: Pushback) -> Option<Duration> {
        let retry = &self.balanced.profile.retry;
        let is_idempotent = self.parts.extensions.get::<Idempotent>().is_some();
        let most = if is_idempotent { retry.max_attempts.max(retry.idempotent_attempts) } else { retry.max_attempts };
        self.balanced.next_attempt((attempts, most), code, pushback)
    }

    fn learn(&self, leased: &Leased, link: &Link, protocol: Protocol) {
        let learned = match protocol {
            Protocol::Http3 => Some(Http3Learned::Works),
            Protocol::Http2 => link.http3_broken_until().map(|until| {
                let until = self.balanced.clock.at(until.into());
                Http3Learned::Broken { until }
            }),
        };
        if let Some(learned) = learned {
            leased.lease.learn_http3(learned);
        }
    }

    /// Picks a peer that the call has not been to.
    fn pick_another(&self) -> Result<Leased, PickError> {
        self.pick(&self.tried)
    }

    /// Picks a peer that the call has not been to, or else any.
    fn pick_again(&self) -> Result<Leased, PickError> {
        self.pick_another().or_else(|_everybody_was_tried| self.pick(&[]))
    }

    fn pick(&self, exclude: &[PeerKey]) -> Result<Leased, PickError> {
        let clock = self.balanced.clock;
        let affinity = self.parts.extensions.get::<Affinity>();
        let cx = PickCx {
            now: clock.now(),
            key: affinity.and_then(|affinity| affinity.key),
            shard: affinity.and_then(|affinity| affinity.shard.as_deref()),
            exclude,
            deadline: self.deadline.map(|deadline| clock.at(deadline.at)),
        };
        let lease = self.balanced.balancer.acquire(&cx)?;
        Ok(Leased { lease, clock, latency: None })
    }

    fn nobody(&self, source: PickError) -> Arc<FactoryError> {
        let retry_in = match &source {
            PickError::NoneAvailable { retry_at: Some(at) } => Some(at.since(self.balanced.clock.now())),
            _ => None,
        };
        Arc::new(FactoryError::NoPeer { source, retry_in })
    }
}
