//! gRPC channels by endpoint and profile, with mutual TLS always.
//!
//! A [`ClientFactory`] makes [`Channel`]s, which the clients that tonic generates take as theirs. Channels to one [`Target`] with one
//! [`Profile`] share a connection, made by the first call; who answers there must be whom the target names, by the certificate.
//! HTTP/3 comes first and HTTP/2 serves where it does not work, which is remembered and looked at again from time to time
//! ([`Http3Mode`]). Connections are made anew when they break, calls of which nothing was sent are sent on the next, others as
//! [`RetryOptions`] allow, and deadlines hold for the whole call. There is no way to an unencrypted connection, and none to a resumed session.
//!
//! ```
//! use grpc_client_factory::{Channel, ChannelError, ChannelFactory, FactoryOptions, Target};
//! use identity::ExpectedPeer;
//!
//! fn channel_to_node_b(factory: &dyn ChannelFactory) -> Result<Channel, Box<dyn std::error::Error>> {
//!     let target = Target::new("10.0.0.2:7070".parse()?, ExpectedPeer::Node("node-b".parse()?));
//!     Ok(factory.channel(&target, FactoryOptions::CONTROL_PLANE)?)
//! }
//! ```

mod alarm;
mod backoff;
mod balanced;
mod call;
mod channel;
mod connection;
mod deadline;
mod dial;
mod error;
mod eyeballs;
mod factory;
mod health_check;
mod hedging;
mod http2;
mod http3;
mod http3_mode;
mod link;
mod message_meter;
mod meter;
mod policy;
mod profile;
mod request_body;
mod request_stream;
mod response_body;
mod retry;
mod span;
mod state;
mod target;
mod tasks;
mod tls_failure;
mod udp;
mod watched;
mod ways;

pub use balanced::{
    Affinity, BalancedBody, BalancedChannel, BalancedFuture, BalancedOptions, Expect, Idempotent, Resent,
};
pub use call::NOT_PROCESSED;
pub use channel::{Channel, ResponseFuture};
pub use error::{Cause, FactoryError};
pub use factory::{BuildFactoryError, ChannelError, ChannelFactory, ClientFactory, FactoryOptions};
pub use h3_transport::QuicOptions;
pub use health_check::HealthCheckOptions;
pub use hedging::{HedgedMethods, HedgingOptions};
pub use http3_mode::{Http3Mode, ParseVersionPolicyError, VersionPolicy};
pub use profile::{Http2Options, Http3Options, Profile, ProfileError};
pub use response_body::ResponseBody;
pub use retry::{Pushback, RetryBudget, RetryOptions};
pub use target::{Protocol, Target};
pub use tls_failure::{Refuser, TlsFailure};
