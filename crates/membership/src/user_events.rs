//! User events: small named messages of applications, told to every member, in the order of each origin.
//!
//! An event is flooded over the links, on streams, so that loss on a link only delays it. A node passes on what it has
//! not had and tells its listeners in order: one that is ahead waits for those before it, up to two seconds, and what has not come by then is
//! counted as lost. Nothing is kept once it has been told: who joins later hears what is sent later.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_types::{BootEpoch, NodeId};

mod encoding;
mod spreading;
#[cfg(test)]
mod tests;

pub(crate) use encoding::{decode, encode};

/// How long an event waits for those before it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the first event heard of an origin waits: it may have overtaken others.
const FIRST_PATIENCE: Duration = Duration::from_millis(200);

/// Most events of one origin that wait for those before them.
const MOST_WAITING: usize = 64;

/// Events that a node may send at once, and how long it takes until it may send another.
const BURST: u32 = 32;
const REFILL: Duration = Duration::from_millis(100);

/// A small message of an application, told to every member.
#[derive(Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Who sent it.
    pub origin: NodeId,
    /// In which life.
    pub boot_epoch: BootEpoch,
    /// Which of that life's events it is, from 1.
    pub sequence: u64,
    /// What it is about.
    pub name: String,
    /// What it says; opaque here.
    pub payload: Bytes,
}

impl fmt::Debug for UserEvent {
    /// Shows the payload's size, not what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, boot_epoch, sequence, name, payload } = self;
        write!(f, "{origin}.{boot_epoch}#{sequence} {name} ({} bytes)", payload.len())
    }
}

/// Which bound an event breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserEventError {
    /// The name is empty, too long, or has other characters.
    #[error(
        "event name is {bytes} bytes long or holds more than letters, digits, `.`, `_` and `-`; 1 to {} are valid",
        UserEvent::MAX_NAME_BYTES
    )]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// The payload is too long.
    #[error("event payload is {bytes} bytes long, more than {}", UserEvent::MAX_PAYLOAD_BYTES)]
    Payload {
        /// Its length.
        bytes: usize,
    },
    /// Its number is none that an origin gives.
    #[error("event has number {sequence}")]
    Sequence {
        /// The number.
        sequence: u64,
    },
    /// Its origin is no node, or none that is known here.
    #[error("event is of `{origin}`, which is not known here")]
    Origin {
        /// The origin as given.
        origin: String,
    },
}

/// Why an event was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendEventError {
    /// It breaks a bound.
    #[error("event is not valid")]
    Invalid(#[from] UserEventError),
    /// This node has sent too many of late.
    #[error("too many events of late; the next may be sent in {retry_in:?}")]
    TooMany {
        /// When the next may be sent.
        retry_in: Duration,
    },
    /// The node has left the mesh.
    #[error("this node has left the mesh")]
    Stopped,
}

impl UserEvent {
    /// Longest name, in bytes.
    pub const MAX_NAME_BYTES: usize = 63;
    /// Longest payload, in bytes.
    pub const MAX_PAYLOAD_BYTES: usize = 512;

    pub(crate) fn validate(&self) -> Result<(), UserEventError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let bytes = self.name.len();
        if bytes == 0 || bytes > Self::MAX_NAME_BYTES || !self.name.chars().all(is_plain) {
            return Err(UserEventError::Name { bytes });
        }
        if self.payload.len() > Self::MAX_PAYLOAD_BYTES {
            return Err(UserEventError::Payload { bytes: self.payload.len() });
        }
        // Without a next higher number nothing of that life could follow.
        if self.sequence == 0 || self.sequence == u64::MAX {
            return Err(UserEventError::Sequence { sequence: self.sequence });
        }
        Ok(())
    }
}

/// What is to be told to listeners, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Event(UserEvent),
    /// So many of the origin did not come.
    Lost(NodeId, u64),
}

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was not had: pass it on.
    New,
    /// It was had before, or is of an earlier life.
    Known,
}

/// One life of an origin, as far as it has been heard.
#[derive(Debug)]
struct Origin {
    boot_epoch: BootEpoch,
    /// Up to here everything has been told or given up. `None` until the first has been told.
    told: Option<u64>,
    waiting: BTreeMap<u64, UserEvent>,
    give_up_at: Option<Instant>,
}

/// Events that were heard, by origin, and what this node may send.
#[derive(Debug, Default)]
pub(crate) struct UserEvents {
    origins: BTreeMap<NodeId, Origin>,
    to_tell: VecDeque<Told>,
    life: Option<BootEpoch>,
    sent: u64,
    /// When the last token of the burst is back: as far ahead as tokens are missing.
    full_at: Option<Instant>,
}

impl UserEvents {
    /// Takes an event in. The origin must be known, or what is held of origins has no bound.
    pub(crate) fn take(&mut self, event: UserEvent, now: Instant) -> Taken {
        let origin = self.origins.entry(event.origin.clone()).or_insert_with(|| Origin::of(event.boot_epoch));
        if event.boot_epoch < origin.boot_epoch {
            return Taken::Known;
        }
        if event.boot_epoch > origin.boot_epoch {
            origin.give_up(&event.origin, &mut self.to_tell);
            *origin = Origin::of(event.boot_epoch);
        }
        if origin.told.is_some_and(|told| event.sequence <= told) || origin.waiting.contains_key(&event.sequence) {
            return Taken::Known;
        }
        let name = event.origin.clone();
        origin.waiting.insert(event.sequence, event);
        if origin.waiting.len() > MOST_WAITING {
            origin.skip(&name, &mut self.to_tell);
        }
        origin.tell(&mut self.to_tell);
        origin.plan(now);
        Taken::New
    }

    /// Gives up what has been waited for long enough.
    pub(crate) fn look_again(&mut self, origin: &NodeId, now: Instant) {
        let Some(heard) = self.origins.get_mut(origin) else { return };
        if heard.give_up_at.is_some_and(|at| at <= now) {
            heard.skip(origin, &mut self.to_tell);
            heard.tell(&mut self.to_tell);
            heard.plan(now);
        }
    }

    /// Returns when to look again at what waits of an origin.
    pub(crate) fn look_again_at(&self, origin: &NodeId) -> Option<Instant> {
        self.origins.get(origin)?.give_up_at
    }

    pub(crate) fn next_to_tell(&mut self) -> Option<Told> {
        self.to_tell.pop_front()
    }

    /// Returns the number of the next event that this node sends in its life.
    pub(crate) fn next_sequence(&mut self, life: BootEpoch, now: Instant) -> Result<u64, SendEventError> {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + REFILL;
        let missing = full_at.saturating_duration_since(now);
        if missing > REFILL * BURST {
            return Err(SendEventError::TooMany { retry_in: missing - REFILL * BURST });
        }
        self.full_at = Some(full_at);
        if self.life != Some(life) {
            (self.life, self.sent) = (Some(life), 0);
        }
        self.sent += 1;
        Ok(self.sent)
    }

    pub(crate) fn forget(&mut self, origin: &NodeId) {
        self.origins.remove(origin);
    }

    /// How many events wait for others.
    pub(crate) fn waiting(&self) -> usize {
        self.origins.values().map(|origin| origin.waiting.len()).sum()
    }
}

impl Origin {
    const fn of(boot_epoch: BootEpoch) -> Self {
        Self { boot_epoch, told: None, waiting: BTreeMap::new(), give_up_at: None }
    }

    /// Tells what nothing is missing before. What is missing after that is waited for anew.
    fn tell(&mut self, to_tell: &mut VecDeque<Told>) {
        while let Some(event) = self.waiting.remove(&(self.told.unwrap_or(0) + 1)) {
            self.give_up_at = None;
            self.told = Some(event.sequence);
            to_tell.push_back(Told::Event(event));
        }
    }

    /// Gives up what is missing before the first that waits. Before the first that is ever told, that is no loss: it was
    /// sent before this node listened.
    fn skip(&mut self, name: &NodeId, to_tell: &mut VecDeque<Told>) {
        let Some(first) = self.waiting.keys().next().copied() else { return };
        if let Some(told) = self.told {
            to_tell.push_back(Told::Lost(name.clone(), first - told - 1));
        }
        self.told = Some(first - 1);
    }

    /// Tells all that waits, whatever is missing.
    fn give_up(&mut self, name: &NodeId, to_tell: &mut VecDeque<Told>) {
        while !self.waiting.is_empty() {
            self.skip(name, to_tell);
            self.tell(to_tell);
        }
    }

    /// Plans when what waits is looked at again, unless that is planned.
    fn plan(&mut self, now: Instant) {
        let patience = if self.told.is_none() { FIRST_PATIENCE } else { PATIENCE };
        self.give_up_at = if self.waiting.is_empty() { None } else { self.give_up_at.or(Some(now + patience)) };
    }
}
