//! The body of an answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::{Code, Status};

use crate::call::status_of;
use crate::connection::Slot;
use crate::deadline::Timer;
use crate::error::FactoryError;
use crate::message_meter::MessageMeter;
use crate::meter::Recorder;
use crate::{http2, http3};

/// The body of an answer. Dropped before its end, it takes the call back: the server is told.
pub struct ResponseBody {
    /// `None` once the answer is over.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    source: Source,
    slot: Slot,
    meter: MessageMeter,
    timer: Option<Timer>,
    recorder: Recorder,
}

/// A part of the answer, or why there is none.
type Part = Result<Frame<Bytes>, Arc<FactoryError>>;

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    Http2(http2::Answer),
    Http3(http3::Answer),
}

/// What its transport says of an answer that was broken off.
#[derive(Debug)]
pub(crate) enum Broken {
    Http2(h2::Error),
    Http3(h3::error::StreamError),
}

impl ResponseBody {
    pub(crate) fn new(
        source: Source,
        slot: Slot,
        meter: MessageMeter,
        (timer, recorder): (Option<Timer>, Recorder),
    ) -> Self {
        Self { open: Some(Open { source, slot, meter, timer, recorder }) }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        if let Some(timer) = &mut self.timer
            && let Poll::Ready(after) = timer.poll(cx)
        {
            let endpoint = self.slot.connection.target().endpoint.clone();
            return Poll::Ready(Some(Err(Arc::new(FactoryError::Deadline { endpoint, after }))));
        }
        let frame = match &mut self.source {
            Source::Http2(answer) => ready!(answer.poll_frame(cx)).map(|frame| frame.map_err(Broken::Http2)),
            Source::Http3(answer) => ready!(answer.poll_frame(cx)).map(|frame| frame.map_err(Broken::Http3)),
        };
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| self.slot.explain(error))?;
            self.measure(&frame)?;
            Ok(frame)
        }))
    }

    fn measure(&mut self, frame: &Frame<Bytes>) -> Result<(), FactoryError> {
        let Some(data) = frame.data_ref() else { return Ok(()) };
        let limit = self.meter.limit();
        self.meter.pass(data).map_err(|bytes| FactoryError::TooLarge { bytes, limit, done: "received" })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let frame = ready!(open.poll(cx));
        match frame {
            Some(Ok(frame)) => {
                // Nothing follows trailers.
                if let Some(trailers) = frame.trailers_ref() {
                    open.recorder.end(status_of(trailers).unwrap_or(Code::Unknown));
                    self.open = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                open.recorder.end(error.code());
                self.open = None;
                Poll::Ready(Some(Err(error.status())))
            }
            None => {
                // Without trailers: the head has had the status, or there is none.
                open.recorder.end(Code::Unknown);
                self.open = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.open {
            None => true,
            Some(Open { source: Source::Http2(answer), .. }) => answer.is_end_stream(),
            Some(Open { source: Source::Http3(_), .. }) => false,
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("is_open", &self.open.is_some()).finish_non_exhaustive()
    }
}
