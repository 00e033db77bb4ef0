//! The vocabulary of Holdfast: ids, indices, sizes, times, fences, policies, keys and grants.
//!
//! Nothing here waits, reads a clock or draws a random number: time and entropy are arguments
//! everywhere up to `holdfast-protocol`. A value of one of these types is already valid; what
//! comes from outside is parsed into it at the door.

#![forbid(unsafe_code)]

mod fence;
mod grant;
mod id;
mod index;
mod key;
mod policy;
mod range;
mod time;
mod transcript;

pub use fence::Fence;
pub use grant::{GRANT_LEN_MAX, Grant, GrantError, Operation, SignedGrant};
pub use id::{
    AuditId, IdError, Incarnation, NodeId, ObjectId, OwnerId, RepairId, Seed, SegmentId, SegmentRoot, ShardId,
    UploadId, VolumeId,
};
pub use index::{BlobIndex, FrameIndex, LeafIndex, Sequence, ShardIndex, VerdictId};
pub use key::{PublicKey, SIGNATURES_MAX, SecretKey, Signature, SignatureError};
pub use merkle_cid::{Cid, Root};
pub use policy::{Code, Policy, PolicyError, SHARDS_MAX, ZoneName};
pub use range::ByteRange;
pub use time::{Millis, Mono, Now, Wall};
pub use transcript::Transcript;

/// Bytes of a shard covered by one BLAKE3 chunk: the unit of a sample.
pub const LEAF_LEN: u64 = 1024;
/// Bytes of a shard behind one KZG commitment: 4096 field elements of 31 bytes; 124 leaves exactly.
pub const BLOB_LEN: u64 = 126_976;
/// Sealed bytes of a segment at most: what one placement and one repair move.
pub const SEGMENT_LEN_MAX: u64 = 64 << 20;
/// A shard is at most a whole segment (k = 1).
pub const SHARD_LEN_MAX: u64 = SEGMENT_LEN_MAX;
/// Plain bytes in a frame: what a ranged read must open at least.
pub const FRAME_LEN: u64 = 1 << 20;
/// Bytes of a manifest, envelope, descriptor or page at most; larger ones are paged.
pub const RECORD_LEN_MAX: usize = 64 << 10;
