//! How others choose, as far as their sources and papers tell.

mod peak_ewma;
mod prequal;

pub(crate) use peak_ewma::PeakEwma;
pub(crate) use prequal::Prequal;
