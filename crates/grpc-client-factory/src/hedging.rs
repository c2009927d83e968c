//! Calls of which several attempts are under way at a time (gRFC A6).

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};
use tonic::Code;

use crate::retry::{Pushback, RetryBudget};

/// How a call is sent once more before the first attempt has come to anything. The first answer that is good, or a failure that is
/// final, ends the others. A call that is hedged is not retried besides.
///
/// Only calls whose request is there as a whole when they begin are hedged. A balanced channel sends each attempt to another peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HedgingOptions {
    /// Which methods may be executed more than once at a time. Naming one says that it is safe.
    pub methods: HedgedMethods,
    /// Most attempts at a call, the first included; 2 to 5. Default 2.
    pub max_attempts: u32,
    /// How long the last attempt may take before the next begins; at most 60 s. Default 100 ms. The 95th percentile of what answers
    /// take doubles one call in twenty; shorter costs servers more.
    pub delay: Duration,
    /// Statuses after which the other attempts go on, and the next begins at once. Default: unavailable.
    pub non_fatal_codes: Vec<Code>,
}

/// Which methods are hedged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HedgedMethods {
    /// All that are called with the profile.
    All,
    /// These, as `package.Service/Method`.
    Named(BTreeSet<String>),
}

impl HedgingOptions {
    /// Returns the defaults, for these methods.
    #[must_use]
    pub fn new(methods: HedgedMethods) -> Self {
        let non_fatal_codes = vec![Code::Unavailable];
        Self { methods, max_attempts: 2, delay: Duration::from_millis(100), non_fatal_codes }
    }

    pub(crate) fn covers(&self, path: &str) -> bool {
        match &self.methods {
            HedgedMethods::All => true,
            HedgedMethods::Named(names) => names.contains(path.trim_start_matches('/')),
        }
    }
}

/// When the next attempt begins.
#[derive(Debug)]
struct Schedule {
    delay: Duration,
    left: u32,
    due: Option<Instant>,
}

impl Schedule {
    /// The first attempt has begun at `now`.
    fn new(options: &HedgingOptions, now: Instant) -> Self {
        let mut schedule = Self { delay: options.delay, left: options.max_attempts, due: None };
        schedule.begun(now);
        schedule
    }

    fn begun(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(1);
        self.due = (self.left > 0).then(|| now + self.delay);
    }

    fn stop(&mut self) {
        self.left = 0;
        self.due = None;
    }

    /// An attempt has failed, and others may go on.
    fn failed(&mut self, now: Instant, pushback: Pushback) {
        match pushback {
            Pushback::Stop => self.stop(),
            Pushback::After(wait) if self.left > 0 => self.due = Some(now + wait),
            Pushback::Silent if self.left > 0 => self.due = Some(now),
            Pushback::After(_) | Pushback::Silent => {}
        }
    }
}

/// How an attempt has ended, and what the server says about others.
pub(crate) struct Attempted<T> {
    pub(crate) result: T,
    pub(crate) code: Code,
    pub(crate) pushback: Pushback,
}

/// Makes attempts until one decides. `begin` makes one, given how many there were before; `None` if there is nobody to make it with,
/// and then it is not asked again. Returns `None` only if not even the first was made.
///
/// # Cancel safety
/// Dropping the future drops all attempts.
pub(crate) async fn race<T, F: Future<Output = Attempted<T>>>(
    options: &HedgingOptions,
    budget: &RetryBudget,
    mut begin: impl FnMut(u32) -> Option<F>,
) -> Option<T> {
    let mut under_way = FuturesUnordered::new();
    under_way.push(begin(0)?);
    let (mut schedule, mut begun, mut last) = (Schedule::new(options, Instant::now()), 1, None);
    while !under_way.is_empty() || schedule.due.is_some() {
        let due = schedule.due;
        let ended = tokio::select! {
            biased;
            Some(ended) = under_way.next() => ended,
            () = until(due) => {
                let another = if budget.has_enough() { begin(begun) } else { None };
                match another {
                    Some(another) => {
                        under_way.push(another);
                        begun += 1;
                        schedule.begun(Instant::now());
                    }
                    None => schedule.stop(),
                }
                continue;
            }
        };
        let Attempted { result, code, pushback } = ended;
        if code == Code::Ok || !options.non_fatal_codes.contains(&code) {
            return Some(result);
        }
        budget.spend();
        schedule.failed(Instant::now(), pushback);
        last = Some(result);
    }
    last
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::retry::RetryOptions;

    const MS: Duration = Duration::from_millis(1);

    /// What attempts do: how long each takes, and how it ends.
    type Script = &'static [(u32, Code, Pushback)];

    const OK: Code = Code::Ok;
    const BUSY: Code = Code::Unavailable;
    const SILENT: Pushback = Pushback::Silent;

    fn options(max_attempts: u32) -> HedgingOptions {
        HedgingOptions { max_attempts, delay: 10 * MS, ..HedgingOptions::new(HedgedMethods::All) }
    }

    /// Plays `script` with attempts 10 ms apart, and returns when each began, which one decided, and when; times in milliseconds.
    async fn play(script: Script, budget: &RetryBudget) -> (Vec<u128>, Option<usize>, u128) {
        let (start, begun) = (Instant::now(), RefCell::new(Vec::new()));
        let begin = |before: u32| {
            let before = usize::try_from(before).expect("few");
            let (takes, code, pushback) = *script.get(before)?;
            begun.borrow_mut().push(start.elapsed().as_millis());
            Some(async move {
                tokio::time::timeout(takes * MS, pending::<()>()).await.expect_err("the paused clock ends it");
                Attempted { result: before, code, pushback }
            })
        };
        let decided = race(&options(4), budget, begin).await;
        (begun.take(), decided, start.elapsed().as_millis())
    }

    async fn played(script: Script) -> (Vec<u128>, Option<usize>, u128) {
        play(script, &RetryBudget::new(&RetryOptions::default())).await
    }

    #[tokio::test(start_paused = true)]
    async fn another_attempt_begins_after_each_delay_until_one_decides() {
        assert_eq!(played(&[(9, OK, SILENT); 4]).await, (vec![0], Some(0), 9));
        let script = &[(90, OK, SILENT), (90, OK, SILENT), (5, OK, SILENT), (1, OK, SILENT)];
        assert_eq!(played(script).await, (vec![0, 10, 20], Some(2), 25));
        assert_eq!(played(&[(99, OK, SILENT); 4]).await, (vec![0, 10, 20, 30], Some(0), 99));
        assert_eq!(
            played(&[(99, Code::Internal, SILENT), (5, Code::Internal, SILENT)]).await,
            (vec![0, 10], Some(1), 15)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_not_final_has_the_next_begin_at_once_and_the_last_one_is_told() {
        assert_eq!(played(&[(3, BUSY, SILENT), (3, OK, SILENT)]).await, (vec![0, 3], Some(1), 6));
        assert_eq!(played(&[(3, BUSY, SILENT); 4]).await, (vec![0, 3, 6, 9], Some(3), 12));
        let script = &[(15, BUSY, SILENT), (50, OK, SILENT), (50, OK, SILENT), (99, OK, SILENT)];
        assert_eq!(played(script).await, (vec![0, 10, 15, 25], Some(1), 60));
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_has_the_last_word_on_further_attempts() {
        const WAITS: Script = &[(3, BUSY, Pushback::After(Duration::from_millis(40))), (3, OK, SILENT)];
        assert_eq!(played(WAITS).await, (vec![0, 43], Some(1), 46));
        assert_eq!(played(&[(3, BUSY, Pushback::Stop), (3, OK, SILENT)]).await, (vec![0], Some(0), 3));
        let stops = &[(50, OK, SILENT), (3, BUSY, Pushback::Stop), (3, OK, SILENT)];
        assert_eq!(played(stops).await, (vec![0, 10], Some(0), 50));
    }

    #[tokio::test(start_paused = true)]
    async fn no_further_attempt_begins_while_no_more_than_half_of_the_budget_is_left() {
        let budget = RetryBudget::new(&RetryOptions { budget: 4, ..RetryOptions::default() });
        assert_eq!(play(&[(3, BUSY, SILENT); 4], &budget).await, (vec![0, 3], Some(1), 6));
        assert_eq!(play(&[(50, OK, SILENT); 4], &budget).await, (vec![0], Some(0), 50));
    }

    #[test]
    fn only_methods_that_are_named_are_covered() {
        let named = HedgedMethods::Named(BTreeSet::from(["a.B/Read".to_owned()]));
        let options = HedgingOptions::new(named);
        assert!(options.covers("/a.B/Read") && !options.covers("/a.B/Write"));
    }
}
