//! The body of a request on its way.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

use crate::channel::CallError;
use crate::error::FactoryError;
use crate::message_meter::MessageMeter;
use crate::request_stream::Sending;

/// The body of a request on its way.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// All there is: one message as a rule. It can be sent again.
    Whole(Option<Bytes>),
    /// A stream, which can be sent again until too much of it was sent.
    Stream { sending: Sending, meter: MessageMeter, fault: Fault },
}

/// What is wrong with a stream that its caller sends. The transport only says that it was broken off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fault(Arc<OnceLock<Arc<FactoryError>>>);

impl Fault {
    pub(crate) fn read(&self) -> Option<Arc<FactoryError>> {
        self.0.get().cloned()
    }
}

/// A request that is there as a whole.
#[derive(Debug)]
pub(crate) struct Whole(Option<Bytes>);

impl Whole {
    /// Returns it to be sent once more.
    pub(crate) fn body(&self) -> RequestBody {
        RequestBody::Whole(self.0.clone())
    }
}

impl RequestBody {
    /// Looks at the beginning of `body`. If that is all of it, as with any call that sends one message, it is kept for the case that
    /// it has to be sent again, and goes out in one piece that also ends the stream. Does not wait for a body that is not ready.
    ///
    /// # Errors
    /// The message is larger than `meter` lets pass, or the body has an error of its own.
    pub(crate) async fn begin(mut body: tonic::body::Body, meter: MessageMeter) -> Result<Self, CallError> {
        if body.is_end_stream() {
            return Ok(Self::Whole(None));
        }
        let mut head = VecDeque::new();
        loop {
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
            match polled {
                // gRPC has no trailers in requests. Many clients end their stream with an empty piece: sent on, it would end nothing,
                // and servers close connections that bring them too many.
                Poll::Ready(Some(Ok(frame))) => head.extend(frame.into_data().ok().filter(|data| !data.is_empty())),
                Poll::Ready(Some(Err(status))) => return Err(CallError::Body(status)),
                Poll::Ready(None) => return Ok(Self::of_all(head, meter)?),
                Poll::Pending => break,
            }
            if head.len() == 2 {
                break;
            }
        }
        Ok(Self::Stream { sending: Sending::first(head, body), meter, fault: Fault::default() })
    }

    /// Makes a body of one message, its prefix included.
    pub(crate) const fn message(message: Bytes) -> Self {
        Self::Whole(Some(message))
    }

    fn of_all(mut head: VecDeque<Bytes>, mut meter: MessageMeter) -> Result<Self, FactoryError> {
        let Some(message) = head.pop_front() else { return Ok(Self::Whole(None)) };
        meter.pass(&message).map_err(|bytes| too_large(bytes, meter.limit()))?;
        Ok(Self::Whole(Some(message)))
    }

    /// Returns where to look what was wrong with a stream.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Whole(_) => None,
            Self::Stream { fault, .. } => Some(fault.clone()),
        }
    }

    /// Returns what it takes to send it as often as one likes, if it is there as a whole.
    pub(crate) fn whole(&self) -> Option<Whole> {
        match self {
            Self::Whole(message) => Some(Whole(message.clone())),
            Self::Stream { .. } => None,
        }
    }

    /// Returns the body once more, to be sent again if it is complete then. For as long as it is there, what is sent is kept.
    pub(crate) fn replay(&self) -> Self {
        match self {
            Self::Whole(message) => Self::Whole(message.clone()),
            Self::Stream { sending, meter, fault } => {
                Self::Stream { sending: sending.again(), meter: meter.anew(), fault: fault.clone() }
            }
        }
    }

    /// Returns whether all that was sent of it is still there to be sent again.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream { sending, .. } => sending.is_complete(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Whole(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Stream { sending, meter, fault } => {
                let piece = ready!(sending.poll(cx));
                if let Some(Ok(data)) = &piece
                    && let Err(bytes) = meter.pass(data)
                {
                    let error = Arc::clone(fault.0.get_or_init(|| Arc::new(too_large(bytes, meter.limit()))));
                    return Poll::Ready(Some(Err(error.status())));
                }
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(message) => message.is_none(),
            Self::Stream { sending, .. } => sending.is_over(),
        }
    }
}

const fn too_large(bytes: u64, limit: u64) -> FactoryError {
    FactoryError::TooLarge { bytes, limit, done: "sent" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of `frames`, and then either its end or nothing yet.
    struct Script {
        frames: VecDeque<&'static [u8]>,
        ends: bool,
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(frame))))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    /// What becomes of a body: what can be sent again, and what is left to send.
    async fn begun(frames: &[&'static [u8]], ends: bool) -> (Option<Option<Bytes>>, Vec<Bytes>) {
        let script = Script { frames: frames.iter().copied().collect(), ends };
        let body = RequestBody::begin(tonic::body::Body::new(script), MessageMeter::new(1 << 20)).await;
        let Ok(mut body) = body else { panic!("no error in the script") };
        let whole = match &body {
            RequestBody::Whole(message) => Some(message.clone()),
            RequestBody::Stream { .. } => None,
        };
        (whole, sent(&mut body))
    }

    /// What a body gives without waiting.
    fn sent(body: &mut RequestBody) -> Vec<Bytes> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let pieces = std::iter::from_fn(|| match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => Some(frame.into_data().expect("data")),
            _ => None,
        });
        pieces.collect()
    }

    #[tokio::test]
    async fn one_message_is_whole_and_every_other_body_is_a_stream_that_loses_nothing() {
        let (a, b, c) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"), Bytes::from_static(b"c"));
        assert_eq!(begun(&[], true).await, (Some(None), vec![]));
        assert_eq!(begun(&[b"a"], true).await, (Some(Some(a.clone())), vec![a.clone()]));
        assert_eq!(begun(&[b"a", b""], true).await, (Some(Some(a.clone())), vec![a.clone()]));
        assert_eq!(begun(&[b"", b"a", b"", b"b"], false).await, (None, vec![a.clone(), b.clone()]));
        assert_eq!(begun(&[b"a"], false).await, (None, vec![a.clone()]));
        assert_eq!(begun(&[b"a", b"b"], true).await, (None, vec![a.clone(), b.clone()]));
        assert_eq!(begun(&[b"a", b"b", b"c"], false).await, (None, vec![a, b, c]));
        assert_eq!(begun(&[], false).await, (None, vec![]));
    }

    #[tokio::test]
    async fn what_was_sent_can_be_sent_again() {
        let whole = RequestBody::Whole(Some(Bytes::from_static(b"a")));
        assert!(matches!(whole.replay(), RequestBody::Whole(Some(again)) if again == "a"));
        let script = Script { frames: VecDeque::from([&b"a"[..], b"b", b"c"]), ends: false };
        let Ok(mut stream) = RequestBody::begin(tonic::body::Body::new(script), MessageMeter::new(1 << 20)).await
        else {
            panic!("no error")
        };
        let mut again = stream.replay();
        assert_eq!(sent(&mut stream), ["a", "b", "c"]);
        assert!(again.is_complete());
        assert_eq!(sent(&mut again), ["a", "b", "c"]);
    }
}
