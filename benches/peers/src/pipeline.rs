//! The client's whole road, memory to memory, one thread: frames, zstd's attempt, AES-256-GCM, segments, Reed–Solomon,
//! mask, names, Merkle trees and a witness a shard. No KZG commitment: those are the nodes' (deferred).

use std::hint::black_box;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use holdfast_dispersal::{
    CutSegment, Description, EncodedSegment, Encoder, Manifest, Masks, ObjectKey, Opener, PlacementSecret, ReadPlan,
    RunSalt, SEGMENT_LEN_DEFAULT, Sealer, SegmentCutter, SegmentRead,
};
use holdfast_kzg::BLOB_LEN;
use holdfast_protocol::witness::{Witness, WitnessId, WitnessSeed};
use holdfast_types::{ByteRange, Code, ShardIndex};

use crate::{
    Contest,
    noise::noise,
    rented::{self, Ceremony, Fr},
    timed,
};

/// Bytes that the source gives at once.
const READ_LEN: usize = 1 << 20;
/// Bytes that are masked and hashed at once.
const STRIP_LEN: usize = 64 << 10;
/// What is measured: data and parity shards.
const CODE: (u16, u16) = (16, 4);

/// A throughput by itself: there is no peer that does the same.
pub struct PipelineContest {
    content: Vec<u8>,
    encoder: Encoder,
    spare: Spare,
}

/// Buffers of segments that are through, for those that come, as a client keeps them.
#[derive(Default)]
struct Spare {
    data: Vec<Vec<u8>>,
    parity: Vec<Vec<u8>>,
}

impl Spare {
    fn keep(&mut self, segment: EncodedSegment) {
        drop(segment.shards);
        let (data, parity) = segment.buffers.take_back();
        self.data.extend(data);
        self.parity.extend(parity);
    }
}

impl PipelineContest {
    /// Asserts that what comes out reads back, without the first m shards, and that names and witnesses are right.
    pub fn new(len: usize) -> Self {
        let code = Code::new(CODE.0, CODE.1).expect("a code");
        let mut contest = Self { content: noise(len, 23), encoder: Encoder::new(code), spare: Spare::default() };
        let mut sealed = Vec::new();
        let manifest = contest.run(|segment, witnesses| {
            for shard in &segment.shards {
                assert_eq!(shard.id.0.as_bytes(), blake3::hash(&shard.bytes).as_bytes(), "a shard's name is its hash");
            }
            let first = &witnesses[0];
            assert_eq!(by_blst(&segment.shards[0].bytes, &first.seed), first.y, "a witness is of the bytes stored");
            sealed.push(decoded(segment));
        });
        let mut opener = Opener::new(&key(), &manifest, None).expect("the manifest");
        let mut opened = Vec::new();
        for segment in sealed {
            opener.push(&segment).expect("frames").iter().for_each(|plain| opened.extend_from_slice(plain));
        }
        opener.finish().expect("all frames");
        assert!(opened == contest.content, "what went in comes out");
        contest
    }

    /// Everything, once; `sink` sees each segment.
    fn run(&mut self, mut sink: impl FnMut(&EncodedSegment, &[Witness])) -> Manifest {
        let Self { content, encoder, spare } = self;
        let mut sealer = Sealer::new(key(), RunSalt([2; 32])).expect("a sealer");
        let mut cutter = SegmentCutter::new(SEGMENT_LEN_DEFAULT);
        let mut number = 0;
        let mut finish = |cut: CutSegment, spare: &mut Spare| {
            number += 1;
            let parity = spare.parity.pop().unwrap_or_default();
            let segment = encoder.encode_into(cut.bytes, parity, &secret()).expect("a segment");
            let witnesses: Vec<Witness> =
                (0..).zip(&segment.shards).map(|(at, shard)| witness(&shard.bytes, number << 16 | at)).collect();
            sink(&segment, &witnesses);
            spare.keep(segment);
        };
        let (frames, last) = content.split_at((content.len() - 1) / READ_LEN * READ_LEN);
        for frame in frames.chunks(READ_LEN) {
            if cutter.pending() == 0 {
                spare.data.pop().into_iter().for_each(|buffer| cutter.reuse(buffer));
            }
            let at = sealer.sealed_len();
            let cut = cutter.push_with(0, at, |room| sealer.seal_frame(black_box(frame), room));
            if let Some(cut) = cut.expect("a frame") {
                finish(cut, spare);
            }
        }
        sealer.push(last).expect("the last frame");
        let object = sealer.finish(Description::default()).expect("an object");
        let cut = cutter.push(0, object.frame.stream_offset, &object.frame.bytes);
        for cut in cut.into_iter().chain(cutter.flush()) {
            finish(cut, spare);
        }
        object.manifest
    }
}

fn key() -> ObjectKey {
    ObjectKey::from_bytes([1; 32])
}

fn secret() -> PlacementSecret {
    PlacementSecret::from_bytes([3; 32])
}

/// A shard's witness, its seed from a number where a client draws one.
fn witness(shard: &[u8], number: u64) -> Witness {
    let mut seed = [9; WitnessSeed::LEN];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Witness::of(WitnessId([0; 16]), WitnessSeed::new(seed), shard).expect("whole blobs")
}

/// The same value by blst: the shard's blobs, padded with zeros, folded and opened.
fn by_blst(shard: &[u8], seed: &WitnessSeed) -> [u8; 32] {
    let mut gammas = seed.gammas();
    let mut padded = shard.to_vec();
    padded.resize(shard.len().div_ceil(BLOB_LEN) * BLOB_LEN, 0);
    let gammas: Vec<u128> = (0..(padded.len() / BLOB_LEN) as u64).map(|blob| gammas.at(blob).0).collect();
    Ceremony::load().open(&rented::fold(&padded, &gammas), Fr::from_bytes(seed.z().to_bytes())).0
}

/// The sealed segment, from all shards but the first m.
fn decoded(segment: &EncodedSegment) -> Vec<u8> {
    let code = segment.geometry.code();
    let available: Vec<ShardIndex> = (code.parity()..code.total()).map(ShardIndex).collect();
    let whole = ByteRange::first(segment.geometry.segment_len());
    let plan = ReadPlan::new(segment.geometry, whole, &available).expect("enough shards");
    let mut read = SegmentRead::new(plan, Masks::new(secret(), segment.root, code));
    for fetch in read.wanted() {
        let (from, to) = (fetch.range.start() as usize, fetch.range.end() as usize);
        let bytes = &segment.shards[usize::from(fetch.shard.0)].bytes[from..to];
        read.absorb(fetch.shard, fetch.range.start(), bytes).expect("what was asked for");
    }
    read.to_vec().expect("a whole segment")
}

impl Contest for PipelineContest {
    fn work(&self) -> String {
        let (k, m) = CODE;
        format!(
            "{} MiB, incompressible, memory to memory at {k}+{m}: sealed, coded, masked, named, witnessed",
            self.content.len() >> 20
        )
    }

    fn peer_name(&self) -> Option<String> {
        None
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.content.len() as u64)
    }

    fn ours(&mut self) -> f64 {
        timed(|| {
            self.run(|segment, witnesses| {
                black_box((segment, witnesses));
            })
        })
    }
}

/// What of the pipeline is AES and BLAKE3, by the libraries themselves, each over as many bytes as it there takes, in the
/// pieces that it there gets, and nothing else: what no pipeline over them can be faster than.
pub struct CiphersAndHashes {
    bytes: Vec<u8>,
    sealing: LessSafeKey,
    masking: EncryptingKey,
}

impl CiphersAndHashes {
    /// For `len` bytes of an object.
    pub fn new(len: usize) -> Self {
        let sealing = UnboundKey::new(&AES_256_GCM, &[1; 32]).expect("a key of 32 bytes");
        let masking = UnboundCipherKey::new(&AES_256, &[2; 32]).expect("a key of 32 bytes");
        Self {
            bytes: noise(len, 29),
            sealing: LessSafeKey::new(sealing),
            masking: EncryptingKey::ctr(masking).expect("AES-256 in counter mode"),
        }
    }

    fn mask_and_name(&self, bytes: &mut [u8]) {
        let mut name = blake3::Hasher::new();
        for (number, strip) in (0u128..).zip(bytes.chunks_mut(STRIP_LEN)) {
            let counter = EncryptionContext::Iv128(FixedLength::from((number << 12).to_be_bytes()));
            self.masking.less_safe_encrypt(strip, counter).expect("any length");
            name.update(strip);
        }
        black_box(name.finalize());
    }

    fn run(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let (mut object, mut number) = (blake3::Hasher::new(), 0u64);
        for frame in bytes.chunks_mut(READ_LEN) {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&number.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.sealing.seal_in_place_separate_tag(nonce, Aad::empty(), frame).expect("a frame");
            black_box(tag.as_ref());
            object.update(frame);
            number += 1;
        }
        black_box(object.finalize());
        for segment in bytes.chunks_mut(SEGMENT_LEN_DEFAULT as usize) {
            black_box(blake3::hash(segment));
            let (k, m) = (usize::from(CODE.0), usize::from(CODE.1));
            let shard_len = segment.len().div_ceil(k);
            segment.chunks_mut(shard_len).for_each(|shard| self.mask_and_name(shard));
            // Parity is as long as m of them; which bytes it is makes no difference here.
            segment.chunks_mut(shard_len).take(m).for_each(|shard| self.mask_and_name(shard));
        }
        self.bytes = bytes;
    }
}

impl Contest for CiphersAndHashes {
    fn work(&self) -> String {
        let (k, m) = CODE;
        format!(
            "the AES-256-GCM, AES-256-CTR (aws-lc) and BLAKE3 of {} MiB at {k}+{m}, by themselves: the pipeline's bound",
            self.bytes.len() >> 20
        )
    }

    fn peer_name(&self) -> Option<String> {
        None
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn ours(&mut self) -> f64 {
        timed(|| self.run())
    }
}
