//! Hello: the first words on a link, by which both sides learn who the other is and whether they can talk.

use std::time::Instant;

use bytes::Bytes;
use mesh_proto::gossip as proto;
use mesh_proto::{GOSSIP_PROTOCOL_MAX, GOSSIP_PROTOCOL_MIN, MAX_HELLO_BYTES, Message as _};
use mesh_types::{BootEpoch, ClusterId, NodeId, Role};

use crate::claim::Standing;
use crate::core::{Core, Phase};
use crate::record::{Record, RecordError};
use crate::wire::{self, Update};

/// Whom the certificate of a link names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// Its role.
    pub role: Role,
}

/// Why a link is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The hello is over the size limit.
    #[error("hello is {bytes} bytes long, more than {MAX_HELLO_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The hello is no protobuf message.
    #[error("hello cannot be decoded")]
    Malformed {
        /// The decoder's reason.
        #[source]
        source: mesh_proto::DecodeError,
    },
    /// A required field is missing or wrong.
    #[error("hello field `{field}` is missing or not valid: {detail}")]
    Field {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The other side's record is not valid.
    #[error("hello has a record that is not valid")]
    Record(#[from] RecordError),
    /// The other side belongs to another cluster.
    #[error("it is of cluster `{theirs}`, this node of `{ours}`")]
    WrongCluster {
        /// Its cluster.
        theirs: String,
        /// The local node's.
        ours: ClusterId,
    },
    /// The hello names another node than the certificate.
    #[error("hello names node `{claimed}`, its certificate `{certified}`")]
    WrongNode {
        /// Whom the hello names.
        claimed: NodeId,
        /// Whom the certificate names.
        certified: NodeId,
    },
    /// The record names another role than the certificate.
    #[error("record names role `{claimed}`, the certificate `{certified}`")]
    WrongRole {
        /// The role in the record.
        claimed: Role,
        /// The role in the certificate.
        certified: Role,
    },
    /// The other side is this node itself.
    #[error("it is this node itself")]
    Itself,
    /// No protocol number is spoken by both.
    #[error(
        "it speaks gossip protocol {theirs_min} to {theirs_max}, this node {GOSSIP_PROTOCOL_MIN} to {GOSSIP_PROTOCOL_MAX}"
    )]
    NoCommonProtocol {
        /// Lowest it speaks.
        theirs_min: u32,
        /// Highest it speaks.
        theirs_max: u32,
    },
    /// The table has no room for another member.
    #[error("table is full")]
    TableFull,
    /// The local node has left the mesh.
    #[error("this node has left the mesh")]
    Stopped,
}

impl HelloError {
    /// Returns the reason as a metric label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "oversize",
            Self::Malformed { .. } => "malformed",
            Self::Field { .. } => "bad_hello",
            Self::Record(_) => "schema",
            Self::WrongCluster { .. } => "wrong_cluster",
            Self::WrongNode { .. } => "sender_mismatch",
            Self::WrongRole { .. } => "wrong_role",
            Self::Itself => "itself",
            Self::NoCommonProtocol { .. } => "protocol_version",
            Self::TableFull => "table_full",
            Self::Stopped => "stopped",
        }
    }
}

impl Core {
    /// Returns the hello that this node sends on a link it dialled.
    #[must_use]
    pub fn hello(&self) -> Bytes {
        let hello = proto::Hello {
            protocol_min: GOSSIP_PROTOCOL_MIN,
            protocol_max: GOSSIP_PROTOCOL_MAX,
            cluster: self.own_record.metadata.cluster.to_string(),
            own: Some(wire::encode_update(&self.own_update())),
            features: self.own_record.metadata.features.bits(),
        };
        hello.encode_to_vec().into()
    }

    /// Takes the hello of a node that dialled, and returns the answer to send. Drain
    /// [`Core::poll_output`] afterwards.
    ///
    /// # Errors
    /// Why the link must be closed.
    pub fn handle_hello(&mut self, from: &Sender, bytes: &Bytes, now: Instant) -> Result<Bytes, HelloError> {
        check_size(bytes)?;
        let hello = proto::Hello::decode(bytes.clone()).map_err(|source| HelloError::Malformed { source })?;
        self.check_cluster(&hello.cluster)?;
        if hello.protocol_max < GOSSIP_PROTOCOL_MIN || hello.protocol_min > GOSSIP_PROTOCOL_MAX {
            return Err(HelloError::NoCommonProtocol {
                theirs_min: hello.protocol_min,
                theirs_max: hello.protocol_max,
            });
        }
        let update = self.check_own_update(from, hello.own)?;
        let known = self.table.get(&from.node).map_or(BootEpoch(0), |entry| entry.claim().boot_epoch);
        self.admit(from, update, now)?;
        let ack = proto::HelloAck {
            protocol: hello.protocol_max.min(GOSSIP_PROTOCOL_MAX),
            own: Some(wire::encode_update(&self.own_update())),
            features: self.own_record.metadata.features.bits(),
            known_boot_epoch: known.0,
        };
        Ok(ack.encode_to_vec().into())
    }

    /// Takes the answer to this node's hello: the link is up. Drain [`Core::poll_output`] afterwards.
    ///
    /// # Errors
    /// Why the link must be closed.
    pub fn handle_hello_ack(&mut self, from: &Sender, bytes: &Bytes, now: Instant) -> Result<(), HelloError> {
        check_size(bytes)?;
        let ack = proto::HelloAck::decode(bytes.clone()).map_err(|source| HelloError::Malformed { source })?;
        if !(GOSSIP_PROTOCOL_MIN..=GOSSIP_PROTOCOL_MAX).contains(&ack.protocol) {
            return Err(HelloError::NoCommonProtocol { theirs_min: ack.protocol, theirs_max: ack.protocol });
        }
        let update = self.check_own_update(from, ack.own)?;
        let was_joining = self.phase == Phase::Joining;
        let was_stranger = self.table.standing(&from.node) != Some(Standing::Alive);
        self.admit(from, update, now)?;
        if was_joining && ack.known_boot_epoch > self.own.boot_epoch.0 {
            // An earlier run had a higher number: the clock it was taken from has been set back.
            self.rejoin(BootEpoch(ack.known_boot_epoch).next(), now);
        }
        if was_joining {
            self.start_first_sync(&from.node, now);
        } else if was_stranger {
            self.start_sync(&from.node, now);
        }
        Ok(())
    }

    fn check_cluster(&self, theirs: &str) -> Result<(), HelloError> {
        let ours = &self.own_record.metadata.cluster;
        if theirs == ours.as_str() {
            Ok(())
        } else {
            Err(HelloError::WrongCluster { theirs: theirs.to_owned(), ours: ours.clone() })
        }
    }

    /// Checks what the other side says of itself against its certificate.
    fn check_own_update(&self, from: &Sender, own: Option<proto::Update>) -> Result<Update, HelloError> {
        if self.phase == Phase::Stopped {
            return Err(HelloError::Stopped);
        }
        if from.node == self.local {
            return Err(HelloError::Itself);
        }
        let wrong = |detail: String| HelloError::Field { field: "own", detail };
        let own = own.ok_or_else(|| wrong("it is missing".to_owned()))?;
        let update = wire::decode_update(own).map_err(|error| wrong(error.to_string()))?;
        if update.node != from.node {
            return Err(HelloError::WrongNode { claimed: update.node, certified: from.node.clone() });
        }
        if update.claim.standing != Standing::Alive {
            return Err(wrong("it does not say that its node is alive".to_owned()));
        }
        let metadata = Record::decode(&update.record, &self.own_record.metadata)?.metadata;
        self.check_cluster(metadata.cluster.as_str())?;
        if metadata.role != from.role {
            return Err(HelloError::WrongRole { claimed: metadata.role.clone(), certified: from.role.clone() });
        }
        Ok(update)
    }

    fn admit(&mut self, from: &Sender, update: Update, now: Instant) -> Result<(), HelloError> {
        self.learn_one(None, update, true, now);
        if !self.table.saw(&from.node, now) {
            return Err(HelloError::TableFull);
        }
        if self.table.standing(&from.node) != Some(Standing::Alive) {
            // It does not know what is said of it.
            self.tell(&from.node, &from.node, now);
        }
        Ok(())
    }
}

fn check_size(bytes: &Bytes) -> Result<(), HelloError> {
    if bytes.len() > MAX_HELLO_BYTES { Err(HelloError::TooLarge { bytes: bytes.len() }) } else { Ok(()) }
}
