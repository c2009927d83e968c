//! One of a thing for each lane.

use std::sync::OnceLock;

use crate::lanes::{LANES_MAX, here};

/// One of a thing for each lane, and one for all other threads, each made when it is first asked for. Finding it takes no lock.
///
/// It is for the lanes of one [`Lanes`](crate::Lanes): those of another with the same numbers would find the same.
#[derive(Debug)]
pub struct PerLane<T> {
    elsewhere: OnceLock<T>,
    /// Made when a lane first asks.
    lanes: OnceLock<Box<[OnceLock<T>]>>,
}

impl<T> PerLane<T> {
    /// Makes it with nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self { elsewhere: OnceLock::new(), lanes: OnceLock::new() }
    }

    /// Returns what this thread's lane has, or all other threads have if it is none.
    pub fn get(&self) -> Option<&T> {
        match here() {
            None => self.elsewhere.get(),
            Some(lane) => self.lanes.get()?.get(lane)?.get(),
        }
    }

    /// Returns the same, made by `make` if there is nothing yet.
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        self.place().get_or_init(make)
    }

    /// Returns all that were made.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let lanes = self.lanes.get().into_iter().flatten();
        self.elsewhere.get().into_iter().chain(lanes.filter_map(OnceLock::get))
    }

    fn place(&self) -> &OnceLock<T> {
        let Some(lane) = here() else { return &self.elsewhere };
        let lanes = self.lanes.get_or_init(|| (0..LANES_MAX).map(|_| OnceLock::new()).collect());
        lanes.get(lane).expect("no more lanes are started")
    }
}

impl<T> Default for PerLane<T> {
    fn default() -> Self {
        Self::new()
    }
}
