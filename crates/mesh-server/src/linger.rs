//! Closing TCP so that the last bytes arrive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Longest wait for the other side to close.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Most bytes that are read and thrown away meanwhile.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// A connection that, once it is shut down, waits for the other side to close.
///
/// A socket that is closed while it holds bytes unread resets the connection, and the reset overtakes what was sent last:
/// the alert that says why somebody is refused, or the end of an answer.
#[derive(Debug)]
pub(crate) struct Linger<I> {
    io: I,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    No,
    Waiting { unread_bytes: usize, until: Pin<Box<Sleep>> },
    Done,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Linger<I> {
    pub(crate) const fn new(io: I) -> Self {
        Self { io, closing: Closing::No }
    }

    /// Closes our side, and gives the other a moment to close its own.
    pub(crate) async fn hang_up(mut self) {
        if let Err(error) = self.shutdown().await {
            tracing::trace!(%error, "the other side was gone already");
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, closing } = &mut *self;
        loop {
            match closing {
                Closing::No => {
                    ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
                    *closing = Closing::Waiting { unread_bytes: 0, until: Box::pin(sleep(TIMEOUT)) };
                }
                Closing::Waiting { unread_bytes, until } => {
                    let mut bytes = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    let is_over = match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                        Poll::Pending => {
                            ready!(until.as_mut().poll(cx));
                            true
                        }
                        // Closed, by whichever word.
                        Poll::Ready(Err(_)) => true,
                        Poll::Ready(Ok(())) => {
                            *unread_bytes += buffer.filled().len();
                            buffer.filled().is_empty() || *unread_bytes > UNREAD_BYTES_MAX
                        }
                    };
                    if is_over {
                        *closing = Closing::Done;
                    }
                }
                Closing::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Linger<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_other_side_to_close_and_not_for_ever() -> io::Result<()> {
        let (ours, mut theirs) = duplex(64);
        let mut closing = Box::pin(Linger::new(ours).hang_up());
        timeout(TIMEOUT / 2, &mut closing).await.expect_err("the other side is still there");
        theirs.write_all(b"late").await?;
        assert_eq!(theirs.read(&mut [0; 8]).await?, 0, "our side is closed");
        timeout(TIMEOUT / 4, &mut closing).await.expect_err("the other side is still there");
        drop(theirs);
        let closed = Instant::now();
        closing.await;
        assert_eq!(Instant::now(), closed);

        let (silent, _theirs) = duplex(64);
        let began = Instant::now();
        Linger::new(silent).hang_up().await;
        assert_eq!(began.elapsed(), TIMEOUT);
        Ok(())
    }
}
