//! What a request brings along over HTTP/3.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use h3_transport::RecvStream;
use http_body::Frame;
use tonic::Status;

use crate::timing::Timing;

/// What a request brings along over HTTP/3.
pub(crate) struct RequestBody {
    stream: RequestStream<RecvStream, Bytes>,
    part: Part,
    timing: Arc<Timing>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Data,
    Trailers,
    Nothing,
}

impl RequestBody {
    pub(crate) const fn new(stream: RequestStream<RecvStream, Bytes>, timing: Arc<Timing>) -> Self {
        Self { stream, part: Part::Data, timing }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.part == Part::Nothing
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.part == Part::Data {
            match ready!(self.stream.poll_recv_data(cx)) {
                Ok(Some(mut data)) => return Poll::Ready(Some(Ok(Frame::data(data.copy_to_bytes(data.remaining()))))),
                Ok(None) => self.part = Part::Trailers,
                Err(error) => return Poll::Ready(Some(Err(self.broke_off(error)))),
            }
        }
        if self.part == Part::Trailers {
            let trailers = ready!(self.stream.poll_recv_trailers(cx));
            self.part = Part::Nothing;
            return match trailers {
                Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(error) => Poll::Ready(Some(Err(self.broke_off(error)))),
            };
        }
        Poll::Ready(None)
    }

    /// Returns why the client's side broke off, in gRPC's words (gRFC G2).
    fn broke_off(&mut self, error: StreamError) -> Status {
        self.part = Part::Nothing;
        let mut status = match &error {
            StreamError::RemoteTerminate { code, .. } if *code == Code::H3_REQUEST_CANCELLED => {
                Status::cancelled("the client has cancelled the call")
            }
            StreamError::RemoteTerminate { .. } => Status::internal("the client has reset the call"),
            _ => Status::unavailable("the connection to the client is gone"),
        };
        status.set_source(Arc::new(error));
        status
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // Otherwise the transport says that there is an answer already, which is no error.
        if self.timing.is_cut_off() && !self.is_over() {
            self.stream.stop_sending(Code::H3_REQUEST_CANCELLED);
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("next", &self.part).finish_non_exhaustive()
    }
}
