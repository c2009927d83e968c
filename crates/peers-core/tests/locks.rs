//! That picking and reporting take no lock, in three steps that leave none a place to hide.
//!
//! 1. The crate's sources name a lock in one file, the table's: it is for writers.
//! 2. That lock is held while threads make a million calls of every outcome. Whoever asked for it would wait for ever.
//! 3. A lock that the sources do not show, because a dependency takes it, puts to sleep who finds it taken. So threads
//!    fight for two peers for so long that many are put aside in the middle of a call, and the kernel's count of their
//!    sleeps stands still; being put aside is no sleep. With one mutex around one addition in each report it is 25 to
//!    100, on one core and on two.

#[path = "made_up/peer.rs"]
mod made_up;
#[path = "made_up/telling.rs"]
mod telling;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use mesh_types::NodeId;
use peers_core::{
    Adaptive, Balancer, BreakerState, Chooser, ChooserPorts, ChooserSpec, Entropy, Filters, Group, Outcome, Peer,
    PeerTable, PeerUpdate, PickCx, Random, Refusal, TableOptions, Tick,
};

use made_up::peer;
use telling::Telling;

const CALLS: u64 = 1_000_000;
/// Longest that a test waits for threads that ought to be done within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn table_of(peers: usize) -> PeerTable {
    let table = PeerTable::new(TableOptions::default());
    table.apply(Tick::ZERO, PeerUpdate::Reset((0..peers).map(peer).collect()));
    table
}

#[test]
fn only_tables_and_who_makes_them_name_a_lock() {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources are there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let file = path.file_name().expect("a name").to_string_lossy();
            found.extend(locks_in(&text).map(|name| format!("{file}: {name}")));
        }
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, ["fleet.rs: Mutex", "table.rs: Mutex", "table.rs: MutexGuard"]);
}

/// Returns the words in the code of `text`, comments and tests aside, that name something to wait for.
fn locks_in(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| *line != "mod tests {");
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    let words = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| {
        let of_std = matches!(*word, "Barrier" | "Condvar" | "Mutex" | "MutexGuard" | "ReentrantLock" | "RwLock");
        let once = matches!(*word, "LazyLock" | "Once" | "OnceLock");
        of_std || once || matches!(*word, "mpsc" | "park" | "parking_lot" | "spin_loop" | "yield_now")
    })
}

/// Chooses by chance. When told to, it stays in [`Chooser::arrange`], and with it the writer that called it.
struct Staying {
    stays: Arc<AtomicBool>,
    door: Arc<Barrier>,
}

impl Chooser for Staying {
    fn name(&self) -> &'static str {
        "staying"
    }

    fn arrange(&self, _peers: &[&Peer]) -> Box<[u32]> {
        if self.stays.load(Ordering::Acquire) {
            self.door.wait();
            self.door.wait();
        }
        Box::default()
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        Random.choose(group, cx, entropy)
    }
}

/// Makes the calls of these numbers, a millisecond apart, with every way for a lease to end, and always badly with
/// `ill`. Returns how many got a lease.
fn call_in_every_way<C: Chooser>(balancer: &Balancer<C>, ill: &NodeId, calls: Range<u64>) -> u64 {
    let mut leased = 0;
    for call in calls {
        let now = Tick::ZERO.after(Duration::from_millis(call));
        let cx = PickCx { key: Some(call), ..PickCx::at(now) };
        let Ok(lease) = balancer.acquire(&cx) else { continue };
        leased += 1;
        let later = now.after(Duration::from_millis(3));
        if lease.id() == ill {
            lease.report(later, Outcome::Failure);
            continue;
        }
        // 997 is prime: no chooser that takes turns gives the same peer the same end for ever.
        match call % 997 {
            0 => lease.report(later, Outcome::Overloaded { retry_after: Some(Duration::from_millis(20)) }),
            1..=9 => lease.report(later, Outcome::Overloaded { retry_after: None }),
            10..=19 => lease.report(later, Outcome::Failure),
            20..=99 => lease.report(later, Outcome::AppError),
            100..=199 => lease.report(later, Outcome::Cancelled),
            200..=299 => drop(lease),
            _ => lease.report(later, Outcome::Success),
        }
    }
    leased
}

#[test]
fn a_million_calls_are_made_while_a_writer_holds_the_tables_lock() {
    const NAMES: [&str; 9] = [
        "round-robin",
        "random",
        "two-random",
        "fewest-pending",
        "weighted",
        "adaptive",
        "probed",
        "hash",
        "pick-first",
    ];
    let ports = ChooserPorts { probe: Some(Arc::new(Telling::default())), ..ChooserPorts::default() };
    let table = Arc::new(table_of(20));
    let (stays, door) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(2)));
    let staying = Staying { stays: Arc::clone(&stays), door: Arc::clone(&door) };
    let staying = table.balancer(Filters::none(), staying);
    let by_name = NAMES.map(|name| {
        let spec: ChooserSpec = format!("tiered > preferred > {name}").parse().expect("a name");
        table.balancer(spec.filters(), spec.chooser(&ports).expect("the port that it needs"))
    });
    let before = staying.version();
    stays.store(true, Ordering::Release);
    let writer = thread::spawn({
        let table = Arc::clone(&table);
        move || table.apply(Tick::ZERO, PeerUpdate::Upsert(Peer { weight: 1, ..peer(7) }))
    });
    door.wait(); // The writer is in `arrange`, and has the lock.

    let ill = peer(3).id;
    let (done, all_done) = mpsc::sync_channel(2);
    for _ in 0..2 {
        let (done, ill, staying, by_name) = (done.clone(), ill.clone(), staying.clone(), by_name.clone());
        thread::spawn(move || {
            let calls = CALLS / 2 / (NAMES.len() as u64 + 1);
            let mut leased = call_in_every_way(&staying, &ill, 0..calls);
            for (balancer, nth) in by_name.iter().zip(1..) {
                leased += call_in_every_way(balancer, &ill, nth * calls..(nth + 1) * calls);
            }
            done.send(leased).expect("the test waits");
        });
    }
    let leased = [(); 2].map(|()| all_done.recv_timeout(PATIENCE));
    let (version, breaker) = (staying.version(), table.handle(&ill).expect("still there").breaker());
    stays.store(false, Ordering::Release);
    door.wait();
    let applied = writer.join().expect("no panic");

    let leased = leased.map(|leased| leased.expect("nobody who calls waits for the writer"));
    assert!(leased.iter().sum::<u64>() > CALLS / 2, "{leased:?} calls got a peer");
    assert_ne!(breaker, BreakerState::Closed, "the calls were to trip a breaker");
    assert_eq!((version, applied.version), (before, before + 1), "the writer was to be in the middle of its change");
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_fight_for_two_peers_do_not_sleep() {
    const THREADS: u64 = 4;
    const CALLS_EACH: u64 = 3_000_000;
    let table = table_of(2);
    let balancer = table.balancer(Filters::none(), Adaptive);
    let start = Barrier::new(4);
    let call = |calls: u64| {
        for call in 0..calls {
            let now = Tick::from_nanos(call * 1_009);
            let lease = balancer.acquire(&PickCx::at(now)).expect("two that are well");
            if call % 8 != 0 {
                lease.report(now.after(Duration::from_millis(1)), Outcome::Success);
            }
        }
    };
    let fight = || {
        // What a thread needs once: its place in the epoch, its pages of memory.
        call(1_000);
        sleeps_so_far();
        start.wait();
        let before = sleeps_so_far();
        call(CALLS_EACH);
        sleeps_so_far() - before
    };
    let sleeps: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(fight)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    // One now and then may be a page of memory that the kernel had moved.
    assert!(sleeps.iter().sum::<u64>() < THREADS, "{sleeps:?}");
}

/// Returns how often this thread has given up its core to wait.
#[cfg(target_os = "linux")]
fn sleeps_so_far() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
    line.trim().parse().expect("a number")
}
