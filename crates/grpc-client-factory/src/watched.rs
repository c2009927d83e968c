//! A TLS stream that remembers why the server ended it.

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

/// A TLS stream that remembers why the server ended it.
///
/// In TLS 1.3 a client is done with the handshake before the server has looked at its certificate, so a refusal arrives as an
/// alert among the answers. HTTP/2 flattens it to text; and who writes first after the server has closed sees no more than a
/// broken pipe, though the alert lies in the receive buffer.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    stream: T,
    note: TlsNote,
}

impl<T> Watched<T> {
    pub(crate) const fn new(stream: T, note: TlsNote) -> Self {
        Self { stream, note }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Watched<T> {
    /// After a failed write, looks whether the server has said why.
    fn note_write<R>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        let Poll::Ready(Err(error)) = &result else { return result };
        self.note.take_down(error);
        // What is read is lost, which is no loss: nothing can be written any more. Alerts come within the first records.
        let mut scratch = [0; 1024];
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(alert)) => {
                    self.note.take_down(&alert);
                    break;
                }
                Poll::Ready(Ok(())) | Poll::Pending => break,
            }
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &result {
            self.note.take_down(error);
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_write(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
