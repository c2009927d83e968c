//! A channel to whichever peer is best.

mod attempts;
mod body;
mod clock;
mod outcome;
mod peers;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use identity::ExpectedPeer;
use peers_core::{
    Balancer, BuildChooserError, Chooser, ChooserPorts, ChooserSpec, Entropy, Filters, Peer, PeerLease, PeerSource,
    PeerTable, Published, TableOptions, Tick,
};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::channel::{CallError, Channel};
use crate::deadline::{Deadline, Timer};
use crate::error::FactoryError;
use crate::factory::{ChannelError, ClientFactory, FactoryOptions};
use crate::message_meter::MessageMeter;
use crate::meter::{Meter, Recorder};
use crate::profile::Profile;
use crate::request_body::RequestBody;
use crate::retry::{Pushback, RetryBudget};
use crate::span::CallSpan;

use attempts::Attempts;
pub use body::BalancedBody;
pub(crate) use clock::Clock;
use peers::Routes;

/// Says who must answer where a peer is called.
pub type Expect = Arc<dyn Fn(&Peer) -> ExpectedPeer + Send + Sync>;

/// How a balanced channel chooses and calls.
pub struct BalancedOptions {
    /// Name of the profile of its calls. Default [`FactoryOptions::CONTROL_PLANE`].
    pub profile: String,
    /// Which peers come first. Default: all alike.
    pub filters: Filters,
    /// Who of them gets a call.
    pub chooser: Box<dyn Chooser>,
    /// Breakers, and most calls at once to a peer.
    pub table: TableOptions,
    /// Who must answer for a peer. Default: the node of the peer's name.
    pub expect: Expect,
}

/// What a call is about, for choosers that care: put it among the extensions of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Hash of the key, for `hash`: see [`peers_core::hash_key`].
    pub key: Option<u64>,
    /// The shard, `namespace/shard`, for `shard`.
    pub shard: Option<Arc<str>>,
}

/// That a call may be executed more than once without harm: put it among the extensions of the request. Such a call is made
/// [`RetryOptions::idempotent_attempts`](crate::RetryOptions::idempotent_attempts) times at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idempotent;

/// How often the call was made again before this answer came, by another peer or by the same one: found among the extensions of an answer
/// if it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resent(
    /// How often; from 1.
    pub u32,
);

/// A channel to the peers of one service, which generated clients take as theirs. Cloning is a reference count; with the last clone the
/// peers are no longer followed.
///
/// Each call goes to the peer that the chooser picks and its breaker lets through, and is told about when the answer is over.
#[derive(Clone)]
pub struct BalancedChannel {
    inner: Arc<Balanced>,
}

/// What a call through a [`BalancedChannel`] returns.
pub type BalancedFuture = Pin<Box<dyn Future<Output = Result<Response<BalancedBody>, Status>> + Send>>;

/// A channel's inside.
pub(crate) struct Balanced {
    factory: ClientFactory,
    profile_name: String,
    profile: Arc<Profile>,
    meter: Arc<Meter>,
    expect: Expect,
    table: Arc<PeerTable>,
    balancer: Balancer,
    routes: Published<Routes>,
    clock: Clock,
    /// One for all peers: what is wrong with them as a whole is not made worse by retries.
    budget: RetryBudget,
    entropy: Mutex<Entropy>,
    follower: OnceLock<AbortHandle>,
}

impl BalancedOptions {
    /// Returns the options with this chooser, and the defaults.
    #[must_use]
    pub fn new(chooser: Box<dyn Chooser>) -> Self {
        Self {
            profile: FactoryOptions::CONTROL_PLANE.to_owned(),
            filters: Filters::none(),
            chooser,
            table: TableOptions::default(),
            expect: Arc::new(|peer| ExpectedPeer::Node(peer.id.clone())),
        }
    }

    /// Returns the options with the filters and the chooser that a configuration names, such as `tiered > two-random`.
    ///
    /// # Errors
    /// The chooser needs a port that is not there.
    pub fn named(spec: &ChooserSpec, ports: &ChooserPorts) -> Result<Self, BuildChooserError> {
        Ok(Self { filters: spec.filters(), ..Self::new(spec.chooser(ports)?) })
    }
}

impl fmt::Debug for BalancedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("BalancedOptions");
        out.field("profile", &self.profile).field("chooser", &self.chooser.name()).finish_non_exhaustive()
    }
}

impl ClientFactory {
    /// Makes a channel to the peers that `source` tells of, now and as long as the channel lives. Its table is one of
    /// [`FactoryOptions::fleet`]: a peer that calls through one channel do not reach is left alone by the others, too.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn balanced(&self, source: &dyn PeerSource, options: BalancedOptions) -> Result<BalancedChannel, ChannelError> {
        let kind = self.kind(&options.profile)?.clone();
        let entropy = Mutex::new(Entropy::seeded(options.table.seed));
        let table = self.fleet().table(options.table);
        let inner = Arc::new(Balanced {
            factory: self.clone(),
            profile_name: options.profile,
            budget: RetryBudget::new(&kind.profile.retry),
            profile: kind.profile,
            meter: kind.meter,
            expect: options.expect,
            balancer: table.balancer(options.filters, options.chooser),
            table,
            routes: Published::new(Routes::new()),
            clock: self.clock(),
            entropy,
            follower: OnceLock::new(),
        });
        let mut updates = source.subscribe();
        inner.apply_first(&mut updates);
        let follower = self.spawn(peers::follow(Arc::downgrade(&inner), updates));
        inner.follower.get_or_init(|| follower);
        Ok(BalancedChannel { inner })
    }
}

impl BalancedChannel {
    /// Returns the peers and what is known of each, for metrics and operators. Its ticks are those of [`BalancedChannel::now`].
    #[must_use]
    pub fn table(&self) -> &PeerTable {
        &self.inner.table
    }

    /// Returns the time on the clock of [`BalancedChannel::table`].
    #[must_use]
    pub fn now(&self) -> Tick {
        self.inner.clock.now()
    }
}

impl tower_service::Service<Request<tonic::body::Body>> for BalancedChannel {
    type Response = Response<BalancedBody>;
    type Error = Status;
    type Future = BalancedFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> BalancedFuture {
        let inner = Arc::clone(&self.inner);
        let (mut parts, body) = request.into_parts();
        let span = CallSpan::begin(
            (&parts.method, parts.uri.path()),
            || inner.profile.http3.mode.prefers(),
            &mut parts.headers,
        );
        let mut recorder = inner.meter.begin(parts.uri.path(), &parts.headers, span);
        Box::pin(async move {
            match inner.answer(parts, body, recorder.span()).await {
                Ok(answered) => Ok(answered.into_response(recorder)),
                Err(error) => {
                    recorder.end(error.code());
                    Err(error.status())
                }
            }
        })
    }
}

/// An answer, and what its body has to keep.
struct Answer {
    answered: attempts::Answered,
    timer: Option<Timer>,
    resent: u32,
}

impl Answer {
    fn into_response(self, recorder: Recorder) -> Response<BalancedBody> {
        let (answer, leased) = self.answered;
        let response = answer.into_response(self.timer, recorder);
        let mut response = response.map(|body| BalancedBody::new(body, leased));
        if self.resent > 0 {
            response.extensions_mut().insert(Resent(self.resent));
        }
        response
    }
}

impl Balanced {
    async fn answer(&self, parts: Parts, body: tonic::body::Body, span: &CallSpan) -> Result<Answer, CallError> {
        let now = Instant::now();
        let own = Deadline::of_headers(&parts.headers, now)?;
        let body = RequestBody::begin(body, MessageMeter::of(&parts.headers, self.profile.max_send_bytes)).await?;
        let deadline = own.or_else(|| self.profile.head_timeout.map(|timeout| Deadline::after(timeout, now)));
        let timer = deadline.map(Timer::new);
        let mut attempts = Attempts { balanced: self, span, parts, own, deadline, timer, tried: Vec::new(), resent: 0 };
        let answered = attempts.run(body).await?;
        // The caller's own deadline is for the body too.
        Ok(Answer { answered, resent: attempts.resent, timer: attempts.timer.filter(|_| own.is_some()) })
    }

    /// Returns the way to a leased peer, which may have left the table since.
    fn channel(&self, lease: &PeerLease) -> Result<Channel, FactoryError> {
        match self.routes.read(|routes| routes.get(lease.id()).cloned()) {
            Some(channel) => Ok(channel),
            None => Ok(self.route(&lease.peer())?),
        }
    }

    fn did_well(&self) {
        self.budget.refill(&self.profile.retry);
    }

    fn next_attempt(&self, attempts: (u32, u32), code: Code, pushback: Pushback) -> Option<Duration> {
        let random = self.entropy.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        self.profile.retry.next(&self.budget, attempts, code, pushback, random)
    }
}

impl Drop for Balanced {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get() {
            follower.abort();
        }
    }
}

impl fmt::Debug for BalancedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedChannel").field("balancer", &self.inner.balancer).finish_non_exhaustive()
    }
}
