//! What a member says to a node that runs: messages that are decoded, merged and answered, with all that follows from them.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use membership::{Core, Event, Input, Output};
use mesh_types::NodeId;

use crate::hellos::{node, sender, start};

/// Messages that one node hears before another takes its place: so it does not grow for as long as the target runs.
const MESSAGES_A_NODE: u32 = 20_000;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(2);

/// A node, and how much it has heard.
#[derive(Debug)]
struct Listener {
    core: Core,
    heard: u32,
    now: Instant,
    /// Whether it has made way for another process of its name.
    has_stopped: bool,
}

/// The member that speaks.
#[derive(Debug)]
pub(crate) struct Conversation {
    speaker: NodeId,
    listener: RefCell<Listener>,
}

impl Listener {
    /// Starts a node that `node-a` has said hello to.
    fn new(now: Instant) -> anyhow::Result<Self> {
        let mut core = start("node-b", now)?;
        let hello = start("node-a", now)?.hello();
        core.handle_hello(&sender("node-a")?, &hello, now).context("the speaker's hello")?;
        let mut listener = Self { core, heard: 0, now, has_stopped: false };
        listener.drain();
        Ok(listener)
    }

    fn hear(&mut self, from: &NodeId, bytes: Bytes) -> &'static str {
        self.heard += 1;
        self.now += PAUSE;
        let heard = self.core.handle(Input::Message { from, bytes }, self.now);
        self.drain();
        let timers = self.core.handle(Input::Timeout, self.now);
        self.drain();
        assert!(timers.is_ok(), "a timer is no input that can be refused");
        match heard {
            Ok(()) => "accepted",
            Err(rejected) => rejected.reason(),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.has_stopped |= matches!(output, Output::Event(Event::Superseded { .. }));
        }
    }
}

impl Conversation {
    pub(crate) fn begin(now: Instant) -> anyhow::Result<Self> {
        Ok(Self { speaker: node("node-a")?, listener: RefCell::new(Listener::new(now)?) })
    }

    /// Lets the node hear `data`, and says what became of it.
    pub(crate) fn take(&self, data: &[u8]) -> &'static str {
        let mut listener = self.listener.borrow_mut();
        let is_over = listener.has_stopped || listener.heard >= MESSAGES_A_NODE;
        if is_over && let Ok(next) = Listener::new(listener.now) {
            *listener = next;
        }
        listener.hear(&self.speaker, Bytes::copy_from_slice(data))
    }
}
