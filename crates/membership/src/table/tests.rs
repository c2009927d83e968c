use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::gossip as proto;
use mesh_types::{BootEpoch, Incarnation};
use proptest::prelude::*;

use super::*;
use mesh_proto::Message as _;

/// The members that sayings are about.
const SUBJECTS: usize = 4;

fn id(text: &str) -> NodeId {
    text.parse().expect("a name")
}

fn moment() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    Instant::now()
}

/// A record that differs for each node, life and version.
fn record(node: &str, boot_epoch: u64, version: u64) -> Bytes {
    let record = proto::NodeRecord {
        schema: 1,
        role: "worker".to_owned(),
        cluster: "alpha".to_owned(),
        region: "eu-1".to_owned(),
        mesh_version: format!("{boot_epoch}.{version}"),
        http3_support: true,
        endpoint: format!("{node}.mesh:17421"),
        labels: BTreeMap::new(),
        features: 0,
        lifecycle: proto::Lifecycle::Active.into(),
        services: Vec::new(),
        rpc_endpoint: String::new(),
    };
    record.encode_to_vec().into()
}

/// What the local node says of itself.
fn own() -> Arc<NodeMetadata> {
    Arc::new(NodeMetadata {
        role: "worker".parse().expect("a name"),
        cluster: "alpha".parse().expect("a name"),
        region: "eu-1".parse().expect("a name"),
        mesh_version: "1.1".into(),
        http3_support: true,
        endpoint: "own.mesh:17421".parse().expect("an endpoint"),
        labels: BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::Active,
        services: BTreeSet::new(),
        rpc_endpoint: None,
    })
}

/// Anything that may be said of a few members, verdicts with a quorum. Only what is said of the departed may come
/// without a record.
fn saying() -> impl Strategy<Value = Update> {
    let standing =
        prop_oneof![Just(Standing::Alive), Just(Standing::Unreachable), Just(Standing::Dead), Just(Standing::Left)];
    (0..SUBJECTS, 1..4_u64, 0..3_u64, standing, 1..4_u64, any::<bool>()).prop_map(
        |(subject, boot_epoch, incarnation, standing, version, with_record)| {
            let node = format!("node-{subject}");
            let bytes = record(&node, boot_epoch, version);
            Update {
                node: id(&node),
                claim: Claim { boot_epoch: BootEpoch(boot_epoch), incarnation: Incarnation(incarnation), standing },
                metadata_version: MetadataVersion(version),
                record: if with_record || !standing.is_final() { bytes } else { Bytes::new() },
                witnesses: ["a", "b", "c", "d"].map(id).to_vec(),
                age: None,
            }
        },
    )
}

fn merged(updates: impl IntoIterator<Item = Update>) -> Table {
    let now = moment();
    let mut table = Table::new(own(), None, 100, now);
    for update in updates {
        table.merge(update, now).expect("what is said is valid and has a quorum");
    }
    table
}

type Held = Vec<(NodeId, Claim, MetadataVersion, Bytes)>;

/// Everything that must be the same on two nodes.
fn held(table: &Table) -> (Held, u64, Vec<u64>, usize) {
    let bytes = |entry: &Entry| entry.record.as_ref().map(|record| record.bytes.clone()).unwrap_or_default();
    let entries = table.iter().map(|(node, e)| (node.clone(), e.claim(), e.metadata_version, bytes(e)));
    (entries.collect(), table.digest(), table.bucket_sums().to_vec(), table.alive())
}

/// The sums and the count of the living, from the entries alone.
fn recomputed(table: &Table) -> (u64, Vec<u64>, usize) {
    let mut buckets = vec![0_u64; SYNC_BUCKETS];
    let mut alive = 0;
    for (node, entry) in table.iter() {
        let sum = buckets.get_mut(table.bucket_of(node)).expect("a bucket");
        *sum = sum.wrapping_add(table.weight(node, entry.claim(), entry.metadata_version));
        alive += usize::from(entry.is_alive());
    }
    (buckets.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket)), buckets, alive)
}

proptest! {
    #[test]
    fn the_order_of_what_is_said_makes_no_difference(
        (said, shuffled) in prop::collection::vec(saying(), 0..24)
            .prop_flat_map(|said| (Just(said.clone()), Just(said).prop_shuffle())),
    ) {
        prop_assert_eq!(held(&merged(said)), held(&merged(shuffled)));
    }

    #[test]
    fn what_is_said_twice_counts_once(said in prop::collection::vec(saying(), 0..24)) {
        let once = merged(said.clone());
        let mut twice = merged(said.clone());
        for update in said {
            let again = twice.merge(update, moment()).expect("it was valid before");
            prop_assert!(!again.is_news());
        }
        prop_assert_eq!(held(&once), held(&twice));
    }

    #[test]
    fn what_others_have_merged_merges_like_what_was_said(
        ours in prop::collection::vec(saying(), 0..12),
        theirs in prop::collection::vec(saying(), 0..12),
    ) {
        let other = merged(theirs.clone());
        let relayed: Vec<Update> = other.iter().filter_map(|(node, _)| other.update_of(node)).collect();
        let by_relay = merged(ours.iter().cloned().chain(relayed));
        let direct = merged(ours.into_iter().chain(theirs));
        prop_assert_eq!((by_relay.digest(), by_relay.alive()), (direct.digest(), direct.alive()));
    }

    #[test]
    fn sums_and_counts_are_those_of_the_entries(said in prop::collection::vec(saying(), 0..24)) {
        let mut table = merged(said);
        prop_assert_eq!((table.digest(), table.bucket_sums().to_vec(), table.alive()), recomputed(&table));
        table.hide(&id("node-0"));
        table.remove(&id("node-1"));
        prop_assert_eq!((table.digest(), table.bucket_sums().to_vec(), table.alive()), recomputed(&table));
    }
}

#[test]
fn the_digest_tells_states_lives_incarnations_and_versions_apart() {
    let base = Update {
        node: id("node-0"),
        claim: Claim { boot_epoch: BootEpoch(1), incarnation: Incarnation(0), standing: Standing::Alive },
        metadata_version: MetadataVersion(1),
        record: record("node-0", 1, 1),
        witnesses: ["a", "b", "c", "d"].map(id).to_vec(),
        age: None,
    };
    let changed = |change: fn(&mut Update)| {
        let mut update = base.clone();
        change(&mut update);
        merged([update]).digest()
    };
    let digests = [
        0,
        changed(|_| {}),
        changed(|u| u.node = id("node-1")),
        changed(|u| u.claim.boot_epoch = BootEpoch(2)),
        changed(|u| u.claim.incarnation = Incarnation(1)),
        changed(|u| u.claim.standing = Standing::Unreachable),
        changed(|u| u.metadata_version = MetadataVersion(2)),
    ];
    let distinct: BTreeSet<u64> = digests.into_iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert_eq!(changed(|u| u.claim.standing = Standing::Dead), 0, "the departed do not count");
}
