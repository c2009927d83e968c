//! Compressed messages.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::read::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Code;

use crate::status::Status;

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// What is taken.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip");

/// Messages that are smaller are sent as they are: compressing them costs more than it saves.
const WORTH_IT_BYTES: usize = 512;

/// How the messages that are flagged as compressed are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Identity,
    Gzip,
}

impl Algorithm {
    /// Reads how one side compresses its messages.
    ///
    /// # Errors
    /// In a way that is not known here: `unimplemented`, with what is known.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        match headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity" | b"") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(other) => {
                let text = format!(
                    "messages compressed as {:?} are not understood; identity and gzip are",
                    String::from_utf8_lossy(other)
                );
                let mut status = Status::new(Code::Unimplemented, text);
                status.metadata_mut().insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
                Err(status)
            }
        }
    }

    /// Returns how to answer: as the caller itself compresses, if it says that it understands that.
    pub(crate) fn of_answer(self, request: &HeaderMap) -> Self {
        let accepted = request.get_all(GRPC_ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let gzip = accepted.flat_map(|list| list.split(',')).any(|word| word.trim() == "gzip");
        if gzip { self } else { Self::Identity }
    }

    /// Says how answers are compressed.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        if self == Self::Gzip {
            headers.insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
        }
    }

    /// Returns the message in the payload of a compressed frame, if it is no larger than `limit`.
    pub(crate) fn decompress(self, payload: &[u8], limit: usize) -> Result<Bytes, DecompressError> {
        if self == Self::Identity {
            return Err(DecompressError::Unannounced);
        }
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut message = Vec::new();
        GzDecoder::new(payload)
            .take(most.saturating_add(1))
            .read_to_end(&mut message)
            .map_err(DecompressError::Gzip)?;
        if message.len() > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        Ok(message.into())
    }

    /// Returns the message compressed, if that is announced and worth it.
    pub(crate) fn compress(self, message: &[u8]) -> Option<Bytes> {
        if self == Self::Identity || message.len() < WORTH_IT_BYTES {
            return None;
        }
        let mut compressed = Vec::new();
        // Reading from memory and writing to it cannot fail; if it did, the message goes as it is.
        GzEncoder::new(message, Compression::fast()).read_to_end(&mut compressed).ok()?;
        Some(compressed.into())
    }
}

/// Why the payload of a compressed frame holds no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecompressError {
    #[error("message is flagged as compressed, but no `grpc-encoding` says how")]
    Unannounced,
    #[error("message decompresses to more than {limit} bytes, the most that is taken")]
    TooLarge { limit: usize },
    #[error("message is not gzip as it says")]
    Gzip(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(text))])
    }

    #[test]
    fn gzip_is_understood_and_what_is_not_is_told_with_what_is() {
        assert_eq!(Algorithm::of(&HeaderMap::new()).ok(), Some(Algorithm::Identity));
        assert_eq!(Algorithm::of(&headers(GRPC_ENCODING, "gzip")).ok(), Some(Algorithm::Gzip));
        let status = Algorithm::of(&headers(GRPC_ENCODING, "zstd")).expect_err("not known");
        let text = "messages compressed as \"zstd\" are not understood; identity and gzip are";
        assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
        assert_eq!(status.metadata().get(GRPC_ACCEPT_ENCODING), Some(&ACCEPTED));
    }

    #[test]
    fn answers_are_compressed_only_for_callers_that_compress_and_understand_it() {
        let accepts = headers(GRPC_ACCEPT_ENCODING, "identity, gzip");
        assert_eq!(Algorithm::Gzip.of_answer(&accepts), Algorithm::Gzip);
        assert_eq!(Algorithm::Gzip.of_answer(&headers(GRPC_ACCEPT_ENCODING, "deflate")), Algorithm::Identity);
        assert_eq!(Algorithm::Identity.of_answer(&accepts), Algorithm::Identity);
    }

    #[test]
    fn messages_come_back_as_they_were_and_no_larger_than_is_taken() {
        let message = vec![7_u8; 100_000];
        let compressed = Algorithm::Gzip.compress(&message).expect("worth it");
        assert!(compressed.len() < 1000);
        let back = |limit| Algorithm::Gzip.decompress(&compressed, limit).map_err(|error| error.to_string());
        assert_eq!(back(100_000), Ok(Bytes::from(message)));
        assert_eq!(
            back(99_999),
            Err("message decompresses to more than 99999 bytes, the most that is taken".to_owned())
        );
        assert_eq!(Algorithm::Gzip.compress(b"small"), None);
        let broken = |how: Algorithm| how.decompress(b"no gzip", 100).map_err(|error| error.to_string());
        assert_eq!(broken(Algorithm::Gzip), Err("message is not gzip as it says".to_owned()));
        let unannounced = "message is flagged as compressed, but no `grpc-encoding` says how";
        assert_eq!(broken(Algorithm::Identity), Err(unannounced.to_owned()));
    }
}
