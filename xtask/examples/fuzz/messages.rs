//! Where the fuzzer starts: one good message of each kind.

use mesh_proto::gossip::envelope::Body;
use mesh_proto::gossip::{
    Ack, Envelope, Flood, Lifecycle, NodeRecord, Probe, State, SyncDiff, SyncRecords, SyncStart, Update, UserEvent,
    VerifyReply, VerifyRequest,
};
use mesh_proto::{Message as _, SYNC_BUCKETS};

/// Returns the encoded messages, all of which the decoder accepts.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let updates = vec![update(State::Alive), update(State::Dead)];
    let subject = || "node-b".to_owned();
    let bodies = [
        Body::Probe(Probe { sequence: 7, digest: 11, updates: updates.clone(), reliable: true, again_in_ms: 8_000 }),
        Body::Ack(Ack { sequence: 7, digest: 11, updates: Vec::new() }),
        Body::Flood(Flood { updates: updates.clone() }),
        Body::VerifyRequest(VerifyRequest { accusation: 3, subject: subject(), boot_epoch: 1, incarnation: 2 }),
        Body::VerifyReply(VerifyReply { accusation: 3, subject: subject(), answered: true }),
        Body::SyncStart(SyncStart { bucket_sums: vec![5; SYNC_BUCKETS] }),
        Body::UserEvent(UserEvent {
            origin: subject(),
            boot_epoch: 1,
            sequence: 9,
            name: "deploy".to_owned(),
            payload: vec![7; 40].into(),
        }),
        Body::SyncDiff(SyncDiff { buckets: vec![0, 255], entries: updates.clone() }),
        Body::SyncRecords(SyncRecords { updates, wanted: vec![subject()] }),
    ];
    bodies.into_iter().map(|body| Envelope { sender: "node-a".to_owned(), body: Some(body) }.encode_to_vec()).collect()
}

fn update(state: State) -> Update {
    let record = NodeRecord {
        schema: 1,
        role: "worker".to_owned(),
        cluster: "alpha".to_owned(),
        region: "eu-1".to_owned(),
        mesh_version: "0.1.0".to_owned(),
        http3_support: true,
        endpoint: "10.0.0.2:17421".to_owned(),
        labels: [("rack".to_owned(), "r1".to_owned())].into(),
        features: 1,
        lifecycle: Lifecycle::Cordoned.into(),
        services: vec!["greeter".to_owned()],
        rpc_endpoint: "10.0.0.2:7070".to_owned(),
    };
    let witnesses = if state == State::Dead { vec!["node-c".to_owned(), "node-d".to_owned()] } else { Vec::new() };
    Update {
        node: "node-b".to_owned(),
        boot_epoch: 1,
        incarnation: 2,
        state: state.into(),
        metadata_version: 1,
        record: record.encode_to_vec().into(),
        witnesses,
        age_us: 1_500,
    }
}
