//! W3C trace context: joins spans of `tracing` across processes by the headers of their calls.
//!
//! The caller writes which span a call belongs to with [`inject`], the server makes its own span the child of that one with
//! [`adopt`]. Both do nothing and cost nothing where spans are off, or go nowhere. It exports nothing and decides nothing about
//! sampling: whoever began the trace has.
//!
//! ```
//! use http::HeaderMap;
//! use tracing::info_span;
//!
//! let mut headers = HeaderMap::new();
//! let calling = info_span!("rpc.client");
//! trace_context::inject(&calling, &mut headers);
//!
//! let serving = info_span!(parent: None, "rpc.server");
//! trace_context::adopt(&serving, &headers);
//! ```

mod span;
mod w3c;

pub use span::{adopt, inject};
