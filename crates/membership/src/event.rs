//! What the core tells its shell.

use mesh_types::{BootEpoch, Endpoint, Member, NodeId};

use crate::user_events::UserEvent;

/// Something that happened to the membership, as this node sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A member is known for the first time, or came back in a new life.
    Joined(Member),
    /// A member changed what it says of itself.
    Updated(Member),
    /// This node misses the member's answers and asks others; nobody else is told.
    Suspected(Member),
    /// A suspected or unreachable member turned out to live.
    Recovered(Member),
    /// A quorum gets no answer from the member.
    Unreachable(Member),
    /// The member stayed unreachable: this life of it is over.
    Dead(Member),
    /// The member said goodbye.
    Left(Member),
    /// This node denied a verdict on itself, by its new incarnation.
    Refuted {
        /// The incarnation it has now.
        incarnation: u64,
    },
    /// This node was held dead, or an earlier life of it was still known: it came back in a new life.
    Rejoined {
        /// The life it has now.
        boot_epoch: BootEpoch,
    },
    /// Nobody confirms what this node misses of most of its links: it is cut off itself, or in the smaller part of a
    /// divided mesh. It declares nobody.
    Isolated {
        /// How many of its links it suspects.
        suspects: usize,
    },
    /// This node is no longer isolated.
    Reconnected,
    /// A later process of the same name runs at another address: this core has stopped.
    Superseded {
        /// Where the other one listens.
        endpoint: Endpoint,
    },
    /// A member, or this node, sent an event. Those of one origin come in the order in which it sent them.
    UserEvent(UserEvent),
    /// Events of a member did not come in time: those after them go on without.
    UserEventsLost {
        /// The member.
        origin: NodeId,
        /// How many.
        count: u64,
    },
    /// What was said about a node could not be used; the rest of the message was.
    UpdateRejected {
        /// Whom it was about, as the message spells it.
        node: String,
        /// The reason, as a metric label.
        reason: &'static str,
        /// What is wrong, naming the field.
        detail: String,
    },
}

impl Event {
    /// Returns the member that it is about, unless it is about the local node or about nobody known.
    #[must_use]
    pub const fn member(&self) -> Option<&Member> {
        match self {
            Self::Joined(member)
            | Self::Updated(member)
            | Self::Suspected(member)
            | Self::Recovered(member)
            | Self::Unreachable(member)
            | Self::Dead(member)
            | Self::Left(member) => Some(member),
            Self::Refuted { .. }
            | Self::Rejoined { .. }
            | Self::Isolated { .. }
            | Self::Reconnected
            | Self::Superseded { .. }
            | Self::UserEvent(_)
            | Self::UserEventsLost { .. }
            | Self::UpdateRejected { .. } => None,
        }
    }

    /// Returns the kind as a metric label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Joined(_) => "joined",
            Self::Updated(_) => "updated",
            Self::Suspected(_) => "suspect",
            Self::Recovered(_) => "recovered",
            Self::Unreachable(_) => "unreachable",
            Self::Dead(_) => "dead",
            Self::Left(_) => "left",
            Self::Refuted { .. } => "refuted",
            Self::Rejoined { .. } => "rejoined",
            Self::Isolated { .. } => "isolated",
            Self::Reconnected => "reconnected",
            Self::Superseded { .. } => "superseded",
            Self::UserEvent(_) => "user_event",
            Self::UserEventsLost { .. } => "user_events_lost",
            Self::UpdateRejected { .. } => "update_rejected",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Probes sent, of any kind.
    pub probes: u64,
    /// Probes that got no answer in time.
    pub missed_probes: u64,
    /// Accusations that ended without a quorum.
    pub inconclusive: u64,
    /// Verdicts this node declared.
    pub verdicts: u64,
    /// Digests of others that did not match.
    pub digest_mismatches: u64,
    /// Delta syncs started.
    pub syncs: u64,
    /// Updates received that brought news.
    pub news: u64,
    /// Updates received that were known already.
    pub duplicates: u64,
    /// Accusations that others disproved.
    pub disproved: u64,
    /// Members that did not probe this node when they had said they would.
    pub broken_promises: u64,
    /// Times that the shell was late for a timer by 50 ms or more.
    pub loop_lags: u64,
    /// User events that this node sent.
    pub user_events_sent: u64,
    /// User events that came again.
    pub user_events_duplicate: u64,
    /// Requests to verify that were refused because too many were under way.
    pub verifications_refused: u64,
}
