//! The one reader of all agents' lines: their times come from one clock, read in one place.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::ChildStdout;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::language::Language;
use super::views::{Said, Sighting};
use crate::process::Stopwatch;

/// Sightings that wait to be taken: all that 200 agents say when they meet, and more. Beyond it the reader waits.
const WAITING: usize = 1 << 16;

/// How often the reader looks whether it is to end.
const LOOK_EVERY_MS: u16 = 100;

/// Bytes taken from one agent before the next has its turn.
const BYTES_A_TURN: usize = 1 << 16;

/// Reads until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    sightings: mpsc::Receiver<Sighting>,
    thread: Option<JoinHandle<()>>,
    next_source: u64,
}

#[derive(Debug)]
struct Shared {
    epoll: Epoll,
    sources: Mutex<BTreeMap<u64, Source>>,
    stop: AtomicBool,
}

/// One life of an agent.
#[derive(Debug)]
struct Source {
    pipe: ChildStdout,
    observer: usize,
    life: u32,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Shared {
    fn sources(&self) -> MutexGuard<'_, BTreeMap<u64, Source>> {
        // Entries are put in and taken out whole.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is there of one source, once, and returns what it says.
    fn read(&self, id: u64, bytes: &mut [u8], language: &Language, clock: Stopwatch) -> anyhow::Result<Vec<Sighting>> {
        let mut sources = self.sources();
        let Some(source) = sources.get_mut(&id) else { return Ok(Vec::new()) };
        let length = source.pipe.read(bytes).context("cannot read lines")?;
        let at = clock.elapsed();
        let Source { observer, life, .. } = *source;
        let said = if length == 0 {
            self.epoll.delete(&source.pipe).context("cannot leave an agent alone")?;
            sources.remove(&id);
            vec![Said::Ended]
        } else {
            take_lines(&mut source.begun, &bytes[..length], language)
        };
        Ok(said.into_iter().map(|said| Sighting { at, observer, life, said }).collect())
    }
}

impl Reader {
    /// Starts a reader that has nothing to read yet. Times are those of `clock`.
    pub(crate) fn start(language: Language, clock: Stopwatch) -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("the system gives no epoll")?;
        let shared = Arc::new(Shared { epoll, sources: Mutex::default(), stop: AtomicBool::new(false) });
        let (sender, sightings) = mpsc::sync_channel(WAITING);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("reader".to_owned());
        let thread = thread.spawn(move || {
            let ended = read_all(&of_thread, &language, clock, &sender);
            if let Err(error) = ended {
                eprintln!("error: the reader has ended: {error:#}");
            }
        });
        let thread = Some(thread.context("the system gives no thread")?);
        Ok(Self { shared, sightings, thread, next_source: 0 })
    }

    /// Reads the lines of an agent's life from now on.
    pub(crate) fn watch(&mut self, pipe: ChildStdout, observer: usize, life: u32) -> anyhow::Result<()> {
        let id = self.next_source;
        self.next_source += 1;
        let mut sources = self.shared.sources();
        let added = self.shared.epoll.add(&pipe, EpollEvent::new(EpollFlags::EPOLLIN, id));
        added.context("cannot watch an agent")?;
        sources.insert(id, Source { pipe, observer, life, begun: Vec::new() });
        Ok(())
    }

    /// Returns the next sighting, if one comes within `timeout`.
    ///
    /// # Errors
    /// The reader has ended.
    pub(crate) fn next(&self, timeout: Duration) -> anyhow::Result<Option<Sighting>> {
        match self.sightings.recv_timeout(timeout) {
            Ok(sighting) => Ok(Some(sighting)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the reader has ended"),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // It may be waiting for room: what nobody wants any more makes it.
        let look_every = Duration::from_millis(u64::from(LOOK_EVERY_MS));
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if self.sightings.recv_timeout(look_every).is_err() {}
        }
        if let Some(thread) = self.thread.take() {
            // It prints what goes wrong; a panic of it is on the terminal, too.
            drop(thread.join());
        }
    }
}

fn read_all(
    shared: &Shared,
    language: &Language,
    clock: Stopwatch,
    sightings: &mpsc::SyncSender<Sighting>,
) -> anyhow::Result<()> {
    let mut ready = [EpollEvent::empty(); 64];
    let mut bytes = vec![0; BYTES_A_TURN];
    while !shared.stop.load(Ordering::Relaxed) {
        let count = match shared.epoll.wait(&mut ready, LOOK_EVERY_MS) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error).context("cannot wait for lines"),
        };
        for event in &ready[..count] {
            for sighting in shared.read(event.data(), &mut bytes, language, clock)? {
                if sightings.send(sighting).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Returns what the lines say that `bytes` end, and keeps the rest as the beginning of the next.
fn take_lines(begun: &mut Vec<u8>, bytes: &[u8], language: &Language) -> Vec<Said> {
    begun.extend_from_slice(bytes);
    let Some(end) = begun.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let rest = begun.split_off(end + 1);
    let whole = std::mem::replace(begun, rest);
    String::from_utf8_lossy(&whole).lines().filter_map(|line| language.read(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::views::What;

    #[test]
    fn lines_are_read_whole_however_they_come_in() {
        let language = Language::omnirelay(["n0".to_owned(), "n1".to_owned()]);
        let mut begun = Vec::new();
        let text = b"{\"event\":\"ready\"}\n{\"event\":\"left\",\"nodeId\":\"n1\"}\n";
        let mut said = take_lines(&mut begun, &text[..20], &language);
        assert_eq!(said, [Said::Ready]);
        said.extend(take_lines(&mut begun, &text[20..30], &language));
        said.extend(take_lines(&mut begun, &text[30..], &language));
        assert_eq!(said, [Said::Ready, Said::Saw { subject: 1, what: What::Left }]);
        assert_eq!(begun, b"");
    }
}
