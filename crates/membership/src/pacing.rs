//! How much may be sent to one member: token buckets for bytes and datagrams, shared by the classes of traffic.

use std::time::Instant;

use crate::class::{Class, PerClass};

/// Tokens are counted in millionths, so that a rate a second is as many a microsecond.
const MILLION: i64 = 1_000_000;

/// A pacer that has not been looked at for so long is full, in microseconds.
const LONGEST_FILL: u64 = 10_000_000;

/// What may be sent to one member a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) bytes: u32,
    pub(crate) datagrams: u32,
}

/// Tokens of one kind. Each class has a purse that its share of the rate fills; what does not fit flows into one that all may
/// use. So a class that is alone has the whole rate, and none is left without its share. Both hold the inflow of a second.
#[derive(Debug)]
struct Tokens {
    rate: i64,
    own: PerClass<i64>,
    common: i64,
}

impl Tokens {
    fn full(rate: u32) -> Self {
        let rate = i64::from(rate);
        Self { rate, own: PerClass::of(|class| inflow(rate, class, MILLION)), common: rate * MILLION }
    }

    fn fill(&mut self, micros: i64) {
        for class in Class::ALL {
            let most = inflow(self.rate, class, MILLION);
            let own = self.own.get_mut(class);
            let filled = *own + inflow(self.rate, class, micros);
            *own = filled.min(most);
            self.common = (self.common + (filled - most).max(0)).min(self.rate * MILLION);
        }
    }

    const fn has(&self, class: Class) -> bool {
        *self.own.get(class) > 0 || self.common > 0
    }

    /// Takes tokens, of the class first. The last of a purse buy a message that costs more: what is owed is paid back
    /// before there is more, but never more than a second's worth.
    fn spend(&mut self, class: Class, amount: usize) {
        let deepest = -self.rate * MILLION;
        let own = self.own.get_mut(class);
        let purse = if *own > 0 || self.common <= 0 { own } else { &mut self.common };
        *purse = purse.saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(MILLION)).max(deepest);
    }

    fn is_full(&self) -> bool {
        self.common >= self.rate * MILLION
            && Class::ALL.into_iter().all(|class| *self.own.get(class) >= inflow(self.rate, class, MILLION))
    }
}

/// What a class gets of a rate in so many microseconds, in millionths.
fn inflow(rate: i64, class: Class, micros: i64) -> i64 {
    let share = i64::try_from(class.share()).unwrap_or_default();
    rate * share / 100 * micros + rate * share % 100 * micros / 100
}

/// What may still be sent to one member.
#[derive(Debug)]
pub(crate) struct Pacer {
    bytes: Tokens,
    datagrams: Tokens,
    filled_at: Instant,
}

impl Pacer {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { bytes: Tokens::full(rate.bytes), datagrams: Tokens::full(rate.datagrams), filled_at: now }
    }

    pub(crate) fn fill(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.filled_at).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX).min(LONGEST_FILL);
        if micros > 0 {
            self.filled_at = now;
            let micros = i64::try_from(micros).unwrap_or_default();
            self.bytes.fill(micros);
            self.datagrams.fill(micros);
        }
    }

    /// Takes tokens for bytes, and for so many datagrams, whether or not there are any.
    pub(crate) fn charge(&mut self, class: Class, bytes: usize, datagrams: usize) {
        self.bytes.spend(class, bytes);
        if datagrams > 0 {
            self.datagrams.spend(class, datagrams);
        }
    }

    /// Takes tokens if there are some; returns whether there were.
    pub(crate) fn take(&mut self, class: Class, bytes: usize, datagrams: usize) -> bool {
        let has = self.bytes.has(class) && (datagrams == 0 || self.datagrams.has(class));
        if has {
            self.charge(class, bytes, datagrams);
        }
        has
    }

    /// Whether nothing has been sent for so long that there is nothing to remember.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.is_full() && self.datagrams.is_full()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate { bytes: 10_000, datagrams: 100 };

    fn begin() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        Instant::now()
    }

    /// Lets classes send messages of 100 bytes, as many as they can every millisecond, for some time; returns how many each sent.
    fn sent(classes: &[Class], time: Duration) -> Vec<u32> {
        let start = begin();
        let mut pacer = Pacer::full(RATE, start);
        let mut sent = vec![0; classes.len()];
        for millis in 0..time.as_millis() {
            pacer.fill(start + Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)));
            for (class, count) in classes.iter().zip(&mut sent) {
                while pacer.take(*class, 100, 1) {
                    *count += 1;
                }
            }
        }
        sent
    }

    #[test]
    fn a_class_that_is_alone_has_the_whole_rate_after_its_burst() {
        // Its own purse and the common one are full at first, and each gives one message more than it holds.
        assert_eq!(sent(&[Class::Metadata], Duration::from_secs(10)), [120 + 1_000]);
    }

    #[test]
    fn classes_that_always_have_something_to_send_get_their_shares_however_urgent_the_others_are() {
        let counts = sent(&Class::ALL, Duration::from_secs(99));
        // Each has the second's worth of its purse besides, and the most urgent what was in the common one.
        assert_eq!(counts, [2_100, 2_000, 2_000, 2_000, 1_000, 1_000]);
    }

    #[test]
    fn what_others_do_not_need_goes_to_the_most_urgent() {
        let counts = sent(&[Class::Verdict, Class::Sync], Duration::from_secs(99));
        assert_eq!(counts, [9_030, 1_000]);
    }

    #[test]
    fn datagrams_are_counted_apart_from_bytes() {
        let start = begin();
        let mut pacer = Pacer::full(RATE, start);
        let small =
            std::iter::repeat_with(|| pacer.take(Class::Metadata, 1, 1)).take(1_000).filter(|sent| *sent).count();
        assert_eq!(small, 120);
        assert!(pacer.take(Class::Metadata, 1, 0), "bytes are left, for what needs no datagram of its own");
    }

    #[test]
    fn a_large_message_is_paid_off_before_the_next_but_no_longer_than_a_second() {
        let start = begin();
        let mut pacer = Pacer::full(RATE, start);
        assert!(pacer.take(Class::Sync, 50_000, 0) && pacer.take(Class::Sync, 50_000, 0), "one of each purse");
        let at = |millis| start + Duration::from_millis(millis);
        pacer.fill(at(1_000));
        assert!(!pacer.take(Class::Sync, 1, 0), "the common purse still owes");
        assert!(pacer.take(Class::Verdict, 1, 0), "its own purse is nobody else's");
        pacer.fill(at(2_300));
        assert!(pacer.take(Class::Sync, 1, 0));
        assert!(!pacer.is_full());
        pacer.fill(at(12_300));
        pacer.fill(at(22_300));
        assert!(pacer.is_full());
    }
}
