//! Large reads.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::spare;

/// A stream that is read in large pieces, whatever pieces are asked for.
///
/// It has a buffer only while there is something in it: a connection that is silent holds none.
#[derive(Debug)]
pub struct ReadAhead<I> {
    io: I,
    ahead: Option<Ahead>,
}

/// What was read before it was asked for.
#[derive(Debug)]
struct Ahead {
    bytes: Vec<u8>,
    /// How much of it has been asked for since.
    taken: usize,
}

/// Reads from `io` in large pieces, whatever pieces are asked for.
pub const fn read_ahead<I>(io: I) -> ReadAhead<I> {
    ReadAhead { io, ahead: None }
}

impl Ahead {
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let (given, _) = rest.split_at(rest.len().min(buffer.remaining()));
        buffer.put_slice(given);
        self.taken += given.len();
    }

    fn is_over(&self) -> bool {
        self.taken >= self.bytes.len()
    }
}

impl<I: AsyncRead + Unpin> ReadAhead<I> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ahead>> {
        let mut bytes = spare::take();
        let read = pin!(self.io.read_buf(&mut bytes)).poll(cx);
        match read {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Ahead { bytes, taken: 0 })),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                spare::give_back(bytes);
                Poll::Pending
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for ReadAhead<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            // Large enough already.
            None if buffer.remaining() >= spare::BYTES => return Pin::new(&mut self.io).poll_read(cx, buffer),
            None => ready!(self.poll_fill(cx))?,
        };
        ahead.give(buffer);
        if ahead.is_over() {
            spare::give_back(ahead.bytes);
        } else {
            self.ahead = Some(ahead);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for ReadAhead<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Fails whenever it is read.
    struct Broken;

    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test]
    async fn what_lies_there_is_read_at_once_and_handed_out_in_the_pieces_that_are_asked_for() -> io::Result<()> {
        let (first, second) = ([1; 10_000], [2; 100]);
        let mut stream = read_ahead(first.as_slice().chain(second.as_slice()));
        let (mut piece, mut sizes, mut all) = ([0; 4_096], Vec::new(), Vec::new());
        while sizes.last() != Some(&0) {
            let bytes = stream.read(&mut piece).await?;
            sizes.push(bytes);
            all.extend_from_slice(piece.get(..bytes).unwrap_or_default());
        }
        assert_eq!(sizes, [4_096, 4_096, 1_808, 100, 0]);
        assert_eq!(all, [first.as_slice(), &second].concat());
        Ok(())
    }

    #[tokio::test]
    async fn a_stream_has_a_buffer_only_while_something_is_in_it() -> io::Result<()> {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut stream = read_ahead(ours);
        theirs.write_all(b"answer").await?;
        let mut piece = [0; 3];
        stream.read_exact(&mut piece).await?;
        assert_eq!(stream.ahead.as_ref().map(|ahead| ahead.taken), Some(3));
        stream.read_exact(&mut piece).await?;
        assert!(stream.ahead.is_none());
        let is_silent = poll_fn(|cx| Poll::Ready(pin!(stream.read(&mut piece)).poll(cx).is_pending())).await;
        assert!(is_silent && stream.ahead.is_none());
        Ok(())
    }

    #[tokio::test]
    async fn a_failure_comes_after_what_was_read_before_it() -> io::Result<()> {
        let mut stream = read_ahead(b"last".chain(Broken));
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        assert_eq!(&word, b"last");
        let error = stream.read(&mut word).await.expect_err("the stream is broken");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        Ok(())
    }
}
