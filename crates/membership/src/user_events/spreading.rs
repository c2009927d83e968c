//! User events between the core and its links.

use std::time::Instant;

use bytes::Bytes;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::{Feature, NodeId};

use super::{SendEventError, Taken, Told, UserEvent, UserEventError, encode};
use crate::core::{Core, Phase, Timer};
use crate::event::Event;
use crate::table::Entry;
use crate::wire::{self, Rejected};

impl Core {
    /// Sends an event to every member that knows of events, the local one included, and returns its number in this life. Drain
    /// [`Core::poll_output`] afterwards.
    ///
    /// # Errors
    /// Why it was not sent.
    pub fn send_user_event(&mut self, name: &str, payload: Bytes, now: Instant) -> Result<u64, SendEventError> {
        if self.phase == Phase::Stopped {
            return Err(SendEventError::Stopped);
        }
        let (origin, boot_epoch) = (self.local.clone(), self.own.boot_epoch);
        let mut event = UserEvent { origin, boot_epoch, sequence: 1, name: name.to_owned(), payload };
        event.validate()?;
        event.sequence = self.user_events.next_sequence(boot_epoch, now)?;
        let sequence = event.sequence;
        self.stats.user_events_sent += 1;
        self.pass_on(&event, None, now);
        self.user_events.take(event, now);
        self.tell_user_events();
        Ok(sequence)
    }

    /// Takes in an event that `from` passed on.
    ///
    /// # Errors
    /// Its origin is not known: what is held of origins is bounded by the members.
    pub(crate) fn on_user_event(&mut self, from: &NodeId, event: UserEvent, now: Instant) -> Result<(), Rejected> {
        if self.table.get(&event.origin).is_none() {
            let source = UserEventError::Origin { origin: event.origin.to_string() };
            return Err(Rejected::UserEvent { source });
        }
        // What this node sent itself it has told when it sent it, and an earlier life of it is nobody's news.
        let planned = self.user_events.look_again_at(&event.origin);
        let taken = if event.origin == self.local { Taken::Known } else { self.user_events.take(event.clone(), now) };
        match taken {
            Taken::Known => self.stats.user_events_duplicate += 1,
            Taken::New => {
                self.pass_on(&event, Some(from), now);
                self.plan_again(event.origin, planned);
                self.tell_user_events();
            }
        }
        Ok(())
    }

    /// Gives up events of an origin that have been waited for long enough.
    pub(crate) fn look_again_at_events(&mut self, origin: NodeId, now: Instant) {
        self.user_events.look_again(&origin, now);
        self.plan_again(origin, None);
        self.tell_user_events();
    }

    /// Sets the one timer of an origin, in place of the one that was `planned`.
    fn plan_again(&mut self, origin: NodeId, planned: Option<Instant>) {
        let look_again_at = self.user_events.look_again_at(&origin);
        if look_again_at == planned {
            return;
        }
        let timer = Timer::UserEvents(origin);
        self.timers.extend(look_again_at.map(|at| (at, timer.clone())));
        if let Some(at) = planned {
            self.timers.remove(&(at, timer));
        }
    }

    fn tell_user_events(&mut self) {
        while let Some(told) = self.user_events.next_to_tell() {
            match told {
                Told::Event(event) => self.emit(Event::UserEvent(event)),
                Told::Lost(origin, count) => self.emit(Event::UserEventsLost { origin, count }),
            }
        }
    }

    /// Passes an event on to every link that knows of events, but `except` and its origin.
    fn pass_on(&mut self, event: &UserEvent, except: Option<&NodeId>, now: Instant) {
        let message = wire::encode(&self.local, ProtoBody::UserEvent(encode(event)));
        let may_want = |link: &&NodeId| Some(*link) != except && **link != event.origin && self.knows_of_events(link);
        let links: Vec<NodeId> = self.links.iter().filter(may_want).cloned().collect();
        for link in links {
            self.send_event_message(&link, message.clone(), now);
        }
    }

    /// A node of an earlier build drops what it does not know, and counts it as a fault.
    fn knows_of_events(&self, link: &NodeId) -> bool {
        let metadata = self.table.get(link).and_then(Entry::metadata);
        metadata.is_some_and(|metadata| metadata.features.contains(Feature::UserEvents))
    }
}
