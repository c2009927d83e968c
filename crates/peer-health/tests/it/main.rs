//! The kit, used as its hosts do.

mod eligibility;
mod leases;
mod membership;
mod setting;
