//! One value of metadata.

use std::fmt;
use std::str::FromStr;

use http::HeaderValue;

/// Longest value, in bytes.
const BYTES_MAX: usize = 1024;

/// A value of metadata that can be a header as it is: 1 to 1,024 bytes of visible ASCII and spaces. Cloning is a reference
/// count.
#[derive(Clone, PartialEq, Eq)]
pub struct MetaValue(HeaderValue);

/// Why a text is no value of metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaValueError {
    /// There is no text.
    #[error("value is empty")]
    Empty,
    /// There is too much of it.
    #[error("value is {bytes} bytes long, more than {BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A byte is not visible ASCII.
    #[error("value holds more than visible ASCII and spaces")]
    NotVisible,
}

impl MetaValue {
    /// Takes the value of a header.
    ///
    /// # Errors
    /// It is empty, too long, or not visible ASCII.
    pub fn of_header(value: &HeaderValue) -> Result<Self, MetaValueError> {
        let bytes = value.as_bytes();
        if bytes.is_empty() {
            return Err(MetaValueError::Empty);
        }
        if bytes.len() > BYTES_MAX {
            return Err(MetaValueError::TooLong { bytes: bytes.len() });
        }
        if !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(MetaValueError::NotVisible);
        }
        Ok(Self(value.clone()))
    }

    /// Returns it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Visible ASCII is text: that was checked when it was made.
        self.0.to_str().unwrap_or_default()
    }

    /// Returns it as a header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl FromStr for MetaValue {
    type Err = MetaValueError;

    fn from_str(text: &str) -> Result<Self, MetaValueError> {
        // A text that is no header has a byte that is not visible.
        match HeaderValue::from_str(text) {
            Ok(value) => Self::of_header(&value),
            Err(_invalid) => Err(MetaValueError::NotVisible),
        }
    }
}

impl fmt::Display for MetaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MetaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_visible_ascii_of_at_most_1024_bytes() {
        let read = |text: &str| text.parse::<MetaValue>().map(|value| value.to_string());
        assert_eq!(read("tenant 7"), Ok("tenant 7".to_owned()));
        assert_eq!(read(&"v".repeat(1024)).map(|text| text.len()), Ok(1024));
        assert_eq!(read(""), Err(MetaValueError::Empty));
        assert_eq!(read(&"v".repeat(1025)), Err(MetaValueError::TooLong { bytes: 1025 }));
        for wrong in ["a\tb", "a\nb", "ö", "\u{7f}"] {
            assert_eq!(read(wrong), Err(MetaValueError::NotVisible), "{wrong:?}");
        }
    }
}
