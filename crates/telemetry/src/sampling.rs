//! Which traces are kept, changed while the process runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

/// Share of the traces begun here that are kept; clones share it.
#[derive(Debug, Clone)]
pub struct SampleRatio(Arc<AtomicU64>);

/// A share that is none.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("share {ratio} of traces is not from 0 to 1")]
pub struct SampleRatioError {
    ratio: f64,
}

impl SampleRatio {
    /// Makes it; what is less than 0 is 0, and what is more than 1 is 1.
    pub(crate) fn new(ratio: f64) -> Self {
        Self(Arc::new(AtomicU64::new(ratio.clamp(0.0, 1.0).to_bits())))
    }

    /// Returns the share, from 0 to 1.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Keeps this share of the traces that begin from now on.
    ///
    /// # Errors
    /// It is not from 0 to 1.
    pub fn set(&self, ratio: f64) -> Result<(), SampleRatioError> {
        if !(0.0..=1.0).contains(&ratio) {
            return Err(SampleRatioError { ratio });
        }
        self.0.store(ratio.to_bits(), Ordering::Relaxed);
        Ok(())
    }
}

impl ShouldSample for SampleRatio {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampler = Sampler::TraceIdRatioBased(self.get());
        sampler.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_from_0_to_1_and_one_that_is_refused_changes_nothing() {
        let ratio = SampleRatio::new(0.25);
        let shared = ratio.clone();
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(ratio.set(wrong).is_err(), "{wrong}");
        }
        assert!((shared.get() - 0.25).abs() < f64::EPSILON);
        assert_eq!(ratio.set(1.0), Ok(()));
        assert!((shared.get() - 1.0).abs() < f64::EPSILON);
    }
}
