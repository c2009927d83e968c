//! A lease, and what is slow to change about a peer.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use mesh_types::NodeId;

use crate::metadata::Metadata;

/// Identifies one grant of a lease: a UUID, shown in lower case with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u128);

impl LeaseId {
    /// Makes an id out of the UUID's 128 bits, highest first.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the id as it is shown.
    pub(crate) fn text(self) -> [u8; 36] {
        let digits = self.0.to_be_bytes().map(|byte| [hex(byte >> 4), hex(byte & 0xF)]);
        let mut digits = digits.as_flattened().iter();
        let mut text = [b'-'; 36];
        for group in [0..8, 9..13, 14..18, 19..23, 24..36] {
            for (place, digit) in text.get_mut(group).into_iter().flatten().zip(digits.by_ref()) {
                *place = *digit;
            }
        }
        text
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().into_iter().try_for_each(|byte| f.write_char(char::from(byte)))
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the digit of a number below 16.
const fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

/// Work that a peer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// Which work, in the order in which it came. It stays when the work goes to another peer.
    pub sequence_id: u64,
    /// How often the work has been given out, this time included.
    pub attempt: u32,
    /// This grant of it.
    pub lease_id: LeaseId,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The work is done, or given up for good.
    Finished,
    /// The work waits for another peer: it is a pending reassignment until its sequence id is assigned again.
    Requeued,
}

/// What is known of a peer and changes rarely: shared by every snapshot until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFacts {
    /// Who it is.
    pub id: NodeId,
    /// The leases it holds, ascending.
    pub leases: Vec<Lease>,
    /// Sequence ids of the work that was taken from it and that nobody has yet, ascending.
    pub pending: Vec<u64>,
    /// What is written beside it.
    pub metadata: Arc<Metadata>,
}

impl PeerFacts {
    /// Makes the facts of a peer of which only the name is known.
    #[must_use]
    pub fn new(id: NodeId) -> Self {
        Self { id, leases: Vec::new(), pending: Vec::new(), metadata: Arc::default() }
    }

    /// Returns whether only the name is known.
    pub(crate) fn is_bare(&self) -> bool {
        self.leases.is_empty() && self.pending.is_empty() && self.metadata.is_empty()
    }

    /// Folds in what another provider knows of the same peer. What is there already stays as it is.
    pub fn merge(&mut self, other: &Self) {
        self.leases.extend(&other.leases);
        self.leases.sort_unstable();
        self.leases.dedup();
        self.pending.extend(&other.pending);
        self.pending.sort_unstable();
        self.pending.dedup();
        for (key, value) in other.metadata.iter() {
            if self.metadata.get(key).is_none() {
                Arc::make_mut(&mut self.metadata).set(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_is_a_uuid_in_lower_case_with_hyphens() {
        let id = LeaseId::from_u128(0x0F8F_AD5B_D9CB_469F_A165_7086_7728_950E);
        assert_eq!(id.to_string(), "0f8fad5b-d9cb-469f-a165-70867728950e");
        assert_eq!(LeaseId::from_u128(1).to_string(), "00000000-0000-0000-0000-000000000001");
    }
}
