//! Bodies on a stream of HTTP/2.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http_body::{Body, Frame};

/// What a body has next.
enum Next {
    Piece(Bytes),
    End,
    /// It has failed.
    Failed,
    /// The other side wants no more.
    Refused,
}

/// Sends `body` to its end, no faster than the other side takes it. A piece that is known to be the last ends the stream; empty pieces are left
/// out, because the other side closes a connection that brings it too many, and so are trailers: gRPC has none in requests.
///
/// That the other side wants no more is no error here: its answer says why. A body that fails resets the stream.
///
/// # Cancel safety
/// Dropping the future resets the stream, unless the answer is there as a whole.
pub async fn send_all<B: Body<Data = Bytes>>(mut sending: SendStream<Bytes>, body: B) {
    // What is there at once is sent without asking for room: a stream that the other side has not seen yet has none. A piece in hand takes no
    // more memory when it waits in the connection.
    let (mut body, mut held, mut needs_room) = (pin!(body), None::<Bytes>, false);
    loop {
        if needs_room && !poll_fn(|cx| poll_room(&mut sending, cx)).await {
            return;
        }
        let next = poll_fn(|cx| match poll_next(&mut sending, body.as_mut(), cx) {
            Poll::Pending if held.is_some() => Poll::Ready(None),
            polled => polled.map(Some),
        });
        let (piece, is_last) = match next.await {
            Some(Next::Piece(next)) => match held.replace(next) {
                Some(piece) => (piece, false),
                None if body.is_end_stream() => (held.take().unwrap_or_default(), true),
                None => {
                    needs_room = false;
                    continue;
                }
            },
            Some(Next::End) => (held.take().unwrap_or_default(), true),
            // What comes next has to be waited for; this must not wait with it.
            None => (held.take().unwrap_or_default(), body.is_end_stream()),
            Some(Next::Failed) => return sending.send_reset(Reason::CANCEL),
            Some(Next::Refused) => return,
        };
        let sent = sending.send_data(piece, is_last);
        if is_last || sent.is_err() {
            return trace_failure(sent);
        }
        needs_room = true;
    }
}

/// Waits until the other side has taken enough; `false` if it takes no more.
fn poll_room(sending: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<bool> {
    sending.reserve_capacity(1);
    while sending.capacity() == 0 {
        match ready!(sending.poll_capacity(cx)) {
            Some(Ok(_bytes)) => {}
            Some(Err(error)) => {
                trace_failure(Err(error));
                return Poll::Ready(false);
            }
            None => return Poll::Ready(false),
        }
    }
    Poll::Ready(true)
}

fn poll_next<B: Body<Data = Bytes>>(
    sending: &mut SendStream<Bytes>,
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Next> {
    if sending.poll_reset(cx).is_ready() {
        return Poll::Ready(Next::Refused);
    }
    loop {
        let Some(frame) = ready!(body.as_mut().poll_frame(cx)) else { return Poll::Ready(Next::End) };
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) if !piece.is_empty() => return Poll::Ready(Next::Piece(piece)),
            Ok(Ok(_) | Err(_)) => {} // empty, or trailers
            Err(_its_own) => return Poll::Ready(Next::Failed),
        }
    }
}

/// Notes that the other side took no more of what was sent.
pub fn trace_failure(sent: Result<(), h2::Error>) {
    if let Err(error) = sent {
        tracing::trace!(error = %error, "the server took no more of a request");
    }
}

/// What comes on a stream. Dropped before its end, it resets the stream.
#[derive(Debug)]
pub struct Received {
    stream: RecvStream,
    has_ended: bool,
}

impl Received {
    /// Takes what comes on `stream`.
    #[must_use]
    pub const fn new(stream: RecvStream) -> Self {
        Self { stream, has_ended: false }
    }

    /// Returns whether nothing more comes.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.has_ended || self.stream.is_end_stream()
    }

    /// Returns the next piece; what has been returned makes room for more.
    ///
    /// # Errors
    /// The stream was broken off.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                let taken = self.stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(taken.map(|()| Frame::data(data))));
            }
            // The answer is whole, and the server wants no more of the request (RFC 9113 §8.1).
            Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                self.has_ended = true;
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {}
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        self.has_ended = true;
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Request;
    use tokio::task::JoinSet;

    use super::*;

    const PIECE: usize = 16 * 1024;
    const PIECES: usize = 100;
    /// What may be under way unread, unless more is granted (RFC 9113 §6.9.2).
    const WINDOW: usize = 65_535;

    /// A body of these pieces, after which nothing comes, or nothing for now.
    struct Pieces {
        left: VecDeque<&'static str>,
        ends: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.left.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    /// A body of many large pieces, all there at once.
    struct Large {
        left: usize,
        taken: Arc<AtomicUsize>,
    }

    impl Body for Large {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            self.taken.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PIECE])))))
        }
    }

    /// Begins to send a body, and returns what comes; what it runs on ends with the tasks.
    async fn begin<B>(body: B) -> Result<(RecvStream, JoinSet<()>), h2::Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (near, far) = tokio::io::duplex(1024);
        let (client, server) = tokio::join!(h2::client::handshake(near), h2::server::handshake(far));
        let ((mut client, connection), mut server) = (client?, server?);
        let (answer, sending) = client.send_request(Request::new(()), false)?;
        let mut running = JoinSet::new();
        running.spawn(async move { drop(connection.await) });
        running.spawn(async move {
            send_all(sending, body).await;
            drop(answer.await);
        });
        let (request, respond) = server.accept().await.expect("a request")?;
        running.spawn(async move {
            drop(server.accept().await);
            drop(respond);
        });
        Ok((request.into_body(), running))
    }

    /// Sends a body, and returns the pieces that come, as many as there are of one that does not end; the last is told by an exclamation
    /// mark.
    async fn arrived(pieces: &[&'static str], ends: bool) -> Result<Vec<String>, h2::Error> {
        let body = Pieces { left: pieces.iter().copied().collect(), ends };
        let ((mut stream, _running), mut seen) = (begin(body).await?, Vec::new());
        let most = if ends { usize::MAX } else { pieces.len() };
        while seen.len() < most
            && let Some(piece) = stream.data().await
        {
            let end = if stream.is_end_stream() { "!" } else { "" };
            seen.push(format!("{}{end}", String::from_utf8_lossy(&piece?)));
        }
        Ok(seen)
    }

    #[tokio::test]
    async fn a_body_that_is_there_ends_with_its_last_piece_and_brings_no_empty_ones() -> Result<(), h2::Error> {
        assert_eq!(arrived(&["a"], true).await?, ["a!"]);
        assert_eq!(arrived(&["a", ""], true).await?, ["a!"]);
        assert_eq!(arrived(&["", "a", "", "b"], true).await?, ["a", "b!"]);
        assert_eq!(arrived(&[], true).await?, ["!"]);
        Ok(())
    }

    #[tokio::test]
    async fn a_piece_does_not_wait_for_the_next() -> Result<(), h2::Error> {
        assert_eq!(arrived(&["a", "b"], false).await?, ["a", "b"]);
        Ok(())
    }

    #[tokio::test]
    async fn a_body_is_taken_no_faster_than_it_is_read() -> Result<(), h2::Error> {
        let taken = Arc::new(AtomicUsize::new(0));
        let body = Large { left: PIECES, taken: Arc::clone(&taken) };
        let ((mut stream, _running), mut unread) = (begin(body).await?, 0);
        while unread < WINDOW {
            unread += stream.data().await.expect("a window full")?.len();
        }
        // One more may wait in the connection, and one in hand.
        assert!(taken.load(Ordering::Relaxed) <= WINDOW.div_ceil(PIECE) + 2, "{taken:?} pieces");

        stream.flow_control().release_capacity(unread)?;
        let mut all = unread;
        while let Some(data) = stream.data().await {
            let length = data?.len();
            all += length;
            stream.flow_control().release_capacity(length)?;
        }
        assert_eq!(all, PIECES * PIECE);
        Ok(())
    }
}
