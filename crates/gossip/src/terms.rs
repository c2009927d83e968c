//! What both sides of a new link say about it in their hellos, beside what membership says.

use bytes::{Bytes, BytesMut};
use mesh_proto::Message as _;
use mesh_proto::gossip as proto;
use mesh_types::BootEpoch;

/// What the other side says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    /// The life it is in.
    pub(crate) boot_epoch: BootEpoch,
    /// How many certificates it has shown before in that life.
    pub(crate) generation: u64,
}

impl Terms {
    /// Reads a hello that membership has accepted.
    pub(crate) fn of_hello(bytes: &Bytes) -> Self {
        let own = proto::Hello::decode(bytes.clone()).map_or(None, |hello| hello.own);
        Self::of(own, bytes)
    }

    /// Reads an answer to a hello that membership has accepted.
    pub(crate) fn of_ack(bytes: &Bytes) -> Self {
        let own = proto::HelloAck::decode(bytes.clone()).map_or(None, |ack| ack.own);
        Self::of(own, bytes)
    }

    fn of(own: Option<proto::Update>, bytes: &Bytes) -> Self {
        let terms = proto::LinkTerms::decode(bytes.clone()).unwrap_or_default();
        let boot_epoch = BootEpoch(own.unwrap_or_default().boot_epoch);
        Self { boot_epoch, generation: terms.credential_generation }
    }
}

/// Adds to a hello, or the answer to one, which of its certificates this node shows. Encodings of parts of a message make a
/// whole one when they are strung together.
pub(crate) fn with_generation(hello: &Bytes, generation: u64) -> Bytes {
    let mut whole = BytesMut::from(hello.as_ref());
    whole.extend_from_slice(&proto::LinkTerms { credential_generation: generation }.encode_to_vec());
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_rides_along_with_a_hello_that_is_read_as_before() -> Result<(), mesh_proto::DecodeError> {
        let own = proto::Update { node: "node-a".to_owned(), boot_epoch: 7, ..proto::Update::default() };
        let hello = proto::Hello { protocol_max: 1, own: Some(own.clone()), ..proto::Hello::default() };
        let whole = with_generation(&hello.encode_to_vec().into(), 3);
        assert_eq!(proto::Hello::decode(whole.clone())?, hello);
        assert_eq!(Terms::of_hello(&whole), Terms { boot_epoch: BootEpoch(7), generation: 3 });

        let ack = proto::HelloAck { protocol: 1, own: Some(own), ..proto::HelloAck::default() };
        let plain: Bytes = ack.encode_to_vec().into();
        assert_eq!(Terms::of_ack(&plain), Terms { boot_epoch: BootEpoch(7), generation: 0 });
        assert_eq!(Terms::of_ack(&with_generation(&plain, 9)).generation, 9);
        Ok(())
    }
}
