//! Attempts to connect.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use identity::CredentialSource;
use metrics::Gauge;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout};

use crate::alarm::Alarm;
use crate::connection::{Connection, Made, Wire};
use crate::error::{Cause, FactoryError};
use crate::eyeballs::in_turns;
use crate::health_check::{NoAnswer, Verdict, ask};
use crate::http2;
use crate::http3;
use crate::link::{Link, Outcome};
use crate::meter::Meter;
use crate::policy::Plan;
use crate::profile::Profile;
use crate::target::{Protocol, Target};
use crate::tasks::Tasks;
use crate::udp::Udp;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

type Dialled = Result<Arc<Connection>, FactoryError>;

/// Counts a connection for as long as its task runs.
struct Open(Gauge);

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// What it takes to connect. It holds nothing that owns its task.
pub(crate) struct Dial {
    pub(crate) target: Target,
    pub(crate) profile: Arc<Profile>,
    /// How long it may take to connect.
    pub(crate) in_time: Duration,
    pub(crate) meter: Arc<Meter>,
    pub(crate) credentials: Arc<dyn CredentialSource>,
    pub(crate) tasks: Weak<Tasks>,
    pub(crate) udp: Arc<Udp>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) link: Weak<Link>,
}

/// An attempt for which calls wait.
pub(crate) struct Attempt {
    pub(crate) dial: Dial,
    pub(crate) tell: watch::Sender<Option<Outcome>>,
}

impl Attempt {
    pub(crate) async fn run(self, plan: Plan) {
        match plan {
            Plan::Http2 => self.settle(self.dial.http2().await),
            Plan::Http3 => self.settle(self.dial.http3().await),
            Plan::Race { head_start } => self.race(head_start).await,
        }
        self.dial.with_link(|link| link.attempt_over());
    }

    /// Tells those who wait, once: what comes later only changes the link.
    fn settle(&self, result: Dialled) {
        self.dial.with_link(|link| {
            let outcome = link.dialled(result);
            self.tell.send_replace(Some(outcome));
        });
    }

    async fn race(&self, head_start: Duration) {
        let mut http3 = Box::pin(self.dial.http3());
        if let Ok(early) = timeout(head_start, &mut http3).await {
            return match early {
                Err(error) if !error.is_final() => self.fall_back(error).await,
                early => self.settle(early),
            };
        }
        let mut http2 = Box::pin(self.dial.http2());
        tokio::select! {
            first = &mut http3 => match first {
                Err(error) if !error.is_final() => self.fallen_back(&error, http2.await),
                first => self.settle(first),
            },
            first = &mut http2 => match first {
                Ok(connection) => {
                    self.settle(Ok(connection));
                    self.dial.settle_probe(http3.await);
                }
                Err(error) => self.settle(http3.await.map_err(|late| if late.is_final() { late } else { error })),
            },
        }
    }

    async fn fall_back(&self, error: FactoryError) {
        let http2 = self.dial.http2().await;
        self.fallen_back(&error, http2);
    }

    /// Settles for HTTP/2. Only if that works is HTTP/3 what has failed; otherwise it is the server.
    fn fallen_back(&self, error: &FactoryError, http2: Dialled) {
        let works = http2.is_ok();
        self.settle(http2);
        if works {
            self.dial.with_link(|link| link.http3_failed(error));
        }
    }
}

impl Dial {
    /// Looks whether HTTP/3 works. No call waits for it.
    pub(crate) async fn probe(self) {
        let dialled = self.http3().await;
        match (&dialled, &self.profile.http3.health_check) {
            // It has failed in use: a handshake proves little.
            (Ok(connection), Some(check)) if ask(connection, check.timeout).await == Verdict::Fails => {
                self.with_link(|link| link.http3_failed(&NoAnswer { after: check.timeout }));
            }
            _ => self.settle_probe(dialled),
        }
        self.with_link(|link| link.attempt_over());
    }

    fn settle_probe(&self, result: Dialled) {
        self.with_link(|link| match result {
            Ok(connection) => drop(link.dialled(Ok(connection))),
            Err(error) => link.http3_failed(&error),
        });
    }

    pub(crate) fn with_link(&self, then: impl FnOnce(&Link)) {
        // Without a link there is nobody who waits.
        if let Some(link) = self.link.upgrade() {
            then(&link);
        }
    }

    pub(crate) async fn http2(&self) -> Dialled {
        self.in_time(Protocol::Http2, self.dial_http2()).await
    }

    async fn http3(&self) -> Dialled {
        self.in_time(Protocol::Http3, self.dial_http3()).await
    }

    async fn in_time(&self, protocol: Protocol, dialled: impl Future<Output = Dialled>) -> Dialled {
        let after = self.in_time;
        let late = |_elapsed| FactoryError::ConnectTimeout { endpoint: self.target.endpoint.clone(), protocol, after };
        let outcome = timeout(after, dialled).await.map_err(late).flatten();
        self.meter.dialled(protocol, outcome.as_ref().map(|connection| connection.took));
        outcome
    }

    async fn dial_http2(&self) -> Dialled {
        let (begun, credentials) = (Instant::now(), self.credentials.current());
        let addresses = self.resolve().await?;
        let around = (Weak::clone(&self.tasks), self.meter.of(Protocol::Http2).rtt_seconds.clone());
        let dialled = http2::dial(&self.target, &addresses, &self.profile, &credentials, around).await?;
        let (slots_max, chain, took) = (self.profile.http2.max_streams, dialled.chain, begun.elapsed());
        let (wire, alarm) = (Wire::Http2(dialled.http2), Arc::clone(&self.alarm));
        let made = Made { wire, slots_max, chain, credentials, took, alarm };
        self.drive(made, dialled.driver)
    }

    async fn dial_http3(&self) -> Dialled {
        let (begun, credentials) = (Instant::now(), self.credentials.current());
        let (addresses, options) = (self.resolve().await?, &self.profile.http3);
        let around = (&*self.udp, Weak::clone(&self.tasks));
        let dialled = http3::dial(&self.target, &addresses, options, &credentials, around).await?;
        let (slots_max, chain, took) = (options.max_streams, dialled.chain, begun.elapsed());
        let (wire, alarm, driver) = (Wire::Http3(dialled.http3), Arc::clone(&self.alarm), dialled.driver);
        let made = Made { wire, slots_max, chain, credentials, took, alarm };
        self.drive(made, async move { Some(driver.await) })
    }

    /// Starts the task that a connection lives by.
    fn drive(&self, made: Made, driver: impl Future<Output = Option<Cause>> + Send + 'static) -> Dialled {
        let tasks = self.tasks.upgrade().ok_or(FactoryError::Closed)?;
        let connection = Arc::new(Connection::new(self.target.clone(), made));
        let (link, ended) = (Weak::clone(&self.link), Arc::downgrade(&connection));
        let connections = self.meter.of(connection.protocol()).connections.clone();
        tasks.spawn(async move {
            let _open = Open::new(connections);
            let cause = driver.await;
            if let (Some(cause), Some(link), Some(ended)) = (cause, link.upgrade(), ended.upgrade()) {
                link.ended(&ended, cause);
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
        Ok(in_turns(addresses.take(ADDRESSES_MAX)))
    }
}
