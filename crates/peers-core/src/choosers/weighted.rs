//! Chance in proportion to weight.

use crate::{Chooser, Entropy, Group, Peer, PickCx, Refusal};

/// Any peer, with a chance in proportion to its weight; a peer of weight 0 has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weighted;

impl Chooser for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    /// Makes Walker's alias table by Vose's method: for each peer the chance, of 2^32, to stay, and who else it is.
    fn arrange(&self, peers: &[&Peer]) -> Box<[u32]> {
        let count = peers.len() as u64;
        let all: u64 = peers.iter().map(|peer| u64::from(peer.weight)).sum();
        if all == 0 {
            return Box::default();
        }
        // In units of 1/count of the whole, so that one column is worth `all`.
        let mut shares: Vec<u64> = peers.iter().map(|peer| u64::from(peer.weight) * count).collect();
        let mut table: Vec<(u32, u32)> = (0..).take(peers.len()).map(|index| (u32::MAX, index)).collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..shares.len()).partition(|index| shares.get(*index).is_some_and(|share| *share < all));
        while let (Some(taker), Some(giver)) = (poor.pop(), rich.last().copied()) {
            let share = shares.get(taker).copied().unwrap_or(0);
            if let Some(column) = table.get_mut(taker) {
                *column = (fraction(share, all), u32::try_from(giver).unwrap_or(u32::MAX));
            }
            let Some(left) = shares.get_mut(giver) else { continue };
            *left -= all - share;
            if *left < all {
                rich.pop();
                poor.push(giver);
            }
        }
        table.into_iter().flat_map(|(chance, other)| [chance, other]).collect()
    }

    #[inline]
    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let (columns, _) = group.arrangement().as_chunks::<2>();
        let column = entropy.below(columns.len());
        let Some([chance, other]) = columns.get(column) else { return Err(Refusal::Exhausted) };
        let stays = entropy.next_u64() >> 32 < u64::from(*chance) || *chance == u32::MAX;
        let index = if stays { column } else { *other as usize };
        group.pending(index, cx, entropy).map(|_| index).ok_or(Refusal::Unlucky)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the part is less than the whole")]
fn fraction(part: u64, whole: u64) -> u32 {
    ((u128::from(part) << 32) / u128::from(whole)) as u32
}
