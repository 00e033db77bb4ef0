//! Lost shards come back as themselves, and no liar gets a byte into one.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{Cluster, StoredSegment, draw, noise};
use holdfast_dispersal::*;
use holdfast_types::{ByteRange, Code, Root, ShardId, ShardIndex};
use proptest::{prelude::*, sample::subsequence};

fn segment(k: u16, m: u16, len: usize, seed: u64) -> StoredSegment {
    let mut cluster = Cluster::default();
    cluster.put(&[&noise(len, seed)], Code::new(k, m).unwrap(), 4 * FRAME_SEALED_LEN_MAX);
    cluster.segments.into_values().next().unwrap()
}

fn targets(segment: &StoredSegment, lost: &[ShardIndex]) -> Vec<Target> {
    lost.iter().map(|index| Target { index: *index, id: segment.names[usize::from(index.0)] }).collect()
}

/// Feeds a rebuilder from the segment's shards, and gives what it made of each target.
fn run(mut rebuilder: Rebuilder, segment: &StoredSegment, lost: &[ShardIndex]) -> Result<Vec<Vec<u8>>, SegmentError> {
    let mut made = vec![Vec::new(); lost.len()];
    while let Some(range) = rebuilder.next_strip() {
        let range = range.start() as usize..range.end() as usize;
        let strip = |index: &ShardIndex| segment.shard(*index)[range.clone()].to_vec();
        let mut strips: Vec<Vec<u8>> = rebuilder.sources().iter().map(strip).collect();
        for rebuilt in rebuilder.absorb(&mut strips)? {
            let place = lost.iter().position(|index| *index == rebuilt.index).unwrap();
            assert_eq!(rebuilt.offset, range.start as u64);
            made[place].extend(rebuilt.bytes);
        }
    }
    rebuilder.finish().map(|()| made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_lost_shards_come_back_as_themselves(
        (k, m, lost) in (1u16..9, 1u16..5).prop_flat_map(|(k, m)| {
            let all: Vec<u16> = (0..k + m).collect();
            (Just(k), Just(m), subsequence(all, 1..=usize::from(m)))
        }),
        len in 1usize..60_000,
        seed: u64,
    ) {
        let segment = segment(k, m, len, seed);
        let lost: Vec<ShardIndex> = lost.into_iter().map(ShardIndex).collect();
        let left: Vec<ShardIndex> = segment.good().into_iter().filter(|index| !lost.contains(index)).collect();
        let new = |range| Rebuilder::new(segment.geometry, segment.masks.clone(), &left, &targets(&segment, &lost), range);
        let made = run(new(None).unwrap(), &segment, &lost).unwrap();
        for (index, bytes) in lost.iter().zip(&made) {
            prop_assert!(bytes == segment.shard(*index));
        }
        let range = ByteRange::new(100, 900).unwrap();
        let made = run(new(Some(range)).unwrap(), &segment, &lost).unwrap();
        for (index, bytes) in lost.iter().zip(&made) {
            prop_assert!(bytes == &segment.shard(*index)[100..900]);
        }
    }
}

#[test]
fn a_large_segment_is_rebuilt_strip_by_strip() {
    let segment = segment(2, 2, 3_500_000, 1);
    let lost = [ShardIndex(0), ShardIndex(3)];
    let sources = [ShardIndex(2), ShardIndex(1)];
    let rebuilder =
        Rebuilder::new(segment.geometry, segment.masks.clone(), &sources, &targets(&segment, &lost), None).unwrap();
    assert_eq!(rebuilder.next_strip(), Some(ByteRange::first(STRIP_LEN as u64)));
    let made = run(rebuilder, &segment, &lost).unwrap();
    assert!(made[0] == segment.shard(lost[0]) && made[1] == segment.shard(lost[1]));
}

#[test]
fn too_few_sources_are_counted_once_each() {
    let segment = segment(4, 2, 10_000, 1);
    let sources = [0, 1, 1, 2, 2, 2].map(ShardIndex);
    let error = Rebuilder::new(segment.geometry, segment.masks.clone(), &sources, &[], None).unwrap_err();
    assert_eq!(error, SegmentError::TooFewShards { found: 3, needed: 4 });
    let outside = Rebuilder::new(segment.geometry, segment.masks.clone(), &[ShardIndex(6)], &[], None);
    assert!(matches!(outside, Err(SegmentError::Index { .. })));
}

#[test]
fn a_source_that_changed_after_it_was_verified_poisons_nothing() {
    let mut segment = segment(4, 2, 50_000, 1);
    segment.shards[1].as_mut().unwrap()[5000] ^= 1;
    let lost = [ShardIndex(0)];
    let sources = [1, 2, 3, 4].map(ShardIndex);
    let rebuilder =
        Rebuilder::new(segment.geometry, segment.masks.clone(), &sources, &targets(&segment, &lost), None).unwrap();
    assert!(matches!(run(rebuilder, &segment, &lost), Err(SegmentError::Root { .. })));
}

#[test]
fn shards_that_never_were_one_code_word_convict_whoever_stored_them() {
    // A lying client names a parity shard that is noise: each shard is what its name says.
    let mut segment = segment(4, 2, 50_000, 1);
    let forged = noise(segment.geometry.shard_len() as usize, 9);
    segment.names[4] = ShardId(Root::of(&forged));
    segment.shards[4] = Some(forged);
    assert_eq!(segment.good().len(), 6);
    let rebuild = |sources: [u16; 4], lost: ShardIndex| {
        let (sources, masks) = (sources.map(ShardIndex), segment.masks.clone());
        let rebuilder = Rebuilder::new(segment.geometry, masks, &sources, &targets(&segment, &[lost]), None).unwrap();
        run(rebuilder, &segment, &[lost])
    };
    assert!(matches!(rebuild([1, 2, 3, 4], ShardIndex(0)), Err(SegmentError::Root { .. })));
    assert!(matches!(rebuild([0, 1, 2, 3], ShardIndex(4)), Err(SegmentError::Shard { .. })));
    assert!(rebuild([0, 1, 2, 3], ShardIndex(5)).is_ok());
}

#[test]
fn strips_of_another_length_or_number_are_refused() {
    let segment = segment(2, 1, 50_000, 1);
    let sources = [ShardIndex(0), ShardIndex(1)];
    let mut rebuilder = Rebuilder::new(segment.geometry, segment.masks.clone(), &sources, &[], None).unwrap();
    let strip = segment.shard(ShardIndex(0)).to_vec();
    assert!(matches!(rebuilder.absorb(&mut [strip.clone()]), Err(SegmentError::Unasked { .. })));
    assert!(matches!(rebuilder.absorb(&mut [strip.clone(), strip[1..].to_vec()]), Err(SegmentError::Unasked { .. })));
    assert!(matches!(rebuilder.finish(), Err(SegmentError::Unfed { .. })));
}

#[test]
fn without_its_mask_no_shard_is_a_function_of_the_others() {
    // Two segments with the same bytes and other secrets share no shard; and the parity of the
    // masked data shards is not the masked parity.
    let code = Code::new(2, 1).unwrap();
    let encoder = Encoder::new(code);
    let bytes = noise(5000, 1);
    let one = encoder.encode(bytes.clone(), &PlacementSecret::from_bytes(draw(1))).unwrap();
    let two = encoder.encode(bytes, &PlacementSecret::from_bytes(draw(2))).unwrap();
    assert_eq!(one.root, two.root);
    assert!(one.shard_ids().iter().all(|id| !two.shard_ids().contains(id)));
    let mut plain: Vec<Vec<u8>> = one.shards.iter().map(|shard| shard.bytes.to_vec()).collect();
    let masked = plain[2].clone();
    reed_solomon_erasure::galois_8::ReedSolomon::new(2, 1).unwrap().encode(&mut plain).unwrap();
    assert_ne!(plain[2], masked);
}

#[test]
fn parity_under_the_mask_is_the_crate_s_own() {
    let (code, secret) = (Code::new(5, 3).unwrap(), PlacementSecret::from_bytes(draw(1)));
    let encoded = Encoder::new(code).encode(noise(100_000, 1), &secret).unwrap();
    let masks = Masks::new(secret, encoded.root, code);
    let unmask = |shard: &EncodedShard| {
        let mut bytes = shard.bytes.to_vec();
        masks.apply(shard.index, 0, &mut bytes);
        bytes
    };
    let plain: Vec<Vec<u8>> = encoded.shards.iter().map(unmask).collect();
    let mut twin = plain.clone();
    twin[5..].iter_mut().for_each(|parity| parity.fill(0));
    reed_solomon_erasure::galois_8::ReedSolomon::new(5, 3).unwrap().encode(&mut twin).unwrap();
    assert!(twin == plain);
    assert_eq!(plain[..5].concat()[..100_000], noise(100_000, 1));
}
