//! The one place that writes data, to standard output.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use crate::args::ColorChoice;

/// Clears a terminal and goes to its top left.
const CLEAR: &[u8] = b"\x1b[2J\x1b[3J\x1b[H";

/// Standard output, and what it can show.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) is_terminal: bool,
    pub(crate) color: bool,
}

impl Output {
    /// Looks at what standard output is.
    pub(crate) fn stdout(choice: ColorChoice) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_terminal, color: use_color(choice, is_terminal, no_color) }
    }

    /// Writes all of `data` and flushes, so that a reader sees it now.
    #[expect(clippy::unused_self, reason = "data is written by whoever holds the output, and by nobody else")]
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(data)?;
        stdout.flush()
    }

    /// Replaces what the terminal shows.
    pub(crate) fn redraw(&mut self, data: &[u8]) -> io::Result<()> {
        self.write(&[CLEAR, data].concat())
    }
}

/// An explicit choice wins; `auto` is for terminals, and `NO_COLOR` takes it away (no-color.org).
const fn use_color(choice: ColorChoice, is_terminal: bool, no_color: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !no_color,
    }
}

/// Tells people something, on standard error.
pub(crate) fn note(text: &str) {
    // With standard error gone there is nobody left to tell.
    if writeln!(io::stderr().lock(), "{text}").is_err() {}
}

/// Shows how far something is, on standard error, in place of what was shown before; for terminals.
pub(crate) fn progress(text: &str) {
    let mut stderr = io::stderr().lock();
    // With standard error gone there is nobody left to tell.
    if write!(stderr, "\r\x1b[2K{text}").and_then(|()| stderr.flush()).is_err() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_without_no_color_unless_asked_for() {
        let decide = |choice| [(true, false), (true, true), (false, false)].map(|(tty, no)| use_color(choice, tty, no));
        assert_eq!(decide(ColorChoice::Auto), [true, false, false]);
        assert_eq!(decide(ColorChoice::Always), [true, true, true]);
        assert_eq!(decide(ColorChoice::Never), [false, false, false]);
    }
}
