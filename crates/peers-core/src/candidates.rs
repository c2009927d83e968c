//! The peers of a table or a group, laid out for picking.

use std::sync::Arc;

use mesh_types::NodeId;

use crate::Peer;
use crate::cell::PeerCell;
use crate::published::Kept;

/// Peers by ascending id.
///
/// Cells and descriptions lie apart: a pick reads cells alone, and so of a thousand peers it reads through 8 KiB instead
/// of 24. Cloning is two reference counts.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    cells: Arc<[Kept<PeerCell>]>,
    /// As long as `cells`.
    descriptions: Arc<[Description]>,
}

/// What a snapshot says about a peer.
#[derive(Debug, Clone)]
struct Description {
    peer: Arc<Peer>,
    /// Factor of the peer's load: the usual weight over its own; infinite for weight 0.
    burden: f32,
}

/// A peer and its cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) cell: &'a Kept<PeerCell>,
    pub(crate) peer: &'a Arc<Peer>,
}

impl Candidates {
    pub(crate) fn none() -> Self {
        Self { cells: Arc::default(), descriptions: Arc::default() }
    }

    /// Makes the list of `peers`, which come by ascending id.
    pub(crate) fn of<'a>(peers: impl Iterator<Item = Candidate<'a>> + Clone) -> Self {
        let cells = peers.clone().map(|candidate| candidate.cell.clone()).collect();
        let descriptions = peers.map(|candidate| Description::of(candidate.peer)).collect();
        Self { cells, descriptions }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    #[inline(always)]
    pub(crate) fn cell(&self, index: usize) -> Option<&Kept<PeerCell>> {
        self.cells.get(index)
    }

    pub(crate) fn peer(&self, index: usize) -> Option<&Arc<Peer>> {
        self.descriptions.get(index).map(|description| &description.peer)
    }

    #[inline(always)]
    pub(crate) fn burden(&self, index: usize) -> f32 {
        self.descriptions.get(index).map_or(f32::INFINITY, |description| description.burden)
    }

    pub(crate) fn get(&self, index: usize) -> Option<Candidate<'_>> {
        Some(Candidate { cell: self.cell(index)?, peer: self.peer(index)? })
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Candidate<'_>> + Clone {
        let described = self.cells.iter().zip(self.descriptions.iter());
        described.map(|(cell, description)| Candidate { cell, peer: &description.peer })
    }

    pub(crate) fn position(&self, id: &NodeId) -> Option<usize> {
        // Not an error: the peer is somewhere else, or nowhere.
        self.descriptions.binary_search_by(|description| description.peer.id.cmp(id)).ok()
    }
}

impl Description {
    fn of(peer: &Arc<Peer>) -> Self {
        let burden = f32::from(Peer::DEFAULT_WEIGHT) / f32::from(peer.weight);
        Self { peer: Arc::clone(peer), burden }
    }
}
