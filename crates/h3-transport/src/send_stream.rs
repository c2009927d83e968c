//! What we send on a stream.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::quic::{self, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{VarInt, WriteError};

use crate::error::{SendError, of_writing};
use crate::stopped::WhenStopped;
use crate::stream::IfDropped;

/// What we send on a stream. Dropped before it was finished, it is reset: quinn would end it as if it were whole, and half
/// an answer passed off as one is a connection error to HTTP/3.
#[derive(Debug)]
pub struct SendStream {
    stream: quinn::SendStream,
    if_dropped: IfDropped,
    /// The rest of the frame that is being written.
    pending: Bytes,
    is_over: bool,
}

impl SendStream {
    pub(crate) const fn new(stream: quinn::SendStream, if_dropped: IfDropped) -> Self {
        Self { stream, if_dropped, pending: Bytes::new(), is_over: false }
    }

    pub(crate) fn when_stopped(&self) -> WhenStopped {
        WhenStopped::of(&self.stream)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while !self.pending.is_empty() {
            // What is written is taken off the front, so the future keeps nothing from one poll to the next.
            let pending = std::slice::from_mut(&mut self.pending);
            if let Err(error) = ready!(pin!(self.stream.write_chunks(pending)).poll(cx)) {
                // quinn answers whoever stops us, with the code that they gave.
                self.is_over |= matches!(error, WriteError::Stopped(_));
                return Poll::Ready(Err(of_writing(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: VarInt) {
        self.is_over = true;
        self.pending = Bytes::new();
        if let Err(closed) = self.stream.reset(code) {
            tracing::trace!(stream = %self.stream.id(), error = %closed, "nothing left to reset");
        }
    }
}

impl<B: Buf> quic::SendStream<B> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.poll_write(cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if !self.pending.is_empty() {
            return Err(StreamErrorIncoming::Unknown(Box::new(SendError::CutOff)));
        }
        let mut data = data.into();
        // Quinn copies what it is not given as `Bytes`, and wakes its driver for each piece: so it gets the head of the frame
        // and its payload as one.
        self.pending = data.copy_to_bytes(data.remaining());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_write(cx))?;
        let finished = self.stream.finish().map_err(|closed| of_writing(closed.into()));
        self.is_over = true;
        Poll::Ready(finished)
    }

    fn reset(&mut self, code: u64) {
        Self::reset(self, VarInt::from_u64(code).unwrap_or(VarInt::MAX));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.is_over {
            Self::reset(self, self.if_dropped.sending());
        }
    }
}

pub(crate) fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(u64::from(id)).expect("both are the 62-bit numbers of RFC 9000 §2.1")
}
