//! The control endpoint: members, metrics, health over mutual TLS.
