//! The dispatcher through its public words.

mod procedures;
