//! Lengths of time as people write them.

use std::time::Duration;

/// Longest that is accepted: a day. More is a typing error.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a text is not a length of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseDurationError {
    #[error("write a whole number and `ms`, `s`, `m` or `h`, such as `500ms` or `5s`")]
    Form,
    #[error("must be more than 0 and at most 24h")]
    Range,
}

/// Reads `500ms`, `5s`, `1m` or `2h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(ParseDurationError::Form),
    };
    if number.is_empty() {
        return Err(ParseDurationError::Form);
    }
    // A number that does not fit is out of range, whatever its unit.
    let total_ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    total_ms
        .map(Duration::from_millis)
        .filter(|total| !total.is_zero() && *total <= MAX)
        .ok_or(ParseDurationError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_a_whole_number_and_a_unit_up_to_a_day() {
        let cases = [
            ("500ms", Ok(Duration::from_millis(500))),
            ("5s", Ok(Duration::from_secs(5))),
            ("1m", Ok(Duration::from_secs(60))),
            ("24h", Ok(MAX)),
            ("86401s", Err(ParseDurationError::Range)),
            ("0s", Err(ParseDurationError::Range)),
            ("99999999999999999999s", Err(ParseDurationError::Range)),
            ("5", Err(ParseDurationError::Form)),
            ("s", Err(ParseDurationError::Form)),
            ("1.5s", Err(ParseDurationError::Form)),
            ("-1s", Err(ParseDurationError::Form)),
            ("", Err(ParseDurationError::Form)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
