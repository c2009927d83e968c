//! Both directions of a request.

use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::VarInt;

use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::stopped::WhenStopped;

/// What the other side is told of a stream that is dropped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfDropped {
    AtClient,
    AtServer,
}

impl IfDropped {
    /// Returns the code of the reset that cuts off what we send.
    pub(crate) fn sending(self) -> VarInt {
        match self {
            Self::AtClient => varint(Code::H3_REQUEST_CANCELLED),
            // No handler ends so; it was cut off by something that went wrong.
            Self::AtServer => varint(Code::H3_INTERNAL_ERROR),
        }
    }

    /// Returns the code that asks the other side to send no more.
    pub(crate) fn receiving(self) -> VarInt {
        match self {
            Self::AtClient => varint(Code::H3_REQUEST_CANCELLED),
            // RFC 9114 §4.1: a server that has answered may ask so for the rest of the request not to be sent.
            Self::AtServer => varint(Code::H3_NO_ERROR),
        }
    }
}

fn varint(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

/// Both directions of a request.
#[derive(Debug)]
pub struct Stream {
    send: SendStream,
    receive: RecvStream,
}

impl Stream {
    pub(crate) fn new(send: quinn::SendStream, receive: quinn::RecvStream, if_dropped: IfDropped) -> Self {
        Self { send: SendStream::new(send, if_dropped), receive: RecvStream::new(receive, if_dropped) }
    }

    /// Returns what resolves when what we send has ended. h3 has no word for it: a server asks for it before h3 takes the
    /// stream, to hear of a client that gives up while its handler is at work.
    #[must_use]
    pub fn when_stopped(&self) -> WhenStopped {
        self.send.when_stopped()
    }

    /// Refuses the request: resets both directions, with `code` as the reason.
    pub fn reject(mut self, code: Code) {
        quic::SendStream::<Bytes>::reset(&mut self, code.value());
        quic::RecvStream::stop_sending(&mut self, code.value());
    }
}

impl<B: Buf> quic::BidiStream<B> for Stream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.receive)
    }
}

impl<B: Buf> quic::SendStream<B> for Stream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::<B>::poll_ready(&mut self.send, cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        quic::SendStream::<B>::poll_finish(&mut self.send, cx)
    }

    fn reset(&mut self, code: u64) {
        quic::SendStream::<B>::reset(&mut self.send, code);
    }

    fn send_id(&self) -> StreamId {
        quic::SendStream::<B>::send_id(&self.send)
    }
}

impl quic::RecvStream for Stream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receive.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}
