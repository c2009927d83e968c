//! A stream of requests, whose beginning is kept for as long as it may have to be sent again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use tonic::Status;

/// Most bytes of a stream that are kept. Whoever has sent more before its answer begins is not sent again.
pub(crate) const KEPT_BYTES_MAX: usize = 64 * 1024;

/// One sending of a stream of requests. Of all sendings of a stream only the latest gets anything.
#[derive(Debug)]
pub(crate) struct Sending {
    stream: Arc<Mutex<Stream>>,
    /// Its number among the sendings, once it has begun.
    turn: Option<u64>,
    /// How many pieces it has had.
    had: u64,
}

#[derive(Debug)]
struct Stream {
    rest: tonic::body::Body,
    state: State,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// How many pieces went before those that are kept.
    forgotten: u64,
    /// Sendings that have not begun.
    waiting: u32,
    /// Number of the latest sending that has begun.
    turn: u64,
}

/// How the caller's side of the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    GoesOn,
    Ended,
    /// The caller has given up, or sent what cannot be read.
    Broken,
}

impl Sending {
    /// Makes the first sending of a stream that begins with `head` and goes on with `rest`.
    pub(crate) fn first(head: VecDeque<Bytes>, rest: tonic::body::Body) -> Self {
        let kept_bytes = head.iter().map(Bytes::len).sum();
        let (state, forgotten, waiting, turn) = (State::GoesOn, 0, 1, 0);
        let stream = Stream { rest, state, kept: head, kept_bytes, forgotten, waiting, turn };
        Self { stream: Arc::new(Mutex::new(stream)), turn: None, had: 0 }
    }

    /// Returns the stream from its beginning once more. As long as it is there and has not begun, what is sent is kept.
    pub(crate) fn again(&self) -> Self {
        self.lock().waiting += 1;
        Self { stream: Arc::clone(&self.stream), turn: None, had: 0 }
    }

    /// Returns whether all that was sent is still there to be sent.
    pub(crate) fn is_complete(&self) -> bool {
        let stream = self.lock();
        stream.forgotten == 0 && stream.state != State::Broken
    }

    /// Returns the next piece, or `None` at the end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = *self.turn.get_or_insert_with(|| stream.begin());
        if turn != stream.turn || self.had < stream.forgotten {
            return Poll::Ready(Some(Err(Status::cancelled("the call is made elsewhere"))));
        }
        let piece = ready!(stream.piece(self.had, cx));
        self.had += 1;
        Poll::Ready(piece)
    }

    /// Returns whether the end has been reached.
    pub(crate) fn is_over(&self) -> bool {
        let stream = self.lock();
        let had_all = self.had >= stream.forgotten.saturating_add(stream.kept.len() as u64);
        had_all && (stream.state == State::Ended || stream.state == State::GoesOn && stream.rest.is_end_stream())
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.turn.is_none() {
            self.lock().waiting -= 1;
        }
    }
}

impl Stream {
    fn begin(&mut self) -> u64 {
        self.waiting -= 1;
        self.turn += 1;
        self.turn
    }

    /// Returns the piece after the first `had`, none of which is forgotten.
    fn piece(&mut self, had: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        self.forget(had);
        let place = usize::try_from(had - self.forgotten).unwrap_or(usize::MAX);
        if let Some(piece) = self.kept.get(place) {
            return Poll::Ready(Some(Ok(piece.clone())));
        }
        let piece = ready!(self.poll_rest(cx));
        if let Some(Ok(piece)) = &piece {
            self.kept_bytes += piece.len();
            self.kept.push_back(piece.clone());
            self.forget(had + 1);
        }
        Poll::Ready(piece)
    }

    /// Lets go of the first `had` pieces if nobody may want them again, or if they are too many.
    fn forget(&mut self, had: u64) {
        while (self.waiting == 0 || self.kept_bytes > KEPT_BYTES_MAX)
            && self.forgotten < had
            && let Some(piece) = self.kept.pop_front()
        {
            self.kept_bytes -= piece.len();
            self.forgotten += 1;
        }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        match self.state {
            State::GoesOn => {}
            State::Ended => return Poll::Ready(None),
            State::Broken => return Poll::Ready(Some(Err(Status::cancelled("the caller has broken off")))),
        }
        loop {
            match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                // gRPC has no trailers in requests, and nobody needs empty pieces.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) if !piece.is_empty() => return Poll::Ready(Some(Ok(piece))),
                    Ok(_) | Err(_) => {}
                },
                Some(Err(status)) => {
                    self.state = State::Broken;
                    return Poll::Ready(Some(Err(status)));
                }
                None => {
                    self.state = State::Ended;
                    return Poll::Ready(None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::Frame;
    use tokio::sync::mpsc;

    use super::*;

    struct Script(mpsc::Receiver<Result<Bytes, Status>>);

    impl http_body::Body for Script {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
        }
    }

    fn piece(length: usize) -> Bytes {
        vec![7; length].into()
    }

    fn stream(head: &[usize]) -> (mpsc::Sender<Result<Bytes, Status>>, Sending) {
        let (tell, told) = mpsc::channel(8);
        let head = head.iter().map(|length| piece(*length)).collect();
        (tell, Sending::first(head, tonic::body::Body::new(Script(told))))
    }

    /// Takes pieces until there is none now; returns their lengths, and the end if it has come.
    async fn taken(sending: &mut Sending) -> (Vec<usize>, Option<Result<(), tonic::Code>>) {
        let mut lengths = Vec::new();
        loop {
            match poll_fn(|cx| Poll::Ready(sending.poll(cx))).await {
                Poll::Ready(Some(Ok(piece))) => lengths.push(piece.len()),
                Poll::Ready(Some(Err(status))) => return (lengths, Some(Err(status.code()))),
                Poll::Ready(None) => return (lengths, Some(Ok(()))),
                Poll::Pending => return (lengths, None),
            }
        }
    }

    #[tokio::test]
    async fn a_stream_is_sent_from_its_beginning_to_whoever_is_next_and_the_one_before_gets_no_more() {
        let (tell, mut first) = stream(&[1, 2]);
        let mut second = first.again();
        tell.send(Ok(piece(3))).await.expect("room");
        assert_eq!(taken(&mut first).await, (vec![1, 2, 3], None));
        assert!(second.is_complete());
        assert_eq!(taken(&mut second).await, (vec![1, 2, 3], None));
        tell.send(Ok(piece(4))).await.expect("room");
        drop(tell);
        assert_eq!(taken(&mut first).await, (vec![], Some(Err(tonic::Code::Cancelled))));
        assert_eq!((taken(&mut second).await, second.is_over()), ((vec![4], Some(Ok(()))), true));
    }

    #[tokio::test]
    async fn nothing_is_kept_once_nobody_may_want_it_again() {
        let (tell, mut first) = stream(&[1]);
        drop(first.again());
        tell.send(Ok(piece(2))).await.expect("room");
        assert_eq!(taken(&mut first).await, (vec![1, 2], None));
        assert!(!first.again().is_complete());
        assert_eq!(first.lock().kept.len(), 0);
    }

    #[tokio::test]
    async fn a_stream_is_kept_up_to_a_limit_and_not_sent_again_beyond_it() {
        for (more, complete) in [(KEPT_BYTES_MAX - 1, true), (KEPT_BYTES_MAX, false)] {
            let (tell, mut first) = stream(&[1]);
            let mut second = first.again();
            tell.send(Ok(piece(more))).await.expect("room");
            assert_eq!(taken(&mut first).await, (vec![1, more], None));
            assert_eq!(second.is_complete(), complete, "{more}");
            if !complete {
                assert_eq!(taken(&mut second).await, (vec![], Some(Err(tonic::Code::Cancelled))));
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_its_caller_has_broken_off_never_looks_as_if_it_had_ended() {
        let (tell, mut first) = stream(&[1]);
        let mut second = first.again();
        tell.send(Err(Status::aborted("gone"))).await.expect("room");
        assert_eq!(taken(&mut first).await, (vec![1], Some(Err(tonic::Code::Aborted))));
        assert!(!second.is_complete() && !second.is_over());
        assert_eq!(taken(&mut second).await, (vec![1], Some(Err(tonic::Code::Cancelled))));
    }
}
