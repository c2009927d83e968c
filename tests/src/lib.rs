//! End-to-end tests across crates and the real binaries.
