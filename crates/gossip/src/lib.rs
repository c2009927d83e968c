//! Gossip membership over QUIC with mutual TLS: the shell around the membership core.
//!
//! A process that runs a [`Service`] is a member of the mesh: it finds the others through seeds, learns who is there and
//! who has gone, and is found. The protocol is in the crate `membership`; this one owns the socket, the timers and the links. Every
//! link is mutually authenticated; who a message comes from is what the certificate says, and nothing else.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::SystemTime;
//! use gossip::{Options, Service};
//! use identity::{CertificateFiles, Credentials};
//! use peers_core::MembershipView;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let files = CertificateFiles {
//!     certificate: "node-a.pem".into(),
//!     key: "node-a.key".into(),
//!     trust_bundle: "ca.pem".into(),
//! };
//! # #[expect(clippy::disallowed_methods, reason = "an example")]
//! let credentials = Arc::new(Credentials::load(&files, SystemTime::now())?);
//! let mut options = Options::of(credentials.spiffe_id(), "eu-1".parse()?);
//! options.seed_peers = vec!["seed.mesh.example:17421".parse()?];
//! let service = Service::bind(options, credentials)?;
//! let handle = service.handle();
//! let shutdown = CancellationToken::new();
//! let running = service.run(shutdown.clone());
//! println!("{} members", handle.current().members.len());
//! # drop(running);
//! # Ok(())
//! # }
//! ```

mod accept;
mod audit;
mod change;
mod close;
mod correlation;
mod dial;
mod driver;
mod endpoint;
mod events;
mod exchange;
mod follow;
mod handle;
mod link;
mod links;
mod observe;
mod options;
mod service;
mod spans;
mod terms;
mod tls;
mod user_events;

pub use change::{ChangeError, LabelChanges};
pub use correlation::CorrelationId;
pub use events::{Events, Happened, Missed};
pub use handle::Handle;
pub use membership::{
    Amount, Bound, Event, Knob, KnobFacts, OptionsError, ParseProfileError, Profile, SendEventError, UserEvent,
};
pub use options::Options;
pub use service::{BindError, RunError, Service};
pub use user_events::SendUserEventError;
