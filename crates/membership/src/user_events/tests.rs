use super::*;

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn event(life: u64, sequence: u64) -> UserEvent {
    let payload = Bytes::from_static(b"x");
    UserEvent { origin: node("a"), boot_epoch: BootEpoch(life), sequence, name: "e".to_owned(), payload }
}

/// An event was had before.
#[derive(Debug, PartialEq, Eq)]
struct Known;

/// Events of `a` that come at a time, and what is told.
struct Heard {
    events: UserEvents,
    begin: Instant,
    told: Vec<String>,
}

impl Heard {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let begin = Instant::now();
        Self { events: UserEvents::default(), begin, told: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.begin + Duration::from_millis(ms)
    }

    /// Takes an event in, and returns when to look again, in ms.
    fn take(&mut self, ms: u64, event: UserEvent) -> Result<Option<u64>, Known> {
        let now = self.at(ms);
        let taken = self.events.take(event, now);
        self.note();
        match taken {
            Taken::Known => Err(Known),
            Taken::New => Ok(self.planned()),
        }
    }

    fn look_again(&mut self, ms: u64) -> Option<u64> {
        let now = self.at(ms);
        self.events.look_again(&node("a"), now);
        self.note();
        self.planned()
    }

    fn planned(&self) -> Option<u64> {
        self.events.look_again_at(&node("a")).map(|at| ms_of(at - self.begin))
    }

    fn note(&mut self) {
        while let Some(told) = self.events.next_to_tell() {
            self.told.push(match told {
                Told::Event(event) => format!("{}#{}", event.boot_epoch, event.sequence),
                Told::Lost(origin, count) => format!("{origin} lost {count}"),
            });
        }
    }
}

fn ms_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("short")
}

#[test]
fn events_are_told_once_and_in_order_whatever_order_they_come_in() {
    let mut heard = Heard::new();
    assert_eq!(heard.take(0, event(1, 1)), Ok(None));
    assert_eq!(heard.take(0, event(1, 3)), Ok(Some(2_000)));
    assert_eq!(heard.take(1, event(1, 4)), Ok(Some(2_000)));
    assert_eq!(heard.take(2, event(1, 3)), Err(Known));
    assert_eq!(heard.take(3, event(1, 2)), Ok(None));
    assert_eq!(heard.take(4, event(1, 2)), Err(Known));
    assert_eq!(heard.told, ["1#1", "1#2", "1#3", "1#4"]);
    assert_eq!((heard.look_again(2_000), heard.events.waiting()), (None, 0));
}

#[test]
fn what_does_not_come_in_time_is_lost_and_the_rest_goes_on() {
    let mut heard = Heard::new();
    heard.take(0, event(1, 1)).expect("new");
    heard.take(100, event(1, 4)).expect("new");
    heard.take(200, event(1, 6)).expect("new");
    assert_eq!(heard.look_again(2_099), Some(2_100));
    assert_eq!(heard.told, ["1#1"]);
    assert_eq!(heard.look_again(2_100), Some(4_100), "what is missing next is waited for as long");
    assert_eq!(heard.told, ["1#1", "a lost 2", "1#4"]);
    assert_eq!(heard.take(2_200, event(1, 2)), Err(Known), "too late");
    assert_eq!(heard.take(2_300, event(1, 5)), Ok(None));
    assert_eq!(heard.told, ["1#1", "a lost 2", "1#4", "1#5", "1#6"]);
}

#[test]
fn who_joins_late_hears_from_then_on_and_has_lost_nothing() {
    let mut heard = Heard::new();
    assert_eq!(heard.take(0, event(1, 501)), Ok(Some(200)));
    assert_eq!(heard.take(50, event(1, 500)), Ok(Some(200)), "it had been overtaken");
    assert_eq!(heard.look_again(200), None);
    assert_eq!(heard.told, ["1#500", "1#501"]);
    assert_eq!(heard.take(300, event(1, 499)), Err(Known));
}

#[test]
fn a_later_life_counts_anew_and_an_earlier_one_is_over() {
    let mut heard = Heard::new();
    heard.take(0, event(1, 1)).expect("new");
    heard.take(0, event(1, 3)).expect("new");
    heard.take(1, event(2, 1)).expect("new");
    assert_eq!(heard.told, ["1#1", "a lost 1", "1#3", "2#1"]);
    assert_eq!(heard.take(2, event(1, 4)), Err(Known));
    heard.events.forget(&node("a"));
    assert_eq!(heard.take(3, event(1, 1)), Ok(None));
}

#[test]
fn no_more_events_wait_than_there_is_room_for() {
    let mut heard = Heard::new();
    heard.take(0, event(1, 1)).expect("new");
    for sequence in 3..=66 {
        heard.take(0, event(1, sequence)).expect("new");
    }
    assert_eq!((heard.events.waiting(), heard.told.len()), (64, 1));
    heard.take(0, event(1, 67)).expect("new");
    assert_eq!((heard.events.waiting(), heard.told.len()), (0, 67));
    assert_eq!(heard.told.get(1).map(String::as_str), Some("a lost 1"));
}

#[test]
fn a_node_sends_a_burst_and_then_ten_a_second() {
    let mut heard = Heard::new();
    let mut next = |ms| heard.events.next_sequence(BootEpoch(1), heard.begin + Duration::from_millis(ms));
    for sequence in 1..=32 {
        assert_eq!(next(0), Ok(sequence));
    }
    assert_eq!(next(40), Err(SendEventError::TooMany { retry_in: Duration::from_millis(60) }));
    assert_eq!(next(100), Ok(33));
    assert_eq!(next(100), Err(SendEventError::TooMany { retry_in: Duration::from_millis(100) }));
    for sequence in 34..=65 {
        assert_eq!(next(60_000), Ok(sequence));
    }
    assert!(next(60_000).is_err(), "a long silence is worth one burst");
    let later = heard.begin + Duration::from_secs(120);
    assert_eq!(heard.events.next_sequence(BootEpoch(2), later), Ok(1));
}

#[test]
fn an_event_is_valid_at_its_bounds_and_refused_beyond() {
    let with = |name: &str, payload: usize, sequence| {
        UserEvent { name: name.to_owned(), payload: vec![0; payload].into(), ..event(1, sequence) }.validate()
    };
    assert_eq!(with(&"n".repeat(63), 512, 1), Ok(()));
    assert_eq!(with("deploy.v2_x-1", 0, u64::MAX - 1), Ok(()));
    assert_eq!(with("", 0, 1), Err(UserEventError::Name { bytes: 0 }));
    assert_eq!(with(&"n".repeat(64), 0, 1), Err(UserEventError::Name { bytes: 64 }));
    assert_eq!(with("a b", 0, 1), Err(UserEventError::Name { bytes: 3 }));
    assert_eq!(with("n", 513, 1), Err(UserEventError::Payload { bytes: 513 }));
    assert_eq!(with("n", 0, 0), Err(UserEventError::Sequence { sequence: 0 }));
    assert_eq!(with("n", 0, u64::MAX), Err(UserEventError::Sequence { sequence: u64::MAX }));
}
