//! The verifier's part: probing a member on behalf of somebody who gets no answer from it.

use std::time::Instant;

use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body as ProtoBody;
use mesh_types::NodeId;

use crate::claim::{Claim, Standing};
use crate::core::{Core, Timer};
use crate::exchange::Channel;
use crate::probing::Purpose;
use crate::table::Entry;

/// Most verifications under way at a time; more are refused and counted.
const MOST_VERIFICATIONS: usize = 256;

/// A member that this node probes for another.
#[derive(Debug)]
pub(crate) struct Verification {
    subject: NodeId,
    probes: u8,
}

impl Core {
    pub(crate) fn on_verify_request(
        &mut self,
        requester: &NodeId,
        id: u64,
        subject: NodeId,
        accused: Claim,
        now: Instant,
    ) {
        if subject == self.local {
            self.reply(requester, id, &subject, true, now);
            return;
        }
        let Some(entry) = self.table.get(&subject) else { return };
        let (known, has_record) = (entry.claim(), entry.record.is_some());
        if known > accused {
            // Whatever is known here settles it: it denied since, or is judged already.
            self.tell(requester, &subject, now);
            self.reply(requester, id, &subject, known.standing == Standing::Alive, now);
            return;
        }
        if known.boot_epoch < accused.boot_epoch || !has_record {
            // Where this life listens is not known here: no answer would prove nothing.
            return;
        }
        let key = (requester.clone(), id);
        if self.verifications.contains_key(&key) {
            return;
        }
        if self.verifications.len() >= MOST_VERIFICATIONS {
            self.stats.verifications_refused += 1;
            return;
        }
        self.verifications.insert(key, Verification { subject, probes: 0 });
        self.on_verification_failed(requester.clone(), id, now);
    }

    /// Probes the subject, a second time over a reliable stream, then says that it does not answer.
    pub(crate) fn on_verification_failed(&mut self, requester: NodeId, id: u64, now: Instant) {
        let Some(verification) = self.verifications.get_mut(&(requester.clone(), id)) else { return };
        verification.probes += 1;
        let (subject, probes) = (verification.subject.clone(), verification.probes);
        let channel = match probes {
            1 => Channel::Datagram,
            2 => Channel::Stream,
            _ => {
                // A late answer is still passed on.
                self.reply(&requester, id, &subject, false, now);
                let until = now + self.options.suspicion_interval;
                self.schedule(until, Timer::VerificationForgotten(requester, id));
                return;
            }
        };
        let rtt = self.table.get(&subject).and_then(Entry::rtt);
        // However unsure of itself this node is, the accuser waits for two probes of a stranger and no longer.
        let timeout = self.probe_timeout(rtt).min(self.options.probe_timeout(None));
        self.schedule(now + timeout, Timer::VerificationFailed(requester, id));
        self.probe(&subject, channel, Purpose::Ask, now);
    }

    pub(crate) fn forget_verification(&mut self, requester: NodeId, id: u64) {
        self.verifications.remove(&(requester, id));
    }

    /// Tells everybody who asked that `subject` answers.
    pub(crate) fn vouch_for(&mut self, subject: &NodeId, now: Instant) {
        let asked = self.verifications.iter().filter(|(_, verification)| verification.subject == *subject);
        let askers: Vec<(NodeId, u64)> = asked.map(|(key, _)| key.clone()).collect();
        for key in askers {
            self.verifications.remove(&key);
            self.reply(&key.0, key.1, subject, true, now);
        }
    }

    fn reply(&mut self, requester: &NodeId, accusation: u64, subject: &NodeId, answered: bool, now: Instant) {
        let reply = proto::VerifyReply { accusation, subject: subject.to_string(), answered };
        self.answer(requester, Channel::Datagram, ProtoBody::VerifyReply(reply), now);
    }
}
