//! Loom models: every order in which threads may meet at a cell. docs/peers.md says how to run them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Count;
use std::time::Duration;

use loom::thread;

use crate::breaker::{Admission, Breaker, Consequence, Failed, Pass, Severity};
use crate::census::Census;
use crate::choosers::probed::{Answer, Pool, steps};
use crate::published::{Keeper, Kept};
use crate::sync::Ordering;
use crate::{BreakerOptions, BreakerState, Jitter, Tick};

const PREEMPTIONS_MAX: usize = 3;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(check);
}

/// Counts its end.
struct Ends(Arc<Count>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn use_once(kept: &Kept<Ends>) {
    if let Some(hold) = kept.lease() {
        assert_eq!(hold.0.load(Ordering::SeqCst), 0, "ended while in use");
    }
}

#[test]
fn a_value_ends_once_whoever_is_last() {
    model(|| {
        let ends = Arc::new(Count::new(0));
        let keeper = Keeper::new(Ends(Arc::clone(&ends)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let kept = keeper.kept().clone();
                thread::spawn(move || use_once(&kept))
            })
            .collect();
        drop(keeper);
        for reader in readers {
            reader.join().expect("reads");
        }
        assert_eq!(ends.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_lease_alone_keeps_the_value_while_its_keeper_goes() {
    model(|| {
        let ends = Arc::new(Count::new(0));
        let keeper = Keeper::new(Ends(Arc::clone(&ends)));
        let hold = keeper.kept().lease().expect("not retired");
        let releasing = thread::spawn(move || drop(hold));
        drop(keeper);
        releasing.join().expect("releases");
        assert_eq!(ends.load(Ordering::SeqCst), 1);
    });
}

fn options() -> BreakerOptions {
    BreakerOptions { consecutive_failures: 2, jitter: Jitter::None, half_open_successes: 1, ..Default::default() }
}

fn census(total: usize) -> Census {
    let census = Census::new();
    census.set_total(total);
    census
}

fn fail(breaker: &Breaker, pass: Pass, census: &Census) -> Consequence {
    let failed = Failed { severity: Severity::Hard, tripped: None, seed: 0, options: &options(), census };
    breaker.fail(Tick::ZERO, pass, &failed)
}

fn due() -> Tick {
    Tick::ZERO.after(Duration::from_secs(1))
}

fn opened(census: &Census) -> Breaker {
    let breaker = Breaker::new();
    let pass = breaker.observer();
    fail(&breaker, pass, census);
    assert!(matches!(fail(&breaker, pass, census), Consequence::Changed(_)));
    breaker
}

fn granted(breaker: &Breaker) -> Option<Pass> {
    match breaker.admit(due(), &options()) {
        Admission::Granted { pass, .. } => Some(pass),
        Admission::Refused { .. } => None,
    }
}

#[test]
fn failures_at_once_open_a_breaker_once_and_count_it_once() {
    model(|| {
        let shared = Arc::new((Breaker::new(), census(10)));
        let pass = shared.0.observer();
        let other = Arc::clone(&shared);
        let failing = thread::spawn(move || fail(&other.0, pass, &other.1));
        let mine = fail(&shared.0, pass, &shared.1);
        let theirs = failing.join().expect("fails");
        let changes = [mine, theirs].iter().filter(|one| matches!(one, Consequence::Changed(_))).count();
        assert_eq!((changes, shared.0.state(), shared.1.out()), (1, BreakerState::Open, 1));
    });
}

#[test]
fn of_two_peers_that_fail_at_once_one_stays() {
    model(|| {
        let shared = Arc::new((Breaker::new(), Breaker::new(), census(2)));
        let fail_twice = |breaker: &Breaker, census: &Census| {
            let pass = breaker.observer();
            fail(breaker, pass, census);
            fail(breaker, pass, census);
        };
        let other = Arc::clone(&shared);
        let failing = thread::spawn(move || fail_twice(&other.0, &other.2));
        fail_twice(&shared.1, &shared.2);
        failing.join().expect("fails");
        let open = [&shared.0, &shared.1].iter().filter(|breaker| breaker.state() == BreakerState::Open).count();
        assert_eq!((open, shared.2.out()), (1, 1));
    });
}

#[test]
fn one_probe_is_given_however_many_ask_and_comes_back_when_cancelled() {
    model(|| {
        let census = census(10);
        let breaker = Arc::new(opened(&census));
        let other = Arc::clone(&breaker);
        let asking = thread::spawn(move || granted(&other));
        let passes = [granted(&breaker), asking.join().expect("asks")];
        let ([Some(pass), None] | [None, Some(pass)]) = passes else { panic!("{passes:?}") };
        let cancelling = Arc::clone(&breaker);
        let thread = thread::spawn(move || cancelling.cancel(pass));
        let early = granted(&breaker);
        thread.join().expect("cancels");
        assert!(early.is_some() || granted(&breaker).is_some(), "the permit is lost");
    });
}

#[test]
fn an_answer_of_an_earlier_life_never_closes_what_has_opened() {
    model(|| {
        let shared = Arc::new((Breaker::new(), census(10)));
        let old = shared.0.observer();
        let other = Arc::clone(&shared);
        let late = thread::spawn(move || other.0.succeed(due(), old, &options(), &other.1));
        fail(&shared.0, old, &shared.1);
        fail(&shared.0, old, &shared.1);
        let was_open = shared.0.state() == BreakerState::Open;
        let probe = was_open.then(|| granted(&shared.0)).flatten();
        assert_eq!(late.join().expect("reports"), None, "it changed the state");
        assert_eq!(shared.0.state() == BreakerState::HalfOpen, probe.is_some());
    });
}

#[test]
fn a_peer_removed_while_it_opens_counts_for_nothing() {
    model(|| {
        let shared = Arc::new((Breaker::new(), census(10)));
        let pass = shared.0.observer();
        fail(&shared.0, pass, &shared.1);
        let other = Arc::clone(&shared);
        let failing = thread::spawn(move || fail(&other.0, pass, &other.1));
        shared.0.retire(&shared.1);
        failing.join().expect("fails");
        assert_eq!(shared.1.out(), 0);
    });
}

/// An answer that can be told from others by each of its parts.
fn answer(nth: u32, asked_ms: u64) -> Answer {
    Answer { key: nth, place: nth, asked: steps(at(asked_ms)), others: nth, latency_ns: nth as f32 }
}

fn at(ms: u64) -> Tick {
    Tick::ZERO.after(Duration::from_millis(ms))
}

fn use_best<const SLOTS: usize>(pool: &Pool<SLOTS>, now_ms: u64) -> Option<Answer> {
    let seen = pool.fresh(at(now_ms)).next()?;
    pool.use_up(&seen).then_some(seen.answer)
}

#[test]
fn an_answer_is_used_once_however_many_want_it() {
    model(|| {
        let pool = Arc::new(Pool::<1>::new());
        pool.put(&answer(1, 0), 1);
        let other = Arc::clone(&pool);
        let using = thread::spawn(move || use_best(&other, 0));
        let used = [use_best(&pool, 0), using.join().expect("uses")];
        assert!(used == [Some(answer(1, 0)), None] || used == [None, Some(answer(1, 0))], "{used:?}");
        assert_eq!(use_best(&pool, 0), None);
    });
}

#[test]
fn an_answer_is_used_as_often_as_it_may_be() {
    model(|| {
        let pool = Arc::new(Pool::<1>::new());
        pool.put(&answer(1, 0), 2);
        let other = Arc::clone(&pool);
        let using = thread::spawn(move || use_best(&other, 0));
        let at_once = [use_best(&pool, 0), using.join().expect("uses")];
        let after = [use_best(&pool, 0), use_best(&pool, 0)];
        assert_eq!(at_once.iter().chain(&after).flatten().count(), 2, "{at_once:?}, then {after:?}");
    });
}

#[test]
fn an_answer_that_is_replaced_is_used_whole_or_not_at_all() {
    model(|| {
        let pool = Arc::new(Pool::<1>::new());
        pool.put(&answer(1, 0), 1);
        let other = Arc::clone(&pool);
        let putting = thread::spawn(move || {
            // Asked for at the same time, so that nothing but the version tells them apart.
            other.put(&answer(2, 0), 1);
            other.put(&answer(3, 0), 1);
        });
        let used = [use_best(&pool, 0), use_best(&pool, 0)];
        putting.join().expect("puts");
        let all = [used[0], used[1], use_best(&pool, 0)];
        let numbers: Vec<u32> = all.iter().flatten().map(|one| one.key).collect();
        assert!(all.iter().flatten().all(|one| *one == answer(one.key, 0)), "torn: {all:?}");
        assert!(numbers.is_sorted_by(|a, b| a < b), "one was used twice: {numbers:?}");
    });
}

#[test]
fn an_answer_that_has_expired_is_not_used_whatever_takes_its_place() {
    model(|| {
        let pool = Arc::new(Pool::<1>::new());
        pool.put(&answer(1, 0), 1);
        let other = Arc::clone(&pool);
        let putting = thread::spawn(move || other.put(&answer(2, 1_001), 1));
        let early = use_best(&pool, 1_001);
        putting.join().expect("puts");
        let late = use_best(&pool, 1_001);
        assert_eq!([early, late].iter().flatten().collect::<Vec<_>>(), [&answer(2, 1_001)]);
    });
}

#[test]
fn answers_that_come_at_once_each_find_room() {
    model(|| {
        let pool = Arc::new(Pool::<2>::new());
        let other = Arc::clone(&pool);
        let putting = thread::spawn(move || other.put(&answer(1, 0), 1));
        pool.put(&answer(2, 0), 1);
        putting.join().expect("puts");
        let used = [use_best(&pool, 0), use_best(&pool, 0)];
        assert_eq!(used.iter().flatten().map(|one| one.key).sum::<u32>(), 3, "{used:?}");
    });
}
