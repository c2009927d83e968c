//! The messages in a body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use http_body::Body as _;
use tonic::Code;
use tonic::body::Body;

use crate::grpc::compression::{Algorithm, DecompressError};
use crate::grpc::frame::{Frame, FrameError, Frames};
use crate::status::Status;

/// Whose messages a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Reply,
}

/// The messages in a body, read as they are asked for.
#[derive(Debug)]
pub(crate) struct Unframe {
    /// None once it is over.
    body: Option<Body>,
    frames: Frames,
    algorithm: Algorithm,
    limit: usize,
    side: Side,
}

impl Unframe {
    /// Makes one that takes messages of up to `limit` bytes.
    pub(crate) fn new(body: Body, algorithm: Algorithm, limit: usize, side: Side) -> Self {
        Self { body: Some(body), frames: Frames::up_to(limit), algorithm, limit, side }
    }

    fn message(&self, Frame { is_compressed, payload }: Frame) -> Result<Bytes, Status> {
        if !is_compressed {
            return Ok(payload);
        }
        self.algorithm.decompress(&payload, self.limit).map_err(|error| self.side.undecompressed(error))
    }

    /// Ends with the body: a request just ends, a reply says how.
    fn end(&self, trailers: Option<&HeaderMap>) -> Option<Status> {
        if let Err(error) = self.frames.finish() {
            return Some(self.side.unframed(&error));
        }
        if self.side == Side::Request {
            return None;
        }
        let told = trailers.and_then(Status::of_trailers);
        told.map_or_else(
            || Some(Status::new(Code::Unknown, "reply ends without a status")),
            |status| (status.code() != Code::Ok).then_some(status),
        )
    }
}

impl Side {
    const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }

    /// What is wrong with a request is its caller's fault.
    const fn fault(self) -> Code {
        match self {
            Self::Request => Code::InvalidArgument,
            Self::Reply => Code::Internal,
        }
    }

    fn unframed(self, error: &FrameError) -> Status {
        let code = match error {
            FrameError::TooLarge { .. } => Code::ResourceExhausted,
            FrameError::Flag { .. } | FrameError::Truncated { .. } => self.fault(),
        };
        Status::new(code, format!("{}: {error}", self.word()))
    }

    fn undecompressed(self, error: DecompressError) -> Status {
        let code = match error {
            DecompressError::TooLarge { .. } => Code::ResourceExhausted,
            // gRPC's document on compression wants this one.
            DecompressError::Unannounced => Code::Internal,
            DecompressError::Gzip(_) => self.fault(),
        };
        Status::new(code, format!("{}: {error}", self.word())).with_source(Arc::new(error))
    }
}

impl Stream for Unframe {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match this.frames.next() {
                Ok(Some(frame)) => return Poll::Ready(Some(this.message(frame))),
                Ok(None) => {}
                Err(error) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(this.side.unframed(&error))));
                }
            }
            let ended = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(piece)) => match piece.into_data() {
                    Ok(data) => {
                        this.frames.push(data);
                        continue;
                    }
                    Err(other) => this.end(other.trailers_ref()),
                },
                Some(Err(status)) => Some(Status::from(status)),
                None => this.end(None),
            };
            this.body = None;
            return Poll::Ready(ended.map(Err));
        }
    }
}
