//! The way to one target: its connection, and how it comes to have one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use identity::{CredentialSource, Credentials};
use peers_core::Entropy;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::connection::{Connection, Wire};
use crate::error::FactoryError;
use crate::http2::{self, Dialled};
use crate::profile::Profile;
use crate::target::{Protocol, Target};
use crate::tasks::{Spawner, Tasks};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What came of an attempt, for all who waited for it.
type Outcome = Result<Arc<Connection>, Arc<FactoryError>>;

/// The way to one target with one profile. All channels to it share it.
#[derive(Debug)]
pub(crate) struct Link {
    target: Target,
    profile: Arc<Profile>,
    credentials: Arc<dyn CredentialSource>,
    tasks: Arc<Tasks>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    http2: Option<Arc<Connection>>,
    /// The attempt to connect that is under way.
    attempt: Option<watch::Receiver<Option<Outcome>>>,
    /// The last attempt's failure, which holds as long as the wait after it.
    failure: Option<Arc<FactoryError>>,
    backoff: Backoff,
    entropy: Entropy,
    is_closed: bool,
    /// When the link was last seen in use, and how many calls its connection had begun then.
    used: (Instant, u64),
    /// When the connection is to be replaced by one with our new certificate.
    renew_at: Option<Instant>,
    /// Whether credentials have changed since the attempt under way began.
    is_outdated: bool,
}

/// What a call finds.
enum Look {
    Connected(Arc<Connection>),
    Failed(Arc<FactoryError>),
    Wait(watch::Receiver<Option<Outcome>>),
}

impl Link {
    pub(crate) fn new(
        target: Target,
        profile: Arc<Profile>,
        credentials: Arc<dyn CredentialSource>,
        tasks: Arc<Tasks>,
        seed: u64,
    ) -> Self {
        let state = State {
            http2: None,
            attempt: None,
            failure: None,
            backoff: Backoff::new(profile.reconnect_min, profile.reconnect_max),
            entropy: Entropy::seeded(seed),
            is_closed: false,
            used: (Instant::now(), 0),
            renew_at: None,
            is_outdated: false,
        };
        Self { target, profile, credentials, tasks, state: Mutex::new(state) }
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
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
        if let Some(connection) = state.http2.as_ref().filter(|connection| connection.is_usable()) {
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
        state.attempt = Some(told.clone());
        state.is_outdated = false;
        let dial = Dial {
            target: self.target.clone(),
            profile: Arc::clone(&self.profile),
            credentials: Arc::clone(&self.credentials),
            tasks: Arc::downgrade(&self.tasks),
            link: Arc::downgrade(self),
        };
        self.tasks.spawn(async move {
            let link = Weak::clone(&dial.link);
            let result = dial.run().await;
            if let Some(link) = link.upgrade() {
                tell.send_replace(Some(link.dialled(result)));
            }
        });
        told
    }

    fn dialled(&self, result: Result<Arc<Connection>, FactoryError>) -> Outcome {
        let mut state = self.lock();
        state.attempt = None;
        match result {
            Ok(_) if state.is_closed => Err(Arc::new(FactoryError::Closed)),
            Ok(connection) => {
                state.used = (Instant::now(), 0);
                state.renew_at = None;
                if let Some(old) = state.http2.replace(Arc::clone(&connection)) {
                    old.retire();
                }
                if state.is_outdated {
                    self.judge(&mut state, &self.credentials.current(), wall_clock());
                }
                Ok(connection)
            }
            Err(error) => Err(state.failed(error)),
        }
    }

    /// Notes that the server has answered, which is when a connection counts as good: what it thinks of our certificate shows
    /// only after the handshake.
    pub(crate) fn answered(&self, connection: &Connection) {
        if connection.prove() {
            self.lock().backoff.succeeded();
        }
    }

    /// Takes in that a connection has ended. If the server had answered nothing on it, that counts as a failure to connect.
    fn ended(&self, connection: &Connection, error: hyper::Error) {
        if !connection.is_proven() {
            let error = connection.explain(error);
            self.lock().failed(error);
        }
    }

    /// Lets go of a connection that has had no calls for as long as the profile says. Returns whether nothing is left.
    pub(crate) fn rest(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let (busy, begun) = match &state.http2 {
            Some(connection) => (connection.in_flight() > 0, connection.begun()),
            None => (state.attempt.is_some(), 0),
        };
        if busy || begun != state.used.1 {
            state.used = (now, begun);
        }
        let is_idle = now.duration_since(state.used.0) >= self.profile.idle_timeout;
        if is_idle && let Some(connection) = state.http2.take() {
            connection.retire();
        }
        is_idle
    }

    /// Takes in new credentials, or new lists of what was revoked: a connection to a server that is not trusted any more ends, and
    /// one that was made with our old certificate is replaced, each link at its own time so that servers see no rush.
    pub(crate) fn credentials_changed(&self, credentials: &Credentials, now: SystemTime) {
        let mut state = self.lock();
        state.is_outdated = true;
        self.judge(&mut state, credentials, now);
    }

    fn judge(&self, state: &mut State, credentials: &Credentials, now: SystemTime) {
        let Some(connection) = state.http2.clone() else { return };
        if !connection.recheck(credentials, now) {
            state.http2 = None;
        } else if !connection.shows(credentials) {
            let spread_ms = u64::try_from(self.profile.renew_within.as_millis()).unwrap_or(u64::MAX).max(1);
            let wait = Duration::from_millis(state.entropy.next_u64() % spread_ms);
            state.renew_at = Some(Instant::now() + wait);
        }
    }

    /// Replaces the connection if its time has come. Until that has worked, calls go on over the old one.
    pub(crate) fn renew(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        let is_due = state.renew_at.is_some_and(|at| at <= now);
        if is_due && state.attempt.is_none() && !state.backoff.holds(now.into_std()) && !state.is_closed {
            self.begin(&mut state);
        }
    }

    /// Lets no new call begin; returns the connection that may have calls under way.
    pub(crate) fn close(&self) -> Option<Arc<Connection>> {
        let mut state = self.lock();
        state.is_closed = true;
        let connection = state.http2.take();
        if let Some(connection) = &connection {
            connection.retire();
        }
        connection
    }

    /// Returns what the link's connection speaks, and how many calls are under way on it; `None` without one.
    pub(crate) fn current(&self) -> Option<(Protocol, usize)> {
        let state = self.lock();
        let connection = state.http2.as_ref().filter(|connection| connection.is_usable())?;
        Some((connection.protocol(), connection.in_flight()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has left each field whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failed(&mut self, error: FactoryError) -> Arc<FactoryError> {
        let random = self.entropy.next_u64();
        self.backoff.failed(Instant::now().into_std(), random);
        let error = Arc::new(error);
        self.failure = Some(Arc::clone(&error));
        error
    }
}

/// Certificates are judged by it, as rustls does in each handshake.
#[expect(clippy::disallowed_methods, reason = "the edge: whether a certificate is valid is asked now")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// One attempt to connect. It holds nothing that owns its task.
struct Dial {
    target: Target,
    profile: Arc<Profile>,
    credentials: Arc<dyn CredentialSource>,
    tasks: Weak<Tasks>,
    link: Weak<Link>,
}

impl Dial {
    async fn run(self) -> Result<Arc<Connection>, FactoryError> {
        let after = self.profile.connect_timeout;
        let Ok(result) = timeout(after, self.http2()).await else {
            let (endpoint, protocol) = (self.target.endpoint.clone(), Protocol::Http2);
            return Err(FactoryError::ConnectTimeout { endpoint, protocol, after });
        };
        result
    }

    async fn http2(&self) -> Result<Arc<Connection>, FactoryError> {
        let credentials = self.credentials.current();
        let addresses = self.resolve().await?;
        let spawner = Spawner::new(Weak::clone(&self.tasks));
        let Dialled { http2, chain, driver } =
            http2::dial(&self.target, &addresses, &self.profile, &credentials, spawner).await?;
        let slots = self.profile.http2.max_streams;
        let wire = Wire::Http2(http2);
        let connection = Arc::new(Connection::new(self.target.clone(), wire, slots, chain, credentials));
        let tasks = self.tasks.upgrade().ok_or(FactoryError::Closed)?;
        let (link, ended) = (Weak::clone(&self.link), Arc::downgrade(&connection));
        tasks.spawn(async move {
            let error = driver.await;
            if let (Some(error), Some(link), Some(ended)) = (error, link.upgrade(), ended.upgrade()) {
                link.ended(&ended, error);
            }
        });
        Ok(connection)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, FactoryError> {
        let endpoint = &self.target.endpoint;
        if let Some(address) = endpoint.socket_addr() {
            return Ok(vec![address]);
        }
        let found = lookup_host((endpoint.host(), endpoint.port())).await;
        let addresses = found.map_err(|source| FactoryError::Resolve { endpoint: endpoint.clone(), source })?;
        Ok(addresses.take(ADDRESSES_MAX).collect())
    }
}
