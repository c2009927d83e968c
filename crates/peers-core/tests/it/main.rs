//! The crate through its public words.

mod descriptor;
mod support;
