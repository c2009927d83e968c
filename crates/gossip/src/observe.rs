//! What operators see of a node's gossip: metrics and log events.

use std::error::Error;
use std::fmt::{Display, Write};
use std::time::Duration;

use membership::{Core, Event, Queue, Stats};
use mesh_types::{Member, MemberState, Membership, NodeId, NodeLifecycle};
use metrics::{counter, gauge, histogram};
use tracing::{debug, info, warn};

use crate::CorrelationId;

/// Counts a message sent, or not.
pub(crate) fn sent(success: bool) {
    message("outbound", success);
}

/// Counts a message received and used.
pub(crate) fn received() {
    message("inbound", true);
}

fn message(direction: &'static str, success: bool) {
    let outcome = if success { "success" } else { "failure" };
    counter!("mesh_gossip_messages_total", "mesh_direction" => direction, "mesh_outcome" => outcome).increment(1);
}

/// Counts a message that was dropped because of what it is. Not an emergency: peers may be newer, or broken.
pub(crate) fn rejected(peer: &NodeId, reason: &'static str, error: &dyn Display) {
    message("inbound", false);
    counter!("mesh_gossip_rejected_total", "reason" => reason).increment(1);
    debug!(peer = %peer, reason, error = %error, "message dropped");
}

/// Shows how many links were begun with this node's current certificate, and how many with an older one.
pub(crate) fn links_by_generation(current: usize, older: usize) {
    gauge!("mesh_gossip_links_by_generation", "generation" => "current").set(number(current));
    gauge!("mesh_gossip_links_by_generation", "generation" => "older").set(number(older));
}

/// Counts work that was dropped because a queue was full.
pub(crate) fn dropped(queue: &'static str) {
    counter!("mesh_gossip_dropped_total", "queue" => queue).increment(1);
}

/// Counts a dial.
pub(crate) fn dialled(outcome: &'static str) {
    counter!("mesh_gossip_dials_total", "outcome" => outcome).increment(1);
}

/// Records the round trip of a probe.
pub(crate) fn rtt(rtt: Duration) {
    histogram!("mesh_gossip_rtt_ms").record(rtt.as_secs_f64() * 1_000.0);
    histogram!("mesh_gossip_rtt_seconds").record(rtt.as_secs_f64());
}

/// Records how old news were when they came.
pub(crate) fn spread(age: Duration) {
    histogram!("mesh_gossip_propagation_seconds").record(age.as_secs_f64());
}

/// Shows how many members are in which state.
pub(crate) fn membership(membership: &Membership) {
    let count = |states: &[MemberState]| -> f64 {
        let count: usize = states.iter().map(|state| membership.count(*state)).sum();
        f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    };
    gauge!("mesh_gossip_members", "mesh_status" => "alive").set(count(&[MemberState::Alive]));
    let suspect = count(&[MemberState::Suspect, MemberState::Unreachable]);
    gauge!("mesh_gossip_members", "mesh_status" => "suspect").set(suspect);
    gauge!("mesh_gossip_members", "mesh_status" => "left").set(count(&[MemberState::Dead, MemberState::Left]));
    let there = |member: &&Member| !matches!(member.state, MemberState::Dead | MemberState::Left);
    for lifecycle in NodeLifecycle::ALL {
        let of_it = membership.members.iter().filter(there).filter(|member| member.metadata.lifecycle == lifecycle);
        let number = f64::from(u32::try_from(of_it.count()).unwrap_or(u32::MAX));
        gauge!("mesh_gossip_members_by_lifecycle", "mesh_lifecycle" => lifecycle.as_str()).set(number);
    }
}

/// Shows the core's counts, and what is held.
pub(crate) fn totals(stats: Stats, links: usize) {
    counter!("mesh_gossip_probes_total").absolute(stats.probes);
    counter!("mesh_gossip_probes_missed_total").absolute(stats.missed_probes);
    counter!("mesh_gossip_digest_mismatches_total").absolute(stats.digest_mismatches);
    counter!("mesh_gossip_syncs_total").absolute(stats.syncs);
    counter!("mesh_gossip_user_events_total", "outcome" => "duplicate").absolute(stats.user_events_duplicate);
    gauge!("mesh_gossip_links").set(number(links));
}

/// Shows what waits to be sent and what has been given up, by class, and how wide news are spread.
pub(crate) fn queues(core: &Core) {
    for Queue { class, waiting, shed } in core.queues() {
        gauge!("mesh_gossip_queue_depth", "class" => class.name()).set(number(waiting));
        counter!("mesh_gossip_shed_total", "class" => class.name()).absolute(shed);
    }
    gauge!("mesh_gossip_flush_window_seconds").set(core.flush_window().as_secs_f64());
    for (class, links) in core.links_by_class() {
        gauge!("mesh_gossip_links_by_distance", "class" => class.name()).set(number(links));
    }
    gauge!("mesh_gossip_fanout").set(number(core.links().len()));
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Counts a user event by what became of it.
pub(crate) fn user_event(outcome: &'static str) {
    counter!("mesh_gossip_user_events_total", "outcome" => outcome).increment(1);
}

/// Counts and logs what happened to the membership; counts user events, which are the application's to log.
pub(crate) fn event(event: &Event) {
    match event {
        Event::UserEvent(_) => return user_event("received"),
        Event::UserEventsLost { origin, count } => {
            counter!("mesh_gossip_user_events_total", "outcome" => "lost").increment(*count);
            return warn!(origin = %origin, count, "user events did not come");
        }
        _ => {}
    }
    counter!("mesh_gossip_events_total", "event" => event.name()).increment(1);
    match event {
        Event::Joined(member) => about(member, "peer joined"),
        Event::Recovered(member) => about(member, "peer recovered"),
        Event::Left(member) => about(member, "peer left"),
        Event::Updated(member) => about(member, "peer updated"),
        Event::Suspected(member) => alarm(member, "peer suspect"),
        Event::Unreachable(member) => alarm(member, "peer unreachable"),
        Event::Dead(member) => alarm(member, "peer dead"),
        Event::Refuted { incarnation } => info!(incarnation, "refuted a verdict on this node"),
        Event::Rejoined { boot_epoch } => warn!(generation = boot_epoch.0, "rejoined the mesh in a new generation"),
        Event::Isolated { suspects } => {
            warn!(suspects, "this node is isolated: nobody confirms what it misses of most of its links");
        }
        Event::Reconnected => info!("this node is no longer isolated"),
        Event::Superseded { endpoint } => {
            warn!(endpoint = %endpoint, "a later process runs under this node's name");
        }
        Event::UpdateRejected { node, reason, detail } => {
            counter!("mesh_gossip_rejected_total", "reason" => *reason).increment(1);
            warn!(peer_id = %node, reason, detail, "peer schema rejected");
        }
        // Kinds that a newer core adds are counted above.
        _ => {}
    }
}

fn about(member: &Member, what: &'static str) {
    let metadata = &member.metadata;
    info!(
        peer_id = %member.id,
        peer_cluster = %metadata.cluster,
        peer_role = %metadata.role,
        peer_region = %metadata.region,
        peer_version = %metadata.mesh_version,
        generation = member.boot_epoch.0,
        correlation = %CorrelationId::of(member),
        "{what}"
    );
}

fn alarm(member: &Member, what: &'static str) {
    let metadata = &member.metadata;
    warn!(
        peer_id = %member.id,
        peer_cluster = %metadata.cluster,
        peer_role = %metadata.role,
        peer_region = %metadata.region,
        peer_version = %metadata.mesh_version,
        generation = member.boot_epoch.0,
        correlation = %CorrelationId::of(member),
        "{what}"
    );
}

/// Writes an error with its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        // Writing to a string cannot fail.
        if write!(text, ": {deeper}").is_err() {
            break;
        }
        cause = deeper.source();
    }
    text
}
