//! All procedures of a process.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::ServiceName;
use tonic::Code;
use tower::{Layer, ServiceExt as _};

use crate::call::{Call, Reply};
use crate::encoding::Encoding;
use crate::handler::{Answer, Handler, Middleware, wrap};
use crate::procedure::{ProcedureName, Shape};
use crate::registration::Procedure;
use crate::status::Status;

/// All procedures that this process answers itself, with their middleware. Cloning is a reference count.
///
/// ```
/// use dispatcher::{Dispatcher, Json, Procedure, Request, Response};
///
/// let hello = |request: Request<String>| async move { Ok(Response::new(format!("Hello, {}!", request.message))) };
/// let dispatcher = Dispatcher::builder()
///     .procedure(Procedure::unary("greeter/hello".parse()?, Json, hello))
///     .build()?;
/// assert!(dispatcher.serves("greeter"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    services: BTreeMap<ServiceName, BTreeMap<Box<str>, Registered>>,
    middleware: Vec<&'static str>,
}

/// A procedure that is registered.
#[derive(Debug)]
pub struct Registered {
    name: ProcedureName,
    shape: Shape,
    encoding: Option<Encoding>,
    middleware: Vec<&'static str>,
    handler: Handler,
}

/// Gathers procedures and middleware.
#[derive(Debug, Default)]
pub struct DispatcherBuilder {
    procedures: Vec<Procedure>,
    middleware: Vec<Middleware>,
}

/// Why procedures cannot be registered together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Two have one name.
    #[error("procedure `{name}` is registered twice, as {first} and as {second}")]
    Twice {
        /// Which name.
        name: ProcedureName,
        /// The shape of the one that came first.
        first: Shape,
        /// The shape of the other.
        second: Shape,
    },
}

impl DispatcherBuilder {
    /// Adds middleware for all procedures, before their own. What is added first is gone through first; `name` is what people see
    /// of it.
    #[must_use]
    pub fn layer<L>(mut self, name: &'static str, layer: L) -> Self
    where
        L: Layer<Handler, Service: Answer> + Send + Sync + 'static,
    {
        self.middleware.push(Middleware::new(name, layer));
        self
    }

    /// Adds a procedure.
    #[must_use]
    pub fn procedure(mut self, procedure: Procedure) -> Self {
        self.procedures.push(procedure);
        self
    }

    /// Registers what was added.
    ///
    /// # Errors
    /// Two procedures have one name.
    pub fn build(self) -> Result<Dispatcher, RegisterError> {
        let mut services = BTreeMap::<ServiceName, BTreeMap<Box<str>, Registered>>::new();
        for procedure in self.procedures {
            let Procedure { name, shape, encoding, handler, middleware } = procedure;
            let of_service = services.entry(name.service().clone()).or_default();
            if let Some(first) = of_service.get(name.name()) {
                return Err(RegisterError::Twice { name, first: first.shape, second: shape });
            }
            let handler = wrap(handler, self.middleware.iter().chain(&middleware));
            let middleware = middleware.iter().map(|layer| layer.name).collect();
            of_service.insert(name.name().into(), Registered { name, shape, encoding, middleware, handler });
        }
        let middleware = self.middleware.iter().map(|layer| layer.name).collect();
        Ok(Dispatcher { shared: Arc::new(Shared { services, middleware }) })
    }
}

impl Dispatcher {
    /// Begins to gather procedures and middleware.
    #[must_use]
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::default()
    }

    /// Returns whether a procedure of `service` is registered.
    #[must_use]
    pub fn serves(&self, service: &str) -> bool {
        self.shared.services.contains_key(service)
    }

    /// Returns the services of which procedures are registered, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.shared.services.keys()
    }

    /// Returns all procedures in the order of their names.
    pub fn procedures(&self) -> impl Iterator<Item = &Registered> {
        self.shared.services.values().flat_map(BTreeMap::values)
    }

    /// Returns the names of the middleware that all calls go through, in that order.
    #[must_use]
    pub fn middleware(&self) -> &[&'static str] {
        &self.shared.middleware
    }

    /// Returns the procedure `name` of `service`.
    ///
    /// # Errors
    /// `not-found` if nothing of that service is registered, `unimplemented` if it has no such procedure.
    pub fn find(&self, service: &str, name: &str) -> Result<&Registered, Status> {
        let of_service = self
            .shared
            .services
            .get(service)
            .ok_or_else(|| Status::new(Code::NotFound, format!("service `{service}` is not known here")))?;
        of_service
            .get(name)
            .ok_or_else(|| Status::new(Code::Unimplemented, format!("service `{service}` has no procedure `{name}`")))
    }

    /// Answers a call.
    ///
    /// # Errors
    /// There is no such procedure, it has another shape, or what answers it says no.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler.
    pub async fn dispatch(&self, call: Call) -> Result<Reply, Status> {
        let procedure = self.find(call.procedure.service().as_str(), call.procedure.name())?;
        if procedure.shape != call.shape {
            let text = format!("procedure `{}` is {}, not {}", procedure.name, procedure.shape, call.shape);
            return Err(Status::new(Code::InvalidArgument, text));
        }
        procedure.handler().oneshot(call).await
    }
}

impl Registered {
    /// Returns what it is called.
    #[must_use]
    pub const fn name(&self) -> &ProcedureName {
        &self.name
    }

    /// Returns how many messages go either way.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Returns the encoding that it understands; `None` if it looks for itself.
    #[must_use]
    pub const fn encoding(&self) -> Option<&Encoding> {
        self.encoding.as_ref()
    }

    /// Returns the names of its own middleware, in the order that calls go through it, after that of all procedures.
    #[must_use]
    pub fn middleware(&self) -> &[&'static str] {
        &self.middleware
    }

    /// Returns what answers one call: middleware and handler.
    #[must_use]
    pub fn handler(&self) -> Handler {
        self.handler.clone()
    }
}
