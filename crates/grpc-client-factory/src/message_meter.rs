//! Measuring messages in a stream of bytes.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Reads the lengths of messages off a gRPC stream as it passes, whatever pieces it comes in.
#[derive(Debug, Clone)]
pub(crate) struct MessageMeter {
    limit: u64,
    /// What has come of the prefix of the next message.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// What is to come of this message.
    rest: u64,
    /// Of plain HTTP, what has passed: all of it is one message.
    plain_bytes: Option<u64>,
}

impl MessageMeter {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        Self { limit, prefix: [0; PREFIX_BYTES], prefix_bytes: 0, rest: 0, plain_bytes: None }
    }

    /// Returns one for what a request with these headers carries: messages of gRPC, or else what HTTP makes of it.
    pub(crate) fn of(headers: &HeaderMap, limit: usize) -> Self {
        let plain_bytes = if is_grpc(headers) { None } else { Some(0) };
        Self { plain_bytes, ..Self::new(limit) }
    }

    pub(crate) const fn is_plain(&self) -> bool {
        self.plain_bytes.is_some()
    }

    /// Returns one with the same limit that nothing has passed yet.
    pub(crate) const fn anew(&self) -> Self {
        let plain_bytes = if self.is_plain() { Some(0) } else { None };
        Self { limit: self.limit, prefix: [0; PREFIX_BYTES], prefix_bytes: 0, rest: 0, plain_bytes }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Lets `bytes` pass.
    ///
    /// # Errors
    /// The length of the first message in it that is larger than the limit; nothing may pass after it.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), u64> {
        if let Some(passed) = &mut self.plain_bytes {
            *passed = passed.saturating_add(bytes.len() as u64);
            return if *passed > self.limit { Err(*passed) } else { Ok(()) };
        }
        while !bytes.is_empty() {
            if self.rest > 0 {
                let here = self.rest.min(bytes.len() as u64);
                self.rest -= here;
                bytes = bytes.get(usize::try_from(here).unwrap_or(bytes.len())..).unwrap_or_default();
                continue;
            }
            let (taken, later) = bytes.split_at(bytes.len().min(PREFIX_BYTES - self.prefix_bytes));
            for (place, byte) in self.prefix.iter_mut().skip(self.prefix_bytes).zip(taken) {
                *place = *byte;
            }
            self.prefix_bytes += taken.len();
            bytes = later;
            if self.prefix_bytes == PREFIX_BYTES {
                let [_compressed, length @ ..] = self.prefix;
                self.rest = u32::from_be_bytes(length).into();
                self.prefix_bytes = 0;
                if self.rest > self.limit {
                    return Err(self.rest);
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a request with these headers is one of gRPC, and not plain HTTP.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of `length` bytes, uncompressed.
    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(PREFIX_BYTES + length as usize, 7);
        bytes
    }

    /// Lets messages of these lengths pass in pieces of `piece` bytes, of which up to 10 are allowed.
    fn measured(lengths: &[u32], piece: usize) -> Result<(), u64> {
        let stream: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
        let mut meter = MessageMeter::new(10);
        stream.chunks(piece).try_for_each(|piece| meter.pass(piece))
    }

    #[test]
    fn a_message_too_large_is_found_wherever_the_stream_is_cut() {
        for piece in 1..40 {
            assert_eq!(measured(&[10, 0, 1, 10], piece), Ok(()), "pieces of {piece}");
            assert_eq!(measured(&[10, 0, 11, 1], piece), Err(11), "pieces of {piece}");
        }
    }

    #[test]
    fn plain_http_is_measured_as_a_whole_whatever_it_looks_like() {
        let mut meter = MessageMeter::of(&HeaderMap::new(), 10);
        assert_eq!([meter.pass(b"{\"a\":"), meter.pass(b"1}  "), meter.pass(b"  ")], [Ok(()), Ok(()), Err(11)]);
        let grpc = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static("application/grpc+proto"))]);
        assert_eq!(MessageMeter::of(&grpc, 10).pass(b"{\"a\":1"), Err(u64::from(u32::from_be_bytes(*b"\"a\":"))));
    }
}
