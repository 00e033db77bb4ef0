//! Where the time of a put goes, stage by stage, and Reed–Solomon beside the crate that it is byte-identical to:
//! `cargo run --release -p holdfast-dispersal --example put_speed [-- MIB]`, pinned to one processor for figures worth keeping.
//!
//! Seconds are of this thread's own processor time, the least of several rounds; peers take turns with ours. The
//! comparison with the crate's C code (`simd-accel`) is a package of its own, `benches/peers`: in one build with it the
//! product would change.

use std::{hint::black_box, process::ExitCode};

use holdfast_dispersal::{
    Coder, CpuPath, CutSegment, Description, EncodedSegment, Encoder, ObjectKey, PlacementSecret, RunSalt,
    SEGMENT_LEN_DEFAULT, Sealer, SegmentCutter,
};
use holdfast_kzg::{BLOB_LEN, Fold, Gamma, Scalar};
use holdfast_types::{Code, FRAME_LEN, Root, ShardIndex};
use merkle_cid::Outboard;
use reed_solomon_erasure::galois_8::ReedSolomon;
use rustix::time::{ClockId, clock_gettime};

/// Rounds of each measurement.
const ROUNDS: usize = 7;

type Failure = Box<dyn std::error::Error>;

fn seconds(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    work();
    now() - start
}

fn least(mut work: impl FnMut()) -> f64 {
    (0..ROUNDS).map(|_| seconds(&mut work)).fold(f64::MAX, f64::min)
}

fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
    out
}

fn print(name: &str, bytes: usize, seconds: f64) {
    println!("{name:<58} {:>7.3} GB/s {:>7.3} ns a byte", bytes as f64 / seconds / 1e9, seconds * 1e9 / bytes as f64);
}

/// Encode and rebuild of a 64 MiB segment, every path of this processor beside the crate.
fn reed_solomon(k: u16, m: u16) -> Result<(), Failure> {
    let (code, len) = (Code::new(k, m)?, (64 << 20) / usize::from(k));
    let segment = noise(len * usize::from(k), 1);
    let data: Vec<&[u8]> = segment.chunks_exact(len).collect();
    let (mut parity, mut theirs) = (vec![0; len * usize::from(m)], vec![0; len * usize::from(m)]);
    let peer = ReedSolomon::new(usize::from(k), usize::from(m))?;
    let mut encode_theirs = || {
        let mut targets: Vec<&mut [u8]> = theirs.chunks_exact_mut(len).collect();
        peer.encode_sep(&data, &mut targets).expect("k and m strips of one length");
    };
    let crate_s = (0..3).map(|_| seconds(&mut encode_theirs)).fold(f64::MAX, f64::min);
    print(&format!("({k},{m}) encode, reed-solomon-erasure, default"), segment.len(), crate_s);

    let lost: Vec<ShardIndex> = (0..m.min(k)).map(ShardIndex).collect();
    let present: Vec<ShardIndex> = (m.min(k)..m.min(k) + k).map(ShardIndex).collect();
    for path in CpuPath::available().filter(|path| *path != CpuPath::Plain) {
        let coder = Coder::parity(code).on(path)?;
        let mut targets: Vec<&mut [u8]> = parity.chunks_exact_mut(len).collect();
        let ours = least(|| coder.apply(black_box(&data), &mut targets));
        if parity != theirs {
            return Err(format!("{path}: the parity differs from the crate's").into());
        }
        print(&format!("({k},{m}) encode, {path}, {:.1} times the crate", crate_s / ours), segment.len(), ours);

        let shards: Vec<&[u8]> = data.iter().copied().chain(parity.chunks_exact(len)).collect();
        let sources: Vec<&[u8]> = present.iter().map(|index| shards[usize::from(index.0)]).collect();
        let mut made = vec![0; len * lost.len()];
        let mut targets: Vec<&mut [u8]> = made.chunks_exact_mut(len).collect();
        let coder = Coder::lost(code, &present, &lost)?.on(path)?;
        let ours = least(|| coder.apply(black_box(&sources), &mut targets));
        if made != segment[..made.len()] {
            return Err(format!("{path}: what was lost is not back").into());
        }
        print(&format!("({k},{m}) reconstruct {} lost, {path}", lost.len()), segment.len(), ours);
    }
    Ok(())
}

fn witness(shard: &[u8]) -> Fold {
    let mut fold = Fold::new();
    for (number, blob) in (1u128..).zip(shard.chunks(BLOB_LEN)) {
        let gamma = Gamma(number * 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        fold.absorb(gamma, 0, blob).expect("whole blobs from their beginning");
    }
    fold
}

/// Buffers that go round, as in the client: fresh pages cost the kernel as much as filling them.
#[derive(Default)]
struct Spare {
    data: Vec<u8>,
    parity: Vec<u8>,
}

impl Spare {
    fn take_back(&mut self, segment: EncodedSegment) {
        drop(segment.shards);
        let (data, parity) = segment.buffers.take_back();
        (self.data, self.parity) = (data.unwrap_or_default(), parity.unwrap_or_default());
    }
}

/// One run over `plain`: what a put does to incompressible bytes, up to the sockets.
struct Pipeline<'a> {
    encoder: &'a Encoder,
    spare: &'a mut Spare,
    /// Seconds of each of [`STAGES`].
    spent: [f64; STAGES.len()],
}

const STAGES: [&str; 4] =
    ["frames: copy, zstd's attempt, GCM, the stream's root", "segment's root, code, mask, names", "fold", "evaluate"];

impl Pipeline<'_> {
    fn run(&mut self, plain: &[u8]) -> Result<(), Failure> {
        let mut sealer = Sealer::new(ObjectKey::from_bytes([1; 32]), RunSalt([2; 32]))?;
        let mut cutter = SegmentCutter::new(SEGMENT_LEN_DEFAULT);
        cutter.reuse(std::mem::take(&mut self.spare.data));
        let (frames, last) = plain.split_at((plain.len() - 1) / FRAME_LEN as usize * FRAME_LEN as usize);
        for frame in frames.chunks(FRAME_LEN as usize) {
            let (at, mut full) = (sealer.sealed_len(), Ok(None));
            self.spent[0] += seconds(|| full = cutter.push_with(0, at, |room| sealer.seal_frame(frame, room)));
            if let Some(segment) = full? {
                self.finish(segment)?;
                cutter.reuse(std::mem::take(&mut self.spare.data));
            }
        }
        sealer.push(last)?;
        let object = sealer.finish(Description::default())?;
        let last = cutter.push(0, object.frame.stream_offset, &object.frame.bytes).or_else(|| cutter.flush());
        last.map_or(Ok(()), |segment| self.finish(segment))
    }

    fn finish(&mut self, segment: CutSegment) -> Result<(), Failure> {
        let (secret, parity) = (PlacementSecret::from_bytes([3; 32]), std::mem::take(&mut self.spare.parity));
        let mut encoded = None;
        self.spent[1] += seconds(|| encoded = Some(self.encoder.encode_into(segment.bytes, parity, &secret)));
        let encoded = encoded.ok_or("nothing was encoded")??;
        for shard in &encoded.shards {
            let mut sum = Fold::new();
            self.spent[2] += seconds(|| sum = witness(&shard.bytes));
            self.spent[3] += seconds(|| {
                black_box(sum.evaluate(Scalar::from(5)));
            });
        }
        self.spare.take_back(encoded);
        Ok(())
    }
}

fn stages(plain: &[u8]) -> Result<(), Failure> {
    let shard = &plain[..(2 << 20).min(plain.len())];
    let hash = least(|| {
        black_box(Root::of(black_box(shard)));
    });
    let outboard = least(|| drop(black_box(Outboard::of(black_box(shard)))));
    print("BLAKE3 of a shard of 2 MiB", shard.len(), hash);
    print(&format!("the same with its outboard, {:.2} times that", hash / outboard), shard.len(), outboard);
    for path in CpuPath::available() {
        let encoder = Encoder::new(Code::new(16, 4)?).on(path)?;
        let (mut spare, mut best, mut whole) = (Spare::default(), [0.0; STAGES.len()], f64::MAX);
        for _ in 0..ROUNDS {
            let mut pipeline = Pipeline { encoder: &encoder, spare: &mut spare, spent: [0.0; STAGES.len()] };
            let mut outcome = Ok(());
            let seconds = seconds(|| outcome = pipeline.run(plain));
            outcome?;
            if seconds < whole {
                (whole, best) = (seconds, pipeline.spent);
            }
        }
        print(&format!("pipeline (16,4), one thread, {path}"), plain.len(), whole);
        for (name, seconds) in STAGES.iter().zip(best) {
            print(&format!("  {name}"), plain.len(), seconds);
        }
    }
    Ok(())
}

fn run() -> Result<(), Failure> {
    let mib = std::env::args().nth(1).map_or(Ok(128), |arg| arg.parse::<usize>())?;
    println!("path: {}", CpuPath::detected());
    stages(&noise(mib << 20, 9))?;
    [(16, 4), (8, 4)].into_iter().try_for_each(|(k, m)| reed_solomon(k, m))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
