//! The overlay: which members a node keeps links to.

use std::collections::BTreeSet;

use mesh_types::NodeId;
use twox_hash::XxHash64;

/// Hash rings over the members. On each ring a node's neighbours are the next and the previous member, so every
/// node has about two links a ring, the same from both ends, and a join or leave moves only links beside it
/// (after *Rapid*, USENIX ATC 2018, §4.1).
#[derive(Debug)]
pub(crate) struct Overlay {
    rings: Vec<BTreeSet<(u64, NodeId)>>,
    fanout: usize,
}

impl Overlay {
    pub(crate) fn new(fanout: u8) -> Self {
        let rings = usize::from(fanout.div_ceil(2));
        Self { rings: vec![BTreeSet::new(); rings], fanout: usize::from(fanout) }
    }

    pub(crate) fn insert(&mut self, node: &NodeId) {
        for (seed, ring) in (0_u64..).zip(&mut self.rings) {
            ring.insert((position(seed, node), node.clone()));
        }
    }

    pub(crate) fn remove(&mut self, node: &NodeId) {
        for (seed, ring) in (0_u64..).zip(&mut self.rings) {
            ring.remove(&(position(seed, node), node.clone()));
        }
    }

    /// Returns the neighbours of `node`, whether or not it is on the rings itself; all of them if they are few.
    pub(crate) fn neighbours(&self, node: &NodeId) -> BTreeSet<NodeId> {
        let mut neighbours = BTreeSet::new();
        for (seed, ring) in (0_u64..).zip(&self.rings) {
            if ring.len() <= self.fanout + 1 {
                return ring.iter().map(|(_, other)| other.clone()).filter(|other| other != node).collect();
            }
            let own = (position(seed, node), node.clone());
            let next = ring.range(&own..).find(|entry| **entry != own).or_else(|| ring.first());
            let previous = ring.range(..&own).next_back().or_else(|| ring.last());
            neighbours.extend([next, previous].into_iter().flatten().map(|(_, other)| other.clone()));
        }
        neighbours.remove(node);
        neighbours
    }
}

fn position(ring: u64, node: &NodeId) -> u64 {
    XxHash64::oneshot(ring, node.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> Result<NodeId, mesh_types::NameError> {
        format!("node-{number:03}").parse()
    }

    #[test]
    fn few_members_are_all_linked() -> Result<(), mesh_types::NameError> {
        let mut overlay = Overlay::new(8);
        for number in 0..9 {
            overlay.insert(&node(number)?);
        }
        assert_eq!(overlay.neighbours(&node(0)?).len(), 8);
        assert!(!overlay.neighbours(&node(0)?).contains(&node(0)?));
        Ok(())
    }

    #[test]
    fn links_are_about_fanout_many_and_the_same_from_both_ends() -> Result<(), mesh_types::NameError> {
        let mut overlay = Overlay::new(8);
        for number in 0..200 {
            overlay.insert(&node(number)?);
        }
        for number in 0..200 {
            let own = node(number)?;
            let links = overlay.neighbours(&own);
            assert!((5..=8).contains(&links.len()), "{own} has {} links", links.len());
            assert!(links.iter().all(|other| overlay.neighbours(other).contains(&own)));
        }
        Ok(())
    }

    #[test]
    fn the_overlay_is_connected_and_shallow() -> Result<(), mesh_types::NameError> {
        let mut overlay = Overlay::new(8);
        for number in 0..200 {
            overlay.insert(&node(number)?);
        }
        let mut reached = BTreeSet::from([node(0)?]);
        for _ in 0..5 {
            let next: Vec<_> = reached.iter().flat_map(|node| overlay.neighbours(node)).collect();
            reached.extend(next);
        }
        assert_eq!(reached.len(), 200, "all within 5 hops");
        Ok(())
    }

    #[test]
    fn a_member_that_goes_leaves_the_links_of_others_alone() -> Result<(), mesh_types::NameError> {
        let mut overlay = Overlay::new(8);
        for number in 0..100 {
            overlay.insert(&node(number)?);
        }
        let before: Vec<_> = (0..100).map(|n| node(n).map(|n| overlay.neighbours(&n))).collect::<Result<_, _>>()?;
        let gone = node(40)?;
        overlay.remove(&gone);
        let mut moved = 0;
        for (number, links) in before.iter().enumerate() {
            moved += usize::from(number != 40 && overlay.neighbours(&node(number)?) != *links);
        }
        assert!(moved <= 8, "{moved} nodes changed their links");
        Ok(())
    }
}
