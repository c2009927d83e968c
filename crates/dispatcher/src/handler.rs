//! What stands before a handler.

use std::fmt;
use std::sync::Arc;

use tower::util::BoxCloneSyncService;
use tower::{Layer, Service};

use crate::call::{Call, Reply};
use crate::status::Status;

/// Whatever answers calls. Cloning is cheap, and each call is answered by a clone of its own.
pub type Handler = BoxCloneSyncService<Call, Reply, Status>;

/// A tower layer under the name by which people see it.
#[derive(Clone)]
pub(crate) struct Middleware {
    pub(crate) name: &'static str,
    wrap: Arc<dyn Fn(Handler) -> Handler + Send + Sync>,
}

impl Middleware {
    pub(crate) fn new<L>(name: &'static str, layer: L) -> Self
    where
        L: Layer<Handler, Service: Answer> + Send + Sync + 'static,
    {
        Self { name, wrap: Arc::new(move |inner| layer.layer(inner).boxed()) }
    }
}

impl fmt::Debug for Middleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Puts `layers` before `handler`: calls go through them in their order.
pub(crate) fn wrap<'a>(
    handler: Handler,
    layers: impl IntoIterator<Item = &'a Middleware, IntoIter: DoubleEndedIterator>,
) -> Handler {
    layers.into_iter().rev().fold(handler, |inner, layer| (layer.wrap)(inner))
}

/// A tower service that answers calls: short for the bounds that every one of them needs. Nobody implements it by hand.
pub trait Answer: Clone + Send + Sync + 'static {
    /// Returns the service as a [`Handler`].
    fn boxed(self) -> Handler;
}

impl<S> Answer for S
where
    S: Service<Call, Response = Reply, Error = Status, Future: Send> + Clone + Send + Sync + 'static,
{
    fn boxed(self) -> Handler {
        Handler::new(self)
    }
}
