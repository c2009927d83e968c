//! The power of choices.

use crate::{Chooser, Entropy, Group, PickCx, Refusal};

/// The peer with the fewest pending leases among a few random ones (Mitzenmacher 2001). A tie is left to chance.
#[derive(Debug, Clone, Copy)]
pub struct TwoRandom {
    choices: u8,
}

impl Default for TwoRandom {
    fn default() -> Self {
        Self { choices: 2 }
    }
}

impl TwoRandom {
    /// Makes the chooser that looks at `choices` peers: at least 2, at most 10.
    #[must_use]
    pub fn new(choices: u8) -> Self {
        Self { choices: choices.clamp(2, 10) }
    }
}

impl Chooser for TwoRandom {
    fn name(&self) -> &'static str {
        "two-random"
    }

    #[inline(always)]
    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let Some((first, second)) = entropy.two_below(group.len()) else {
            return group.pending(0, cx, entropy).map(|_| 0).ok_or(Refusal::Unlucky);
        };
        // The first is as random as the second: taking it on a tie is chance.
        let best = match (group.pending(first, cx, entropy), group.pending(second, cx, entropy)) {
            (Some(a), Some(b)) if b < a => Some((b, second)),
            (Some(a), _) => Some((a, first)),
            (None, Some(b)) => Some((b, second)),
            (None, None) => None,
        };
        let best = if self.choices > 2 {
            entropy.lend(|entropy| self.choose_further(best, group, &{ *cx }, entropy))
        } else {
            best
        };
        best.map(|(_, index)| index).ok_or(Refusal::Unlucky)
    }
}

impl TwoRandom {
    /// Looks at the choices beyond the second.
    #[inline(never)]
    fn choose_further(
        self,
        two: Option<(u32, usize)>,
        group: &Group,
        cx: &PickCx<'_>,
        entropy: &mut Entropy,
    ) -> Option<(u32, usize)> {
        (2..self.choices).fold(two, |best, _| {
            let index = entropy.below(group.len());
            let pending = group.pending(index, cx, entropy).map(|pending| (pending, index));
            match (best, pending) {
                (Some(known), Some(new)) if new.0 >= known.0 => Some(known),
                (known, new) => new.or(known),
            }
        })
    }
}
