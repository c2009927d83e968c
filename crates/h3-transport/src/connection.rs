//! A QUIC connection as h3 wants it.

use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming};
use quinn::{ConnectionError, VarInt};

use crate::error::{of_connection, of_opening};
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::stream::{IfDropped, Stream};

type Bidirectional = (quinn::SendStream, quinn::RecvStream);

/// A QUIC connection as [`h3::server`] and [`h3::client`] take it.
#[derive(Debug)]
pub struct Connection {
    opener: Opener,
    accepting_streams: Waiting<Bidirectional>,
    accepting_receivers: Waiting<quinn::RecvStream>,
}

impl Connection {
    /// Wraps the client's end of a connection.
    #[must_use]
    pub fn client(connection: quinn::Connection) -> Self {
        Self::new(connection, IfDropped::AtClient)
    }

    /// Wraps the server's end of a connection.
    #[must_use]
    pub fn server(connection: quinn::Connection) -> Self {
        Self::new(connection, IfDropped::AtServer)
    }

    fn new(connection: quinn::Connection, if_dropped: IfDropped) -> Self {
        Self {
            opener: Opener::new(connection, if_dropped),
            accepting_streams: Waiting::default(),
            accepting_receivers: Waiting::default(),
        }
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bidirectional, ConnectionError>> {
        let connection = &self.opener.connection;
        if self.accepting_streams.is_idle()
            && let Poll::Ready(accepted) = pin!(connection.accept_bi()).poll(cx)
        {
            return Poll::Ready(accepted);
        }
        self.accepting_streams.poll(cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        })
    }
}

impl<B: Buf> quic::Connection<B> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let Opener { connection, if_dropped, .. } = &self.opener;
        let accepted = ready!(self.accepting_receivers.poll(cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await })
        }));
        Poll::Ready(accepted.map(|stream| RecvStream::new(stream, *if_dropped)).map_err(of_connection))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionErrorIncoming>> {
        let (send, receive) = ready!(Self::poll_accept_bidi(self, cx)).map_err(of_connection)?;
        Poll::Ready(Ok(Stream::new(send, receive, self.opener.if_dropped)))
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl<B: Buf> quic::OpenStreams<B> for Connection {
    type BidiStream = Stream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// Opens streams on a connection.
#[derive(Debug)]
pub struct Opener {
    connection: quinn::Connection,
    if_dropped: IfDropped,
    opening_stream: Waiting<Bidirectional>,
    opening_sender: Waiting<quinn::SendStream>,
}

impl Opener {
    fn new(connection: quinn::Connection, if_dropped: IfDropped) -> Self {
        Self { connection, if_dropped, opening_stream: Waiting::default(), opening_sender: Waiting::default() }
    }

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opened = match self.opening_stream.is_idle().then(|| pin!(connection.open_bi()).poll(cx)) {
            Some(Poll::Ready(opened)) => opened,
            Some(Poll::Pending) | None => ready!(self.opening_stream.poll(cx, || {
                let connection = connection.clone();
                Box::pin(async move { connection.open_bi().await })
            })),
        };
        let (send, receive) = opened.map_err(of_opening)?;
        Poll::Ready(Ok(Stream::new(send, receive, self.if_dropped)))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opened = ready!(self.opening_sender.poll(cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        }));
        Poll::Ready(opened.map(|stream| SendStream::new(stream, self.if_dropped)).map_err(of_opening))
    }

    fn close(&self, code: Code, reason: &[u8]) {
        self.connection.close(VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX), reason);
    }
}

impl Clone for Opener {
    fn clone(&self) -> Self {
        // Who waits for a stream goes on waiting by itself.
        Self::new(self.connection.clone(), self.if_dropped)
    }
}

impl<B: Buf> quic::OpenStreams<B> for Opener {
    type BidiStream = Stream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, StreamErrorIncoming>> {
        Self::poll_open_bidi(self, cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        Self::poll_open_send(self, cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        Self::close(self, code, reason);
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send + Sync>>;

/// A future of quinn that lives from one poll to the next: dropped in between, it would not wake anybody.
struct Waiting<T>(Option<Boxed<T>>);

impl<T> Waiting<T> {
    const fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    fn poll(&mut self, cx: &mut Context<'_>, begin: impl FnOnce() -> Boxed<T>) -> Poll<Result<T, ConnectionError>> {
        let outcome = ready!(self.0.get_or_insert_with(begin).as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(outcome)
    }
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_idle() { "idle" } else { "waiting" })
    }
}
