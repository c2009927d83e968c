//! The default.

use crate::{Chooser, Entropy, Group, PickCx, Refusal};

/// The peer that will probably answer first, among three random ones: latency estimate × (pending + 1) / weight.
///
/// The estimate relaxes to the mean of the fleet while a peer is not called, so that a peer that was slow is tried
/// again within seconds and one that is never called looks neither fast nor slow. Failures count as slow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Adaptive;

impl Chooser for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    #[inline(always)]
    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let Some((first, second)) = entropy.two_below(group.len()) else {
            return group.pending(0, cx, entropy).map(|_| 0).ok_or(Refusal::Unlucky);
        };
        let mut best = Best::default();
        best.consider(group, first, cx, entropy);
        best.consider(group, second, cx, entropy);
        if let Some(third) = other_than(first, second, group.len(), entropy) {
            best.consider(group, third, cx, entropy);
        }
        best.index.ok_or(Refusal::Unlucky)
    }
}

/// The usable peer of the lowest cost so far.
pub(super) struct Best {
    cost: f32,
    pub(super) index: Option<usize>,
}

impl Default for Best {
    #[inline(always)]
    fn default() -> Self {
        Self { cost: f32::INFINITY, index: None }
    }
}

impl Best {
    #[inline(always)]
    pub(super) fn consider(&mut self, group: &Group, index: usize, cx: &PickCx<'_>, entropy: &mut Entropy) {
        if let Some(pending) = group.pending(index, cx, entropy) {
            let cost = group.cost(index, pending, cx.now);
            if cost < self.cost {
                *self = Self { cost, index: Some(index) };
            }
        }
    }
}

#[inline(always)]
fn other_than(first: usize, second: usize, bound: usize, entropy: &mut Entropy) -> Option<usize> {
    if bound < 3 {
        return None;
    }
    let (low, high) = (first.min(second), first.max(second));
    let drawn = entropy.below(bound - 2);
    let above_low = if drawn >= low { drawn + 1 } else { drawn };
    Some(if above_low >= high { above_low + 1 } else { above_low })
}
