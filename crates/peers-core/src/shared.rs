//! What all cells of one table share.

use std::sync::Arc;

use crate::census::Census;
use crate::sync::{AtomicU64, Ordering};
use crate::{BreakerOptions, Fleet};

/// Weight of one sample in the fleet's mean.
const MEAN_WEIGHT: f32 = 0.02;

/// How a table behaves.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// When peers are kept away from calls.
    pub breaker: BreakerOptions,
    /// Most leases on one peer at once; more are refused as busy. Default, and at most, 8,388,607.
    pub max_pending: u32,
    /// Seed of all chance in the table's balancers. Give each process its own, or all choose alike. Default 0.
    pub seed: u64,
    /// Where the choosing node is; default nowhere.
    pub local: Local,
    /// What the peers serve, as metrics name it; default empty.
    pub service: Arc<str>,
    /// How they are called, as metrics name it; default empty.
    pub transport: Arc<str>,
    /// Most peers that have metrics of their own; the others are summed up under `other`. Default 512.
    pub series_max: usize,
}

/// Where the node is that chooses.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// Its zone, for [`Filters::zone_aware`](crate::Filters::zone_aware).
    pub zone: Option<Arc<str>>,
    /// Its slot among the callers, for [`Filters::subset`](crate::Filters::subset).
    pub slot: Option<u32>,
    /// Its name, by which it draws when it has no slot.
    pub name: Arc<str>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            breaker: BreakerOptions::default(),
            max_pending: crate::word::LeaseWord::PENDING_MAX,
            seed: 0,
            local: Local::default(),
            service: "".into(),
            transport: "".into(),
            series_max: 512,
        }
    }
}

/// The table's side of a cell.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: TableOptions,
    pub(crate) census: Census,
    pub(crate) mean: FleetMean,
    /// Ejections that the rails held back.
    pub(crate) kept_in: AtomicU64,
    pub(crate) publishes: AtomicU64,
    /// Whom the table belongs to, if not to itself.
    pub(crate) fleet: Option<Fleet>,
}

impl Shared {
    pub(crate) fn new(options: TableOptions, fleet: Option<Fleet>) -> Self {
        Self {
            options,
            fleet,
            census: Census::new(),
            mean: FleetMean(AtomicU64::new(0)),
            kept_in: AtomicU64::new(0),
            publishes: AtomicU64::new(0),
        }
    }
}

/// Mean latency of all peers in nanoseconds, on a cache line of its own. 0 before the first sample.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct FleetMean(AtomicU64);

impl FleetMean {
    #[inline]
    pub(crate) fn read(&self) -> f32 {
        f32::from_bits(crate::estimator::low(self.0.load(Ordering::Relaxed)))
    }

    pub(crate) fn sample(&self, took_ns: f32) {
        let mean = self.read();
        let next = if mean > 0.0 { mean + (took_ns - mean) * MEAN_WEIGHT } else { took_ns };
        self.0.store(u64::from(next.max(1.0).to_bits()), Ordering::Relaxed);
    }
}
