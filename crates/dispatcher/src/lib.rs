//! Takes RPCs in and sends them out by the name of a service.
//!
//! One neutral model stands between the wires and the handlers: a [`Call`] names a [`ProcedureName`], carries
//! [`RequestMeta`] and [`Messages`], and is answered with a [`Reply`] or a [`Status`]. gRPC and HTTP are translated at the
//! edges; what this process does not handle itself is taken on by a [`Forward`], its frames untouched.
//!
//! ```
//! use dispatcher::{Code, Messages, ProcedureName, Status};
//!
//! let procedure: ProcedureName = "greeter/hello".parse()?;
//! let missing = Status::new(Code::NotFound, format!("{procedure} has nobody to greet"));
//! assert_eq!((missing.word(), missing.http_status().as_u16()), ("not-found", 404));
//! let request = Messages::one("{\"name\":\"Ada\"}");
//! # drop(request);
//! # Ok::<(), dispatcher::ProcedureNameError>(())
//! ```

mod call;
pub mod code;
mod codec;
mod counted;
mod dispatcher;
mod encoding;
mod forward;
mod forwarded;
mod front;
mod grpc;
mod handler;
pub mod header;
mod inbound;
mod introspect;
mod late;
mod local;
mod messages;
mod meta;
mod meta_value;
pub mod middleware;
mod outbound;
mod pages;
mod procedure;
mod registration;
mod status;
mod typed;
mod wire;

pub use call::{Call, Reply};
pub use codec::{Codec, CodecError, Json, Protobuf, Raw};
pub use dispatcher::{Dispatcher, DispatcherBuilder, RegisterError, Registered};
pub use encoding::{Encoding, EncodingError};
pub use forward::Forward;
pub use forwarded::Forwarded;
pub use front::{Front, FrontBuilder, FrontOptions};
pub use handler::{Answer, Handler};
pub use introspect::{LatencySummary, OutboundSummary, PeerSummary};
pub use local::{
    HealthOptions, LocalApp, LocalBindError, LocalEndpoint, LocalListener, LocalProtocol, LocalServiceOptions,
    LocalServices, LocalServicesError, ParseLocalEndpointError,
};
pub use mesh_types::ServiceName;
pub use messages::Messages;
pub use meta::{MetaError, RequestMeta, ResponseMeta};
pub use meta_value::{MetaValue, MetaValueError};
pub use outbound::{Mesh, OutboundOptions, OutboundPorts, Outbounds, OutboundsTask};
pub use peer_health::Readiness;
pub use procedure::{ProcedureName, ProcedureNameError, Shape};
pub use registration::Procedure;
pub use status::Status;
pub use tonic::Code;
pub use tonic::body::Body;
pub use typed::{Incoming, Request, Response};
