//! How messages are encoded.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Longest word for an encoding, in bytes.
const BYTES_MAX: usize = 32;

/// The name of an encoding of messages, as `rpc-encoding` has it: 1 to 32 bytes of `a-z 0-9 . + _ -`.
///
/// Those below have codecs here; others may be added by whoever embeds the dispatcher, and pass through untouched.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Encoding(Cow<'static, str>);

/// Why a text is no name of an encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("encoding {text:?} is not 1 to {BYTES_MAX} bytes of `a-z 0-9 . + _ -`")]
pub struct EncodingError {
    /// The text as given, or its beginning.
    pub text: String,
}

impl Encoding {
    /// JSON, as text.
    pub const JSON: Self = Self(Cow::Borrowed("json"));
    /// Protocol buffers. `proto` is taken as the same.
    pub const PROTOBUF: Self = Self(Cow::Borrowed("protobuf"));
    /// Bytes that mean something to the two ends only.
    pub const RAW: Self = Self(Cow::Borrowed("raw"));

    /// Returns the encoding that a `content-type` stands for, of plain HTTP or of gRPC; `None` if it says none.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let word = match kind {
            "application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf" => "protobuf",
            "application/octet-stream" => "raw",
            "application/json" | "text/json" => "json",
            other => other.strip_prefix("application/grpc+")?,
        };
        word.parse().ok()
    }

    /// Returns the `content-type` of a message of plain HTTP.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self.as_str() {
            "json" => "application/json",
            "protobuf" => "application/x-protobuf",
            _ => "application/octet-stream",
        }
    }

    /// Returns whether messages are text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        *self == Self::JSON
    }

    /// Returns the word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Encoding {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let word = text.to_ascii_lowercase();
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'_' | b'-');
        if word.is_empty() || word.len() > BYTES_MAX || !word.bytes().all(allowed) {
            return Err(EncodingError { text: text.chars().take(BYTES_MAX + 1).collect() });
        }
        Ok(match &*word {
            "json" => Self::JSON,
            "proto" | "protobuf" => Self::PROTOBUF,
            "raw" => Self::RAW,
            _ => Self(Cow::Owned(word)),
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_says_the_encoding_whatever_its_parameters() {
        for (content_type, expected) in [
            ("application/json; charset=utf-8", Some(Encoding::JSON)),
            ("application/x-protobuf", Some(Encoding::PROTOBUF)),
            ("application/grpc+proto", Some(Encoding::PROTOBUF)),
            ("application/grpc+json", Some(Encoding::JSON)),
            ("application/octet-stream", Some(Encoding::RAW)),
            ("application/grpc", None),
            ("text/html", None),
        ] {
            assert_eq!(Encoding::of_content_type(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn a_word_is_short_and_plain_and_has_one_spelling() {
        assert_eq!("Proto".parse(), Ok(Encoding::PROTOBUF));
        assert_eq!("msgpack".parse::<Encoding>().map(|it| it.to_string()), Ok("msgpack".to_owned()));
        assert_eq!("e".repeat(32).parse::<Encoding>().map(|it| it.as_str().len()), Ok(32));
        for wrong in ["", "a b", "ö", &"e".repeat(33)] {
            assert_eq!(wrong.parse::<Encoding>(), Err(EncodingError { text: wrong.to_owned() }));
        }
    }
}
