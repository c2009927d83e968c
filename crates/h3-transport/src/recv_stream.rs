//! What the other side sends on a stream.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h3::quic::{self, StreamErrorIncoming, StreamId};
use quinn::VarInt;

use crate::error::of_reading;
use crate::send_stream::stream_id;
use crate::stream::IfDropped;

/// What the other side sends on a stream. Dropped before its end, it asks the other side to stop.
#[derive(Debug)]
pub struct RecvStream {
    stream: quinn::RecvStream,
    if_dropped: IfDropped,
    is_over: bool,
}

impl RecvStream {
    pub(crate) const fn new(stream: quinn::RecvStream, if_dropped: IfDropped) -> Self {
        Self { stream, if_dropped, is_over: false }
    }

    fn stop(&mut self, code: VarInt) {
        self.is_over = true;
        if let Err(closed) = self.stream.stop(code) {
            tracing::trace!(stream = %self.stream.id(), error = %closed, "nothing left to stop");
        }
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        // The future keeps nothing from one poll to the next: where the stream is, the stream knows.
        let read = ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx));
        self.is_over |= !matches!(read, Ok(Some(_)));
        Poll::Ready(read.map(|chunk| chunk.map(|chunk| chunk.bytes)).map_err(of_reading))
    }

    fn stop_sending(&mut self, code: u64) {
        self.stop(VarInt::from_u64(code).unwrap_or(VarInt::MAX));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if !self.is_over {
            self.stop(self.if_dropped.receiving());
        }
    }
}
