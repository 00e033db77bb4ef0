//! Proofs that must not stand, and questions that must not be asked. Each with the attack it stands for.

use merkle_cid::tree::{GeometryError, leaf_count};
use merkle_cid::{
    LEAVES_PER_PROOF_MAX, LeafIndex, LeafSet, LeafSetError, MultiProof, Outboard, OutboardError, ProveError, Root,
    VerifyError, plan_reads, proof_len, prove, prove_content, verify,
};
use proptest::prelude::*;

use crate::{painted, twin};

fn set<const N: usize>(leaves: [u64; N]) -> LeafSet {
    LeafSet::new(leaves.map(LeafIndex)).expect("a few leaves")
}

/// What a verifier says to `bytes`, sent as the proof about `leaves` of `content`.
fn judge(content: &[u8], leaves: &LeafSet, bytes: &[u8]) -> Result<(), VerifyError> {
    let len = content.len() as u64;
    let proof = MultiProof::decode(len, leaves, bytes)?;
    verify(&Root::of(content), len, leaves, &proof).map(|_| ())
}

#[test]
fn truncated_and_extended_proofs_are_refused_by_their_size() {
    let content = painted(100_000);
    let leaves = set([2, 3, 50, 97]);
    let honest = prove_content(&content, &leaves).unwrap().into_bytes();
    assert_eq!(judge(&content, &leaves, &honest), Ok(()));
    let expected = honest.len();
    for came in (0..expected).step_by(31).chain([expected - 1, expected + 1, expected + 32, 2 * expected]) {
        let mut bytes = honest.clone();
        bytes.resize(came, 0);
        assert_eq!(judge(&content, &leaves, &bytes), Err(VerifyError::Length { expected, came }));
    }
}

#[test]
fn verify_itself_measures_a_proof_that_was_decoded_for_another_question() {
    let content = painted(100_000);
    let proof = prove_content(&content, &set([2, 3])).unwrap();
    let asked = set([2]);
    let refused = verify(&Root::of(&content), 100_000, &asked, &proof);
    let expected = proof_len(100_000, &asked).unwrap();
    assert_eq!(refused, Err(VerifyError::Length { expected, came: proof.as_bytes().len() }));
}

#[test]
fn proof_for_other_leaves_of_the_same_shape_is_refused() {
    let content = painted(16 * 1024);
    for proven in 0..16 {
        let bytes = prove_content(&content, &set([proven])).unwrap().into_bytes();
        for asked in (0..16).filter(|&asked| asked != proven) {
            assert!(matches!(judge(&content, &set([asked]), &bytes), Err(VerifyError::Root { .. })));
        }
    }
}

#[test]
fn exchanged_items_are_refused() {
    let content = painted(8 * 1024);
    let leaves = set([0, 2, 7]);
    // Leaf 0, 1', leaf 2, 3', 4-5', 6', leaf 7.
    let honest = prove_content(&content, &leaves).unwrap().into_bytes();
    let mut items = Vec::new();
    let mut rest = &honest[..];
    for size in [1024, 32, 1024, 32, 32, 32, 1024] {
        let (item, later) = rest.split_at(size);
        items.push(item);
        rest = later;
    }
    assert!(rest.is_empty());
    for a in 0..items.len() {
        for b in a + 1..items.len() {
            let mut exchanged = items.clone();
            exchanged.swap(a, b);
            assert!(matches!(judge(&content, &leaves, &exchanged.concat()), Err(VerifyError::Root { .. })));
        }
    }
    items.reverse();
    assert!(matches!(judge(&content, &leaves, &items.concat()), Err(VerifyError::Root { .. })));
}

#[test]
fn proof_under_another_root_is_refused_and_both_roots_are_named() {
    let content = painted(5000);
    let leaves = set([1]);
    let proof = prove_content(&content, &leaves).unwrap();
    let expected = Root::of(b"something else");
    let refused = verify(&expected, 5000, &leaves, &proof);
    assert_eq!(refused, Err(VerifyError::Root { expected, came: Root::of(&content) }));
}

#[test]
fn last_leaf_pins_the_length_down() {
    for len in [1usize, 1023, 1024, 1025, 2048, 3000, 5 * 1024, 16_384, 16_385, 20_000, 40_000] {
        let content = painted(len);
        let root = Root::of(&content);
        let claims = (0..=len as u64 + 3000).filter(|&claim| claim != len as u64);
        for claim in claims.step_by(if len > 3000 { 97 } else { 1 }) {
            let leaves = set([leaf_count(claim) - 1]);
            // The best a prover can send: true bytes and true siblings, cut or padded to the claim.
            let honest = prove_content(&content, &set([leaf_count(len as u64) - 1])).unwrap().into_bytes();
            let mut bytes = honest;
            bytes.resize(proof_len(claim, &leaves).unwrap(), 0);
            let proof = MultiProof::decode(claim, &leaves, bytes).unwrap();
            assert!(matches!(verify(&root, claim, &leaves, &proof), Err(VerifyError::Root { .. })), "{len} as {claim}");
        }
    }
}

#[test]
fn wrong_length_never_yields_a_wrong_byte() {
    // An interior proof does not show the length: some wrong lengths verify. What they show is still true.
    let content = painted(5 * 1024);
    let root = Root::of(&content);
    let mut accepted = Vec::new();
    for claim in 0..12 * 1024u64 {
        for leaf in 0..leaf_count(claim).min(5) {
            let leaves = set([leaf]);
            let honest = prove_content(&content, &leaves).unwrap().into_bytes();
            let Ok(proof) = MultiProof::decode(claim, &leaves, honest) else { continue };
            let Ok(verified) = verify(&root, claim, &leaves, &proof) else { continue };
            let (_, bytes) = verified.leaves().next().unwrap();
            assert_eq!(bytes, &content[leaf as usize * 1024..][..bytes.len()]);
            assert_eq!(bytes.len(), 1024);
            if leaf == 0 {
                accepted.push(claim);
            }
        }
    }
    // Leaf 0 looks the same in content of 5 to 8 leaves, as the documentation says.
    assert_eq!(accepted, (4097..=8192).collect::<Vec<u64>>());
}

#[test]
fn branch_does_not_pass_as_a_leaf() {
    // The attack on naive trees: claim content of 64 bytes that are the two children of the root.
    let content = painted(2048);
    let children = [twin::leaf_value(&content[..1024], 0), twin::leaf_value(&content[1024..], 1)].concat();
    let leaves = set([0]);
    let proof = MultiProof::decode(64, &leaves, children).unwrap();
    assert!(matches!(verify(&Root::of(&content), 64, &leaves, &proof), Err(VerifyError::Root { .. })));
}

#[test]
fn leaf_that_was_dropped_cannot_be_proven_from_its_chaining_value() {
    // A prover that keeps every chaining value but not the leaf tries what it can compute.
    let content = painted(20 * 1024);
    let leaves = set([9]);
    let honest = prove_content(&content, &leaves).unwrap().into_bytes();
    let at = honest.windows(1024).position(|window| window == &content[9 * 1024..][..1024]).unwrap();
    let value = twin::leaf_value(&content[9 * 1024..][..1024], 9);
    let mut nearly = content[9 * 1024..][..1024].to_vec();
    nearly[1023] ^= 0x80;
    let padded = [&value[..], &[0; 992]].concat();
    for invented in [vec![0; 1024], value.repeat(32), padded, content[8 * 1024..][..1024].to_vec(), nearly] {
        let mut bytes = honest.clone();
        bytes[at..at + 1024].copy_from_slice(&invented);
        assert!(matches!(judge(&content, &leaves, &bytes), Err(VerifyError::Root { .. })));
    }
    // The chaining value in place of the leaf is a proof of another size.
    let mut bytes = honest.clone();
    bytes.splice(at..at + 1024, value);
    assert!(matches!(judge(&content, &leaves, &bytes), Err(VerifyError::Length { .. })));
}

#[test]
fn same_bytes_elsewhere_in_the_content_are_not_the_leaf() {
    // Two equal leaves have different chaining values: keeping one copy of repeated content is keeping no proof.
    let content = vec![7; 4 * 1024];
    let first = prove_content(&content, &set([0])).unwrap().into_bytes();
    let second = prove_content(&content, &set([1])).unwrap().into_bytes();
    assert_ne!(first[1024..1056], second[..32]);
    assert!(judge(&content, &set([1]), &[&first[1024..1056], &first[..1024], &first[1056..]].concat()).is_err());
}

#[test]
fn leaf_beyond_the_content_is_a_wrong_question_everywhere() {
    let content = painted(5000);
    let (root, leaves) = (Root::of(&content), set([1, 5]));
    let expected = GeometryError::LeafBeyondContent { leaf: LeafIndex(5), leaves: 5, len: 5000 };
    let proof = prove_content(&content, &set([1])).unwrap();
    let outboard = Outboard::of(&content);
    assert_eq!(proof_len(5000, &leaves), Err(expected.clone()));
    assert_eq!(plan_reads(5000, &leaves), Err(expected.clone()));
    assert_eq!(prove_content(&content, &leaves), Err(expected.clone()));
    assert_eq!(
        prove(&outboard, &leaves, |_| -> Result<Vec<u8>, ()> { panic!("nothing is read for a wrong question") }),
        Err(ProveError::Geometry(expected.clone()))
    );
    assert_eq!(verify(&root, 5000, &leaves, &proof), Err(VerifyError::Geometry(expected.clone())));
    assert_eq!(MultiProof::decode(5000, &leaves, vec![]), Err(VerifyError::Geometry(expected)));
}

#[test]
fn leaf_sets_are_bounded_before_they_are_built() {
    let max = LEAVES_PER_PROOF_MAX as u64;
    assert_eq!(LeafSet::range(5..5 + max).unwrap().len(), LEAVES_PER_PROOF_MAX);
    assert_eq!(LeafSet::range(5..6 + max), Err(LeafSetError::TooMany { came: max + 1 }));
    assert_eq!(LeafSet::range(0..u64::MAX), Err(LeafSetError::TooMany { came: u64::MAX }));
    assert_eq!(LeafSet::covering(0..u64::MAX), Err(LeafSetError::TooMany { came: 1 << 54 }));
    // Endless, and still refused.
    assert_eq!(LeafSet::new((0..).map(LeafIndex)), Err(LeafSetError::TooMany { came: max + 1 }));
    let long = (0..=max).map(LeafIndex).collect();
    assert_eq!(LeafSet::from_ascending(long), Err(LeafSetError::TooMany { came: max + 1 }));
    #[allow(clippy::reversed_empty_ranges, reason = "what a caller may get wrong")]
    for empty in [LeafSet::range(3..3), LeafSet::range(4..3), LeafSet::covering(9..9), LeafSet::covering(9..8)] {
        assert_eq!(empty, Err(LeafSetError::Empty));
    }
    assert_eq!(LeafSet::new([]), Err(LeafSetError::Empty));
}

#[test]
fn leaves_of_a_message_must_ascend() {
    for (leaves, before, came) in [(vec![1, 2, 2], 2, 2), (vec![3, 1], 3, 1)] {
        let refused = LeafSet::from_ascending(leaves.into_iter().map(LeafIndex).collect());
        assert_eq!(refused, Err(LeafSetError::NotAscending { before: LeafIndex(before), came: LeafIndex(came) }));
    }
    let ascending = LeafSet::from_ascending([1, 2, 9].map(LeafIndex).to_vec());
    assert_eq!(ascending, LeafSet::new([9, 1, 2, 9].map(LeafIndex)));
}

proptest! {
    #[test]
    fn every_flipped_bit_of_a_proof_is_refused(
        len in 1usize..60_000, leaves in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let content = painted(len);
        let count = leaf_count(len as u64) as usize;
        let leaves = LeafSet::new(leaves.into_iter().map(|leaf| LeafIndex(leaf.index(count) as u64))).unwrap();
        let mut bytes = prove_content(&content, &leaves).unwrap().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let refused = judge(&content, &leaves, &bytes);
        prop_assert!(matches!(refused, Err(VerifyError::Root { .. })), "{:?}", refused);
    }

    #[test]
    fn garbage_of_any_size_is_refused_and_never_panics(
        len in prop_oneof![0u64..100_000, any::<u64>()], leaves in prop::collection::vec(any::<u64>(), 1..20),
        garbage in prop::collection::vec(any::<u8>(), 0..4096), fitted in any::<bool>(),
    ) {
        let leaves = LeafSet::new(leaves.into_iter().map(|leaf| LeafIndex(leaf % leaf_count(len)))).unwrap();
        let mut bytes = garbage;
        if fitted {
            bytes.resize(proof_len(len, &leaves).unwrap(), 0xa5);
        }
        // Empty content has one proof, the empty one: look for a root that it does not have.
        let root = Root([0x11; 32]);
        let judged = MultiProof::decode(len, &leaves, bytes)
            .and_then(|proof| verify(&root, len, &leaves, &proof).map(|_| ()));
        prop_assert!(judged.is_err());
    }

    #[test]
    fn rotten_outboard_stops_the_prover_or_does_not_matter(
        len in 16_385usize..200_000, leaf in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        // Never a proof that convicts an honest node because its outboard rotted.
        let content = painted(len);
        let made = Outboard::of(&content);
        let mut entries = made.as_bytes().to_vec();
        let at = at.index(entries.len());
        entries[at] ^= 1 << bit;
        let rotten = Outboard::from_bytes(made.root(), len as u64, entries).unwrap();
        let leaves = LeafSet::new([LeafIndex(leaf.index(leaf_count(len as u64) as usize) as u64)]).unwrap();
        let read = |range: std::ops::Range<u64>| Ok::<_, ()>(&content[range.start as usize..range.end as usize]);
        match prove(&rotten, &leaves, read) {
            Ok(proof) => prop_assert!(verify(&made.root(), len as u64, &leaves, &proof).is_ok()),
            Err(ProveError::Outboard(OutboardError::Entry { number, .. })) => {
                prop_assert_eq!(number, at as u64 / 64);
            }
            Err(other) => prop_assert!(false, "expected the rotten entry, came {:?}", other),
        }
    }
}
