//! Connections on lanes.

use std::num::NonZeroUsize;
use std::thread;

use lanes::{LANES_MAX, Lanes, PerLane, Seat};
use tokio::runtime::Id;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn start(most: usize) -> Result<Lanes, Box<dyn std::error::Error>> {
    Ok(Lanes::start(NonZeroUsize::new(most).ok_or("none")?)?)
}

fn id(seat: &Seat) -> Id {
    seat.runtime().id()
}

/// Runs `work` on the lane of `seat`.
async fn on<T: Send + 'static>(seat: &Seat, work: impl Future<Output = T> + Send + 'static) -> T {
    let mut running = JoinSet::new();
    running.spawn_on(work, seat.runtime());
    running.join_next().await.expect("it was spawned").expect("it does not panic")
}

#[tokio::test]
async fn a_connection_gets_the_lane_with_the_fewest_and_leaves_its_place_to_another() -> Outcome {
    let lanes = start(2)?;
    let (first, second, third) = (lanes.deal(), lanes.deal(), lanes.deal());
    assert_ne!(id(&first), id(&second));
    assert_eq!((id(&third), lanes.first().id()), (id(&first), id(&first)));
    drop(second);
    let fourth = lanes.deal();
    assert_eq!(format!("{lanes:?}"), "Lanes { most: 2, connections: [2, 1] }");
    drop((first, third));
    assert_eq!(id(&lanes.deal()), lanes.first().id());
    drop(fourth);
    Ok(())
}

#[tokio::test]
async fn a_lane_starts_when_there_is_a_connection_for_it() -> Outcome {
    let lanes = start(3)?;
    let shown = || format!("{lanes:?}");
    assert_eq!(shown(), "Lanes { most: 3, connections: [0] }");
    let first = lanes.deal();
    assert_eq!(shown(), "Lanes { most: 3, connections: [1] }");
    let second = lanes.deal();
    assert_eq!(shown(), "Lanes { most: 3, connections: [1, 1] }");
    drop((first, second));
    drop(lanes.deal());
    assert_eq!(shown(), "Lanes { most: 3, connections: [0, 0] }");
    assert_eq!(format!("{:?}", start(LANES_MAX + 1)?), format!("Lanes {{ most: {LANES_MAX}, connections: [0] }}"));
    Ok(())
}

#[tokio::test]
async fn what_runs_on_a_lane_runs_on_its_thread() -> Outcome {
    let lanes = start(2)?;
    let name = || async { thread::current().name().map(str::to_owned) };
    let (first, second) = (lanes.deal(), lanes.deal());
    assert_eq!(on(&first, name()).await.as_deref(), Some("lane-0"));
    assert_eq!(on(&second, name()).await.as_deref(), Some("lane-1"));
    Ok(())
}

#[tokio::test]
async fn each_lane_finds_what_was_made_there_and_all_other_threads_share_one() -> Outcome {
    static NAMES: PerLane<&str> = PerLane::new();
    let lanes = start(2)?;
    let (first, second) = (lanes.deal(), lanes.deal());
    assert_eq!(on(&second, async { (NAMES.get(), *NAMES.get_or_make(|| "second")) }).await, (None, "second"));
    assert_eq!(NAMES.get(), None);
    assert_eq!(NAMES.get_or_make(|| "elsewhere"), &"elsewhere");
    assert_eq!(on(&first, async { *NAMES.get_or_make(|| "first") }).await, "first");
    assert_eq!(on(&second, async { NAMES.get() }).await, Some(&"second"));
    let elsewhere = thread::spawn(|| NAMES.get()).join().expect("it does not panic");
    assert_eq!(elsewhere, Some(&"elsewhere"));
    assert_eq!(NAMES.all().collect::<Vec<_>>(), [&"elsewhere", &"first", &"second"]);
    Ok(())
}

#[tokio::test]
async fn a_lane_ends_with_the_last_who_has_to_do_with_it_and_with_it_what_runs_there() -> Outcome {
    let lanes = start(1)?;
    let (seat, mut running) = (lanes.deal(), JoinSet::new());
    let (held, mut dropped) = oneshot::channel::<()>();
    running.spawn_on(
        async move {
            std::future::pending::<()>().await;
            drop(held);
        },
        seat.runtime(),
    );
    drop(lanes);
    on(&seat, async {}).await;
    assert_eq!(dropped.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    drop(seat);
    assert!(dropped.await.is_err());
    Ok(())
}
