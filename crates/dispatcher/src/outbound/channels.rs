//! Channels that are in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grpc_client_factory::{BalancedChannel, ChannelError};
use peers_core::Published;
use tokio::time::Instant;

use super::members::Whom;

/// Channels that are in use, one for each kind of call. Finding one takes no lock.
#[derive(Debug)]
pub(crate) struct Channels {
    made: Published<HashMap<Whom, Arc<Made>>>,
    /// Whoever makes or lets go of channels has it.
    writer: Mutex<()>,
    most: usize,
    idle_timeout: Duration,
    begun: Instant,
}

#[derive(Debug)]
struct Made {
    channel: BalancedChannel,
    /// When it was last asked for, in milliseconds since the beginning.
    used_ms: AtomicU64,
}

impl Channels {
    pub(crate) fn new(most: usize, idle_timeout: Duration) -> Self {
        let (made, writer) = (Published::new(HashMap::new()), Mutex::default());
        Self { made, writer, most: most.max(1), idle_timeout, begun: Instant::now() }
    }

    pub(crate) fn len(&self) -> usize {
        self.made.read(HashMap::len)
    }

    /// Returns all channels that there are.
    pub(crate) fn all(&self) -> Vec<(Whom, BalancedChannel)> {
        self.made.read(|made| made.iter().map(|(whom, made)| (whom.clone(), made.channel.clone())).collect())
    }

    /// Returns the channel to `whom`, made by `make` if there is none.
    pub(crate) fn get(
        &self,
        whom: &Whom,
        make: impl FnOnce() -> Result<BalancedChannel, ChannelError>,
    ) -> Result<BalancedChannel, ChannelError> {
        let now_ms = self.now_ms();
        let find = || self.made.read(|made| made.get(whom).map(|made| made.used(now_ms)));
        if let Some(channel) = find() {
            return Ok(channel);
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = find() {
            return Ok(channel);
        }
        let channel = make()?;
        let mut made: HashMap<_, _> = self.made.read(Clone::clone);
        if made.len() >= self.most
            && let Some(oldest) =
                made.iter().min_by_key(|(_, made)| made.last_used_ms()).map(|(oldest, _)| oldest.clone())
        {
            made.remove(&oldest);
        }
        let used_ms = AtomicU64::new(now_ms);
        made.insert(whom.clone(), Arc::new(Made { channel: channel.clone(), used_ms }));
        self.made.publish(made);
        Ok(channel)
    }

    /// Lets go of channels that nobody has asked for of late. Calls under way keep theirs.
    pub(crate) fn rest(&self) {
        let idle_ms = u64::try_from(self.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        let oldest_ms = self.now_ms().saturating_sub(idle_ms);
        let is_idle = |made: &Arc<Made>| made.last_used_ms() < oldest_ms;
        if !self.made.read(|made| made.values().any(is_idle)) {
            return;
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made: HashMap<_, _> = self.made.read(Clone::clone);
        made.retain(|_, made| !is_idle(made));
        self.made.publish(made);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Made {
    fn used(&self, now_ms: u64) -> BalancedChannel {
        self.used_ms.fetch_max(now_ms, Ordering::Relaxed);
        self.channel.clone()
    }

    fn last_used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }
}
