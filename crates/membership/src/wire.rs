//! Between the protocol's own types and the wire schema.

use std::iter;
use std::time::Duration;

use bytes::Bytes;
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_proto::{MAX_STREAM_BYTES, Message as _, SYNC_BUCKETS};
use mesh_types::{BootEpoch, ClusterId, Incarnation, MetadataVersion, NameError, NodeId};

use crate::claim::{Claim, Standing};
use crate::record::RecordError;
use crate::user_events::{self, UserEvent, UserEventError};

/// Most witnesses of a verdict that are sent or read: the accuser and a quorum, with room.
const MAX_WITNESSES: usize = 8;

/// News that were first said so long ago are not on their way any more, but repeated.
const MOST_AGE: Duration = Duration::from_secs(60);

/// Why a message was dropped. None of it is an emergency: it is counted by [`Rejected::reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It is over the size limit.
    #[error("message is {bytes} bytes long, more than {MAX_STREAM_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no protobuf message of the schema.
    #[error("message cannot be decoded")]
    Malformed {
        /// The decoder's reason.
        #[source]
        source: mesh_proto::DecodeError,
    },
    /// It has no body that this build knows.
    #[error("message has no body that this version knows")]
    NoBody,
    /// A name in it is not valid.
    #[error("message field `{field}` is not valid")]
    Name {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// It names another sender than the certificate of its link.
    #[error("message claims to come from `{claimed}`, its link is `{link}`")]
    SenderMismatch {
        /// Whom the message names.
        claimed: NodeId,
        /// Whom the certificate names.
        link: NodeId,
    },
    /// Its sender has not said hello.
    #[error("message from `{link}`, which has not said hello")]
    UnknownSender {
        /// Whom the certificate names.
        link: NodeId,
    },
    /// It holds a bucket number or count that does not exist.
    #[error("sync message names bucket {bucket}; there are {SYNC_BUCKETS}")]
    Bucket {
        /// The number, or how many there are.
        bucket: usize,
    },
    /// A user event in it breaks a bound.
    #[error("user event is not valid")]
    UserEvent {
        /// Which bound.
        #[source]
        source: UserEventError,
    },
    /// The node's own metadata names another cluster: a node changes it by a restart only.
    #[error("own metadata names cluster `{given}`, the node is of `{own}`")]
    OwnCluster {
        /// What the metadata names.
        given: ClusterId,
        /// What the node started with.
        own: ClusterId,
    },
    /// The node's own metadata is refused.
    #[error("own metadata is not valid")]
    OwnMetadata {
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
}

impl Rejected {
    /// Returns the reason as a metric label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "oversize",
            Self::Malformed { .. } => "malformed",
            Self::NoBody => "no_body",
            Self::Name { .. } => "bad_name",
            Self::SenderMismatch { .. } => "sender_mismatch",
            Self::UnknownSender { .. } => "unknown_sender",
            Self::Bucket { .. } => "bad_bucket",
            Self::UserEvent { .. } => "bad_event",
            Self::OwnCluster { .. } | Self::OwnMetadata { .. } => "own_metadata",
        }
    }
}

/// Why one update of a message was dropped while the rest of the message was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("update field `{field}` is not valid")]
    Name { field: &'static str, source: NameError },
    #[error("update lacks required field `{field}`")]
    Missing { field: &'static str },
    #[error("update field `{field}` is at its ceiling")]
    Ceiling { field: &'static str },
    #[error("update has state {state}, which this version does not know")]
    State { state: i32 },
    #[error("update names {count} witnesses, more than {MAX_WITNESSES}")]
    Witnesses { count: usize },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("update is of a node of cluster `{cluster}`")]
    Cluster { cluster: String },
    #[error("verdict has {confirmers} confirmers, {needed} are needed")]
    NoQuorum { confirmers: usize, needed: usize },
    #[error("table is full with {members} members")]
    TableFull { members: usize },
}

impl UpdateError {
    /// Returns the reason as a metric label.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. }
            | Self::Missing { .. }
            | Self::Ceiling { .. }
            | Self::State { .. }
            | Self::Witnesses { .. } => "bad_update",
            Self::Record(_) => "schema",
            Self::Cluster { .. } => "wrong_cluster",
            Self::NoQuorum { .. } => "no_quorum",
            Self::TableFull { .. } => "table_full",
        }
    }
}

/// What is said about one member. The record stays encoded until somebody needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) node: NodeId,
    pub(crate) claim: Claim,
    pub(crate) metadata_version: MetadataVersion,
    /// Empty if the update says the state only.
    pub(crate) record: Bytes,
    /// Who accuses, then who confirms.
    pub(crate) witnesses: Vec<NodeId>,
    /// How long ago it was first said when it was sent, if that is known.
    pub(crate) age: Option<Duration>,
}

/// An update that could not be read: whom it is about, as far as that can be said, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadUpdate {
    pub(crate) node: String,
    pub(crate) error: UpdateError,
}

/// A decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) sender: NodeId,
    pub(crate) body: Body,
    pub(crate) bad_updates: Vec<BadUpdate>,
}

/// A question whether the receiver lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) sequence: u64,
    pub(crate) digest: u64,
    pub(crate) updates: Vec<Update>,
    /// Whether the answer must come over a stream.
    pub(crate) reliable: bool,
    /// When the sender will probe again; zero if it does not say.
    pub(crate) again_in: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Probe(Probe),
    Ack { sequence: u64, digest: u64, updates: Vec<Update> },
    Flood { updates: Vec<Update> },
    VerifyRequest { accusation: u64, subject: NodeId, boot_epoch: BootEpoch, incarnation: Incarnation },
    VerifyReply { accusation: u64, subject: NodeId, answered: bool },
    SyncStart { bucket_sums: Vec<u64> },
    SyncDiff { buckets: Vec<usize>, entries: Vec<Update> },
    SyncRecords { updates: Vec<Update>, wanted: Vec<NodeId> },
    UserEvent(UserEvent),
}

/// Decodes one message as it came off a link. Never panics, whatever the bytes.
///
/// An update in it that is not valid does not spoil the others.
///
/// # Errors
/// Why the message as a whole cannot be used.
pub fn decode(bytes: Bytes) -> Result<Message, Rejected> {
    if bytes.len() > MAX_STREAM_BYTES {
        return Err(Rejected::TooLarge { bytes: bytes.len() });
    }
    let envelope = proto::Envelope::decode(bytes).map_err(|source| Rejected::Malformed { source })?;
    let sender = name("sender", &envelope.sender)?;
    let mut bad_updates = Vec::new();
    let body = match envelope.body.ok_or(Rejected::NoBody)? {
        ProtoBody::Probe(m) => Body::Probe(Probe {
            sequence: m.sequence,
            digest: m.digest,
            updates: updates(m.updates, &mut bad_updates),
            reliable: m.reliable,
            again_in: Duration::from_millis(m.again_in_ms.into()),
        }),
        ProtoBody::Ack(m) => {
            Body::Ack { sequence: m.sequence, digest: m.digest, updates: updates(m.updates, &mut bad_updates) }
        }
        ProtoBody::Flood(m) => Body::Flood { updates: updates(m.updates, &mut bad_updates) },
        ProtoBody::VerifyRequest(m) => Body::VerifyRequest {
            accusation: m.accusation,
            subject: name("subject", &m.subject)?,
            boot_epoch: BootEpoch(m.boot_epoch),
            incarnation: Incarnation(m.incarnation),
        },
        ProtoBody::VerifyReply(m) => {
            Body::VerifyReply { accusation: m.accusation, subject: name("subject", &m.subject)?, answered: m.answered }
        }
        ProtoBody::SyncStart(m) if m.bucket_sums.len() == SYNC_BUCKETS => {
            Body::SyncStart { bucket_sums: m.bucket_sums }
        }
        ProtoBody::SyncStart(m) => return Err(Rejected::Bucket { bucket: m.bucket_sums.len() }),
        ProtoBody::SyncDiff(m) => {
            Body::SyncDiff { buckets: buckets(&m.buckets)?, entries: updates(m.entries, &mut bad_updates) }
        }
        ProtoBody::SyncRecords(m) => Body::SyncRecords {
            updates: updates(m.updates, &mut bad_updates),
            wanted: m.wanted.iter().map(|node| name("wanted", node)).collect::<Result<_, _>>()?,
        },
        ProtoBody::UserEvent(m) => Body::UserEvent(user_events::decode(m)?),
    };
    Ok(Message { sender, body, bad_updates })
}

/// Encodes a message of `sender`.
pub(crate) fn encode(sender: &NodeId, body: ProtoBody) -> Bytes {
    proto::Envelope { sender: sender.to_string(), body: Some(body) }.encode_to_vec().into()
}

/// Encodes an update.
pub(crate) fn encode_update(update: &Update) -> proto::Update {
    proto::Update {
        node: update.node.to_string(),
        boot_epoch: update.claim.boot_epoch.0,
        incarnation: update.claim.incarnation.0,
        state: match update.claim.standing {
            Standing::Alive => proto::State::Alive,
            Standing::Unreachable => proto::State::Unreachable,
            Standing::Dead => proto::State::Dead,
            Standing::Left => proto::State::Left,
        }
        .into(),
        metadata_version: update.metadata_version.0,
        record: update.record.clone(),
        witnesses: update.witnesses.iter().map(NodeId::to_string).collect(),
        age_us: update.age.and_then(age_us).unwrap_or(0),
    }
}

/// Returns an age as it is sent: at least 1, and nothing from a minute on.
fn age_us(age: Duration) -> Option<u32> {
    u32::try_from(age.as_micros().max(1)).ok().filter(|_| age < MOST_AGE)
}

/// Decodes an update.
pub(crate) fn decode_update(update: proto::Update) -> Result<Update, UpdateError> {
    let bad_name = |field| move |source| UpdateError::Name { field, source };
    let missing = |field| Err(UpdateError::Missing { field });
    let standing = match proto::State::try_from(update.state) {
        Ok(proto::State::Alive) => Standing::Alive,
        Ok(proto::State::Unreachable) => Standing::Unreachable,
        Ok(proto::State::Dead) => Standing::Dead,
        Ok(proto::State::Left) => Standing::Left,
        Ok(proto::State::Unspecified) => return missing("state"),
        Err(prost_unknown) => return Err(UpdateError::State { state: prost_unknown.0 }),
    };
    if update.boot_epoch == 0 {
        return missing("boot_epoch");
    }
    if update.metadata_version == 0 {
        return missing("metadata_version");
    }
    // A node answers what is said of it with the next higher number: without one it would answer for ever.
    let counters = [
        ("boot_epoch", update.boot_epoch),
        ("incarnation", update.incarnation),
        ("metadata_version", update.metadata_version),
    ];
    if let Some((field, _)) = counters.into_iter().find(|(_, value)| *value == u64::MAX) {
        return Err(UpdateError::Ceiling { field });
    }
    if update.witnesses.len() > MAX_WITNESSES {
        return Err(UpdateError::Witnesses { count: update.witnesses.len() });
    }
    let witness = |text: &String| text.parse().map_err(bad_name("witnesses"));
    Ok(Update {
        node: update.node.parse().map_err(bad_name("node"))?,
        claim: Claim {
            boot_epoch: BootEpoch(update.boot_epoch),
            incarnation: Incarnation(update.incarnation),
            standing,
        },
        metadata_version: MetadataVersion(update.metadata_version),
        record: update.record,
        witnesses: update.witnesses.iter().map(witness).collect::<Result<_, _>>()?,
        age: Some(Duration::from_micros(update.age_us.into())).filter(|age| !age.is_zero() && *age < MOST_AGE),
    })
}

/// Splits updates into runs whose encoding stays within `budget` bytes; one that is larger by itself stands alone.
pub(crate) fn pack(updates: impl IntoIterator<Item = proto::Update>, budget: usize) -> Vec<Vec<proto::Update>> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    let mut used = 0;
    for update in updates {
        let size = packed_len(&update);
        if used + size > budget && !run.is_empty() {
            runs.push(std::mem::take(&mut run));
            used = 0;
        }
        used += size;
        run.push(update);
    }
    runs.extend(iter::once(run).filter(|run| !run.is_empty()));
    runs
}

/// Size of an update inside a message: its encoding, tag and length.
pub(crate) fn packed_len(update: &proto::Update) -> usize {
    let len = update.encoded_len();
    1 + prost_varint_len(len) + len
}

const fn prost_varint_len(len: usize) -> usize {
    if len < 1 << 7 {
        1
    } else if len < 1 << 14 {
        2
    } else {
        4
    }
}

fn name(field: &'static str, text: &str) -> Result<NodeId, Rejected> {
    text.parse().map_err(|source| Rejected::Name { field, source })
}

fn buckets(numbers: &[u32]) -> Result<Vec<usize>, Rejected> {
    let checked = |number: &u32| match usize::try_from(*number) {
        Ok(bucket) if bucket < SYNC_BUCKETS => Ok(bucket),
        Ok(bucket) => Err(Rejected::Bucket { bucket }),
        Err(_wider_than_memory) => Err(Rejected::Bucket { bucket: usize::MAX }),
    };
    numbers.iter().map(checked).collect()
}

fn updates(encoded: Vec<proto::Update>, bad: &mut Vec<BadUpdate>) -> Vec<Update> {
    let mut good = Vec::with_capacity(encoded.len());
    for update in encoded {
        let node = update.node.clone();
        match decode_update(update) {
            Ok(update) => good.push(update),
            Err(error) => bad.push(BadUpdate { node, error }),
        }
    }
    good
}

#[cfg(test)]
mod tests;
