//! The header `grpc-timeout`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

pub(crate) const NAME: HeaderName = HeaderName::from_static("grpc-timeout");

/// A number in the header has 8 digits at most.
const MOST: u128 = 100_000_000;

/// Returns what to tell of the time that is left, in the finest unit that fits.
pub(crate) fn header(left: Duration) -> HeaderValue {
    let (number, unit) = match (left.as_micros(), left.as_millis()) {
        (micros @ ..MOST, _) => (micros, 'u'),
        (_, millis @ ..MOST) => (millis, 'm'),
        _ => (u128::from(left.as_secs()).min(MOST - 1), 'S'),
    };
    HeaderValue::try_from(format!("{number}{unit}")).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_the_finest_unit_that_fits() {
        assert_eq!(header(Duration::ZERO), "0u");
        assert_eq!(header(Duration::from_millis(99_999)), "99999000u");
        assert_eq!(header(Duration::from_secs(100)), "100000m");
        assert_eq!(header(Duration::from_secs(100_000)), "100000S");
        assert_eq!(header(Duration::MAX), "99999999S");
    }
}
