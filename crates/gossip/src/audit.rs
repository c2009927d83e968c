//! The audit trail: who was not let in, and whose link was cut.
//!
//! Its log events have the target `audit`, so that they can be kept apart from the rest and for longer.

use std::fmt::Display;
use std::net::SocketAddr;

use identity::RefusalReason;
use mesh_types::NodeId;
use metrics::counter;
use tracing::{debug, error, warn};

/// Somebody who wants in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) address: SocketAddr,
    /// Whom the certificate shown names, be it good or not.
    pub(crate) name: Option<&'a str>,
}

/// Counts and logs somebody who was not let in.
pub(crate) fn refused(applicant: Applicant<'_>, reason: &'static str, error: &dyn Display) {
    counter!("mesh_gossip_refused_total", "reason" => reason).increment(1);
    let Applicant { address, name } = applicant;
    let san = name.unwrap_or("none shown");
    warn!(target: "audit", address = %address, san, reason, error = %error, "connection refused");
}

/// Counts and logs a link in use that was cut because its member's identity is no longer acceptable.
pub(crate) fn cut(peer: &NodeId, address: SocketAddr, reason: RefusalReason, error: &dyn Display) {
    counter!("mesh_gossip_links_cut_total", "reason" => reason.as_str()).increment(1);
    warn!(target: "audit", peer = %peer, address = %address, reason = reason.as_str(), error = %error, "link cut");
}

/// Counts a node that refuses this one for its certificate. It is an alarm the first time: nothing else goes wrong here.
pub(crate) fn refused_by_other(other: &dyn Display, reason: RefusalReason, serial: &str, is_first: bool) {
    counter!("mesh_gossip_refused_by_others_total", "reason" => reason.as_str()).increment(1);
    if is_first {
        error!(other = %other, reason = reason.as_str(), serial, "others refuse this node's certificate: {reason}");
    } else {
        debug!(other = %other, reason = reason.as_str(), serial, "refused once more");
    }
}
