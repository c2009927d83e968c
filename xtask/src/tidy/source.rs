//! Rust text split into what the compiler reads and what people read.

/// A source file, line for line: code without comments and without what is inside string and character
/// literals, and the comments without the code.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) code: Vec<String>,
    pub(super) comments: Vec<String>,
}

#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

impl Source {
    /// Splits `text`. It knows literals and comments, no grammar: enough to look for words in either.
    pub(super) fn split(text: &str) -> Self {
        let mut source = Self { code: vec![String::new()], comments: vec![String::new()] };
        let mut rest = text;
        let mut state = State::Code;
        while let Some(first) = rest.chars().next() {
            let (taken, next) = match state {
                State::Code => source.step_code(rest, first),
                State::LineComment => (first.len_utf8(), if first == '\n' { State::Code } else { state }),
                State::BlockComment { depth } => step_block_comment(rest, first, depth),
                State::Text => step_text(rest, first),
                State::RawText { hashes } => step_raw_text(rest, first, hashes),
            };
            let (step, after) = rest.split_at(taken);
            if matches!(state, State::LineComment | State::BlockComment { .. }) {
                push(&mut source.comments, step);
            }
            for _ in step.matches('\n') {
                source.code.push(String::new());
                source.comments.push(String::new());
            }
            (rest, state) = (after, next);
        }
        source
    }

    /// Takes one step in code, keeps what is code of it, and returns its length and what follows.
    fn step_code(&mut self, rest: &str, first: char) -> (usize, State) {
        if rest.starts_with("//") {
            return (2, State::LineComment);
        }
        if rest.starts_with("/*") {
            return (2, State::BlockComment { depth: 1 });
        }
        if let Some(hashes) = raw_text_hashes(rest).filter(|_| !self.ends_in_word()) {
            push(&mut self.code, "\"\"");
            return (hashes + 2, State::RawText { hashes });
        }
        if first == '"' {
            push(&mut self.code, "\"\"");
            return (1, State::Text);
        }
        if let Some(length) = character_length(rest) {
            push(&mut self.code, "''");
            return (length, State::Code);
        }
        let length = first.len_utf8();
        push(&mut self.code, &rest[..length]);
        (length, State::Code)
    }

    /// Returns whether the code so far ends in a word that a following `r"` would belong to. The prefixes
    /// of byte and C strings are no such words.
    fn ends_in_word(&self) -> bool {
        let line = self.code.last().map_or("", String::as_str);
        let line = line.strip_suffix(['b', 'c']).unwrap_or(line);
        line.ends_with(is_word_char)
    }
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text.trim_end_matches('\n'));
    }
}

/// Returns the number of hashes when `rest` starts a raw string.
fn raw_text_hashes(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let text = after.trim_start_matches('#');
    text.starts_with('"').then_some(after.len() - text.len())
}

/// Returns the length of the character literal that `rest` starts with; a lifetime is none.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let skip = if first == '\\' { 1 + inside.chars().nth(1)?.len_utf8() } else { first.len_utf8() };
    let close = inside.get(skip..)?.find('\'')?;
    let length = 1 + skip + close + 1;
    (first == '\\' || close == 0).then_some(length)
}

fn step_block_comment(rest: &str, first: char, depth: usize) -> (usize, State) {
    if rest.starts_with("/*") {
        (2, State::BlockComment { depth: depth + 1 })
    } else if rest.starts_with("*/") {
        (2, if depth == 1 { State::Code } else { State::BlockComment { depth: depth - 1 } })
    } else {
        (first.len_utf8(), State::BlockComment { depth })
    }
}

fn step_text(rest: &str, first: char) -> (usize, State) {
    match first {
        '"' => (1, State::Code),
        // The escaped character may be a newline, so it is taken with the next step unless it could end the text.
        '\\' if rest.starts_with("\\\"") || rest.starts_with("\\\\") => (2, State::Text),
        _ => (first.len_utf8(), State::Text),
    }
}

fn step_raw_text(rest: &str, first: char, hashes: usize) -> (usize, State) {
    let closes = first == '"' && rest[1..].bytes().take_while(|&byte| byte == b'#').count() >= hashes;
    if closes { (1 + hashes, State::Code) } else { (first.len_utf8(), State::RawText { hashes }) }
}

/// Returns whether `line` holds `word` with no word character on either side.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    word_ends(line, word).next().is_some()
}

/// Returns what follows each place where `word` stands for itself in `line`.
pub(super) fn word_ends<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        (!before.ends_with(is_word_char) && !after.starts_with(is_word_char)).then_some(after)
    })
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &[&str], comments: &[&str]) {
        let source = Source::split(text);
        assert_eq!((source.code, source.comments), (owned(code), owned(comments)));
    }

    fn owned(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn comments_are_no_code() {
        check("a // b\nc", &["a ", "c"], &[" b", ""]);
        check("a /* b /* c */ d */ e", &["a  e"], &[" b /* c */ d */"]);
        check("a /* b\nc */ d", &["a ", " d"], &[" b", "c */"]);
    }

    #[test]
    fn what_literals_hold_is_neither() {
        check(r#"f("a // b", 1)"#, &[r#"f("", 1)"#], &[""]);
        check(r#"f("a \" b \\", 1)"#, &[r#"f("", 1)"#], &[""]);
        check("f(\"a\nb\", 1)", &["f(\"\"", ", 1)"], &["", ""]);
        check("f(\"a \\\n b\", 1)", &["f(\"\"", ", 1)"], &["", ""]);
        check("f(r##\"a \"# // b\"##, 1)", &["f(\"\", 1)"], &[""]);
        check("f(br\"\\\", 1)", &["f(b\"\", 1)"], &[""]);
    }

    #[test]
    fn a_character_is_told_from_a_lifetime() {
        check(r#"m('"', '\'', '\u{7f}', 'ä')"#, &["m('', '', '', '')"], &[""]);
        check("fn f<'a>(x: &'a str) {} // '", &["fn f<'a>(x: &'a str) {} "], &[" '"]);
    }

    #[test]
    fn a_raw_identifier_is_code() {
        check("let r#type = var\"\";", &["let r#type = var\"\";"], &[""]);
    }

    #[test]
    fn a_word_has_no_word_around_it() {
        assert_eq!(
            ["unsafe {", "#![expect(unsafe_code)]", "an_unsafe"].map(|line| has_word(line, "unsafe")),
            [true, false, false]
        );
    }
}
