//! Proofs equal the twin's, verify to the true bytes, and cost the reads that were planned.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::Range;

use merkle_cid::tree::{DEPTH_MAX, group_count, leaf_count, leaf_range, left_leaves};
use merkle_cid::{
    GROUP_LEN, LEAVES_PER_PROOF_MAX, LeafIndex, LeafSet, MultiProof, Outboard, PROOF_LEN_MAX, ProveError, Root,
    plan_reads, proof_len, prove, prove_content, prove_from_reads, verify,
};
use proptest::prelude::*;

use crate::{boundary_lengths, painted, twin};

fn slice(content: &[u8], range: Range<u64>) -> &[u8] {
    &content[range.start as usize..range.end as usize]
}

/// Proves in every way there is, asserts that they agree with the twin, and verifies.
fn assert_proven(content: &[u8], leaves: &LeafSet) {
    let len = content.len() as u64;
    let outboard = Outboard::of(content);
    let plan = plan_reads(len, leaves).expect("the leaves are the content's");

    let mut reads = Vec::new();
    let proof = prove(&outboard, leaves, |range| {
        reads.push(range.clone());
        Ok::<_, Infallible>(slice(content, range))
    })
    .expect("nothing is damaged");
    assert_eq!(reads, plan, "the reads are those that were planned");

    let numbers: BTreeSet<u64> = leaves.iter().map(|leaf| leaf.0).collect();
    assert_eq!(proof.as_bytes(), twin::proof(content, 0, &numbers));
    assert_eq!(proof.as_bytes().len(), proof_len(len, leaves).expect("the leaves are the content's"));
    assert_eq!(prove_content(content, leaves).as_ref(), Ok(&proof));
    let fetched: Vec<Vec<u8>> = plan.into_iter().map(|range| slice(content, range).to_vec()).collect();
    assert_eq!(prove_from_reads(&outboard, leaves, fetched).as_ref(), Ok(&proof));

    let received = MultiProof::decode(len, leaves, proof.as_bytes()).expect("the size is right");
    let verified = verify(&outboard.root(), len, leaves, &received).expect("the proof is honest");
    let expected: Vec<(LeafIndex, &[u8])> =
        leaves.iter().map(|leaf| (leaf, slice(content, leaf_range(len, leaf).expect("in range")))).collect();
    assert_eq!(verified.leaves().collect::<Vec<_>>(), expected);
    assert_eq!(verified.runs().iter().flat_map(|run| run.leaves()).collect::<Vec<_>>(), expected);
    for pair in verified.runs().windows(2) {
        assert!(pair[0].first.0 + leaf_count(pair[0].bytes.len() as u64) < pair[1].first.0, "runs are maximal");
    }
}

#[test]
fn every_leaf_is_proven_alone_at_every_boundary() {
    for len in boundary_lengths().into_iter().filter(|&len| len <= 40_000) {
        let content = painted(len);
        for leaf in 0..leaf_count(len as u64) {
            assert_proven(&content, &LeafSet::new([LeafIndex(leaf)]).unwrap());
        }
    }
}

#[test]
fn every_set_of_up_to_eight_leaves_is_proven() {
    for leaves in 1..=8u64 {
        let content = painted(leaves as usize * 1024 - 300);
        for mask in 1..1u32 << leaves {
            let set = (0..leaves).filter(|leaf| mask >> leaf & 1 == 1).map(LeafIndex);
            assert_proven(&content, &LeafSet::new(set).unwrap());
        }
    }
}

#[test]
fn empty_content_is_proven_by_an_empty_proof_and_no_read() {
    let set = LeafSet::range(0..1).unwrap();
    assert_proven(&[], &set);
    assert_eq!(plan_reads(0, &set).unwrap(), []);
    assert!(prove_content(&[], &set).unwrap().as_bytes().is_empty());
}

#[test]
fn all_leaves_together_are_the_content_itself() {
    for len in [1, 1024, 1025, 16_384, 16_385, 300_001] {
        let content = painted(len);
        let all = LeafSet::range(0..leaf_count(len as u64)).unwrap();
        assert_eq!(prove_content(&content, &all).unwrap().as_bytes(), content);
        assert_proven(&content, &all);
    }
}

#[test]
fn bytes_of_a_blob_come_out_in_one_piece() {
    let content = painted(3 * 126_976 + 500);
    for blob in 0..4u64 {
        let range = blob * 126_976..(content.len() as u64).min((blob + 1) * 126_976);
        let leaves = LeafSet::covering(range.clone()).unwrap();
        assert_proven(&content, &leaves);
        let proof = prove_content(&content, &leaves).unwrap();
        let verified = verify(&Root::of(&content), content.len() as u64, &leaves, &proof).unwrap();
        assert_eq!(verified.runs().len(), 1);
        assert_eq!(verified.runs()[0].bytes, slice(&content, range));
    }
}

#[test]
fn siblings_that_leaves_share_are_carried_once() {
    let content = painted(512 * 1024);
    let alone = |leaf| proof_len(512 * 1024, &LeafSet::new([LeafIndex(leaf)]).unwrap()).unwrap();
    assert_eq!(alone(0), 1024 + 9 * 32);
    // Leaves 0 and 1 share all of the eight siblings above their own branch.
    let pair = LeafSet::range(0..2).unwrap();
    assert_eq!(proof_len(512 * 1024, &pair).unwrap(), 2048 + 8 * 32);
    assert_proven(&content, &pair);
}

#[test]
fn one_damaged_group_is_named_and_stops_no_other() {
    let mut content = painted(100_000);
    let outboard = Outboard::of(&content);
    content[40_000] ^= 1;
    let read = |range| Ok::<_, Infallible>(slice(&content, range));
    let hit = LeafSet::new([1, 34, 90].map(LeafIndex)).unwrap();
    assert_eq!(prove(&outboard, &hit, read), Err(ProveError::Content { range: 32_768..49_152 }));
    let missed = LeafSet::new([1, 31, 48, 90].map(LeafIndex)).unwrap();
    let proof = prove(&outboard, &missed, read).unwrap();
    assert!(verify(&outboard.root(), 100_000, &missed, &proof).is_ok());
}

#[test]
fn failed_and_short_reads_are_named_with_their_range() {
    let content = painted(20_000);
    let outboard = Outboard::of(&content);
    let set = LeafSet::new([17].map(LeafIndex)).unwrap();
    let failed = prove(&outboard, &set, |_| Err::<Vec<u8>, _>("the disk is gone"));
    assert_eq!(failed, Err(ProveError::Read { range: 16_384..20_000, source: "the disk is gone" }));
    for came in [3615, 3617] {
        let wrong = prove(&outboard, &set, |_| Ok::<_, Infallible>(vec![0; came]));
        assert_eq!(wrong, Err(ProveError::ReadLength { range: 16_384..20_000, came }));
    }
    let none: [&[u8]; 0] = [];
    assert!(matches!(prove_from_reads(&outboard, &set, none), Err(ProveError::Read { .. })));
}

#[test]
fn leaves_and_groups_cover_the_longest_content() {
    let len = u64::MAX;
    assert_eq!(leaf_count(len), 1 << DEPTH_MAX);
    assert_eq!(group_count(len), 1 << 50);
    let last = LeafIndex((1 << DEPTH_MAX) - 1);
    assert_eq!(leaf_range(len, last), Ok(u64::MAX - 1023..u64::MAX));
    assert!(leaf_range(len, LeafIndex(last.0 + 1)).is_err());
    let set = LeafSet::new([LeafIndex(0), last]).unwrap();
    assert_eq!(proof_len(len, &set), Ok(1024 + 1023 + 2 * 53 * 32));
    assert_eq!(plan_reads(len, &set), Ok(vec![0..16_384, u64::MAX - 16_383..u64::MAX]));
}

#[test]
fn proofs_in_the_longest_content_are_walked_without_trouble() {
    // Nobody has the content, but any leaves and siblings are the proof of some root.
    let leaves = leaf_count(u64::MAX);
    let set = LeafSet::new([0, 1, 12_345_678_901, leaves / 2, leaves - 2, leaves - 1].map(LeafIndex)).unwrap();
    let size = proof_len(u64::MAX, &set).unwrap();
    let proof = MultiProof::decode(u64::MAX, &set, painted(size)).unwrap();
    let Err(merkle_cid::VerifyError::Root { came, .. }) = verify(&Root::of(b""), u64::MAX, &set, &proof) else {
        panic!("a made-up proof cannot have the root of nothing")
    };
    assert_eq!(verify(&came, u64::MAX, &set, &proof).unwrap().leaves().count(), 6);
}

/// Leaves of content of `len` bytes, drawn without order, with repetitions, as many as a proof may have.
fn drawn(len: u64) -> impl Strategy<Value = LeafSet> {
    prop::collection::vec(0..leaf_count(len), 1..=LEAVES_PER_PROOF_MAX)
        .prop_map(|leaves| LeafSet::new(leaves.into_iter().map(LeafIndex)).expect("bounded"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_sets_of_random_content_are_proven(
        (content, leaves) in prop::collection::vec(any::<u8>(), 0..200_000).prop_flat_map(|content| {
            let len = content.len() as u64;
            let few = prop::collection::vec(0..leaf_count(len), 1..12)
                .prop_map(|leaves| LeafSet::new(leaves.into_iter().map(LeafIndex)).expect("bounded"));
            (Just(content), prop_oneof![few, drawn(len)])
        })
    ) {
        assert_proven(&content, &leaves);
    }

    #[test]
    fn no_proof_is_longer_than_the_bound_and_no_read_than_a_group(
        (len, leaves) in (0..64u32).prop_flat_map(|bits| (u64::MAX >> bits).saturating_sub(7)..=u64::MAX >> bits)
            .prop_flat_map(|len| (Just(len), drawn(len)))
    ) {
        prop_assert!(proof_len(len, &leaves).unwrap() <= PROOF_LEN_MAX);
        let plan = plan_reads(len, &leaves).unwrap();
        prop_assert!(plan.iter().all(|range| range.end - range.start <= GROUP_LEN as u64));
        prop_assert!(plan.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }

    #[test]
    fn left_side_is_the_largest_power_of_two_below(leaves in 2u64..=1 << 54) {
        let left = left_leaves(leaves);
        prop_assert!(left.is_power_of_two() && left < leaves && 2 * left >= leaves);
    }
}
