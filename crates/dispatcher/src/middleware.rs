//! Middleware for procedures, and for calls on their way out.
//!
//! Each is a tower layer: give it to [`DispatcherBuilder::layer`](crate::DispatcherBuilder::layer) for all procedures, to
//! [`Procedure::layer`](crate::Procedure::layer) for one, or put it before a [`Forwarded`](crate::Forwarded). A layer that is
//! used in several places is one: what it counts and limits, it does over all of them.
//!
//! Your own is a type with one async function:
//!
//! ```
//! use dispatcher::middleware::{Around, AroundLayer};
//! use dispatcher::{Call, Code, Dispatcher, Handler, Reply, Status};
//! use tower::ServiceExt as _;
//!
//! #[derive(Clone)]
//! struct OnlyNamed;
//!
//! impl Around for OnlyNamed {
//!     async fn around(self, call: Call, next: Handler) -> Result<Reply, Status> {
//!         if call.meta.caller.is_none() {
//!             return Err(Status::new(Code::InvalidArgument, "say who you are: header `rpc-caller`"));
//!         }
//!         next.oneshot(call).await
//!     }
//! }
//!
//! let builder = Dispatcher::builder().layer("only-named", AroundLayer(OnlyNamed));
//! # drop(builder);
//! ```

mod catch_panic;
mod concurrency;
mod deadline;
mod ended;
mod metrics;
mod principal;
mod rate;
mod retry;
mod tee;
mod trace;

use std::fmt;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use crate::call::{Call, Reply};
use crate::handler::Handler;
use crate::status::Status;

pub use catch_panic::CatchPanic;
pub use concurrency::{ConcurrencyLimit, ConcurrencyOptions};
pub use deadline::Deadlines;
pub use metrics::Metrics;
pub use principal::{Principal, Principals};
pub use rate::{RateLimit, RateOptions};
pub use retry::Retry;
pub use tee::{Tee, TeeOptions};
pub use trace::Trace;

/// What is done around a handler, as one async function. Clones share what there is to share.
pub trait Around: Clone + Send + Sync + 'static {
    /// Answers `call`, by `next` if it is to go on.
    fn around(self, call: Call, next: Handler) -> impl Future<Output = Result<Reply, Status>> + Send;
}

/// A tower layer of an [`Around`].
#[derive(Debug, Clone)]
pub struct AroundLayer<A>(pub A);

/// A handler with something around it.
#[derive(Clone)]
pub struct AroundService<A> {
    around: A,
    next: Handler,
}

impl<A: Around> Layer<Handler> for AroundLayer<A> {
    type Service = AroundService<A>;

    fn layer(&self, next: Handler) -> AroundService<A> {
        AroundService { around: self.0.clone(), next }
    }
}

impl<A: Around> Service<Call> for AroundService<A> {
    type Response = Reply;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Reply, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Who answers is asked when there is a call: it may wait for its turn then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        Box::pin(self.around.clone().around(call, self.next.clone()))
    }
}

impl<A> fmt::Debug for AroundService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AroundService")
    }
}

/// Makes layers of types that implement [`Around`].
macro_rules! layers {
    ($($type:ty),+) => {$(
        impl Layer<Handler> for $type {
            type Service = AroundService<Self>;

            fn layer(&self, next: Handler) -> AroundService<Self> {
                AroundService { around: self.clone(), next }
            }
        }
    )+};
}

layers!(CatchPanic, ConcurrencyLimit, Deadlines, Metrics, Principals, RateLimit, Retry, Tee, Trace);
