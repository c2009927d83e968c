//! The rest of an answer over HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2_transport::Received;
use http_body::Frame;

use crate::tasks::Pump;

/// The rest of an answer. Dropped before its end, it takes the call back: the server is told.
#[derive(Debug)]
pub(crate) struct Answer {
    received: Received,
    /// Sends the rest of the request.
    pump: Option<Pump>,
}

impl Answer {
    pub(super) const fn new(receiving: RecvStream, pump: Option<Pump>) -> Self {
        Self { received: Received::new(receiving), pump }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let frame = ready!(self.received.poll_frame(cx));
        // Nothing follows trailers.
        if frame.as_ref().is_none_or(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
            self.pump = None;
        }
        Poll::Ready(frame)
    }
}
