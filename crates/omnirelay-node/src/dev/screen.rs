//! What is written while a development mesh runs: what happens, line by line, and what the calls have come to.

use std::time::Duration;

use super::load::Counts;

/// How often the counts are written where nobody can write over them.
const PERIOD: Duration = Duration::from_secs(2);

/// Goes to the beginning of the line and empties it.
const ANEW: &str = "\r\x1b[K";

/// What is written, and where: on a terminal the counts are one line, kept below all others.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    /// The counts that are shown last.
    shown: Option<Counts>,
    /// When they are due again, elsewhere.
    due: Duration,
}

impl Screen {
    pub(crate) const fn new(is_terminal: bool) -> Self {
        Self { is_terminal, shown: None, due: PERIOD }
    }

    /// Returns what to write for something that happened `at` this time after the start.
    pub(crate) fn line(&self, at: Duration, text: &str) -> String {
        let line = format!("{:>7.1} s  {text}\n", at.as_secs_f64());
        match self.shown.filter(|_| self.is_terminal) {
            Some(counts) => format!("{ANEW}{line}{counts}"),
            None => line,
        }
    }

    /// Returns what to write about the calls, if it is time.
    pub(crate) fn counts(&mut self, at: Duration, counts: Counts) -> Option<String> {
        if self.is_terminal {
            let is_new = self.shown.replace(counts) != Some(counts);
            return is_new.then(|| format!("{ANEW}{counts}"));
        }
        if at < self.due {
            return None;
        }
        self.due = at + PERIOD;
        Some(self.line(at, &counts.fields()))
    }

    /// Returns what to write before other lines than these follow.
    pub(crate) fn end(&mut self) -> &'static str {
        if self.shown.take().is_some() { "\n" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts { ok: 9, failed: 0, once_ok: 1, once_failed: 0, retried: 2 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_terminal_has_the_newest_counts_below_all_that_happens() {
        let mut screen = Screen::new(true);
        assert_eq!(screen.line(ms(100), "first"), "    0.1 s  first\n");
        let shown = "calls: 9 ok, 0 failed; not idempotent: 1 ok, 0 failed; 2 retried";
        assert_eq!(screen.counts(ms(200), COUNTS), Some(format!("{ANEW}{shown}")));
        assert_eq!(screen.counts(ms(300), COUNTS), None, "nothing new");
        assert_eq!(screen.line(ms(400), "second"), format!("{ANEW}    0.4 s  second\n{shown}"));
        assert_eq!((screen.end(), screen.end()), ("\n", ""));
    }

    #[test]
    fn elsewhere_the_counts_are_a_line_from_time_to_time() {
        let mut screen = Screen::new(false);
        assert_eq!(screen.counts(ms(1999), COUNTS), None);
        let line = "    2.0 s  calls ok=9 failed=0 once_ok=1 once_failed=0 retried=2\n";
        assert_eq!(screen.counts(ms(2000), COUNTS).as_deref(), Some(line));
        assert_eq!(screen.counts(ms(3999), COUNTS), None);
        assert_eq!(screen.counts(ms(4000), COUNTS).map(|again| again.len()), Some(line.len()));
        assert_eq!((screen.line(ms(4100), "third").as_str(), screen.end()), ("    4.1 s  third\n", ""));
    }
}
