//! The least busy peer.

use crate::{Chooser, Entropy, Group, PickCx, Refusal};

/// Up to this many peers, all are looked at.
const SCAN_MAX: usize = 256;
/// Beyond, so many random ones.
const SAMPLE: usize = 8;

/// The peer with the fewest pending leases of all; beyond 256 peers, of eight random ones. A tie is left to chance:
/// many callers that break ties alike would all call the same peer.
#[derive(Debug, Clone, Copy, Default)]
pub struct FewestPending;

impl Chooser for FewestPending {
    fn name(&self) -> &'static str {
        "fewest-pending"
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let mut least = Least::default();
        if group.len() <= SCAN_MAX {
            for index in 0..group.len() {
                least.consider(group, index, cx, entropy);
            }
        } else {
            for _ in 0..SAMPLE {
                let index = entropy.below(group.len());
                least.consider(group, index, cx, entropy);
            }
        }
        least.index.ok_or(Refusal::Unlucky)
    }
}

#[derive(Default)]
struct Least {
    index: Option<usize>,
    pending: u32,
    ties: usize,
}

impl Least {
    fn consider(&mut self, group: &Group, index: usize, cx: &PickCx<'_>, entropy: &mut Entropy) {
        let Some(pending) = group.pending(index, cx, entropy) else { return };
        if self.index.is_none() || pending < self.pending {
            *self = Self { index: Some(index), pending, ties: 1 };
        } else if pending == self.pending {
            // Reservoir sampling: of k equal ones, each stays with chance 1/k.
            self.ties += 1;
            if entropy.below(self.ties) == 0 {
                self.index = Some(index);
            }
        }
    }
}
