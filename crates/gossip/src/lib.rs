//! Gossip membership over QUIC with mutual TLS: the shell around the membership core.
