//! Durations as people write them.

use std::time::Duration;

/// What a duration looks like, to end a sentence about one that does not.
pub(crate) const FORMS: &str =
    "a duration such as `500ms`, `5s`, `1m`, `2h` or `hh:mm:ss`, of at most one year, is valid";

/// Longest duration accepted: nothing here waits longer than a year.
const MAX_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// Reads a duration: `500ms`, `5s`, `1m`, `2h` or `hh:mm:ss`. `None` if it is none, or longer than a year.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return parse_clock(text),
    };
    within_a_year(whole(number)?.checked_mul(unit_ms)?)
}

fn parse_clock(text: &str) -> Option<Duration> {
    let mut parts = text.split(':').map(whole);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = hours.checked_mul(3_600)?.checked_add(minutes * 60 + seconds)?;
    within_a_year(seconds.checked_mul(1_000)?)
}

fn within_a_year(ms: u64) -> Option<Duration> {
    (ms <= MAX_MS).then(|| Duration::from_millis(ms))
}

/// Reads digits only: `u64::from_str` would also take a sign.
fn whole(text: &str) -> Option<u64> {
    // Not a number, or too large for one: the caller says what would be valid.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected_ms: Option<u64>) {
        assert_eq!(parse(text), expected_ms.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit_or_a_clock() {
        check("500ms", Some(500));
        check("5s", Some(5_000));
        check("1m", Some(60_000));
        check("2h", Some(7_200_000));
        check("00:00:05", Some(5_000));
        check("1:02:03", Some(3_723_000));
        check("0s", Some(0));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "5", "s", "-5s", "+5s", "1.5s", "5 s", "5d", "1m30s", "00:60:00", "00:00:60", "00:05", "1:2:3:4"]
        {
            check(text, None);
        }
    }

    #[test]
    fn a_year_is_the_longest_and_no_length_overflows() {
        check("8760h", Some(MAX_MS));
        check("8760:00:00", Some(MAX_MS));
        check("8760:00:01", None);
        check("31536000001ms", None);
        check("18446744073709551615h", None);
        check("99999999999999999999s", None);
    }
}
