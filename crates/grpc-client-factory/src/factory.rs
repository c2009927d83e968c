//! Where channels come from.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::uri::Authority;
use identity::{CredentialSource, Credentials};
use lanes::PerLane;
use mesh_types::Endpoint;
use peers_core::{Fleet, Tick};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::alarm::Alarm;
use crate::balanced::Clock;
use crate::channel::Channel;
use crate::http3_mode::Http3Mode;
use crate::link::{Around, Kind, Link, wall_clock};
use crate::meter::Meter;
use crate::profile::{Profile, ProfileError};
use crate::target::Target;
use crate::tasks::Tasks;
use crate::udp::Udp;
use crate::ways::Ways;

/// How often links are looked after while calls or attempts to connect are under way.
const SWEEP_PERIOD: Duration = Duration::from_millis(250);

/// How late a look may be and is still on time.
const ON_TIME: Duration = Duration::from_millis(10);

/// Longest time without a look: an hour is as good as for ever.
const SLEEP_MAX: Duration = Duration::from_hours(1);

/// Most health checks of a factory at a time. Whoever finds no room asks at the next look.
const CHECKS_MAX: usize = 16;

/// What a factory is made of.
#[derive(Debug, Clone)]
pub struct FactoryOptions {
    /// How calls are made, by name. Default: `control-plane` and `data-plane`.
    pub profiles: HashMap<String, Profile>,
    /// Most pairs of target and profile that are kept at a time; from 1. Default 4,096. When there are more, those whose channels
    /// are all gone make room.
    pub links_max: usize,
    /// Bytes of room asked of the system for UDP, each way. Default 4 MiB; less loses packets of bursts.
    pub udp_buffer_bytes: usize,
    /// Seed of all chance, which spreads attempts to connect. Give each process its own. Default 0.
    pub seed: u64,
    /// Whom the tables of balanced channels belong to, of whatever profile. Default: a fleet of the factory's own.
    pub fleet: Fleet,
}

impl FactoryOptions {
    /// Name of [`Profile::control_plane`].
    pub const CONTROL_PLANE: &str = "control-plane";
    /// Name of [`Profile::data_plane`].
    pub const DATA_PLANE: &str = "data-plane";
}

impl Default for FactoryOptions {
    fn default() -> Self {
        let profiles = [
            (Self::CONTROL_PLANE.to_owned(), Profile::control_plane()),
            (Self::DATA_PLANE.to_owned(), Profile::data_plane()),
        ];
        Self {
            profiles: profiles.into(),
            links_max: 4_096,
            udp_buffer_bytes: 4 * 1024 * 1024,
            seed: 0,
            fleet: Fleet::default(),
        }
    }
}

/// Why there is no factory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildFactoryError {
    /// A profile cannot be used.
    #[error("profile `{name}` cannot be used")]
    Profile {
        /// Which.
        name: String,
        /// Why not.
        source: ProfileError,
    },
    /// It was made outside of a tokio runtime.
    #[error("client factory needs a tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
}

/// Why there is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// There is no profile of that name.
    #[error("no profile is named `{name}`")]
    UnknownProfile {
        /// The name.
        name: String,
    },
    /// There are too many channels to different targets.
    #[error("there are channels to {links_max} targets, and room for no more")]
    Full {
        /// See [`FactoryOptions::links_max`].
        links_max: usize,
    },
    /// The endpoint makes no authority of a URI.
    #[error("endpoint `{endpoint}` cannot stand in a URI")]
    Authority {
        /// The endpoint.
        endpoint: String,
    },
}

/// Makes channels, as those who call others see it.
///
/// Making one is cheap, does no I/O and may be done for every call: connections are kept by target and profile.
pub trait ChannelFactory: fmt::Debug + Send + Sync {
    /// Returns a channel to `target` whose calls are made as the profile of that name says.
    ///
    /// # Errors
    /// There is no such profile, or there are too many channels.
    fn channel(&self, target: &Target, profile: &str) -> Result<Channel, ChannelError>;
}

/// Makes channels over mutual TLS, and keeps their connections. Cloning is a reference count; the last clone and channel that goes
/// ends all connections and tasks.
#[derive(Clone)]
pub struct ClientFactory {
    inner: Arc<Inner>,
}

struct Inner {
    /// With the tasks of the factory as a whole.
    around: Around,
    /// Those of the links, each on its lane.
    tasks: PerLane<Arc<Tasks>>,
    profiles: HashMap<String, Kind>,
    links_max: usize,
    links: Mutex<Links>,
    fleet: Fleet,
    clock: Clock,
}

/// What links are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: Target,
    profile: String,
}

struct Links {
    by_key: HashMap<Key, Arc<Ways>>,
    /// What was set at run time.
    modes: HashMap<Endpoint, Http3Mode>,
    is_closed: bool,
    /// Seed of the next link.
    seed: u64,
}

impl ClientFactory {
    /// Makes a factory whose channels show the certificates of `credentials`, the newest for each connection.
    ///
    /// # Errors
    /// A profile cannot be used, or there is no tokio runtime around.
    pub fn new(credentials: Arc<dyn CredentialSource>, options: FactoryOptions) -> Result<Self, BuildFactoryError> {
        let mut profiles = HashMap::with_capacity(options.profiles.len());
        for (name, profile) in options.profiles.into_iter().collect::<std::collections::BTreeMap<_, _>>() {
            profile.check().map_err(|source| BuildFactoryError::Profile { name: name.clone(), source })?;
            let kind = Kind { meter: Arc::new(Meter::new(&name)), profile: Arc::new(profile) };
            profiles.insert(name, kind);
        }
        let (tasks, of_links) = (Arc::new(Tasks::new(Handle::try_current()?)), PerLane::new());
        of_links.get_or_make(|| Arc::clone(&tasks));
        let links = Links { by_key: HashMap::new(), modes: HashMap::new(), is_closed: false, seed: options.seed };
        let links_max = options.links_max.max(1);
        let udp = Arc::new(Udp::new(options.udp_buffer_bytes));
        let checks = Arc::new(Semaphore::new(CHECKS_MAX));
        let around = Around { credentials, tasks, udp, checks, alarm: Arc::default() };
        let (links, fleet, clock) = (Mutex::new(links), options.fleet, Clock::start());
        let inner = Arc::new(Inner { around, tasks: of_links, profiles, links_max, links, fleet, clock });
        let (source, alarm) = (Arc::clone(&inner.around.credentials), Arc::clone(&inner.around.alarm));
        let refusals = inner.around.udp.refusals();
        inner.around.tasks.spawn(watch(Arc::downgrade(&inner), source, alarm, refusals));
        Ok(Self { inner })
    }

    /// Ends all connections: no call begins from now on, and those under way have `grace` to finish.
    ///
    /// # Cancel safety
    /// Dropping the future ends what is left when the factory is dropped.
    pub async fn close(&self, grace: Duration) {
        let until = Instant::now() + grace;
        let ways: Vec<Arc<Ways>> = {
            let mut links = self.inner.lock();
            links.is_closed = true;
            links.by_key.drain().map(|(_, ways)| ways).collect()
        };
        let connections: Vec<_> = ways.iter().flat_map(|ways| ways.links()).flat_map(|link| link.close()).collect();
        for connection in connections {
            // Whoever is late is cut off below.
            if timeout_at(until, connection.finished()).await.is_err() {
                break;
            }
        }
        self.inner.around.tasks.end().await;
        for tasks in self.inner.tasks.all() {
            tasks.end().await;
        }
        self.inner.around.udp.close().await;
    }

    /// Sets whether HTTP/3 is used to `endpoint`, whatever the profiles say; `None` leaves it to them again. Calls from now on keep
    /// to it, those under way finish where they are.
    ///
    /// # Errors
    /// It was set for [`FactoryOptions::links_max`] other endpoints.
    pub fn set_http3(&self, endpoint: &Endpoint, mode: Option<Http3Mode>) -> Result<(), ChannelError> {
        let mut links = self.inner.lock();
        let links_max = self.inner.links_max;
        match mode {
            Some(_) if links.modes.len() >= links_max && !links.modes.contains_key(endpoint) => {
                return Err(ChannelError::Full { links_max });
            }
            Some(mode) => links.modes.insert(endpoint.clone(), mode),
            None => links.modes.remove(endpoint),
        };
        let of_endpoint = links.by_key.values().filter(|ways| ways.target().endpoint == *endpoint);
        of_endpoint.flat_map(|ways| ways.links()).for_each(|link| {
            link.set_mode(mode.unwrap_or_else(|| link.target().mode(link.profile())));
        });
        Ok(())
    }

    /// Returns how many pairs of target and profile are kept, connected or not.
    #[must_use]
    pub fn links(&self) -> usize {
        self.inner.lock().by_key.len()
    }

    /// Returns how many connections they have. One that is called on several lanes ([`lanes`]) has one for each.
    #[must_use]
    pub fn connections(&self) -> usize {
        let links = self.inner.lock();
        links.by_key.values().flat_map(|ways| ways.links()).filter(|link| link.current().is_some()).count()
    }

    /// Returns how many tasks run for it.
    #[must_use]
    pub fn tasks(&self) -> usize {
        let (whole, links) = (&self.inner.around.tasks, &self.inner.tasks);
        let of_links = links.all().filter(|tasks| !Arc::ptr_eq(tasks, whole)).map(|tasks| tasks.len());
        whole.len() + of_links.sum::<usize>()
    }

    /// Returns the way of `ways` that calls of this thread take.
    pub(crate) fn link<'a>(&self, ways: &'a Arc<Ways>) -> &'a Arc<Link> {
        ways.here().unwrap_or_else(|| self.inner.make_link(ways))
    }

    /// Returns the tables of all balanced channels: what is known of the peers that are called. Its ticks are those of
    /// [`ClientFactory::now`].
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.inner.fleet
    }

    /// Returns the time on the clock of all balanced channels.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.inner.clock.now()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// Returns how calls of a profile are made.
    pub(crate) fn kind(&self, profile: &str) -> Result<&Kind, ChannelError> {
        let known = self.inner.profiles.get(profile);
        known.ok_or_else(|| ChannelError::UnknownProfile { name: profile.to_owned() })
    }

    /// Starts a task, which ends with the factory and must not hold it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.inner.around.tasks.spawn(task)
    }
}

impl ChannelFactory for ClientFactory {
    fn channel(&self, target: &Target, profile: &str) -> Result<Channel, ChannelError> {
        let kind = self.kind(profile)?;
        let endpoint = target.endpoint.to_string();
        let Ok(authority) = Authority::try_from(endpoint.as_str()) else {
            return Err(ChannelError::Authority { endpoint });
        };
        let mut links = self.inner.lock();
        let key = Key { target: target.clone(), profile: profile.to_owned() };
        if let Some(ways) = links.by_key.get(&key) {
            return Ok(Channel::new(Arc::clone(ways), authority, self.clone()));
        }
        links.make_room(self.inner.links_max)?;
        let ways = Arc::new(Ways::new(target.clone(), kind.clone()));
        if !links.is_closed {
            links.by_key.insert(key, Arc::clone(&ways));
            self.inner.around.alarm.ring();
        }
        Ok(Channel::new(ways, authority, self.clone()))
    }
}

impl Links {
    fn make_room(&mut self, links_max: usize) -> Result<(), ChannelError> {
        if self.by_key.len() >= links_max {
            self.by_key.retain(|_, ways| !ways.are_forgotten() || ways.current().is_some_and(|(_, calls)| calls > 0));
        }
        if self.by_key.len() >= links_max { Err(ChannelError::Full { links_max }) } else { Ok(()) }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the way of `ways` that calls of this thread take.
    fn make_link<'a>(&self, ways: &'a Arc<Ways>) -> &'a Arc<Link> {
        let tasks = self.tasks.get_or_make(|| Arc::new(Tasks::new(Handle::current())));
        let around = Around { tasks: Arc::clone(tasks), ..self.around.clone() };
        let mut links = self.lock();
        links.seed = links.seed.wrapping_add(1);
        let (target, seed) = (ways.target(), links.seed);
        let mode = links.modes.get(&target.endpoint).copied().unwrap_or_else(|| target.mode(&ways.kind().profile));
        let link = ways.here_or_make(|| Link::new(ways, around, mode, seed));
        if links.is_closed {
            link.close();
        }
        self.around.alarm.ring();
        link
    }

    /// Looks after all links, `late` by so much. Returns when to do so again, unless the alarm rings before.
    fn look_after(&self, now: Instant, late: Duration) -> Instant {
        self.around.alarm.set();
        let mut next = now + SLEEP_MAX;
        self.lock().by_key.retain(|_, ways| {
            let mut have_rested = true;
            for link in ways.links() {
                link.tick(now, late);
                have_rested &= link.rest(now);
                next = next.min(link.due(now));
            }
            !have_rested || !ways.are_forgotten()
        });
        next.max(now + SWEEP_PERIOD)
    }

    fn refused(&self, address: SocketAddr) {
        self.links().iter().for_each(|link| link.refused(address));
    }

    fn credentials_changed(&self, credentials: &Credentials) {
        let now = wall_clock();
        for link in self.links() {
            link.credentials_changed(credentials, now);
        }
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.lock().by_key.values().flat_map(|ways| ways.links()).cloned().collect()
    }
}

/// Looks after the connections of a factory until it is gone: four times a second while something is under way, and else when something
/// is due.
async fn watch(
    inner: Weak<Inner>,
    credentials: Arc<dyn CredentialSource>,
    alarm: Arc<Alarm>,
    mut refusals: broadcast::Receiver<SocketAddr>,
) {
    let mut seen = credentials.current();
    let mut revoked = seen.revocations().version();
    let mut next = Instant::now();
    loop {
        let change = tokio::select! {
            () = sleep_until(next) => Change::Time,
            () = alarm.rung() => Change::Rung,
            Ok(address) = refusals.recv() => Change::Refused(address),
            new = credentials.changed(&seen) => Change::Credentials(new),
            version = seen.revocations().changed(revoked) => Change::Revocations(version),
        };
        let Some(inner) = inner.upgrade() else { return };
        let now = Instant::now();
        match change {
            Change::Time => {
                let (at, late) = looked_at(next, now);
                next = inner.look_after(at, late);
                continue;
            }
            Change::Rung => {}
            Change::Refused(address) => inner.refused(address),
            Change::Credentials(new) => {
                seen = new;
                revoked = seen.revocations().version();
                inner.credentials_changed(&seen);
            }
            Change::Revocations(version) => {
                revoked = version;
                inner.credentials_changed(&seen);
            }
        }
        next = next.min(now + SWEEP_PERIOD);
    }
}

/// Returns when a look that was due counts as made, and by how much it is late. Whoever is a little late each time would be later each time, and
/// what waits for so many looks, as a stall does, would wait for one more.
fn looked_at(due: Instant, now: Instant) -> (Instant, Duration) {
    let late = now.duration_since(due);
    if late < ON_TIME { (due, Duration::ZERO) } else { (now, late) }
}

/// What a factory has to do something about.
enum Change {
    Time,
    Rung,
    /// Nobody listens there.
    Refused(SocketAddr),
    Credentials(Arc<Credentials>),
    Revocations(u64),
}

impl fmt::Debug for ClientFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ClientFactory");
        out.field("links", &self.links()).field("connections", &self.connections()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_is_a_little_late_is_made_on_time() {
        let due = Instant::now();
        let (little, much) = (Duration::from_millis(9), Duration::from_millis(10));
        assert_eq!(looked_at(due, due + little), (due, Duration::ZERO));
        assert_eq!(looked_at(due, due + much), (due + much, much));
    }
}
