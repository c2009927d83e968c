//! Messages in gRPC's frames: a flag, four bytes of length, the message.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

const HEAD_BYTES: usize = 5;

/// Most that is set aside for a message because of what its head claims.
const CLAIMED_BYTES_MAX: usize = 64 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) is_compressed: bool,
    pub(crate) payload: Bytes,
}

/// Why bytes are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("compression flag of a message is {flag}, neither 0 nor 1")]
    Flag { flag: u8 },
    #[error("message of {bytes} bytes is larger than {limit}, the most that is taken")]
    TooLarge { bytes: usize, limit: usize },
    #[error("body ends {missing} bytes before a message does")]
    Truncated { missing: usize },
}

/// Finds the frames in a body, piece by piece. Holds no more than one frame and one piece.
#[derive(Debug)]
pub(crate) struct Frames {
    limit: usize,
    /// What is not looked at yet.
    rest: Bytes,
    /// The beginning of the frame's head, or of its payload once that is known.
    begun: BytesMut,
    head: Option<Head>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    is_compressed: bool,
    bytes: usize,
}

impl Frames {
    /// Makes one that takes payloads of up to `limit` bytes.
    pub(crate) fn up_to(limit: usize) -> Self {
        Self { limit, rest: Bytes::new(), begun: BytesMut::new(), head: None }
    }

    /// Takes the next piece of the body, once [`Frames::next`] has nothing more to give.
    pub(crate) fn push(&mut self, piece: Bytes) {
        debug_assert!(self.rest.is_empty(), "frames are taken out before more is put in");
        self.rest = piece;
    }

    /// Returns the next frame that is there as a whole.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let Head { is_compressed, bytes } = head;
        let payload = if self.begun.is_empty() && self.rest.len() >= bytes {
            self.rest.split_to(bytes)
        } else {
            self.gather(bytes, bytes.min(CLAIMED_BYTES_MAX));
            if self.begun.len() < bytes {
                return Ok(None);
            }
            self.begun.split().freeze()
        };
        self.head = None;
        Ok(Some(Frame { is_compressed, payload }))
    }

    /// Says whether the body may end here.
    pub(crate) fn finish(&self) -> Result<(), FrameError> {
        let wanted = match self.head {
            Some(head) => head.bytes,
            None if self.begun.is_empty() => return Ok(()),
            None => HEAD_BYTES,
        };
        Err(FrameError::Truncated { missing: wanted.saturating_sub(self.begun.len()) })
    }

    fn head(&mut self) -> Result<Option<Head>, FrameError> {
        if self.head.is_some() {
            return Ok(self.head);
        }
        self.gather(HEAD_BYTES, HEAD_BYTES);
        if self.begun.len() < HEAD_BYTES {
            return Ok(None);
        }
        let mut head = self.begun.split();
        let (flag, bytes) = (head.get_u8(), usize::try_from(head.get_u32()).unwrap_or(usize::MAX));
        if flag > 1 {
            return Err(FrameError::Flag { flag });
        }
        if bytes > self.limit {
            return Err(FrameError::TooLarge { bytes, limit: self.limit });
        }
        self.head = Some(Head { is_compressed: flag == 1, bytes });
        Ok(self.head)
    }

    /// Moves bytes of the piece to what is begun, until that has `wanted`.
    fn gather(&mut self, wanted: usize, reserve: usize) {
        let missing = wanted.saturating_sub(self.begun.len()).min(self.rest.len());
        if missing > 0 {
            self.begun.reserve(reserve.saturating_sub(self.begun.len()).max(missing));
            self.begun.extend_from_slice(&self.rest.split_to(missing));
        }
    }
}

/// Returns the bytes of a frame. A payload beyond 4 GiB has none.
pub(crate) fn frame(Frame { is_compressed, payload }: &Frame) -> Option<Bytes> {
    let bytes = u32::try_from(payload.len()).ok()?;
    let mut framed = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    framed.put_u8(u8::from(*is_compressed));
    framed.put_u32(bytes);
    framed.put_slice(payload);
    Some(framed.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &'static str) -> Frame {
        Frame { is_compressed: false, payload: Bytes::from_static(text.as_bytes()) }
    }

    fn body(frames: &[Frame]) -> Bytes {
        frames.iter().flat_map(|it| frame(it).expect("small")).collect()
    }

    /// Feeds `body` in pieces of `size`.
    fn read(body: &Bytes, size: usize, limit: usize) -> Result<Vec<Frame>, FrameError> {
        let (mut frames, mut read) = (Frames::up_to(limit), Vec::new());
        for piece in body.chunks(size) {
            frames.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = frames.next()? {
                read.push(frame);
            }
        }
        frames.finish().map(|()| read)
    }

    #[test]
    fn frames_are_found_wherever_the_body_is_cut() {
        let sent =
            [plain("hello"), plain(""), Frame { is_compressed: true, ..plain("zip") }, plain("a longer message")];
        let body = body(&sent);
        for size in 1..=body.len() {
            assert_eq!(read(&body, size, 16).as_deref(), Ok(&sent[..]), "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_as_soon_as_its_head_is_there() {
        let limit = 4;
        assert_eq!(read(&body(&[plain("four")]), 2, limit), Ok(vec![plain("four")]));
        assert_eq!(read(&body(&[plain("five!")]), 5, limit), Err(FrameError::TooLarge { bytes: 5, limit }));
        assert_eq!(read(&Bytes::from_static(b"\x02\0\0\0\0"), 5, limit), Err(FrameError::Flag { flag: 2 }));
        assert_eq!(read(&Bytes::from_static(b"\0\0\0"), 3, limit), Err(FrameError::Truncated { missing: 2 }));
        assert_eq!(read(&Bytes::from_static(b"\0\0\0\0\x03a"), 6, limit), Err(FrameError::Truncated { missing: 2 }));
    }

    #[test]
    fn a_message_takes_no_more_memory_than_has_come_of_it() {
        let mut frames = Frames::up_to(usize::MAX);
        frames.push(Bytes::from_static(b"\0\xff\xff\xff\xffa"));
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.begun.capacity() <= 2 * CLAIMED_BYTES_MAX, "{} bytes for one", frames.begun.capacity());
    }
}
