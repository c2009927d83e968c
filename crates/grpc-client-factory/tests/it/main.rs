//! Channels against tonic's own server over mutual TLS.

mod calls;
mod certificates;
mod connecting;
mod deadlines;
mod http3;
mod limits;
mod quic;
mod support;
