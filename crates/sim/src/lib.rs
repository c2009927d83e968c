//! A seeded virtual network and clock for the pure cores.
