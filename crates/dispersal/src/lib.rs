//! Object to segments to shards and back: frames, seal, code, mask, records.
//!
//! ```text
//! object ─► frames of 1 MiB ─► zstd ─► AES-256-GCM ─► sealed stream ─► segments ─► k + m shards ─► masked
//!           Sealer                                     SegmentCutter    Encoder
//! object ◄─ Opener ◄──────────────────────────────────── SegmentRead ◄── ReadPlan ◄─ verified bytes of shards
//!                                        lost shards ◄── Rebuilder ◄──── verified bytes of any k
//! ```
//!
//! Nothing here waits, reads a clock or draws a random number: keys, salts and secrets are
//! arguments. Bytes stream through: a put holds one segment, coded (`segment_len * n / k`), a get
//! what it fetches of one, a rebuild k + m strips of 1 MiB, whatever the object.
//!
//! A put and a get without a network:
//!
//! ```
//! use holdfast_dispersal::*;
//! use holdfast_types::{ByteRange, Code, ShardIndex};
//!
//! let code = Code::new(4, 2)?;
//! let key = ObjectKey::from_bytes([1; 32]); // drawn, as the salt and the secret
//! let secret = PlacementSecret::from_bytes([3; 32]);
//!
//! let mut cutter = SegmentCutter::new(SEGMENT_LEN_DEFAULT);
//! let mut sealer = Sealer::new(key.clone(), RunSalt([2; 32]))?;
//! assert!(sealer.push(b"a small object")?.is_empty());
//! let object = sealer.finish(Description::default())?;
//! cutter.push(0, object.frame.stream_offset, &object.frame.bytes);
//! let segment = cutter.flush().expect("one frame");
//! let encoded = Encoder::new(code).encode(segment.bytes, &secret)?;
//!
//! // Shards 0 and 1 are gone.
//! let available: Vec<ShardIndex> = (2..6).map(ShardIndex).collect();
//! let whole = ByteRange::first(encoded.geometry.segment_len());
//! let plan = ReadPlan::new(encoded.geometry, whole, &available)?;
//! let mut read = SegmentRead::new(plan, Masks::new(secret, encoded.root, code));
//! for fetch in read.wanted() {
//!     let shard = &encoded.shards[usize::from(fetch.shard.0)].bytes;
//!     read.absorb(fetch.shard, fetch.range.start(), &shard[fetch.range.start() as usize..fetch.range.end() as usize])?;
//! }
//! let mut opener = Opener::new(&key, &object.manifest, None)?;
//! assert_eq!(opener.push(&read.to_vec()?)?.concat(), b"a small object");
//! opener.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

mod cipher;
mod coder;
mod cut;
mod encode;
mod extent;
mod frame;
mod geometry;
mod key;
mod mask;
mod noise;
mod open;
mod owner;
mod ranges;
mod read;
mod rebuild;
mod record;
mod recovery;
mod root;
mod rows;
mod seal;
#[allow(unsafe_code)]
mod simd;
mod table;

pub use cipher::TAG_LEN;
pub use coder::Coder;
pub use cut::{CutSegment, Piece, SEGMENT_EXTENTS_MAX, SEGMENT_LEN_DEFAULT, SegmentCutter};
pub use encode::{Buffers, EncodedSegment, EncodedShard, Encoder};
pub use extent::{ExtentError, ExtentMap, StreamPart};
pub use frame::{Codec, FRAME_SEALED_LEN_MAX, SUITE, SealedFrame};
pub use geometry::{Geometry, PartRange, SegmentError};
pub use key::{KEY_LEN, KeyCommitment, ObjectKey, PlacementSecret, RunSalt};
pub use mask::{Mask, Masks};
pub use open::{OpenError, Opener};
pub use owner::{OwnerKey, UnwrapError, WRAPPED_LEN, WrappedKey};
pub use read::{Fetch, ReadPlan, STRIP_LEN, SegmentRead};
pub use rebuild::{Rebuilder, RebuiltStrip, Target};
pub use record::{
    Body, EXTENTS_INLINE_MAX, EXTENTS_PER_PAGE, Envelope, Extent, ExtentPage, ExtentPageRef, Extents, Frames, Index,
    Manifest, NAME_LEN_MAX, NAMES_MAX, RecordError, RecordKind, SegmentDescriptor, Signed, Tombstone, WrappedSecrets,
    extent_pages,
};
pub use recovery::{RecoveryKey, RecoveryPublicKey, RecoveryWrap, SegmentBinding};
pub use seal::{Checkpoint, Description, FramePage, SealError, SealedObject, Sealer};
pub use simd::{CpuPath, PathUnavailable};
pub use table::{
    FRAME_PAGES_MAX, FRAMES_INLINE_MAX, FRAMES_PER_PAGE, FrameSpan, OBJECT_LEN_MAX, PageRef, RUNS_MAX, Run, TableError,
    frame_count,
};
