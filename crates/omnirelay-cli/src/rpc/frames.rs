//! Messages of gRPC in a stream of bytes.

use hyper::body::Bytes;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Most bytes of one message that are taken.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a stream of bytes is none of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message is compressed, which was not asked for")]
    Compressed,
    #[error("a message of {bytes} bytes is larger than {MESSAGE_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("the last message broke off")]
    BrokeOff,
}

/// Returns one message with its prefix.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a message that was read is smaller");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// Puts messages together from pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What has come of the next message, prefix included.
    begun: Vec<u8>,
}

impl Frames {
    /// Takes a piece, and hands on the messages that are whole with it.
    pub(crate) fn take(&mut self, piece: &[u8], mut whole: impl FnMut(Bytes)) -> Result<(), FrameError> {
        self.begun.extend_from_slice(piece);
        let mut rest = self.begun.as_slice();
        while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX_BYTES>() {
            let [compressed, length @ ..] = *prefix;
            if compressed != 0 {
                return Err(FrameError::Compressed);
            }
            let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if bytes > MESSAGE_BYTES_MAX {
                return Err(FrameError::TooLarge { bytes });
            }
            let Some((message, later)) = after.split_at_checked(bytes) else { break };
            whole(Bytes::copy_from_slice(message));
            rest = later;
        }
        let done = self.begun.len() - rest.len();
        self.begun.drain(..done);
        Ok(())
    }

    /// Checks that nothing is missing at the end.
    pub(crate) fn end(&self) -> Result<(), FrameError> {
        if self.begun.is_empty() { Ok(()) } else { Err(FrameError::BrokeOff) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_whatever_pieces_they_are_in() {
        let stream = [framed(b"one"), framed(b""), framed(b"three")].concat();
        for size in 1..=stream.len() {
            let (mut frames, mut whole) = (Frames::default(), Vec::new());
            for piece in stream.chunks(size) {
                assert_eq!(frames.take(piece, |message| whole.push(message)), Ok(()));
            }
            assert_eq!((whole, frames.end()), (vec!["one".into(), "".into(), "three".into()], Ok(())), "by {size}");
        }
    }

    #[test]
    fn what_is_no_stream_of_messages_is_told() {
        let take = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.take(bytes, drop).and_then(|()| frames.end())
        };
        assert_eq!(take(&[1, 0, 0, 0, 0]), Err(FrameError::Compressed));
        assert_eq!(take(&[0, 4, 0, 0, 1]), Err(FrameError::TooLarge { bytes: MESSAGE_BYTES_MAX + 1 }));
        assert_eq!(take(&[0, 0, 0, 0, 2, b'x']), Err(FrameError::BrokeOff));
        assert_eq!(take(&[0, 0]), Err(FrameError::BrokeOff));
    }
}
