//! What goes into the core, and what comes out.

use std::time::Duration;

use bytes::Bytes;
use mesh_types::{BootEpoch, Endpoint, NodeId, NodeMetadata};

use crate::event::Event;
use crate::knob::OptionsError;
use crate::record::RecordError;

/// Who the local node is.
#[derive(Debug, Clone)]
pub struct LocalNode {
    /// Its name: the one in its certificate.
    pub id: NodeId,
    /// This life of it: at least 1, and higher than the last, as far as the shell can tell. If the mesh
    /// remembers a higher one, the core raises it.
    pub boot_epoch: BootEpoch,
    /// What it says of itself.
    pub metadata: NodeMetadata,
}

/// Why a core cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of range.
    #[error("option is not valid")]
    Options(#[from] OptionsError),
    /// The node's own metadata is not valid.
    #[error("metadata of `{node}` is not valid")]
    Metadata {
        /// The node.
        node: NodeId,
        /// What is wrong.
        #[source]
        source: RecordError,
    },
}

/// What happens to the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// A message came in from the node that the link's certificate names.
    Message {
        /// The node that the certificate names.
        from: &'a NodeId,
        /// The datagram, or the whole of the stream.
        bytes: Bytes,
    },
    /// A timer is due: call when [`Core::poll_timeout`](crate::Core::poll_timeout) has passed. Too early does nothing.
    Timeout,
    /// The shell was this late for a timer that was due: this node is slow, and others may well have answered.
    /// Comes before the [`Input::Timeout`] that is late.
    LoopLag(Duration),
    /// The transport has measured the round trip to a member, such as in a handshake. It counts until a probe has.
    LinkRtt {
        /// The member.
        peer: &'a NodeId,
        /// The round trip.
        rtt: Duration,
    },
    /// These seeds may be dialled to find the mesh. Replaces earlier ones.
    Join(Vec<Endpoint>),
    /// What the node says of itself has changed.
    SetMetadata(NodeMetadata),
    /// Say goodbye; the core is silent afterwards.
    Leave,
}

/// How a message is to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Unreliable, unordered, at most [`mesh_proto::MAX_DATAGRAM_BYTES`] long.
    Datagram,
    /// Reliable, one message a stream.
    Stream,
}

/// What the core wants done.
#[derive(Debug)]
pub enum Output {
    /// Send to a member; dial it first if there is no link.
    Send {
        /// The member; the link's certificate must name it.
        to: NodeId,
        /// Where it listens.
        endpoint: Endpoint,
        /// How to send.
        channel: Channel,
        /// The message.
        bytes: Bytes,
    },
    /// Dial a seed, whose name is not known yet, unless a dial is under way.
    Connect {
        /// Where it listens.
        endpoint: Endpoint,
    },
    /// Tell whoever listens.
    Event(Event),
    /// A probe was answered.
    Rtt {
        /// By this member.
        peer: NodeId,
        /// After this long.
        rtt: Duration,
    },
    /// Others' news have reached this node.
    Spread {
        /// So long after they were first said: what each node on the way held them for by its own clock, and half the round trip of
        /// each link.
        age: Duration,
    },
    /// The table is being compared with that of a member.
    SyncStarted {
        /// The member.
        peer: NodeId,
    },
    /// What the member knew better has been learned. It does not come if the member does not answer.
    SyncEnded {
        /// The member.
        peer: NodeId,
        /// How many updates came of it.
        updates: usize,
    },
}
