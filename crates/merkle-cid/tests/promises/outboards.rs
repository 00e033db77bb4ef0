//! Outboards equal the twin's and bao-tree's, and rot in them is named.

use bao_tree::BlockSize;
use bao_tree::io::outboard::PostOrderMemOutboard;
use merkle_cid::{Outboard, OutboardError, Root, outboard_len};
use proptest::prelude::*;

use crate::{boundary_lengths, painted, twin};

#[test]
fn outboard_equals_the_twins_and_bao_trees_at_every_boundary() {
    for len in boundary_lengths() {
        let content = painted(len);
        let ours = Outboard::of(&content);
        assert_eq!(ours.as_bytes(), twin::outboard(&content, 0), "length {len}");
        assert_eq!(ours.as_bytes().len() as u64, outboard_len(len as u64), "length {len}");

        let theirs = PostOrderMemOutboard::create(&content, BlockSize::from_chunk_log(4));
        assert_eq!(ours.root().as_bytes(), theirs.root.as_bytes(), "length {len}");
        assert_eq!(ours.as_bytes(), theirs.data, "length {len}");
    }
}

#[test]
fn stored_outboard_comes_back_equal_and_verifies() {
    for len in boundary_lengths() {
        let made = Outboard::of(&painted(len));
        let stored = Outboard::from_bytes(made.root(), len as u64, made.clone().into_bytes()).unwrap();
        assert_eq!(stored, made);
        stored.verify().unwrap();
    }
}

#[test]
fn outboard_of_another_size_is_refused_with_both_sizes() {
    let made = Outboard::of(&painted(100_000));
    for (len, size) in [(100_000, 5 * 64), (100_000, 7 * 64), (100_000, 6 * 64 - 1), (16_384, 64), (u64::MAX, 6 * 64)] {
        let refused = Outboard::from_bytes(made.root(), len, vec![0; size]);
        assert_eq!(refused, Err(OutboardError::Length { len, expected: outboard_len(len), came: size }));
    }
}

#[test]
fn outboard_under_another_root_names_the_topmost_entry() {
    let made = Outboard::of(&painted(100_000));
    let other = Outboard::from_bytes(Root::of(b"other"), 100_000, made.into_bytes()).unwrap();
    let expected = OutboardError::Entry { number: 5, range: 0..100_000, root: Root::of(b"other") };
    assert_eq!(other.verify(), Err(expected));
}

proptest! {
    #[test]
    fn every_flipped_bit_of_an_outboard_is_found(len in 16_385usize..300_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let made = Outboard::of(&painted(len));
        let mut entries = made.as_bytes().to_vec();
        let at = at.index(entries.len());
        entries[at] ^= 1 << bit;
        let rotten = Outboard::from_bytes(made.root(), len as u64, entries).unwrap();
        match rotten.verify() {
            Err(OutboardError::Entry { number, .. }) => prop_assert_eq!(number, at as u64 / 64),
            other => prop_assert!(false, "expected the rotten entry, came {:?}", other),
        }
    }
}
