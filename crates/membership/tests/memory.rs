//! What a member costs in memory. Alone in its process, for the allocations of all threads are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::{Core, Input, LocalNode, Options, Sender};
use mesh_proto::Message as _;
use mesh_proto::gossip::envelope::Body;
use mesh_proto::gossip::{Envelope, Flood, Hello, NodeRecord, State, Update};
use mesh_types::{BootEpoch, NodeMetadata};

const MEMBERS: usize = 1_000;

/// Most bytes a member: its entry (88), its name, and its record as bytes and as a value.
const MOST: i64 = 700;

fn metadata(endpoint: &str) -> NodeMetadata {
    NodeMetadata {
        role: "worker".parse().expect("a name"),
        cluster: "alpha".parse().expect("a name"),
        region: "eu-1".parse().expect("a name"),
        mesh_version: "0.1.0".into(),
        http3_support: true,
        endpoint: endpoint.parse().expect("an endpoint"),
        labels: BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: BTreeSet::new(),
        rpc_endpoint: None,
    }
}

fn update(node: &str, number: usize) -> Update {
    let record = NodeRecord {
        schema: 1,
        role: "worker".to_owned(),
        cluster: "alpha".to_owned(),
        region: "eu-1".to_owned(),
        mesh_version: "0.1.0".to_owned(),
        http3_support: true,
        endpoint: format!("10.0.{}.{}:17421", number / 256, number % 256),
        ..NodeRecord::default()
    };
    Update {
        node: node.to_owned(),
        boot_epoch: 1,
        state: State::Alive.into(),
        metadata_version: 1,
        record: record.encode_to_vec().into(),
        ..Update::default()
    }
}

#[test]
fn a_member_takes_less_than_700_bytes_though_each_was_heard_of_in_a_datagram_of_its_own() {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    let mut now = Instant::now();
    let local =
        LocalNode { id: "a".parse().expect("a name"), boot_epoch: BootEpoch(1), metadata: metadata("10.9.9.9:1") };
    // What waits to be told again is the links', not the members'.
    let options = Options { retransmit_limit: 1, ..Options::default() };
    let mut core = Core::new(local, options, 7, now).expect("valid options");
    let peer = Sender { node: "p".parse().expect("a name"), role: "worker".parse().expect("a name") };
    let own = Some(update("p", 0));
    let hello = Hello { protocol_min: 1, protocol_max: 1, cluster: "alpha".to_owned(), own, features: 0 };
    core.handle_hello(&peer, &hello.encode_to_vec().into(), now).expect("a valid hello");
    let taken = allocation_counter::measure(|| {
        for number in 1..=MEMBERS {
            let updates = vec![update(&format!("node-{number:04}"), number)];
            let body = Some(Body::Flood(Flood { updates }));
            let mut packet = Envelope { sender: "p".to_owned(), body }.encode_to_vec();
            let length = packet.len();
            // As it lies in a packet: the datagram is a part of it.
            packet.resize(1_452, 0);
            let bytes = Bytes::from(packet).slice(..length);
            core.handle(Input::Message { from: &peer.node, bytes }, now).expect("a valid message");
            now += Duration::from_millis(1);
            core.handle(Input::Timeout, now).expect("time may pass");
            while core.poll_output().is_some() {}
        }
    });
    assert_eq!(core.alive(), MEMBERS + 2);
    let each = taken.bytes_current / i64::try_from(MEMBERS).expect("a small number");
    assert!(each < MOST, "{each} bytes a member");
}
