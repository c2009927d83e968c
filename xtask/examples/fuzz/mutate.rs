//! Small damage to a message: bits, lengths, order, other messages' parts.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

/// Changes to one input at most.
const CHANGES_MAX: usize = 4;

/// Inputs are cut to this length, so that they do not grow for ever.
const LENGTH_MAX: usize = 8 * 1024;

/// Bytes that mean something to a length or a varint.
const EDGES: [u8; 6] = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];

/// Returns a changed copy of one of `corpus`, which is not empty.
pub(crate) fn mutant(corpus: &[Vec<u8>], rng: &mut SmallRng) -> Vec<u8> {
    let mut input = corpus.choose(rng).cloned().unwrap_or_default();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        change(&mut input, corpus, rng);
    }
    input.truncate(LENGTH_MAX);
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut SmallRng) {
    let at = rng.random_range(0..=input.len());
    let some = at..(at + rng.random_range(0..=16)).min(input.len());
    match rng.random_range(0..7) {
        0 => input.truncate(at),
        1 => input.insert(at, rng.random()),
        2 => drop(input.drain(some)),
        3 => {
            let again = input[some].to_vec();
            input.splice(at..at, again);
        }
        4 => {
            let other = corpus.choose(rng).map_or(&[][..], Vec::as_slice);
            let from = rng.random_range(0..=other.len());
            input.splice(at.., other[from..].iter().copied());
        }
        5 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = EDGES.choose(rng).copied().unwrap_or_default();
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
}
