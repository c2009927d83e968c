//! The rest of an answer over HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::Frame;

use crate::tasks::Pump;

/// The rest of an answer. Dropped before its end, it takes the call back: the server is told.
#[derive(Debug)]
pub(crate) struct Answer {
    receiving: RecvStream,
    /// Sends the rest of the request.
    pump: Option<Pump>,
    has_ended: bool,
}

impl Answer {
    pub(super) const fn new(receiving: RecvStream, pump: Option<Pump>) -> Self {
        Self { receiving, pump, has_ended: false }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.has_ended || self.receiving.is_end_stream()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match ready!(self.receiving.poll_data(cx)) {
            Some(Ok(data)) => {
                let taken = self.receiving.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(taken.map(|()| Frame::data(data))));
            }
            // The answer is whole, and the server wants no more of the request (RFC 9113 §8.1).
            Some(Err(error)) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                self.end();
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {}
        }
        let trailers = ready!(self.receiving.poll_trailers(cx));
        self.end();
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.pump = None;
    }
}
