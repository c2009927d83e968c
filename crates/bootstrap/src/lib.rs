//! The certificate authority: the only crate that signs.
