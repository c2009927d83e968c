//! End-to-end tests across crates, in one process: see `tests/it`.
//!
//! Those that need a real binary are beside it, in `crates/omnirelay-node/tests` and `crates/omnirelay-cli/tests`; those that need several, of any
//! build, are in `tests/features`, which `cargo xtask features` runs.
