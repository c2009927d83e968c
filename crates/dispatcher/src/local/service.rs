//! One service of this node.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use grpc_client_factory::NOT_PROCESSED;
use http::header::TE;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tonic::Code;
use tonic::body::Body;

use super::LocalServiceOptions;
use super::health::HealthOptions;
use super::link::{Link, SendError};
use crate::grpc;
use crate::status::Status;

/// One service of this node.
#[derive(Debug)]
pub(crate) struct Local {
    options: LocalServiceOptions,
    authority: Authority,
    link: Link,
    is_healthy: AtomicBool,
    /// Told when a call has shown that it may not be well.
    doubt: Notify,
}

impl Local {
    pub(crate) fn new(options: LocalServiceOptions) -> Self {
        let authority = Authority::try_from(options.name.as_str());
        let link = Link::new(options.endpoint.clone());
        Self {
            // Names that are no host are called by another.
            authority: authority.unwrap_or_else(|_no_host| Authority::from_static("localhost")),
            options,
            link,
            is_healthy: AtomicBool::new(false),
            doubt: Notify::new(),
        }
    }

    pub(crate) const fn health_options(&self) -> &HealthOptions {
        &self.options.health
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Acquire)
    }

    /// Returns whether that is news.
    pub(crate) fn set_healthy(&self, is_healthy: bool) -> bool {
        self.is_healthy.swap(is_healthy, Ordering::AcqRel) != is_healthy
    }

    /// Waits until a call has failed in a way that says something about the service.
    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Has the service answer; everything passes as it is, but for who is addressed.
    ///
    /// # Errors
    /// It cannot be reached, or has broken off before it began to answer.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        match self.send(request).await {
            Ok(response) => Ok(grpc::passed_on(response)),
            Err(error) => {
                self.doubt.notify_one();
                Err(self.failure(&error))
            }
        }
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let path = request.uri().path_and_query().cloned();
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make a URI");
        *request.version_mut() = Version::HTTP_2;
        // Servers of gRPC refuse calls whose caller, or a proxy on the way, does not know of trailers.
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        self.link.send(request).await
    }

    fn failure(&self, error: &SendError) -> Status {
        let LocalServiceOptions { name, endpoint, .. } = &self.options;
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let mut text = format!("service `{name}` at {endpoint}: {error}");
        for cause in causes {
            text.push_str(": ");
            text.push_str(&cause.to_string());
        }
        let mut status = Status::new(Code::Unavailable, text);
        if matches!(error, SendError::Unseen(_)) {
            status.metadata_mut().insert(NOT_PROCESSED, HeaderValue::from_static("1"));
        }
        status
    }
}
