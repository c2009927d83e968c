//! What a link has, and what it knows of its target.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use identity::Credentials;
use peers_core::Entropy;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::error::FactoryError;
use crate::health_check::{BUSY, HealthCheck, HealthCheckOptions};
use crate::http3_mode::Http3Mode;
use crate::link::Outcome;
use crate::policy::{Policy, StallWatch};
use crate::profile::Profile;
use crate::target::Protocol;
use crate::udp::is_same;

/// What a link has, and what it knows of its target.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) http3: Option<Arc<Connection>>,
    pub(crate) http2: Option<Arc<Connection>>,
    /// Connections that were replaced, while calls are under way on them.
    draining: Vec<Weak<Connection>>,
    pub(crate) policy: Policy,
    /// The attempt to connect for which calls wait.
    pub(crate) attempt: Option<watch::Receiver<Option<Outcome>>>,
    /// Attempts under way, those included that no call waits for any more.
    pub(crate) dialling: u32,
    /// The last attempt's failure, which holds as long as the wait after it.
    pub(crate) failure: Option<Arc<FactoryError>>,
    pub(crate) backoff: Backoff,
    pub(crate) entropy: Entropy,
    pub(crate) is_closed: bool,
    /// When the link was last seen in use, and how many calls its connections had begun then.
    pub(crate) used: (Instant, u64),
    /// When the connection is to be replaced by one with our new certificate.
    pub(crate) renew_at: Option<Instant>,
    /// Whether credentials have changed since the attempt under way began.
    pub(crate) is_outdated: bool,
    pub(crate) stall_watch: StallWatch,
    pub(crate) stalled: Option<Stalled>,
    pub(crate) health_check: HealthCheck,
}

/// An HTTP/3 connection whose packets arrive nowhere, with calls that wait.
#[derive(Debug)]
pub(crate) struct Stalled {
    connection: Arc<Connection>,
    rtt: Duration,
    since: Instant,
    /// Whether its host says that nobody listens there.
    is_refused: bool,
}

impl State {
    pub(crate) fn new(profile: &Profile, mode: Http3Mode, seed: u64) -> Self {
        let (now, http3) = (Instant::now(), &profile.http3);
        Self {
            http3: None,
            http2: None,
            draining: Vec::new(),
            policy: Policy::new(mode, http3.race_delay, http3.broken_min, http3.broken_max),
            attempt: None,
            dialling: 0,
            failure: None,
            backoff: Backoff::new(profile.reconnect_min, profile.reconnect_max),
            entropy: Entropy::seeded(seed),
            is_closed: false,
            used: (now, 0),
            renew_at: None,
            is_outdated: false,
            stall_watch: StallWatch::new(now.into_std()),
            stalled: None,
            health_check: HealthCheck::default(),
        }
    }

    pub(crate) fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.http3.iter().chain(&self.http2)
    }

    /// Returns the connection for the next call: HTTP/3 if there is one.
    pub(crate) fn usable(&self) -> Option<&Arc<Connection>> {
        self.connections().find(|connection| connection.is_usable())
    }

    /// Returns whether new calls go over HTTP/2.
    pub(crate) fn has_only_http2(&self) -> bool {
        self.usable().is_some_and(|connection| connection.protocol() == Protocol::Http2)
    }

    pub(crate) fn connected(&mut self, connection: &Arc<Connection>) {
        let now = Instant::now();
        self.used = (now, 0);
        self.renew_at = None;
        let is_http3 = connection.protocol() == Protocol::Http3;
        let unwanted = if is_http3 { Http3Mode::Off } else { Http3Mode::Only };
        if self.policy.mode() == unwanted {
            // It was set while we dialled: those who wait have this one, and nobody else.
            return;
        }
        let replaced = if is_http3 {
            self.policy.http3_worked(connection.took);
            self.stall_watch = StallWatch::new(now.into_std());
            self.health_check.renew();
            [self.http3.replace(Arc::clone(connection)), self.http2.take()]
        } else {
            [self.http2.replace(Arc::clone(connection)), None]
        };
        replaced.into_iter().flatten().for_each(|old| self.drain(&old));
    }

    /// Lets a connection end with its calls.
    pub(crate) fn drain(&mut self, connection: &Arc<Connection>) {
        connection.retire();
        self.draining.retain(|draining| draining.strong_count() > 0);
        self.draining.push(Arc::downgrade(connection));
    }

    /// Judges the servers of all connections anew. Returns whether one is left for new calls that shows our old certificate.
    pub(crate) fn judge(&mut self, credentials: &Credentials, now: SystemTime) -> bool {
        self.draining.retain(|draining| draining.upgrade().is_some_and(|old| old.recheck(credentials, now)));
        let mut shows_old = false;
        let mut keep = |connection: Arc<Connection>| {
            let is_trusted = connection.recheck(credentials, now);
            shows_old |= is_trusted && !connection.shows(credentials);
            is_trusted.then_some(connection)
        };
        self.http3 = self.http3.take().and_then(&mut keep);
        self.http2 = self.http2.take().and_then(&mut keep);
        shows_old
    }

    pub(crate) fn failed(&mut self, error: FactoryError) -> Arc<FactoryError> {
        let random = self.entropy.next_u64();
        self.backoff.failed(Instant::now().into_std(), random);
        let error = Arc::new(error);
        self.failure = Some(Arc::clone(&error));
        error
    }

    pub(crate) fn http3_failed(&mut self) {
        let random = self.entropy.next_u64();
        self.policy.http3_failed(Instant::now().into_std(), random);
    }

    /// Does not hold time against HTTP/3 in which nobody could look, and acknowledgements lay unread.
    pub(crate) fn forgive(&mut self, late: Duration) {
        self.stall_watch.forgive(late);
        if let Some(stalled) = &mut self.stalled {
            stalled.since += late;
        }
    }

    /// Looks whether the packets of the HTTP/3 connection arrive nowhere. If so, no new call begins on it.
    pub(crate) fn finds_stall(&mut self, now: Instant, stall: Duration) -> bool {
        let busy = self.http3.as_ref().filter(|connection| connection.in_flight() > 0);
        let Some((rtt, sent)) = busy.and_then(|connection| connection.progress()) else {
            self.stall_watch = StallWatch::new(now.into_std());
            return false;
        };
        if !self.stall_watch.look(now.into_std(), rtt, sent, stall) {
            return false;
        }
        let Some(connection) = self.http3.take() else { return false };
        self.drain(&connection);
        self.http3_failed();
        tracing::warn!(target = %connection.target(), "packets over HTTP/3 arrive nowhere; new calls go over HTTP/2");
        self.stalled = Some(Stalled { connection, rtt, since: now, is_refused: false });
        true
    }

    /// Returns whether calls wait for a server of which nothing is heard.
    pub(crate) fn is_silent(&self) -> bool {
        self.stalled.as_ref().is_some_and(|stalled| !stalled.is_refused)
    }

    /// Takes in that nobody listens at `address`, as its host says. No new call begins on an HTTP/3 connection to it. Returns whether calls
    /// are under way on one. HTTP/3 is not to blame.
    pub(crate) fn finds_refusal(&mut self, address: SocketAddr, now: Instant) -> bool {
        let is_there = |connection: &mut Arc<Connection>| {
            connection.remote().is_some_and(|remote| is_same(remote, address)) && connection.is_usable()
        };
        let Some(connection) = self.http3.take_if(is_there) else { return false };
        self.drain(&connection);
        tracing::info!(target = %connection.target(), "nobody listens any more where calls go over HTTP/3");
        let is_busy = connection.in_flight() > 0;
        if is_busy {
            let rtt = connection.progress().map(|(rtt, _)| rtt).unwrap_or_default();
            self.stalled = Some(Stalled { connection, rtt, since: now, is_refused: true });
        }
        is_busy
    }

    /// Ends a connection of which its host says that nobody listens there, if `error` says the same of TCP: the server is gone.
    pub(crate) fn give_up_refused(&mut self, error: &FactoryError) {
        if error.is_refused_over_tcp()
            && let Some(gone) = self.stalled.take_if(|stalled| stalled.is_refused)
        {
            gone.connection.cut();
        }
    }

    /// Returns the HTTP/3 connection, if it is time to ask whether it works.
    pub(crate) fn due_check(&mut self, now: Instant, options: &HealthCheckOptions) -> Option<Arc<Connection>> {
        let connection = self.http3.as_ref().filter(|connection| connection.is_usable())?;
        let may_replace = self.policy.mode() == Http3Mode::Auto && self.dialling == 0 && !self.is_closed;
        if !may_replace || connection.in_flight() > BUSY {
            return None;
        }
        let random = self.entropy.next_u64();
        let is_due = self.health_check.is_due(now.into_std(), self.used.0.into_std(), options, random);
        is_due.then(|| Arc::clone(connection))
    }

    /// Has new calls go over HTTP/2 from now on, in place of the HTTP/3 connection that does not work. Returns whether that was
    /// still the one in use.
    pub(crate) fn downgrade(&mut self, http3: &Arc<Connection>, http2: &Arc<Connection>) -> bool {
        let is_current = self.http3.as_ref().is_some_and(|current| Arc::ptr_eq(current, http3));
        if !is_current || self.is_closed || self.policy.mode() != Http3Mode::Auto {
            return false;
        }
        self.http3 = None;
        self.drain(http3);
        self.http3_failed();
        let rtt = http3.progress().map(|(rtt, _)| rtt).unwrap_or_default();
        self.stalled = Some(Stalled { connection: Arc::clone(http3), rtt, since: Instant::now(), is_refused: false });
        self.connected(http2);
        true
    }

    /// Ends a connection that is still stalled when HTTP/2 had as long to connect: its calls fail instead of waiting for their deadlines.
    /// Either that works, or the server is gone.
    pub(crate) fn give_up_stalled(&mut self, now: Instant, stall: Duration) {
        self.stalled = self.stalled.take().filter(|stalled| {
            let progress = stalled.connection.progress();
            let waits = stalled.connection.in_flight() > 0 && progress.is_some_and(|(rtt, _)| rtt == stalled.rtt);
            let is_over = waits && now.duration_since(stalled.since) >= stall;
            if is_over {
                stalled.connection.cut();
            }
            waits && !is_over
        });
    }

    /// Returns when there is something to do if no call begins, and nothing else either: `now` while something is under way.
    pub(crate) fn due(&self, now: Instant, profile: &Profile) -> Instant {
        let is_used = self.attempt.is_some() || self.dialling > 0 || self.stalled.is_some() || self.has_calls();
        let is_asked = self.http3.is_some()
            && profile
                .http3
                .health_check
                .as_ref()
                .is_some_and(|check| check.cover(now.into_std(), self.used.0.into_std()));
        if is_used || is_asked {
            return now;
        }
        let probes = self.http2.as_ref().and_then(|_| self.policy.probe_at(now.into_std())).map(Instant::from_std);
        // Who has rested is looked for again: channels to it may be gone by then.
        let rests =
            Some(self.used.0 + profile.idle_timeout).filter(|at| *at > now).unwrap_or(now + profile.idle_timeout);
        [probes, self.renew_at].into_iter().flatten().fold(rests, Instant::min)
    }

    /// Returns whether calls are under way.
    pub(crate) fn has_calls(&self) -> bool {
        self.connections().any(|connection| connection.in_flight() > 0)
    }

    pub(crate) fn let_go(&mut self) -> Vec<Arc<Connection>> {
        let connections: Vec<_> = [self.http3.take(), self.http2.take()].into_iter().flatten().collect();
        connections.iter().for_each(|connection| self.drain(connection));
        connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_looked_after_while_something_is_under_way_and_else_when_something_is_due() {
        let profile = Profile::control_plane();
        let mut state = State::new(&profile, Http3Mode::Auto, 0);
        let (made, after) = (state.used.0, Duration::from_secs);
        assert_eq!(state.due(made, &profile), made + profile.idle_timeout);
        // Nothing is left to rest: it is asked no more often than that.
        let rested = made + profile.idle_timeout;
        assert_eq!(state.due(rested, &profile), rested + profile.idle_timeout);
        state.renew_at = Some(made + after(7));
        assert_eq!(state.due(made, &profile), made + after(7));
        state.dialling = 1;
        assert_eq!(state.due(made + after(1), &profile), made + after(1));
    }
}
