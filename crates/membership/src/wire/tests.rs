use proptest::prelude::*;

use super::*;

fn id(text: &str) -> NodeId {
    text.parse().expect("a name")
}

fn node() -> impl Strategy<Value = NodeId> {
    (0..1_000_u32, 3..=63_usize).prop_map(|(number, length)| id(&format!("{number:0>length$}")))
}

fn update() -> impl Strategy<Value = Update> {
    let standing =
        prop_oneof![Just(Standing::Alive), Just(Standing::Unreachable), Just(Standing::Dead), Just(Standing::Left)];
    let counter = || 1..u64::MAX;
    let record = prop::collection::vec(any::<u8>(), 0..400);
    let witnesses = prop::collection::vec(node(), 0..=MAX_WITNESSES);
    let age =
        prop::option::of((1..MOST_AGE.as_micros().try_into().unwrap_or(u64::MAX)).prop_map(Duration::from_micros));
    (node(), counter(), 0..u64::MAX, standing, counter(), record, witnesses, age).prop_map(
        |(node, boot_epoch, incarnation, standing, version, record, witnesses, age)| Update {
            node,
            claim: Claim { boot_epoch: BootEpoch(boot_epoch), incarnation: Incarnation(incarnation), standing },
            metadata_version: MetadataVersion(version),
            record: record.into(),
            witnesses,
            age,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let updates = || prop::collection::vec(update(), 0..4);
    let number = any::<u64>;
    prop_oneof![
        (number(), number(), updates(), any::<bool>(), any::<u32>()).prop_map(
            |(sequence, digest, updates, reliable, again)| {
                let again_in = Duration::from_millis(again.into());
                Body::Probe(Probe { sequence, digest, updates, reliable, again_in })
            }
        ),
        (number(), number(), updates()).prop_map(|(sequence, digest, updates)| Body::Ack { sequence, digest, updates }),
        updates().prop_map(|updates| Body::Flood { updates }),
        (number(), node(), number(), number()).prop_map(|(accusation, subject, boot, incarnation)| {
            Body::VerifyRequest {
                accusation,
                subject,
                boot_epoch: BootEpoch(boot),
                incarnation: Incarnation(incarnation),
            }
        }),
        (number(), node(), any::<bool>()).prop_map(|(accusation, subject, answered)| Body::VerifyReply {
            accusation,
            subject,
            answered
        }),
        prop::collection::vec(number(), SYNC_BUCKETS).prop_map(|bucket_sums| Body::SyncStart { bucket_sums }),
        (prop::collection::vec(0..SYNC_BUCKETS, 0..9), updates())
            .prop_map(|(buckets, entries)| Body::SyncDiff { buckets, entries }),
        (updates(), prop::collection::vec(node(), 0..4))
            .prop_map(|(updates, wanted)| Body::SyncRecords { updates, wanted }),
        (node(), number(), 1..u64::MAX, "[a-zA-Z0-9._-]{1,63}", prop::collection::vec(any::<u8>(), 0..=512)).prop_map(
            |(origin, life, sequence, name, payload)| {
                let payload = payload.into();
                Body::UserEvent(UserEvent { origin, boot_epoch: BootEpoch(life), sequence, name, payload })
            }
        ),
    ]
}

fn to_proto(body: Body) -> ProtoBody {
    let all = |updates: Vec<Update>| updates.iter().map(encode_update).collect();
    match body {
        Body::Probe(Probe { sequence, digest, updates, reliable, again_in }) => {
            let again_in_ms = u32::try_from(again_in.as_millis()).expect("it was made of such a number");
            ProtoBody::Probe(proto::Probe { sequence, digest, updates: all(updates), reliable, again_in_ms })
        }
        Body::Ack { sequence, digest, updates } => {
            ProtoBody::Ack(proto::Ack { sequence, digest, updates: all(updates) })
        }
        Body::Flood { updates } => ProtoBody::Flood(proto::Flood { updates: all(updates) }),
        Body::VerifyRequest { accusation, subject, boot_epoch, incarnation } => {
            ProtoBody::VerifyRequest(proto::VerifyRequest {
                accusation,
                subject: subject.to_string(),
                boot_epoch: boot_epoch.0,
                incarnation: incarnation.0,
            })
        }
        Body::VerifyReply { accusation, subject, answered } => {
            ProtoBody::VerifyReply(proto::VerifyReply { accusation, subject: subject.to_string(), answered })
        }
        Body::SyncStart { bucket_sums } => ProtoBody::SyncStart(proto::SyncStart { bucket_sums }),
        Body::SyncDiff { buckets, entries } => {
            let buckets = buckets.into_iter().map(|bucket| u32::try_from(bucket).expect("below 256")).collect();
            ProtoBody::SyncDiff(proto::SyncDiff { buckets, entries: all(entries) })
        }
        Body::SyncRecords { updates, wanted } => ProtoBody::SyncRecords(proto::SyncRecords {
            updates: all(updates),
            wanted: wanted.iter().map(NodeId::to_string).collect(),
        }),
        Body::UserEvent(event) => ProtoBody::UserEvent(user_events::encode(&event)),
    }
}

proptest! {
    #[test]
    fn a_message_reads_back_as_it_was_written(sender in node(), body in body()) {
        let bytes = encode(&sender, to_proto(body.clone()));
        prop_assert_eq!(decode(bytes), Ok(Message { sender, body, bad_updates: Vec::new() }));
    }

    #[test]
    fn packing_keeps_to_the_budget_and_loses_and_reorders_nothing(
        updates in prop::collection::vec(update(), 0..30),
        budget in 50..1_500_usize,
    ) {
        let updates: Vec<proto::Update> = updates.iter().map(encode_update).collect();
        let runs = pack(updates.clone(), budget);
        for run in &runs {
            let size = proto::Flood { updates: run.clone() }.encoded_len();
            prop_assert!(!run.is_empty() && (size <= budget || run.len() == 1), "{} of {budget}", size);
        }
        prop_assert_eq!(runs.concat(), updates);
    }
}
