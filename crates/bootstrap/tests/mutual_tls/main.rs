//! Certificates of the CA in real TLS handshakes, without a socket and without a clock of our own.
//!
//! rustls reads the system's clock during a handshake. Certificates that should be good are therefore
//! valid for a century around today, others for a year that is past or far ahead.

mod expected;
mod files;
mod handshake;
mod load;
mod refusal;
mod replacement;
mod revocation;
mod support;
mod watched_files;
