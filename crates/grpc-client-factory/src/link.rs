//! The way to one target: its connections, and how it comes to have them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use identity::{CredentialSource, Credentials};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tonic::Code;

use crate::alarm::Alarm;
use crate::connection::Connection;
use crate::dial::{Attempt, Dial};
use crate::error::{Cause, FactoryError};
use crate::health_check::{HealthCheckOptions, Verdict};
use crate::http3_mode::Http3Mode;
use crate::meter::{Meter, count_refusal};
use crate::policy::Plan;
use crate::profile::Profile;
use crate::retry::{Pushback, RetryBudget};
use crate::state::State;
use crate::target::{Protocol, Target};
use crate::tasks::Tasks;
use crate::udp::Udp;
use crate::ways::Ways;

/// What came of an attempt, for all who waited for it.
pub(crate) type Outcome = Result<Arc<Connection>, Arc<FactoryError>>;

/// What all links of a factory share.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) credentials: Arc<dyn CredentialSource>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) udp: Arc<Udp>,
    /// One permit for each health check that may be under way.
    pub(crate) checks: Arc<Semaphore>,
    /// Wakes who looks after the links.
    pub(crate) alarm: Arc<Alarm>,
}

/// A profile, and what is counted of its calls.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) profile: Arc<Profile>,
    pub(crate) meter: Arc<Meter>,
}

/// The way to one target with one profile, for those who call from one lane.
#[derive(Debug)]
pub(crate) struct Link {
    target: Target,
    profile: Arc<Profile>,
    around: Around,
    meter: Arc<Meter>,
    budget: Arc<RetryBudget>,
    state: Mutex<State>,
}

/// What a call finds.
enum Look {
    Connected(Arc<Connection>),
    Failed(Arc<FactoryError>),
    Wait(watch::Receiver<Option<Outcome>>),
}

impl Link {
    pub(crate) fn new(ways: &Ways, around: Around, mode: Http3Mode, seed: u64) -> Self {
        let (target, Kind { profile, meter }) = (ways.target().clone(), ways.kind().clone());
        let state = State::new(&profile, mode, seed);
        Self { target, profile, around, meter, budget: Arc::clone(ways.budget()), state: Mutex::new(state) }
    }

    /// Takes over what another link to the same target knows of its HTTP/3.
    pub(crate) fn learn_from(&self, other: &Self) {
        let policy = other.lock().policy.clone();
        self.lock().policy = policy;
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Takes in a call that has failed for the `attempts`th time; returns how long to wait before the next attempt, if there is one.
    pub(crate) fn next_attempt(&self, attempts: u32, code: Code, pushback: Pushback) -> Option<Duration> {
        let random = self.lock().entropy.next_u64();
        let retry = &self.profile.retry;
        retry.next(&self.budget, (attempts, retry.max_attempts), code, pushback, random)
    }

    pub(crate) fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// Takes in a call that did well.
    pub(crate) fn did_well(&self) {
        self.budget.refill(&self.profile.retry);
    }

    /// Returns a connection for a call, made if there is none. Whoever asks meanwhile waits for the same attempt and shares
    /// its failure, and who asks soon after a failure gets it at once.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the attempt to those who come later.
    pub(crate) async fn connection(self: &Arc<Self>) -> Outcome {
        let mut attempt = match self.look() {
            Look::Connected(connection) => return Ok(connection),
            Look::Failed(error) => return Err(error),
            Look::Wait(attempt) => attempt,
        };
        // An attempt that ends without a word was ended with the factory.
        let Ok(outcome) = attempt.wait_for(Option::is_some).await else { return Err(Arc::new(FactoryError::Closed)) };
        outcome.clone().unwrap_or_else(|| Err(Arc::new(FactoryError::Closed)))
    }

    fn look(self: &Arc<Self>) -> Look {
        let mut state = self.lock();
        if let Some(connection) = state.usable() {
            return Look::Connected(Arc::clone(connection));
        }
        if state.is_closed {
            return Look::Failed(Arc::new(FactoryError::Closed));
        }
        if let Some(attempt) = &state.attempt {
            return Look::Wait(attempt.clone());
        }
        if let Some(failure) = &state.failure
            && state.backoff.holds(Instant::now().into_std())
        {
            return Look::Failed(Arc::clone(failure));
        }
        Look::Wait(self.begin(&mut state))
    }

    /// Begins an attempt. It goes on when the call that asked for it is given up.
    fn begin(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Option<Outcome>> {
        let (tell, told) = watch::channel(None);
        // An attempt that goes on in the background tries HTTP/3 already.
        let plan = if state.dialling > 0 && state.policy.mode() == Http3Mode::Auto {
            Plan::Http2
        } else {
            state.policy.plan()
        };
        // Who waits for an answer of a server that has fallen silent is told within `stall` whether there is another way to it.
        let in_time = if state.is_silent() {
            self.profile.connect_timeout.min(self.profile.http3.stall)
        } else {
            self.profile.connect_timeout
        };
        state.attempt = Some(told.clone());
        state.is_outdated = false;
        state.dialling += 1;
        self.around.alarm.ring();
        let attempt = Attempt { dial: Dial { in_time, ..self.dial() }, tell };
        self.around.tasks.spawn(attempt.run(plan));
        told
    }

    fn dial(self: &Arc<Self>) -> Dial {
        let Around { credentials, tasks, udp, alarm, .. } = self.around.clone();
        let (target, profile, meter) = (self.target.clone(), Arc::clone(&self.profile), Arc::clone(&self.meter));
        let (tasks, link) = (Arc::downgrade(&tasks), Arc::downgrade(self));
        let in_time = profile.connect_timeout;
        Dial { target, profile, in_time, meter, credentials, tasks, udp, alarm, link }
    }

    /// Takes in what came of a handshake.
    pub(crate) fn dialled(&self, result: Result<Arc<Connection>, FactoryError>) -> Outcome {
        let mut state = self.lock();
        state.attempt = None;
        match result {
            Ok(_) if state.is_closed => Err(Arc::new(FactoryError::Closed)),
            Ok(connection) => {
                state.connected(&connection);
                if state.is_outdated {
                    self.judge(&mut state, &self.around.credentials.current(), wall_clock());
                }
                Ok(connection)
            }
            Err(error) => {
                state.give_up_refused(&error);
                Err(state.failed(error))
            }
        }
    }

    /// Takes in that nobody listens at `address`, as its host says. If calls are under way there, it is looked whether anybody does over
    /// TCP: the word of a host alone ends no call, for others could give it, too.
    pub(crate) fn refused(self: &Arc<Self>, address: SocketAddr) {
        let mut state = self.lock();
        if state.finds_refusal(address, Instant::now()) && state.attempt.is_none() && !state.is_closed {
            self.begin(&mut state);
        }
    }

    pub(crate) fn attempt_over(&self) {
        let mut state = self.lock();
        state.dialling = state.dialling.saturating_sub(1);
    }

    /// Takes in that HTTP/3 has failed where HTTP/2 works.
    pub(crate) fn http3_failed(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::debug!(target = %self.target, error, "HTTP/3 does not work; calls go over HTTP/2");
        self.meter.fallbacks_failed.increment(1);
        self.lock().http3_failed();
    }

    /// Returns until when HTTP/3 is left alone, if it is.
    pub(crate) fn http3_broken_until(&self) -> Option<std::time::Instant> {
        self.lock().policy.broken_until()
    }

    /// Notes that the server has answered, which is when a connection counts as good: what it thinks of our certificate shows
    /// only after the handshake.
    pub(crate) fn answered(&self, connection: &Connection) {
        if connection.prove() {
            self.lock().backoff.succeeded();
        }
    }

    /// Takes in that a connection has ended. If the server had answered nothing on it, that counts as a failure to connect.
    pub(crate) fn ended(&self, connection: &Connection, cause: Cause) {
        if connection.is_proven() {
            return;
        }
        let error = connection.explain_end(cause);
        count_refusal(&error);
        let mut state = self.lock();
        if connection.protocol() == Protocol::Http3 && !error.is_final() {
            state.http3_failed();
        }
        state.failed(error);
    }

    /// Sets whether HTTP/3 is used, from the next call on. Calls under way go on where they are.
    pub(crate) fn set_mode(self: &Arc<Self>, mode: Http3Mode) {
        let mut state = self.lock();
        if state.policy.mode() == mode {
            return;
        }
        state.policy.set_mode(mode);
        let unwanted = match mode {
            Http3Mode::Off => state.http3.take(),
            Http3Mode::Only => state.http2.take(),
            Http3Mode::Auto => None,
        };
        if let Some(connection) = unwanted {
            state.drain(&connection);
        }
        self.probe(&mut state, Instant::now());
        self.around.alarm.ring();
    }

    /// Does what is due.
    pub(crate) fn tick(self: &Arc<Self>, now: Instant, late: Duration) {
        let mut state = self.lock();
        state.forgive(late);
        let is_due = state.renew_at.is_some_and(|at| at <= now);
        if is_due && state.dialling == 0 && !state.backoff.holds(now.into_std()) && !state.is_closed {
            // Until it has worked, calls go on over the old connection.
            self.begin(&mut state);
        }
        if state.finds_stall(now, self.profile.http3.stall) {
            self.meter.fallbacks_stalled.increment(1);
            if state.attempt.is_none() {
                self.begin(&mut state);
            }
        }
        state.give_up_stalled(now, self.profile.http3.stall);
        self.probe(&mut state, now);
        self.check(&mut state, now);
    }

    /// Asks whether HTTP/3 works, if it is time and not too many others are asked.
    fn check(self: &Arc<Self>, state: &mut State, now: Instant) {
        let Some(options) = &self.profile.http3.health_check else { return };
        let Some(connection) = state.due_check(now, options) else { return };
        let Ok(permit) = Arc::clone(&self.around.checks).try_acquire_owned() else { return };
        let random = state.entropy.next_u64();
        state.health_check.asks(now.into_std(), options, random);
        let checking = self.dial().check(connection, options.clone());
        self.around.tasks.spawn(async move {
            checking.await;
            drop(permit);
        });
    }

    /// Takes in what came of asking a connection; returns whether it has failed often enough.
    pub(crate) fn checked(&self, connection: &Arc<Connection>, verdict: Verdict, options: &HealthCheckOptions) -> bool {
        match verdict {
            Verdict::Works => self.meter.checks_passed.increment(1),
            Verdict::Fails => self.meter.checks_failed.increment(1),
            Verdict::Unknown => {}
        }
        let mut state = self.lock();
        let is_current = state.http3.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection));
        state.health_check.asked(if is_current { verdict } else { Verdict::Unknown }, options)
    }

    pub(crate) fn check_over(&self) {
        self.lock().health_check.over();
    }

    /// Has new calls go over `http2`, which works where `http3` does not.
    pub(crate) fn downgrade(&self, http3: &Arc<Connection>, http2: &Arc<Connection>) {
        if self.lock().downgrade(http3, http2) {
            tracing::warn!(target = %self.target, "health checks over HTTP/3 fail; new calls go over HTTP/2");
            self.meter.fallbacks_check.increment(1);
        }
    }

    /// Looks in the background whether HTTP/3 works, while calls go over HTTP/2.
    fn probe(self: &Arc<Self>, state: &mut State, now: Instant) {
        // What a connection says of itself is asked last: where all is well, there is none over HTTP/2.
        let may_probe = state.http2.is_some() && state.dialling == 0 && !state.is_closed;
        if may_probe && state.policy.may_probe(now.into_std()) && state.has_only_http2() {
            state.dialling += 1;
            self.around.tasks.spawn(self.dial().probe());
        }
    }

    /// Returns when to look after it again, if no call begins.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        self.lock().due(now, &self.profile)
    }

    /// Lets go of connections that have had no calls for as long as the profile says. Returns whether nothing is left.
    pub(crate) fn rest(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let begun = state.connections().map(|connection| connection.begun()).sum();
        let is_used = state.has_calls() || begun != state.used.1;
        if is_used {
            self.record_round_trips(&state);
        }
        if is_used || state.attempt.is_some() {
            state.used = (now, begun);
        }
        let is_idle = now.duration_since(state.used.0) >= self.profile.idle_timeout;
        if is_idle {
            state.let_go();
        }
        is_idle
    }

    fn record_round_trips(&self, state: &State) {
        for (rtt, _) in state.connections().filter_map(|connection| connection.progress()) {
            self.meter.of(Protocol::Http3).rtt_seconds.record(rtt.as_secs_f64());
        }
    }

    /// Takes in new credentials, or new lists of what was revoked: a connection to a server that is not trusted any more ends, and
    /// one that was made with our old certificate is replaced, each link at its own time so that servers see no rush.
    pub(crate) fn credentials_changed(&self, credentials: &Credentials, now: SystemTime) {
        let mut state = self.lock();
        state.is_outdated = true;
        self.judge(&mut state, credentials, now);
    }

    fn judge(&self, state: &mut State, credentials: &Credentials, now: SystemTime) {
        if state.judge(credentials, now) {
            let spread_ms = u64::try_from(self.profile.renew_within.as_millis()).unwrap_or(u64::MAX).max(1);
            let wait = Duration::from_millis(state.entropy.next_u64() % spread_ms);
            state.renew_at = Some(Instant::now() + wait);
        }
    }

    /// Lets no new call begin; returns the connections that may have calls under way.
    pub(crate) fn close(&self) -> Vec<Arc<Connection>> {
        let mut state = self.lock();
        state.is_closed = true;
        state.let_go()
    }

    /// Returns the protocol that is preferred for the next call, whatever works.
    pub(crate) fn prefers(&self) -> Protocol {
        self.lock().policy.mode().prefers()
    }

    /// Returns what the link's connection speaks, and how many calls are under way on it; `None` without one.
    pub(crate) fn current(&self) -> Option<(Protocol, usize)> {
        let state = self.lock();
        let connection = state.usable()?;
        Some((connection.protocol(), connection.in_flight()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has left each field whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Certificates are judged by it, as rustls does in each handshake.
#[expect(clippy::disallowed_methods, reason = "the edge: whether a certificate is valid is asked now")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
