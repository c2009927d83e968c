//! Spans of what takes its time: joining the mesh, judging a member, comparing tables.

use std::collections::BTreeMap;
use std::time::Instant;

use membership::Event;
use mesh_types::{BootEpoch, Member, NodeId};
use metrics::histogram;
use tracing::{Span, field, info_span};

/// Most judgements and most comparisons that are followed at once; more go unobserved.
const FOLLOWED_MAX: usize = 1_024;

/// The spans under way.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Until the first member is known.
    join: Option<Span>,
    judgements: BTreeMap<NodeId, Judgement>,
    /// By the member that is asked.
    syncs: BTreeMap<NodeId, Span>,
}

/// A member that this node suspects, from the first doubt to the verdict or its end.
#[derive(Debug)]
struct Judgement {
    life: BootEpoch,
    began: Instant,
    span: Span,
}

impl Spans {
    /// The search for the mesh begins.
    pub(crate) fn join_started(&mut self, local: &NodeId, seeds: usize) {
        self.join = Some(info_span!("mesh.join", mesh.node = %local, mesh.seeds = seeds, mesh.met = field::Empty));
    }

    /// Takes in an event that happened at `now`.
    pub(crate) fn on_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Joined(member) => {
                if let Some(join) = self.join.take() {
                    join.record("mesh.met", member.id.as_str());
                }
            }
            Event::Suspected(member) => self.begin(member, now),
            Event::Recovered(member) => drop(self.end(member, "recovered")),
            Event::Unreachable(member) | Event::Dead(member) => self.judged(member, now),
            Event::Left(member) => drop(self.end(member, "left")),
            _ => {}
        }
    }

    /// A comparison with `peer` begins; one that was not answered ends here.
    pub(crate) fn sync_started(&mut self, peer: NodeId) {
        self.syncs.remove(&peer);
        if self.syncs.len() < FOLLOWED_MAX {
            let span = info_span!("mesh.sync", peer.id = %peer, mesh.updates = field::Empty);
            self.syncs.insert(peer, span);
        }
    }

    /// A comparison has been answered, and `updates` came of it.
    pub(crate) fn sync_ended(&mut self, peer: &NodeId, updates: usize) {
        if let Some(span) = self.syncs.remove(peer) {
            span.record("mesh.updates", updates);
        }
    }

    fn begin(&mut self, member: &Member, now: Instant) {
        if self.judgements.len() >= FOLLOWED_MAX || self.judgements.contains_key(&member.id) {
            return;
        }
        let span = info_span!("mesh.verdict", peer.id = %member.id, peer.generation = member.boot_epoch.0, outcome = field::Empty);
        self.judgements.insert(member.id.clone(), Judgement { life: member.boot_epoch, began: now, span });
    }

    fn judged(&mut self, member: &Member, now: Instant) {
        if let Some(judgement) = self.end(member, "unreachable") {
            let took = now.saturating_duration_since(judgement.began);
            histogram!("mesh_gossip_detection_seconds").record(took.as_secs_f64());
        }
    }

    fn end(&mut self, member: &Member, outcome: &'static str) -> Option<Judgement> {
        let judgement = self.judgements.remove(&member.id)?;
        judgement.span.record("outcome", if judgement.life == member.boot_epoch { outcome } else { "superseded" });
        Some(judgement)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use mesh_types::{Incarnation, MemberState, MetadataVersion, NodeMetadata};

    use super::*;

    fn member(id: &str, at: Instant) -> Member {
        Member {
            id: id.parse().expect("valid"),
            boot_epoch: BootEpoch(7),
            incarnation: Incarnation(1),
            state: MemberState::Suspect,
            metadata_version: MetadataVersion(3),
            metadata: Arc::new(NodeMetadata {
                role: "worker".parse().expect("valid"),
                cluster: "alpha".parse().expect("valid"),
                region: "eu-1".parse().expect("valid"),
                mesh_version: "1".into(),
                http3_support: true,
                endpoint: "127.0.0.1:1".parse().expect("valid"),
                labels: BTreeMap::new(),
                features: mesh_types::Features::default(),
                lifecycle: mesh_types::NodeLifecycle::default(),
                services: std::collections::BTreeSet::new(),
                rpc_endpoint: None,
            }),
            last_seen: at,
            rtt: None,
        }
    }

    #[test]
    fn detection_is_the_time_from_the_first_doubt_to_the_verdict_and_only_of_the_judged() {
        let (recorder, handle) = telemetry::build_metrics().expect("the catalogue is valid");
        let start = tokio::time::Instant::now().into_std();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut spans = Spans::default();
        metrics::with_local_recorder(&recorder, || {
            spans.on_event(&Event::Suspected(member("dies", start)), at(0));
            spans.on_event(&Event::Suspected(member("lives", start)), at(100));
            spans.on_event(&Event::Suspected(member("dies", start)), at(900));
            spans.on_event(&Event::Recovered(member("lives", start)), at(1_000));
            spans.on_event(&Event::Unreachable(member("dies", start)), at(1_500));
            spans.on_event(&Event::Dead(member("dies", start)), at(4_000));
            spans.on_event(&Event::Unreachable(member("of-others", start)), at(5_000));
        });
        assert!(spans.judgements.is_empty());
        let text = handle.render();
        let shown: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("mesh_gossip_detection_seconds_") && !line.contains("_bucket"))
            .collect();
        assert_eq!(shown, ["mesh_gossip_detection_seconds_sum 1.5", "mesh_gossip_detection_seconds_count 1"]);
    }
}
