//! The entries, found by name and read in the order of names.

use std::cmp::Ordering;

use mesh_types::NodeId;

use super::entry::Entry;

/// Entries by name: they lie side by side as they came, and a list says in which order.
///
/// It takes four bytes a member beside the entries, where a tree's nodes would be as large as the entries, and half empty.
#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Vec<Entry>,
    /// Where the entries lie, by ascending name.
    order: Vec<u32>,
}

impl Entries {
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.order.iter().filter_map(|slot| self.slots.get(*slot as usize))
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Entry> {
        // Not an error: there is none of that name.
        let slot = self.order.get(self.place(node).ok()?)?;
        self.slots.get(*slot as usize)
    }

    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut Entry> {
        // Not an error: there is none of that name.
        let slot = self.order.get(self.place(node).ok()?)?;
        self.slots.get_mut(*slot as usize)
    }

    /// Adds an entry, unless there is one of its name.
    pub(super) fn insert(&mut self, entry: Entry) {
        let (Err(place), Ok(slot)) = (self.place(&entry.node), u32::try_from(self.slots.len())) else { return };
        // A table fills up to its members and stays there: doubling would leave half of it unused.
        if self.slots.len() == self.slots.capacity() {
            let more = self.slots.len() / 8 + 4;
            self.slots.reserve_exact(more);
            self.order.reserve_exact(more);
        }
        self.slots.push(entry);
        self.order.insert(place, slot);
    }

    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Entry> {
        // Not an error: there is none of that name.
        let place = self.place(node).ok()?;
        let moved = self.slots.last().and_then(|last| self.place(&last.node).ok());
        let slot = *self.order.get(place)?;
        // The last takes the place of the one that goes.
        if let Some(of_last) = moved.and_then(|moved| self.order.get_mut(moved)) {
            *of_last = slot;
        }
        self.order.remove(place);
        Some(self.slots.swap_remove(slot as usize))
    }

    /// Returns where a name stands among the others, or would.
    fn place(&self, node: &NodeId) -> Result<usize, usize> {
        let compare = |slot: &u32| self.slots.get(*slot as usize).map_or(Ordering::Less, |entry| entry.node.cmp(node));
        self.order.binary_search_by(compare)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mesh_types::{BootEpoch, Incarnation};
    use proptest::prelude::*;

    use super::super::entry::Moment;
    use super::*;
    use crate::claim::{Claim, Standing};

    fn id(number: u8) -> NodeId {
        format!("node-{number}").parse().expect("a name")
    }

    fn entry(number: u8) -> Entry {
        let (boot_epoch, incarnation) = (BootEpoch(u64::from(number)), Incarnation(0));
        Entry::new(id(number), Claim { boot_epoch, incarnation, standing: Standing::Alive }, Moment::UNKNOWN)
    }

    proptest! {
        #[test]
        fn what_was_added_and_not_removed_is_found_and_comes_in_the_order_of_names(
            steps in prop::collection::vec((any::<bool>(), 0..24_u8), 0..120),
        ) {
            let (mut entries, mut model) = (Entries::default(), BTreeSet::new());
            for (adds, number) in steps {
                if adds {
                    entries.insert(entry(number));
                    model.insert(id(number));
                } else {
                    let removed = entries.remove(&id(number)).map(|entry| entry.claim().boot_epoch);
                    prop_assert_eq!(removed, model.remove(&id(number)).then_some(BootEpoch(u64::from(number))));
                }
            }
            let names: Vec<&NodeId> = entries.iter().map(|entry| &entry.node).collect();
            prop_assert_eq!(names, model.iter().collect::<Vec<_>>());
            for number in 0..24 {
                let found = entries.get(&id(number)).map(|entry| entry.claim().boot_epoch);
                prop_assert_eq!(found, model.contains(&id(number)).then_some(BootEpoch(u64::from(number))));
                prop_assert_eq!(entries.get_mut(&id(number)).is_some(), model.contains(&id(number)));
            }
            prop_assert_eq!(entries.len(), model.len());
        }
    }
}
