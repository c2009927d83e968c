//! What a server can serve.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use tower::{Service, ServiceExt as _};

use crate::body::{Body, BodyError};

/// What a server can serve: a tower service such as tonic's `Routes` or an axum `Router`.
///
/// Every service that takes a [`Request`] of [`Body`], never fails, and answers with a body of [`Bytes`] is one; nobody
/// implements this by hand. A body that is not `Unpin` becomes so in an `axum::body::Body` or a `tonic::body::Body`.
pub trait Serve: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Answer: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static;

    /// Answers one request.
    fn answer(self, request: Request<Body>) -> impl Future<Output = Response<Self::Answer>> + Send + 'static;
}

impl<S, B> Serve for S
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static,
{
    type Answer = B;

    fn answer(self, request: Request<Body>) -> impl Future<Output = Response<B>> + Send + 'static {
        let answering = self.oneshot(request);
        async move {
            let Ok(response) = answering.await;
            response
        }
    }
}
