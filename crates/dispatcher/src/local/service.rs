//! One service of this node.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use grpc_client_factory::NOT_PROCESSED;
use http::{HeaderValue, Request, Response};
use tokio::sync::Notify;
use tonic::Code;
use tonic::body::Body;

use super::LocalServiceOptions;
use super::app::LocalProtocol;
use super::dial::SendError;
use super::grpc_app::GrpcApp;
use super::health::HealthOptions;
use super::http_app::HttpApp;
use crate::grpc;
use crate::status::Status;

/// One service of this node.
#[derive(Debug)]
pub(crate) struct Local {
    options: LocalServiceOptions,
    speaks: Speaks,
    is_healthy: AtomicBool,
    /// Told when a call has shown that it may not be well.
    doubt: Notify,
}

/// What the application speaks.
#[derive(Debug)]
enum Speaks {
    Grpc(GrpcApp),
    Http(HttpApp),
}

impl Local {
    pub(crate) fn new(options: LocalServiceOptions) -> Self {
        let (name, endpoint) = (&options.name, options.app.endpoint.clone());
        let speaks = match &options.app.protocol {
            LocalProtocol::Grpc => Speaks::Grpc(GrpcApp::new(name, endpoint)),
            LocalProtocol::Http { health } => Speaks::Http(HttpApp::new(name.clone(), endpoint, health.clone())),
        };
        Self { options, speaks, is_healthy: AtomicBool::new(false), doubt: Notify::new() }
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

    /// Asks the application whether it is well.
    pub(crate) async fn is_well(&self) -> bool {
        match &self.speaks {
            Speaks::Grpc(app) => app.is_well().await,
            Speaks::Http(app) => app.is_well().await,
        }
    }

    /// Has the service answer. With gRPC everything passes as it is, but for who is addressed.
    ///
    /// # Errors
    /// It cannot be reached, or has broken off before it began to answer.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let failed = |error: &SendError| {
            self.doubt.notify_one();
            self.failure(error)
        };
        match &self.speaks {
            Speaks::Grpc(app) => app.send(request).await.map(grpc::passed_on).map_err(|error| failed(&error)),
            Speaks::Http(app) => app.call(request, failed).await,
        }
    }

    fn failure(&self, error: &SendError) -> Status {
        let LocalServiceOptions { name, app, .. } = &self.options;
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let mut text = format!("service `{name}` at {app}: {error}");
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
