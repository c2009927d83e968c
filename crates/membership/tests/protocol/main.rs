//! The protocol core as its shell sees it: one core, whose peers the tests play.

mod decoder;
mod dissemination;
mod hello;
mod kit;
mod lives;
mod messages;
mod probing;
mod rumours;
mod storm;
mod suspicion;
mod sync;
mod tombstones;
mod user_events;
mod verification;
