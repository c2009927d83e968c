//! The kit, used as its hosts do.

mod board;
mod churn;
mod document;
mod eligibility;
mod events;
mod feedback;
mod leases;
mod membership;
mod metrics;
mod model;
mod setting;
