//! A gRPC service for tests of whoever carries calls: all four shapes, slow, large and failing on demand.
//!
//! [`EchoService`] is the service and tells what became of its calls, so that a test can wait for a handler to have
//! begun, or to have been dropped because its caller gave up. [`rpc`] holds messages, client and server as tonic
//! generates them, without a transport: any channel can carry the client, and any server the service. A [`Way`] to a
//! server can be blocked.
//!
//! ```
//! use test_rpc::EchoService;
//! use test_rpc::rpc::echo_server::EchoServer;
//!
//! let echo = EchoService::default();
//! let to_serve = EchoServer::new(echo.clone());
//! assert_eq!(echo.calls().begun, 0);
//! ```

mod calls;
mod echo;
mod service;
mod way;

pub use calls::Calls;
pub use service::EchoService;
pub use way::Way;

/// What `proto/omnirelay/test/v1/echo.proto` generates.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::doc_markdown,
    clippy::excessive_nesting,
    clippy::missing_errors_doc,
    clippy::too_many_lines,
    reason = "generated: the .proto file is the documentation, and the generator's code stays"
)]
pub mod rpc {
    include!("generated/omnirelay.test.v1.rs");
}
