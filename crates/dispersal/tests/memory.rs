//! The promise about memory, measured: the most this process ever had resident, C code included.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{draw, noise};
use holdfast_dispersal::*;
use holdfast_types::{ByteRange, Code, FRAME_LEN, ShardIndex};

/// MiB of resident memory at the highest so far (`VmHWM`, proc(5)).
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Puts `frames` MiB at 8+4 and reads each segment around two lost shards; nothing is kept.
fn put_and_get(frames: u64) {
    let code = Code::new(8, 4).unwrap();
    let (key, encoder) = (ObjectKey::from_bytes(draw(1)), Encoder::new(code));
    let mut sealer = Sealer::new(key, RunSalt(draw(2))).unwrap();
    let mut cutter = SegmentCutter::new(SEGMENT_LEN_DEFAULT);
    let plain = noise(FRAME_LEN as usize, 3);
    for _ in 0..frames {
        for frame in sealer.push(&plain).unwrap() {
            let Some(segment) = cutter.push(0, frame.stream_offset, &frame.bytes) else { continue };
            let secret = PlacementSecret::from_bytes(draw(4));
            let encoded = encoder.encode(segment.bytes, &secret).unwrap();
            let good: Vec<ShardIndex> = (2..12).map(ShardIndex).collect();
            let whole = ByteRange::first(encoded.geometry.segment_len());
            let plan = ReadPlan::new(encoded.geometry, whole, &good).unwrap();
            let mut read = SegmentRead::new(plan, Masks::new(secret, encoded.root, code));
            for fetch in read.wanted() {
                let range = fetch.range.start() as usize..fetch.range.end() as usize;
                let shard = &encoded.shards[usize::from(fetch.shard.0)].bytes;
                read.absorb(fetch.shard, fetch.range.start(), &shard[range]).unwrap();
            }
            let mut root = blake3::Hasher::new();
            read.read(|bytes| {
                root.update(bytes);
            })
            .unwrap();
            assert_eq!(root.finalize().as_bytes(), encoded.root.as_bytes());
        }
    }
    sealer.finish(Description::default()).unwrap();
}

#[test]
fn memory_does_not_grow_with_the_object() {
    put_and_get(40);
    let short = peak_mib();
    put_and_get(160);
    let long = peak_mib();
    // The segment coded (48 MiB), what was fetched of it (32 MiB), a few frames, and the program.
    assert!(short < 120, "{short} MiB");
    assert!(long < short + 16, "{long} MiB for an object of 160 MiB, {short} for one of 40");
}
