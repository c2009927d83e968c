//! JSON, written fast: the few kinds of values that documents here have.

use crate::lease::LeaseId;
use crate::time::{WallTime, date, digit, fraction};

/// JSON in the making. Whoever writes sees to commas and brackets.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: Vec<u8>,
    /// The second that was written last, and how: most times of a document are of a few.
    second: Option<(u64, String)>,
}

impl Json {
    /// Begins a text of about so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), second: None }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Writes what is JSON already.
    #[inline]
    pub(crate) fn raw(&mut self, json: impl AsRef<[u8]>) {
        self.out.extend_from_slice(json.as_ref());
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        let start = self.out.len();
        loop {
            self.out.push(digit(number % 10));
            number /= 10;
            if number == 0 {
                break;
            }
        }
        if let Some(digits) = self.out.get_mut(start..) {
            digits.reverse();
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.raw(b"\"");
        // All bytes are looked at, though one would do: so the processor looks at many at once.
        if text.bytes().fold(false, |any, byte| any | is_special(byte)) {
            text.bytes().for_each(|byte| self.escaped(byte));
        } else {
            self.raw(text);
        }
        self.raw(b"\"");
    }

    fn escaped(&mut self, byte: u8) {
        match byte {
            b'"' => self.raw(br#"\""#),
            b'\\' => self.raw(br"\\"),
            b'\n' => self.raw(br"\n"),
            b'\r' => self.raw(br"\r"),
            b'\t' => self.raw(br"\t"),
            ..b' ' => self.raw(format!("\\u{byte:04x}")),
            _ => self.out.push(byte),
        }
    }

    pub(crate) fn time(&mut self, time: WallTime) {
        let (second, steps) = time.second_and_steps();
        let known = self.second.take_if(|(known, _)| *known == second);
        let (_, date) = self.second.insert(known.unwrap_or_else(|| (second, date(second))));
        self.out.push(b'"');
        self.out.extend_from_slice(date.as_bytes());
        self.out.extend(fraction(steps));
        self.raw(b"+00:00\"");
    }

    pub(crate) fn lease_id(&mut self, id: LeaseId) {
        self.raw(b"\"");
        self.raw(id.text());
        self.raw(b"\"");
    }
}

const fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}
