//! The promise about memory, measured: a counting allocator under a put and a get.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use cluster::{draw, noise};
use holdfast_dispersal::*;
use holdfast_types::{ByteRange, Code, FRAME_LEN, ShardIndex};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes above what was allocated before, while `work` ran.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let out = work();
    (out, PEAK.load(Relaxed) - before)
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
    let ((), short) = peak_of(|| put_and_get(40));
    let ((), long) = peak_of(|| put_and_get(120));
    // The segment coded (48 MiB), and what was fetched of it (32 MiB), and a few frames.
    assert!(short < 90 << 20, "{short} bytes");
    assert!(long < short + (1 << 20), "{long} bytes for 120 MiB, {short} for 40");
}
