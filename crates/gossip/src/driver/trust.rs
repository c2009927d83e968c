//! What the driver does about credentials: new ones, revoked ones, and those that run out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use identity::{CredentialSource, Credentials, Learnt, RefusalReason, Side};
use mesh_types::NodeId;
use metrics::counter;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{DIAL_PATIENCE, Driver, now};
use crate::close::{Close, close};
use crate::dial::Target;
use crate::exchange;
use crate::follow::{Change, ask_after, ask_within, follow, renew_within};
use crate::link::{NewLink, chain_of};
use crate::links::Recheck;
use crate::tls::Tls;
use crate::{audit, observe};

/// Every which tick all links are checked again in full: an intermediate CA may have run out, a list be overdue.
const CHECK_ALL_EVERY: u64 = 600;

/// How soon a member is asked again that says it has more revocation lists.
const ASK_GAP: Duration = Duration::from_millis(100);

/// Within what time members are told of new lists, and asked for theirs.
const ASK_WINDOW: Duration = Duration::from_millis(50);

/// Every which tick one member is asked for revocation lists, in case news of them got lost.
const ASK_EVERY: u64 = 120;

/// What the driver knows of its own credentials.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) source: Arc<dyn CredentialSource>,
    pub(crate) tls: Arc<Tls>,
    /// Within what time all links are renewed after a change of the certificate.
    pub(crate) window: Duration,
    /// Until when that is so; from then on a link with an older certificate is renewed at once.
    renewed_until: Instant,
    ticks: u64,
    /// Why others refuse the certificate in use, as far as that has been told.
    told: Vec<RefusalReason>,
    /// Who is to be asked for revocation lists shortly.
    to_ask: BTreeSet<NodeId>,
}

impl Trust {
    pub(crate) fn new(source: Arc<dyn CredentialSource>, tls: Tls, window: Duration) -> Self {
        let tls = Arc::new(tls);
        let to_ask = BTreeSet::new();
        Self { source, tls, window, renewed_until: Instant::now(), ticks: 0, told: Vec::new(), to_ask }
    }

    fn credentials(&self) -> &Arc<Credentials> {
        &self.tls.credentials
    }

    /// Whether this is the first time that the certificate in use is refused for `reason`.
    fn is_first(&mut self, reason: RefusalReason) -> bool {
        let is_first = !self.told.contains(&reason);
        if is_first {
            self.told.push(reason);
        }
        is_first
    }
}

impl Driver {
    /// Starts to follow the credentials.
    pub(super) fn follow_credentials(&mut self) {
        let (source, seen) = (Arc::clone(&self.trust.source), Arc::clone(self.trust.credentials()));
        self.tasks.spawn(follow(source, seen, self.reporter.clone()));
        self.tell_if_revoked();
    }

    pub(super) fn on_credentials(&mut self, change: Change) {
        match change {
            Change::Credentials(new) => self.on_new_credentials(new),
            Change::Revocations => self.on_revocations(),
            Change::Tick => self.on_tick(),
        }
    }

    fn on_new_credentials(&mut self, new: Arc<Credentials>) {
        let before = Arc::clone(&self.trust.tls);
        let tls = match before.renewed(new) {
            Ok(tls) => Arc::new(tls),
            // Cannot happen, see `tls`; the old ones go on.
            Err(error) => return error!(error = %error, "new credentials cannot be used"),
        };
        self.endpoint.set_server_config(Some(tls.listening()));
        self.trust.tls = Arc::clone(&tls);
        // The bundle may be another: who is of a CA that is gone must go.
        self.sweep(Recheck::Everything, |_| true);
        if tls.generation == before.generation {
            return info!("trust bundle renewed");
        }
        self.trust.told.clear();
        self.tell_if_revoked();
        self.links.report(tls.generation);
        // Links must not be left with a certificate that runs out before they have the new one.
        let left = before.credentials.not_after().duration_since(wall_clock()).unwrap_or_default();
        let window = self.trust.window.min(left / 2);
        self.trust.renewed_until = Instant::now() + window;
        info!(serial = tls.credentials.serial(), links = self.links.len(), ?window, "certificate renewed");
        for peer in self.links.with_generation_below(tls.generation) {
            self.tasks.spawn(renew_within(window, peer, self.reporter.clone()));
        }
    }

    /// Dials a member anew if the link to it was begun with an older certificate. The old link serves until the new one is up.
    pub(super) fn renew(&mut self, peer: &NodeId) {
        let Some(link) = self.links.get_mut(peer) else { return };
        let target = Target::Peer(peer.clone());
        if link.own_generation >= self.trust.tls.generation || self.dials.contains_key(&target) {
            return;
        }
        let remote = link.connection.remote_address().into();
        let address = self.share.shared.current().get(peer).map_or(remote, |member| member.metadata.endpoint.clone());
        // If there is no room among the dials, the next tick tries again.
        self.dial(target, address, DIAL_PATIENCE);
    }

    fn on_revocations(&mut self) {
        self.tell_if_revoked();
        self.sweep(Recheck::Revocation, |_| true);
        // As news go: over the links of the overlay, whatever other connections there are. A whole mesh that asks at the same
        // moment would be busy with nothing else.
        for peer in self.core.links().iter().filter(|peer| self.links.contains(peer)).cloned().collect::<Vec<_>>() {
            if self.trust.to_ask.insert(peer.clone()) {
                self.tasks.spawn(ask_within(ASK_WINDOW, peer, self.reporter.clone()));
            }
        }
    }

    fn on_tick(&mut self) {
        let wall_clock = wall_clock();
        self.trust.ticks += 1;
        let checks_all = self.trust.ticks.is_multiple_of(CHECK_ALL_EVERY);
        self.sweep(Recheck::Everything, |expires| checks_all || expires.is_none_or(|expires| expires < wall_clock));
        self.trust.credentials().report(wall_clock);
        self.tell_if_expired(wall_clock);
        self.links.report(self.trust.tls.generation);
        if Instant::now() >= self.trust.renewed_until {
            for peer in self.links.with_generation_below(self.trust.tls.generation) {
                self.renew(&peer);
            }
        }
        if self.trust.ticks.is_multiple_of(ASK_EVERY)
            && let Some(peer) = self.links.nth(self.trust.ticks / ASK_EVERY)
        {
            self.ask_for_revocations(&peer);
        }
    }

    /// Cuts every link whose member would not be let in now, among those that may have got that far.
    fn sweep(&mut self, recheck: Recheck, may_have: impl Fn(Option<SystemTime>) -> bool) {
        let (credentials, now) = (Arc::clone(self.trust.credentials()), wall_clock());
        for (peer, refused) in self.links.refused(&credentials, now, recheck, may_have) {
            let reason = refused.error.reason();
            audit::cut(&peer, refused.address, reason, &observe::chain(&refused.error));
            self.links.close(&peer, Close::of_identity(reason));
        }
    }

    /// Whether a member whose handshake is over would be let in now. If something has been learnt since it began, it is
    /// looked at again: no sweep sees a link that is not up yet.
    pub(super) fn is_still_trusted(&self, link: &NewLink, side: Side) -> bool {
        let credentials = self.trust.credentials();
        let is_current = Arc::ptr_eq(&link.began.tls, &self.trust.tls)
            && link.began.revocations == credentials.revocations().version();
        if is_current {
            return true;
        }
        let Err(error) = credentials.recheck(side, &chain_of(&link.connection), wall_clock()) else { return true };
        let reason = error.reason();
        audit::cut(&link.peer.node, link.connection.remote_address(), reason, &observe::chain(&error));
        close(&link.connection, Close::of_identity(reason), "");
        false
    }

    /// Asks a member for revocation lists, and by that tells it which there are.
    pub(super) fn ask_for_revocations(&mut self, peer: &NodeId) {
        let held = self.trust.credentials().revocations().heads();
        let Some(link) = self.links.get_mut(peer) else { return };
        link.asked_at = Some(now());
        self.tasks.spawn(exchange::ask(peer.clone(), link.connection.clone(), held, self.reporter.clone()));
    }

    /// Asks a member that says it has more. One that says so all the time is asked from time to time.
    pub(super) fn on_revocations_behind(&mut self, peer: NodeId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let since = link.asked_at.map_or(ASK_GAP, |asked_at| now().duration_since(asked_at));
        if since >= ASK_GAP {
            self.ask_for_revocations(&peer);
        } else if self.trust.to_ask.insert(peer.clone()) {
            self.tasks.spawn(ask_after(ASK_GAP, peer, self.reporter.clone()));
        }
    }

    /// Asks a member that had to wait for it.
    pub(super) fn on_ask_due(&mut self, peer: &NodeId) {
        if self.trust.to_ask.remove(peer) {
            self.ask_for_revocations(peer);
        }
    }

    pub(super) fn on_revocation_lists(&mut self, from: &NodeId, lists: Vec<Bytes>) {
        let credentials = Arc::clone(self.trust.credentials());
        for list in lists {
            // What comes of it is seen when the task that follows the credentials reports it.
            let outcome = match credentials.revocations().learn(&list, &credentials) {
                Ok(Learnt::New { revoked }) => {
                    info!(from = %from, revoked, "a newer revocation list has come");
                    "learnt"
                }
                Ok(Learnt::Known) => "known",
                Err(error) => {
                    warn!(from = %from, error = observe::chain(&error), "revocation list refused");
                    error.reason()
                }
            };
            counter!("mesh_gossip_revocation_lists_total", "outcome" => outcome).increment(1);
        }
    }

    /// Takes note of somebody who refuses this node for its certificate.
    pub(super) fn on_refused_by(&mut self, other: &dyn std::fmt::Display, reason: RefusalReason) {
        let is_first = self.trust.is_first(reason);
        audit::refused_by_other(other, reason, &self.trust.credentials().serial(), is_first);
    }

    fn tell_if_expired(&mut self, now: SystemTime) {
        if now > self.trust.credentials().not_after() && self.trust.is_first(RefusalReason::Expired) {
            let serial = self.trust.credentials().serial();
            error!(serial, "this node's certificate has expired: others cut it off until it has a new one");
        }
    }

    fn tell_if_revoked(&mut self) {
        if self.trust.credentials().is_revoked() && self.trust.is_first(RefusalReason::Revoked) {
            let serial = self.trust.credentials().serial();
            error!(serial, "this node's certificate has been revoked: others cut it off until it has a new one");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: whether a certificate is valid is asked now")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
