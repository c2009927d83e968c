//! One write a turn.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::spare;

/// Bytes at which what is gathered is sent without waiting for the end of the turn.
const ENOUGH_BYTES: usize = spare::BYTES;

/// A stream that holds back what is written to it until its [`Outlet`] sends it, or there is enough of it.
///
/// Flushing it does nothing; shutting it down sends all first.
#[derive(Debug)]
pub struct Gathering<I>(Shared<I>);

/// Sends what was written to a [`Gathering`].
#[derive(Debug)]
pub struct Outlet<I>(Shared<I>);

type Shared<I> = Arc<Mutex<Gathered<I>>>;

/// Both halves are used by one task, one after the other: nobody ever waits for the lock.
#[derive(Debug)]
struct Gathered<I> {
    io: I,
    /// Without any room while there is nothing in it.
    unsent: Vec<u8>,
    /// How much of `unsent` has gone already.
    sent: usize,
    /// Why a turn's end could not be sent. The connection hears of it at its next word.
    failure: Option<io::Error>,
    read_bytes: u64,
}

/// Makes `io` gather what is written to it. Whoever polls the connection on it calls [`Outlet::after`] at the end of each turn.
pub fn gather<I>(io: I) -> (Gathering<I>, Outlet<I>) {
    let shared = Arc::new(Mutex::new(Gathered { io, unsent: Vec::new(), sent: 0, failure: None, read_bytes: 0 }));
    (Gathering(Arc::clone(&shared)), Outlet(shared))
}

impl<I: AsyncWrite + Unpin> Outlet<I> {
    /// Sends what the connection has written in this turn, and hands on what came of the turn. A failure is the connection's to
    /// report: its task is woken for another turn.
    pub fn after<T>(&self, turn: Poll<T>, cx: &mut Context<'_>) -> Poll<T> {
        if turn.is_pending() {
            let mut gathered = lock(&self.0);
            if let Poll::Ready(Err(error)) = gathered.poll_send(cx) {
                gathered.failure = Some(error);
                cx.waker().wake_by_ref();
            }
        }
        turn
    }
}

impl<I> Outlet<I> {
    /// Returns how many bytes have been read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        lock(&self.0).read_bytes
    }
}

impl<I: AsyncWrite + Unpin> Gathered<I> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent += bytes,
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        spare::give_back(mem::take(&mut self.unsent));
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.failed()?;
        let bytes = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if self.unsent.len() + bytes > ENOUGH_BYTES {
            ready!(self.poll_send(cx))?;
        }
        if bytes > ENOUGH_BYTES {
            // Large enough for a write of its own: it need not be copied.
            return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        }
        if self.unsent.is_empty() && bytes > 0 {
            self.unsent = spare::take();
        }
        slices.iter().for_each(|slice| self.unsent.extend_from_slice(slice));
        Poll::Ready(Ok(bytes))
    }

    fn failed(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gathering<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.0).failed())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        gathered.failed()?;
        ready!(gathered.poll_send(cx))?;
        Pin::new(&mut gathered.io).poll_shutdown(cx)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gathering<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        let before = buffer.filled().len();
        let result = Pin::new(&mut gathered.io).poll_read(cx, buffer);
        gathered.read_bytes += (buffer.filled().len() - before) as u64;
        result
    }
}

fn lock<I>(shared: &Shared<I>) -> MutexGuard<'_, Gathered<I>> {
    // Whoever panicked has left each field whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Takes note of each write; takes at most `takes` bytes at a time, and fails when it takes none.
    struct Writes {
        seen: Vec<Vec<u8>>,
        takes: usize,
    }

    impl AsyncWrite for Writes {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let (taken, _) = bytes.split_at(bytes.len().min(self.takes));
            if taken.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.seen.push(taken.to_vec());
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn writes(takes: usize) -> (Gathering<Writes>, Outlet<Writes>) {
        gather(Writes { seen: Vec::new(), takes })
    }

    fn seen(outlet: &Outlet<Writes>) -> Vec<Vec<u8>> {
        lock(&outlet.0).io.seen.clone()
    }

    async fn end_turn<I: AsyncWrite + Unpin>(outlet: &Outlet<I>) {
        poll_fn(|cx| Poll::Ready(outlet.after(Poll::<()>::Pending, cx).is_pending())).await;
    }

    #[tokio::test]
    async fn what_is_written_in_one_turn_is_one_write() -> io::Result<()> {
        let (mut stream, outlet) = writes(usize::MAX);
        stream.write_all(b"head").await?;
        stream.flush().await?;
        let more = stream.write_vectored(&[IoSlice::new(b"da"), IoSlice::new(b"ta")]).await?;
        assert_eq!((more, seen(&outlet)), (4, Vec::new()));
        end_turn(&outlet).await;
        end_turn(&outlet).await;
        assert_eq!(seen(&outlet), [b"headdata"]);
        Ok(())
    }

    #[tokio::test]
    async fn a_stream_that_has_sent_all_has_no_buffer() -> io::Result<()> {
        let (mut stream, outlet) = writes(usize::MAX);
        let capacity = || lock(&outlet.0).unsent.capacity();
        stream.write_all(&[1; 20_000]).await?;
        assert_eq!(capacity(), ENOUGH_BYTES);
        end_turn(&outlet).await;
        assert_eq!(capacity(), 0);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_taken_in_pieces_arrives_in_order_and_once() -> io::Result<()> {
        let (mut stream, outlet) = writes(3);
        stream.write_all(b"abcdefgh").await?;
        end_turn(&outlet).await;
        stream.write_all(b"ij").await?;
        stream.shutdown().await?;
        assert_eq!(seen(&outlet).concat(), b"abcdefghij");
        Ok(())
    }

    #[tokio::test]
    async fn a_turn_holds_back_no_more_than_there_is_room_for() -> io::Result<()> {
        let (mut stream, outlet) = writes(usize::MAX);
        stream.write_all(&[1; ENOUGH_BYTES]).await?;
        assert_eq!(seen(&outlet).len(), 0);
        stream.write_all(b"x").await?;
        assert_eq!(seen(&outlet).concat(), [1; ENOUGH_BYTES]);
        stream.write_all(&[2; ENOUGH_BYTES + 1]).await?;
        assert_eq!(seen(&outlet).iter().map(Vec::len).collect::<Vec<_>>(), [ENOUGH_BYTES, 1, ENOUGH_BYTES + 1]);
        Ok(())
    }

    #[tokio::test]
    async fn a_turn_that_cannot_be_sent_is_the_next_ones_failure() -> io::Result<()> {
        let (mut stream, outlet) = writes(0);
        stream.write_all(b"a").await?;
        end_turn(&outlet).await;
        assert_eq!(stream.flush().await.expect_err("nothing was sent").kind(), io::ErrorKind::BrokenPipe);
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_an_answer_has_sent_its_question() -> io::Result<()> {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut stream, outlet) = gather(ours);
        let mut connection = pin!(async move {
            stream.write_all(b"question").await?;
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        });
        let asked = poll_fn(|cx| {
            let turn = connection.as_mut().poll(cx);
            outlet.after(turn, cx)
        });
        let answered = async {
            let mut question = [0; 8];
            theirs.read_exact(&mut question).await?;
            theirs.write_all(b"answer").await
        };
        let (answer, answered) = tokio::join!(asked, answered);
        answered?;
        assert_eq!((&answer?, outlet.read_bytes()), (b"answer", 6));
        Ok(())
    }
}
