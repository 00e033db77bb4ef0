//! What goes in comes out, at every boundary, around every loss that the code allows, and a range
//! touches only what it needs.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{Cluster, draw, noise};
use holdfast_dispersal::*;
use holdfast_types::{BLOB_LEN, ByteRange, Code, FRAME_LEN, LEAF_LEN, ShardIndex};
use proptest::{prelude::*, sample::subsequence};

const SEGMENT_LEN: u64 = 2 * FRAME_SEALED_LEN_MAX;

fn code(k: u16, m: u16) -> Code {
    Code::new(k, m).unwrap()
}

/// Sealed lengths are 16 bytes a frame longer: both the plain and the sealed edge are tried.
fn sizes_around(edge: u64) -> impl Iterator<Item = usize> {
    let tags = TAG_LEN as u64;
    [edge - 1, edge, edge + 1, edge.saturating_sub(tags + 1), edge.saturating_sub(tags), edge.saturating_sub(tags - 1)]
        .into_iter()
        .map(|len| len as usize)
}

#[test]
fn every_boundary_comes_back() {
    let k = 4;
    let edges = [2, 17, LEAF_LEN, LEAF_LEN * u64::from(k), BLOB_LEN, BLOB_LEN * u64::from(k), FRAME_LEN, SEGMENT_LEN];
    for len in [0, 1].into_iter().chain(edges.into_iter().flat_map(sizes_around)) {
        let mut cluster = Cluster::default();
        let plain = noise(len, 1);
        let object = cluster.put(&[&plain], code(k, 2), SEGMENT_LEN).remove(0);
        assert!(cluster.get(&object, None).unwrap().0 == plain, "{len} bytes");
        for segment in cluster.segments.values_mut() {
            segment.shards[0] = None;
            segment.shards[3].as_mut().unwrap()[0] ^= 1;
        }
        assert!(cluster.get(&object, None).unwrap().0 == plain, "{len} bytes, two shards lost");
    }
}

#[test]
fn an_empty_object_is_one_frame_that_proves_its_emptiness() {
    let mut cluster = Cluster::default();
    let object = cluster.put(&[b""], code(2, 1), SEGMENT_LEN).remove(0);
    assert_eq!(object.manifest.sealed_len(), TAG_LEN as u64);
    assert_eq!(cluster.get(&object, None).unwrap().0, b"");
    let mut opener = Opener::new(&object.key, &object.manifest, None).unwrap();
    assert!(matches!(opener.push(&[0; TAG_LEN]), Err(OpenError::Frame { .. })));
}

#[test]
fn compressible_and_incompressible_frames_mix() {
    let mut cluster = Cluster::default();
    let plain = [vec![0; 1_500_000], noise(1_500_000, 1), b"text ".repeat(300_000)].concat();
    let object = cluster.put(&[&plain], code(3, 2), SEGMENT_LEN).remove(0);
    assert!(object.manifest.sealed_len() < plain.len() as u64 / 2 + 600_000);
    assert!(cluster.get(&object, None).unwrap().0 == plain);
}

#[test]
fn small_objects_of_one_upload_share_segments() {
    let mut cluster = Cluster::default();
    let files: Vec<Vec<u8>> = (0..300).map(|n| noise(4096 + n, n as u64)).collect();
    let stored = cluster.put(&files.iter().map(Vec::as_slice).collect::<Vec<_>>(), code(4, 2), SEGMENT_LEN);
    assert_eq!(cluster.segments.len(), 2, "300 × 4 KiB and a bit over 1 MiB of room");
    for segment in cluster.segments.values_mut() {
        segment.shards[1] = None;
    }
    for (object, file) in stored.iter().zip(&files) {
        assert_eq!(&cluster.get(object, None).unwrap().0, file);
    }
}

#[test]
fn one_loss_too_many_says_how_many_were_found_and_needed() {
    let mut cluster = Cluster::default();
    let object = cluster.put(&[&noise(100_000, 1)], code(4, 2), SEGMENT_LEN).remove(0);
    let segment = cluster.segments.values_mut().next().unwrap();
    segment.shards[0] = None;
    segment.shards[5] = None;
    segment.shards[2].as_mut().unwrap()[77] ^= 0x80;
    let error = cluster.get(&object, None).unwrap_err();
    assert_eq!(error, SegmentError::TooFewShards { found: 3, needed: 4 });
    assert!(error.to_string().contains("found 3") && error.to_string().contains("needed 4"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_losses_up_to_m_read_back_and_one_more_does_not(
        (k, m, bad, more) in (1u16..9, 1u16..5).prop_flat_map(|(k, m)| {
            let all: Vec<u16> = (0..k + m).collect();
            (Just(k), Just(m), subsequence(all, usize::from(m)), 0..k)
        }),
        len in 1usize..40_000,
        flip: bool,
        seed: u64,
    ) {
        let mut cluster = Cluster::default();
        let plain = noise(len, seed);
        let object = cluster.put(&[&plain], code(k, m), SEGMENT_LEN).remove(0);
        let segment = cluster.segments.values_mut().next().unwrap();
        let damage = |segment: &mut cluster::StoredSegment, index: u16| match &mut segment.shards[usize::from(index)] {
            Some(bytes) if flip ^ index.is_multiple_of(2) => bytes[seed as usize % 1024] ^= 1,
            shard => *shard = None,
        };
        bad.iter().for_each(|index| damage(segment, *index));
        prop_assert!(cluster.get(&object, None).unwrap().0 == plain);
        let half = ByteRange::new(len as u64 / 2, len as u64).unwrap();
        prop_assert!(cluster.get(&object, Some(half)).unwrap().0 == plain[len / 2..]);

        let segment = cluster.segments.values_mut().next().unwrap();
        let left: Vec<u16> = (0..k + m).filter(|index| !bad.contains(index)).collect();
        damage(segment, left[usize::from(more)]);
        let whole = ByteRange::first(segment.geometry.segment_len());
        let good = segment.good();
        let holds_bytes = |index: &ShardIndex| !segment.geometry.part(*index).is_empty();
        let lost_bytes = (0..k).map(ShardIndex).filter(holds_bytes).any(|index| !good.contains(&index));
        match segment.read(whole) {
            // Of a tiny segment, the lost data shards may be padding only.
            Ok(_) => prop_assert!(!lost_bytes),
            Err(error) => prop_assert_eq!(error, SegmentError::TooFewShards { found: k - 1, needed: k }),
        }
    }

    #[test]
    fn a_range_gives_its_bytes_and_fetches_little_more(
        (len, start, end) in (1u64..5 << 20).prop_flat_map(|len| (Just(len), 0..=len, 0..=len)),
        lost in 0usize..6,
        seed: u64,
    ) {
        let (start, end) = (start.min(end), start.max(end));
        let mut cluster = Cluster::default();
        let plain = noise(len as usize, seed);
        let object = cluster.put(&[&plain], code(4, 2), SEGMENT_LEN).remove(0);
        let range = ByteRange::new(start, end).unwrap();
        let (bytes, fetched) = cluster.get(&object, Some(range)).unwrap();
        prop_assert!(bytes == plain[start as usize..end as usize]);
        let frames = if range.is_empty() { 0 } else { end.div_ceil(FRAME_LEN) - start / FRAME_LEN };
        prop_assert!(fetched <= frames * FRAME_SEALED_LEN_MAX, "{fetched} bytes for {frames} frames");
        for segment in cluster.segments.values_mut() {
            segment.shards[lost] = None;
        }
        let (bytes, around) = cluster.get(&object, Some(range)).unwrap();
        prop_assert!(bytes == plain[start as usize..end as usize]);
        // One lost data shard costs at most k times its own bytes.
        prop_assert!(around <= 4 * fetched);
    }
}

#[test]
fn a_small_range_touches_the_one_shard_that_holds_it() {
    let mut cluster = Cluster::default();
    let object = cluster.put(&[&noise(2 << 20, 1)], code(8, 4), SEGMENT_LEN).remove(0);
    let segment = &cluster.segments[&cluster.map(&object).parts()[0].segment];
    let shard_len = segment.geometry.shard_len();
    let range = ByteRange::at(3 * shard_len + 1000, 500).unwrap();
    let (_, fetches) = segment.read(range).unwrap();
    assert_eq!(fetches, [Fetch { shard: ShardIndex(3), range: ByteRange::at(1000, 500).unwrap() }]);
}

#[test]
fn around_a_lost_shard_only_the_same_stretch_of_k_others_is_read() {
    let mut cluster = Cluster::default();
    let object = cluster.put(&[&noise(2 << 20, 1)], code(8, 4), SEGMENT_LEN).remove(0);
    let id = cluster.map(&object).parts()[0].segment;
    let segment = cluster.segments.get_mut(&id).unwrap();
    let whole = segment.read(ByteRange::first(segment.geometry.segment_len())).unwrap().0;
    segment.shards[3] = None;
    let start = 3 * segment.geometry.shard_len() + 1000;
    let (bytes, fetches) = segment.read(ByteRange::at(start, 500).unwrap()).unwrap();
    assert_eq!(bytes, whole[start as usize..start as usize + 500]);
    let stretch = ByteRange::at(1000, 500).unwrap();
    let indices: Vec<u16> = fetches.iter().map(|fetch| fetch.shard.0).collect();
    assert_eq!(indices, [0, 1, 2, 4, 5, 6, 7, 8]);
    assert!(fetches.iter().all(|fetch| fetch.range == stretch));
}

#[test]
fn a_shard_that_fails_in_the_middle_is_read_around_and_nothing_is_fetched_twice() {
    let mut cluster = Cluster::default();
    let plain = noise(900_000, 1);
    let object = cluster.put(&[&plain], code(3, 2), SEGMENT_LEN).remove(0);
    let segment = cluster.segments.values().next().unwrap();
    let whole = ByteRange::first(segment.geometry.segment_len());
    let all: Vec<ShardIndex> = (0..5).map(ShardIndex).collect();
    let mut read = SegmentRead::new(ReadPlan::new(segment.geometry, whole, &all).unwrap(), segment.masks.clone());
    let len = segment.geometry.shard_len() as usize;
    read.absorb(ShardIndex(0), 0, segment.shard(ShardIndex(0))).unwrap();
    read.absorb(ShardIndex(2), 0, &segment.shard(ShardIndex(2))[..10_000]).unwrap();
    assert!(matches!(read.to_vec(), Err(SegmentError::Unfed { .. })));
    assert!(matches!(read.absorb(ShardIndex(4), 0, &[0; 10]), Err(SegmentError::Unasked { .. })));

    // Shard 1 is gone.
    let wanted = read.replan(&[ShardIndex(0), ShardIndex(2), ShardIndex(4)]).unwrap();
    let tail = wanted.iter().find(|fetch| fetch.shard == ShardIndex(2)).unwrap();
    assert_eq!(tail.range.start(), 10_000);
    assert!(wanted.iter().all(|fetch| fetch.shard != ShardIndex(0) || fetch.range.start() > 0));
    for fetch in wanted {
        let (start, end) = (fetch.range.start(), fetch.range.end().min(len as u64));
        read.absorb(fetch.shard, start, &segment.shard(fetch.shard)[start as usize..end as usize]).unwrap();
    }
    let mut opener = Opener::new(&object.key, &object.manifest, None).unwrap();
    assert!(opener.push(&read.to_vec().unwrap()).unwrap().concat() == plain);
    opener.finish().unwrap();
}

#[test]
fn a_resumed_put_keeps_what_is_durable_and_seals_the_rest_under_another_salt() {
    let plain = noise(5 * FRAME_LEN as usize + 99, 1);
    let changed = noise(plain.len(), 2);
    let key = ObjectKey::from_bytes(draw(1));
    let mut first = Sealer::new(key.clone(), RunSalt(draw(2))).unwrap();
    let mut sealed = first.push(&plain[..3 * FRAME_LEN as usize + 5]).unwrap();
    let written = first.checkpoint().to_bytes().unwrap();
    let abandoned = first.push(&plain[3 * FRAME_LEN as usize + 5..]).unwrap();
    drop(first);

    // The source changed behind the durable part: the same frame numbers, other bytes.
    let at = Checkpoint::from_bytes(&written).unwrap();
    assert_eq!(at.plain_offset(), 3 * FRAME_LEN);
    assert!(matches!(Sealer::resume(key.clone(), at.clone(), RunSalt(draw(2))), Err(SealError::SaltReused)));
    let stranger = ObjectKey::from_bytes(draw(9));
    assert!(matches!(Sealer::resume(stranger, at.clone(), RunSalt(draw(3))), Err(SealError::OtherKey)));
    let mut second = Sealer::resume(key.clone(), at, RunSalt(draw(3))).unwrap();
    let resumed = second.push(&changed[3 * FRAME_LEN as usize..]).unwrap();
    assert_eq!(abandoned[0].index, resumed[0].index);
    // Under one key and nonce, the two ciphertexts would differ exactly where the plaintexts do.
    let xor = |one: &[u8], two: &[u8]| one.iter().zip(two).map(|(a, b)| a ^ b).collect::<Vec<u8>>();
    let at = 3 * FRAME_LEN as usize;
    let frame = at..at + FRAME_LEN as usize;
    assert_ne!(
        xor(&abandoned[0].bytes[..100], &resumed[0].bytes[..100]),
        xor(&plain[frame.clone()][..100], &changed[frame][..100])
    );
    sealed.extend(resumed);
    let object = second.finish(Description::default()).unwrap();
    sealed.push(object.frame);

    let index = object.manifest.open(&key).unwrap();
    assert_eq!(index.runs.iter().map(|run| run.first_frame.0).collect::<Vec<_>>(), [0, 3]);
    let stream: Vec<u8> = sealed.iter().flat_map(|frame| frame.bytes.clone()).collect();
    assert_eq!(holdfast_types::Root::of(&stream), object.manifest.sealed_root());
    let mut opener = Opener::new(&key, &object.manifest, None).unwrap();
    let opened = opener.push(&stream).unwrap().concat();
    opener.finish().unwrap();
    assert!(opened == [&plain[..at], &changed[at..]].concat());
}

#[test]
fn a_run_that_sealed_nothing_leaves_no_trace() {
    let key = ObjectKey::from_bytes(draw(1));
    let first = Sealer::new(key.clone(), RunSalt(draw(2))).unwrap();
    let second = Sealer::resume(key.clone(), first.checkpoint(), RunSalt(draw(3))).unwrap();
    let object = second.finish(Description::default()).unwrap();
    let runs = object.manifest.open(&key).unwrap().runs;
    assert_eq!(runs, [Run { first_frame: holdfast_types::FrameIndex(0), salt: RunSalt(draw(3)) }]);
}

#[test]
fn cores_may_cross_threads() {
    fn send<T: Send>() {}
    send::<Sealer>();
    send::<Opener>();
    send::<SegmentRead>();
    send::<Rebuilder>();
    send::<Encoder>();
}
