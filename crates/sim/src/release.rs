//! Nodes of other releases: how their messages differ from those of this one.

use bytes::Bytes;
use mesh_proto::Message as _;
use mesh_proto::gossip::envelope::Body;
use mesh_proto::gossip::{Envelope, Hello, HelloAck, NodeRecord, Update};
use mesh_types::NodeId;

/// Field 2047, a number: what no release of today knows.
const UNKNOWN_FIELD: [u8; 3] = [0xf8, 0x7f, 0x2a];

/// Which release a node is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// The one before: it promises no probes, does not say how old news are, and its record has neither features nor a lifecycle.
    Before,
    /// This one.
    #[default]
    This,
    /// The one after: it speaks another protocol number besides, and says things that nobody knows yet, everywhere.
    After,
}

impl Release {
    /// Returns a message of `sender` as this release writes it.
    pub(crate) fn message(self, sender: &NodeId, bytes: Bytes) -> Bytes {
        if self == Self::This {
            return bytes;
        }
        let mut envelope = Envelope::decode(bytes).expect("cores speak the protocol");
        if self == Self::Before
            && let Some(Body::Probe(probe)) = &mut envelope.body
        {
            probe.again_in_ms = 0;
        }
        if self == Self::Before {
            updates_mut(&mut envelope).into_iter().for_each(|update| update.age_us = 0);
        }
        for update in updates_mut(&mut envelope).into_iter().filter(|update| update.node == sender.as_str()) {
            self.rewrite(update);
        }
        self.written(&envelope)
    }

    /// Returns a hello as this release writes it.
    pub(crate) fn hello(self, bytes: &Bytes) -> Bytes {
        let mut hello = Hello::decode(bytes.clone()).expect("cores speak the protocol");
        match self {
            Self::Before => hello.features = 0,
            Self::This => {}
            Self::After => hello.protocol_max += 1,
        }
        hello.own.iter_mut().for_each(|own| self.rewrite(own));
        self.written(&hello)
    }

    /// Returns the answer to a hello as this release writes it.
    pub(crate) fn hello_ack(self, bytes: &Bytes) -> Bytes {
        let mut ack = HelloAck::decode(bytes.clone()).expect("cores speak the protocol");
        if self == Self::Before {
            ack.features = 0;
        }
        ack.own.iter_mut().for_each(|own| self.rewrite(own));
        self.written(&ack)
    }

    /// Whether a record is as a node of this release wrote it, as far as that can be told.
    pub(crate) fn wrote(self, record: &[u8]) -> bool {
        self != Self::After || record.ends_with(&UNKNOWN_FIELD)
    }

    /// Makes what a node says of itself what this release says.
    fn rewrite(self, own: &mut Update) {
        if own.record.is_empty() {
            return;
        }
        let mut record = NodeRecord::decode(own.record.clone()).expect("cores write records");
        match self {
            Self::Before => (record.features, record.lifecycle) = (0, 0),
            Self::This => {}
            Self::After => record.schema += 1,
        }
        own.record = self.written(&record);
    }

    fn written(self, message: &impl mesh_proto::Message) -> Bytes {
        let mut bytes = message.encode_to_vec();
        if self == Self::After {
            bytes.extend(UNKNOWN_FIELD);
        }
        bytes.into()
    }
}

/// Returns the updates that come with their records.
pub(crate) fn updates_mut(envelope: &mut Envelope) -> Vec<&mut Update> {
    let updates = match &mut envelope.body {
        Some(Body::Probe(probe)) => &mut probe.updates,
        Some(Body::Ack(ack)) => &mut ack.updates,
        Some(Body::Flood(flood)) => &mut flood.updates,
        Some(Body::SyncRecords(records)) => &mut records.updates,
        _ => return Vec::new(),
    };
    updates.iter_mut().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_next_release_adds_is_no_error_to_this_one_and_is_told_apart() {
        let record = NodeRecord { schema: 1, features: 3, ..NodeRecord::default() };
        let own = Update { node: "a".to_owned(), record: record.encode_to_vec().into(), ..Update::default() };
        let hello = Bytes::from(Hello { protocol_max: 1, own: Some(own), ..Hello::default() }.encode_to_vec());
        let read = |release: Release| {
            let said = Hello::decode(release.hello(&hello)).ok()?;
            let bytes = said.own?.record;
            let written = NodeRecord::decode(bytes.clone()).ok()?;
            Some((said.protocol_max, written.schema, written.features, Release::After.wrote(&bytes)))
        };
        assert_eq!(read(Release::Before), Some((1, 1, 0, false)));
        assert_eq!(read(Release::This), Some((1, 1, 3, false)));
        assert_eq!(read(Release::After), Some((2, 2, 3, true)));
    }
}
