//! Between messages and their bytes.

use std::error::Error;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::encoding::Encoding;

/// Turns messages of one type into bytes and back. A codec is a value that anybody may copy and call, from any thread; it does
/// not block.
pub trait Codec<T>: Copy + Send + Sync + 'static {
    /// Returns the encoding, as `rpc-encoding` names it.
    fn encoding(self) -> Encoding;

    /// Returns the bytes of `message`.
    ///
    /// # Errors
    /// The message has no form in this encoding.
    fn encode(self, message: &T) -> Result<Bytes, CodecError>;

    /// Returns the message in `bytes`.
    ///
    /// # Errors
    /// There is none in them.
    fn decode(self, bytes: Bytes) -> Result<T, CodecError>;
}

/// Why there is no message in some bytes, or no bytes for a message.
#[derive(Debug, thiserror::Error)]
#[error("message is not valid {encoding}")]
pub struct CodecError {
    /// In which encoding.
    pub encoding: Encoding,
    /// What the codec says.
    pub source: Box<dyn Error + Send + Sync>,
}

impl CodecError {
    /// Makes an error of what the library behind a codec says.
    #[must_use]
    pub fn new(encoding: Encoding, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { encoding, source: source.into() }
    }
}

/// JSON, for every type that serde knows. No bytes at all count as `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json;

/// Protocol buffers, for messages of prost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protobuf;

/// Bytes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Raw;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encoding(self) -> Encoding {
        Encoding::JSON
    }

    fn encode(self, message: &T) -> Result<Bytes, CodecError> {
        let text = serde_json::to_vec(message).map_err(|error| CodecError::new(Encoding::JSON, error))?;
        Ok(text.into())
    }

    fn decode(self, bytes: Bytes) -> Result<T, CodecError> {
        let text = if bytes.is_empty() { &b"null"[..] } else { &bytes };
        serde_json::from_slice(text).map_err(|error| CodecError::new(Encoding::JSON, error))
    }
}

impl<T: prost::Message + Default> Codec<T> for Protobuf {
    fn encoding(self) -> Encoding {
        Encoding::PROTOBUF
    }

    fn encode(self, message: &T) -> Result<Bytes, CodecError> {
        Ok(message.encode_to_vec().into())
    }

    fn decode(self, bytes: Bytes) -> Result<T, CodecError> {
        T::decode(bytes).map_err(|error| CodecError::new(Encoding::PROTOBUF, error))
    }
}

impl Codec<Bytes> for Raw {
    fn encoding(self) -> Encoding {
        Encoding::RAW
    }

    fn encode(self, message: &Bytes) -> Result<Bytes, CodecError> {
        Ok(message.clone())
    }

    fn decode(self, bytes: Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes)
    }
}
