//! The threads, and who sits where.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Most lanes there may be.
pub const LANES_MAX: usize = 64;

thread_local! {
    static HERE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Returns which lane this thread is, from 0; `None` if it is none.
pub(crate) fn here() -> Option<usize> {
    HERE.get()
}

/// Threads with a runtime each, to which connections are dealt out. Cloning is a reference count; when the last clone and [`Seat`] is gone, the
/// threads end, and what still runs there ends with them.
#[derive(Clone)]
pub struct Lanes {
    inner: Arc<Inner>,
}

struct Inner {
    most: usize,
    first: Handle,
    lanes: Mutex<Vec<Lane>>,
    stop: CancellationToken,
}

/// A thread that runs.
struct Lane {
    runtime: Handle,
    connections: usize,
}

/// A connection's place on a lane, for as long as it is kept.
pub struct Seat {
    lane: usize,
    runtime: Handle,
    inner: Arc<Inner>,
}

impl Lanes {
    /// Starts the first of at most `most` lanes, or [`LANES_MAX`] if that is less. Each further one starts when there is a connection for it.
    ///
    /// # Errors
    /// The system has no thread to spare, or no file descriptors.
    pub fn start(most: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let first = Lane::start(0, &stop)?;
        let (most, runtime) = (most.get().min(LANES_MAX), first.runtime.clone());
        Ok(Self { inner: Arc::new(Inner { most, first: runtime, lanes: Mutex::new(vec![first]), stop }) })
    }

    /// Returns the runtime of the first lane.
    #[must_use]
    pub fn first(&self) -> Handle {
        self.inner.first.clone()
    }

    /// Returns a place on the lane that has the fewest connections; the first of several.
    #[must_use]
    pub fn deal(&self) -> Seat {
        let mut lanes = self.inner.lock();
        let number = lanes.len();
        if number < self.inner.most && lanes.iter().all(|lane| lane.connections > 0) {
            match Lane::start(number, &self.inner.stop) {
                Ok(lane) => lanes.push(lane),
                Err(error) => {
                    tracing::warn!(%error, number, "there is no thread for more connections; others have them");
                }
            }
        }
        let (lane, runtime) = sit_down(&mut lanes);
        Seat { lane, runtime, inner: Arc::clone(&self.inner) }
    }
}

/// Enters a connection where there are the fewest.
fn sit_down(lanes: &mut [Lane]) -> (usize, Handle) {
    let fewest = lanes.iter_mut().enumerate().min_by_key(|(_, lane)| lane.connections);
    let (number, lane) = fewest.expect("the first has run from the beginning");
    lane.connections += 1;
    (number, lane.runtime.clone())
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Lane {
    fn start(number: usize, stop: &CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, stopped) = (runtime.handle().clone(), stop.clone().cancelled_owned());
        let thread = thread::Builder::new().name(format!("lane-{number}"));
        // Nobody waits for its end: what it has to say by then has been waited for where it runs.
        thread.spawn(move || {
            HERE.set(Some(number));
            runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, connections: 0 })
    }
}

impl Seat {
    /// Returns the runtime that the connection is to run on.
    #[must_use]
    pub const fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(lane) = self.inner.lock().get_mut(self.lane) {
            lane.connections -= 1;
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections: Vec<usize> = self.inner.lock().iter().map(|lane| lane.connections).collect();
        f.debug_struct("Lanes").field("most", &self.inner.most).field("connections", &connections).finish()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("lane", &self.lane).finish_non_exhaustive()
    }
}
