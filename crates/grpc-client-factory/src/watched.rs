//! A TLS stream whose server is heard to its last word.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::Error as TlsError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What TLS said when a stream ended, if it said anything; clones share the note.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsNote(Arc<OnceLock<TlsError>>);

impl TlsNote {
    pub(crate) fn read(&self) -> Option<&TlsError> {
        self.0.get()
    }

    fn take_down(&self, error: &io::Error) {
        if let Some(error) = tls_error(error) {
            self.set(error.clone());
        }
    }

    /// The first stays.
    pub(crate) fn set(&self, error: TlsError) {
        self.0.get_or_init(|| error);
    }
}

/// Returns the error of TLS within an error of its stream.
pub(crate) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// A TLS stream whose server is heard to its last word.
///
/// In TLS 1.3 a client is done with the handshake before the server has looked at its certificate, so a refusal arrives as an
/// alert among the answers. HTTP/2 flattens it to text; this remembers it.
///
/// Who writes after the server has closed gets a broken pipe, while the server's last words lie in the receive buffer: the alert, or
/// answers and the GOAWAY that says which calls it took no notice of. So what cannot be written any more is thrown away, and the
/// stream ends where the server's does.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    stream: T,
    note: TlsNote,
    is_deaf: bool,
}

impl<T> Watched<T> {
    pub(crate) const fn new(stream: T, note: TlsNote) -> Self {
        Self { stream, note, is_deaf: false }
    }

    /// Returns what to say of `bytes` that were to be written: that they were, though the server hears nothing any more.
    fn wrote(&mut self, result: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(error)) => {
                self.note.take_down(&error);
                self.is_deaf = true;
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &result {
            self.note.take_down(error);
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if self.is_deaf {
            return Poll::Ready(Ok(bytes));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(result, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_flush(cx).map_ok(|()| 0);
        self.wrote(result, 0).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A stream whose other side has sent this and closed.
    struct Closed(&'static [u8]);

    impl AsyncRead for Closed {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, _bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_the_server_sent_before_it_closed_is_read_whoever_writes_first() -> io::Result<()> {
        let mut stream = Watched::new(Closed(b"goaway"), TlsNote::default());
        stream.write_all(b"a late request").await?;
        stream.flush().await?;
        stream.write_all(b"another").await?;
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await?;
        assert_eq!(read, b"goaway");
        Ok(())
    }
}
