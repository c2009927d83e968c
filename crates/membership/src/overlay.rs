//! The overlay: which members a node keeps links to.

use std::collections::BTreeSet;

use mesh_types::NodeId;
use twox_hash::XxHash64;

/// One node's neighbours on hash rings over the members. On each ring they are the next and the previous member, so every
/// node has about two links a ring, the same from both ends, and a join or leave moves only links beside it
/// (after *Rapid*, USENIX ATC 2018, §4.1).
///
/// The rings themselves are kept nowhere: where a member stands follows from its name, so a newcomer is compared with the
/// neighbours, and only when one of these goes all members are looked through for the next.
#[derive(Debug)]
pub(crate) struct Overlay {
    subject: NodeId,
    fanout: usize,
    rings: Vec<Ring>,
}

/// One ring, seen from the subject.
#[derive(Debug)]
struct Ring {
    seed: u64,
    /// Where the subject stands.
    own: u64,
    next: Option<Place>,
    previous: Option<Place>,
}

/// Where another stands, in the order in which the ring is gone through from the subject on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_beyond_the_end: bool,
    position: u64,
    node: NodeId,
}

impl Overlay {
    /// Makes the overlay of a node that is alone.
    pub(crate) fn around(subject: NodeId, fanout: u8) -> Self {
        let rings = 0..u64::from(fanout.div_ceil(2));
        let ring = |seed| Ring { seed, own: position(seed, &subject), next: None, previous: None };
        Self { rings: rings.map(ring).collect(), fanout: usize::from(fanout), subject }
    }

    /// Makes the overlay of a node among `members`, whether or not it is one of them.
    pub(crate) fn among<'a>(subject: &NodeId, fanout: u8, members: impl Iterator<Item = &'a NodeId>) -> Self {
        let mut overlay = Self::around(subject.clone(), fanout);
        for member in members {
            overlay.insert(member);
        }
        overlay
    }

    /// Takes in a member; returns whether it is a neighbour on a ring.
    pub(crate) fn insert(&mut self, node: &NodeId) -> bool {
        if *node == self.subject {
            return false;
        }
        let subject = &self.subject;
        let beside =
            self.rings.iter_mut().map(|ring| ring.insert(subject, node)).filter(|is_beside| *is_beside).count();
        beside > 0
    }

    /// Takes a member out of which only `members` are left; returns whether it was a neighbour on a ring.
    pub(crate) fn remove<'a>(&mut self, node: &NodeId, members: &(impl Iterator<Item = &'a NodeId> + Clone)) -> bool {
        let is_it = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.node == *node);
        let subject = &self.subject;
        let mut was_neighbour = false;
        for ring in self.rings.iter_mut().filter(|ring| is_it(&ring.next) || is_it(&ring.previous)) {
            was_neighbour = true;
            (ring.next, ring.previous) = (None, None);
            for member in members.clone().filter(|member| *member != subject) {
                ring.insert(subject, member);
            }
        }
        was_neighbour
    }

    /// Returns whether `members` are so few, the subject among them or not, that all are neighbours, or have just been.
    pub(crate) const fn are_few(&self, members: usize) -> bool {
        members <= self.fanout + 2
    }

    /// Returns the neighbours, given all members and how many they are; all of them if they are few.
    pub(crate) fn neighbours<'a>(&self, count: usize, members: impl Iterator<Item = &'a NodeId>) -> BTreeSet<NodeId> {
        if count <= self.fanout + 1 {
            return members.filter(|member| **member != self.subject).cloned().collect();
        }
        let places = self.rings.iter().flat_map(|ring| [&ring.next, &ring.previous]).flatten();
        places.map(|place| place.node.clone()).collect()
    }
}

impl Ring {
    fn insert(&mut self, subject: &NodeId, node: &NodeId) -> bool {
        let position = position(self.seed, node);
        let is_beyond_the_end = (position, node) < (self.own, subject);
        let is_before = |place: &Place| {
            (is_beyond_the_end, position, node) < (place.is_beyond_the_end, place.position, &place.node)
        };
        let is_next = self.next.as_ref().is_none_or(is_before);
        let is_previous = self.previous.as_ref().is_none_or(|place| !is_before(place));
        if is_next || is_previous {
            let place = Place { is_beyond_the_end, position, node: node.clone() };
            if is_next {
                self.next = Some(place.clone());
            }
            if is_previous {
                self.previous = Some(place);
            }
        }
        is_next || is_previous
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

    fn nodes(count: usize) -> Result<BTreeSet<NodeId>, mesh_types::NameError> {
        (0..count).map(node).collect()
    }

    fn neighbours(of: &NodeId, members: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        Overlay::among(of, 8, members.iter()).neighbours(members.len(), members.iter())
    }

    #[test]
    fn few_members_are_all_linked() -> Result<(), mesh_types::NameError> {
        let links = neighbours(&node(0)?, &nodes(9)?);
        assert_eq!(links.len(), 8);
        assert!(!links.contains(&node(0)?));
        Ok(())
    }

    #[test]
    fn links_are_about_fanout_many_and_the_same_from_both_ends() -> Result<(), mesh_types::NameError> {
        let members = nodes(200)?;
        for own in &members {
            let links = neighbours(own, &members);
            assert!((5..=8).contains(&links.len()), "{own} has {} links", links.len());
            assert!(links.iter().all(|other| neighbours(other, &members).contains(own)));
        }
        Ok(())
    }

    #[test]
    fn the_overlay_is_connected_and_shallow() -> Result<(), mesh_types::NameError> {
        let members = nodes(200)?;
        let mut reached = BTreeSet::from([node(0)?]);
        for _ in 0..5 {
            let next: Vec<_> = reached.iter().flat_map(|node| neighbours(node, &members)).collect();
            reached.extend(next);
        }
        assert_eq!(reached.len(), 200, "all within 5 hops");
        Ok(())
    }

    #[test]
    fn a_member_that_goes_leaves_the_links_of_others_alone() -> Result<(), mesh_types::NameError> {
        let mut members = nodes(100)?;
        let gone = node(40)?;
        let before: Vec<_> = members.iter().map(|own| (own.clone(), neighbours(own, &members))).collect();
        members.remove(&gone);
        let moved = before.iter().filter(|(own, links)| *own != gone && neighbours(own, &members) != *links).count();
        assert!(moved <= 8, "{moved} nodes changed their links");
        Ok(())
    }

    #[test]
    fn who_comes_and_goes_leaves_the_neighbours_that_the_ring_says_and_only_a_neighbour_moves_them()
    -> Result<(), mesh_types::NameError> {
        // The rings as they are defined: all members in order, and whoever stands beside the subject.
        let ring = |seed, own: &NodeId, members: &BTreeSet<NodeId>| {
            let mut places: Vec<(u64, &NodeId)> = members.iter().map(|node| (position(seed, node), node)).collect();
            places.sort_unstable();
            let (before, after): (Vec<_>, Vec<_>) = places
                .into_iter()
                .filter(|place| place.1 != own)
                .partition(|place| *place < (position(seed, own), own));
            let round: Vec<NodeId> = after.into_iter().chain(before).map(|place| place.1.clone()).collect();
            [round.first().cloned(), round.last().cloned()]
        };
        let own = node(7)?;
        let (mut overlay, mut members) = (Overlay::around(own.clone(), 8), BTreeSet::from([own.clone()]));
        let mut links = BTreeSet::new();
        for step in 0..600_usize {
            // Some come, and later more of them go: a walk through 60 names.
            let other = node(step * 37 % 61)?;
            if other == own {
                continue;
            }
            let has_moved = if members.remove(&other) {
                overlay.remove(&other, &members.iter())
            } else {
                members.insert(other.clone());
                overlay.insert(&other)
            };
            let new = overlay.neighbours(members.len(), members.iter());
            if members.len() > 9 {
                let defined: BTreeSet<NodeId> = (0..4).flat_map(|seed| ring(seed, &own, &members)).flatten().collect();
                assert_eq!(new, defined, "step {step}");
            }
            assert!(has_moved || overlay.are_few(members.len()) || new == links, "step {step}");
            links = new;
        }
        Ok(())
    }
}
