//! Which methods have been called: a bounded table that only grows, and that readers take no lock on.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;

/// Most methods that are told apart. What is called beyond counts as `other`.
const METHODS_MAX: usize = 512;

/// How many places are looked at for one method.
const PROBES: usize = 8;

/// What is known of each method, by its path: for metrics, whose labels must be few whatever callers make up. A few hundred are told
/// apart.
#[derive(Debug)]
pub struct Methods<T> {
    slots: Box<[Slot<T>]>,
    hasher: RandomState,
}

/// Boxed: few methods are ever called, and the places of all others should cost a word or two.
type Slot<T> = OnceLock<Box<Method<T>>>;

#[derive(Debug)]
struct Method<T> {
    path: Box<str>,
    known: T,
}

impl<T> Default for Methods<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Methods<T> {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: (0..METHODS_MAX).map(|_| OnceLock::new()).collect(), hasher: RandomState::new() }
    }

    /// Returns what is known of the method at `path`, and makes it at the first call; `None` if there is no room for it.
    pub fn of(&self, path: &str, make: impl Fn() -> T) -> Option<&T> {
        let hash = usize::try_from(self.hasher.hash_one(path) & 0xffff_ffff).unwrap_or_default();
        let places = (0..PROBES).map(|step| (hash + step) % METHODS_MAX);
        places.filter_map(|place| self.slots.get(place)).find_map(|slot| {
            let method = slot.get_or_init(|| Box::new(Method { path: path.into(), known: make() }));
            (*method.path == *path).then_some(&method.known)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_keeps_what_was_made_of_it_and_the_table_its_size() {
        let methods = Methods::new();
        assert_eq!(methods.of("/a/b", || 1), Some(&1));
        assert_eq!((methods.of("/a/b", || 2), methods.of("/a/c", || 3)), (Some(&1), Some(&3)));
        let known = (0..10 * METHODS_MAX).filter(|number| methods.of(&number.to_string(), || 0).is_some()).count();
        assert!((METHODS_MAX / 2..METHODS_MAX).contains(&known), "{known} found room");
        assert_eq!(methods.of("/a/b", || 4), Some(&1));
    }
}
