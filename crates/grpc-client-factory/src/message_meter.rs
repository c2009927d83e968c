//! Measuring messages in a stream of bytes.

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
}

impl MessageMeter {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        Self { limit, prefix: [0; PREFIX_BYTES], prefix_bytes: 0, rest: 0 }
    }

    /// Returns one with the same limit that nothing has passed yet.
    pub(crate) const fn anew(&self) -> Self {
        Self { limit: self.limit, prefix: [0; PREFIX_BYTES], prefix_bytes: 0, rest: 0 }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Lets `bytes` pass.
    ///
    /// # Errors
    /// The length of the first message in it that is larger than the limit; nothing may pass after it.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), u64> {
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
}
