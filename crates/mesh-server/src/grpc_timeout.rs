//! The header `grpc-timeout`, as the protocol's document spells it.

use std::time::Duration;

use http::HeaderMap;

const NAME: &str = "grpc-timeout";

/// Most digits that the header may have.
const DIGITS_MAX: usize = 8;

/// A `grpc-timeout` that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call has a grpc-timeout that is none")]
pub struct MalformedTimeout;

/// Returns how long a caller waits by its `grpc-timeout`; `None` if it does not say.
///
/// A [`Server`](crate::Server) keeps that time by itself; this is for who serves what comes by other ways.
///
/// # Errors
/// The header is not up to eight digits and a unit.
pub fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    headers.get(NAME).map(|value| parse(value.as_bytes()).ok_or(MalformedTimeout)).transpose()
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let number = digits
        .iter()
        .try_fold(0_u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("0S", Some(Duration::ZERO)),
            ("150m", Some(Duration::from_millis(150))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("7n", Some(Duration::from_nanos(7))),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1.5S", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn no_timeout_is_none_and_a_broken_one_is_told() {
        assert_eq!(grpc_timeout(&HeaderMap::new()), Ok(None));
        let broken = HeaderMap::from_iter([(NAME.parse().expect("a name"), "soon".parse().expect("a value"))]);
        assert_eq!(grpc_timeout(&broken), Err(MalformedTimeout));
    }
}
