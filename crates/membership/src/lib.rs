//! The gossip protocol of OmniRelay as a pure state machine: who is in the mesh, and how we know.
