//! Puts in progress, and the objects they become.

use holdfast_types::{Code, NodeId, ObjectId, OwnerId, SegmentId, Sequence, ShardId, ShardIndex, UploadId, Wall};

use super::placement::SegmentRow;

/// A put in progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UploadRow {
    /// Drawn by the client.
    pub id: UploadId,
    /// Whose.
    pub owner: OwnerId,
    /// The policy's name, for the record.
    pub policy: String,
    /// The code.
    pub code: Code,
    /// Shards that must be durable.
    pub write_threshold: u16,
    /// Passed on to the segments.
    pub repair_threshold: u16,
    /// Until when the reservations stand without another call.
    pub expires: Wall,
    /// Set when committed: a second commit answers the same.
    pub committed: bool,
}

/// A shard of a segment being put: where it shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Which shard.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Where it shall lie.
    pub node: NodeId,
    /// The sequence in the node's receipt, once it holds it.
    pub sequence: Option<Sequence>,
}

/// A segment of an upload, before its commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedSegment {
    /// The upload.
    pub upload: UploadId,
    /// Where its bytes start in the upload's sealed stream.
    pub offset: u64,
    /// The segment it becomes.
    pub segment: SegmentRow,
    /// One an index, all n of them.
    pub assignments: Vec<Assignment>,
}

/// A staged segment as far as a commit looks at it: what 16,384 of them take is counted in hundreds of kilobytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagedSpan {
    /// Where its bytes start in the upload's sealed stream.
    pub offset: u64,
    /// Which segment.
    pub segment: SegmentId,
    /// Sealed bytes.
    pub len: u64,
    /// Shards with a receipt.
    pub held: u16,
}

impl StagedSpan {
    /// What a commit looks at of this segment.
    pub fn of(staged: &StagedSegment) -> Self {
        let held = staged.assignments.iter().filter(|assignment| assignment.sequence.is_some()).count() as u16;
        Self { offset: staged.offset, segment: staged.segment.id, len: staged.segment.len, held }
    }
}

/// An object as committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRow {
    /// CID of the manifest.
    pub id: ObjectId,
    /// Whose.
    pub owner: OwnerId,
    /// The name its owner gave it in the envelope; empty when none.
    pub name: String,
    /// Bytes of its sealed stream.
    pub sealed_len: u64,
    /// Plain bytes, as its owner declares in the envelope.
    pub plain_len: u64,
    /// When it was committed.
    pub created: Wall,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// A piece of an object's sealed stream, and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtentRow {
    /// Where it starts in the object's sealed stream.
    pub at: u64,
    /// The segment.
    pub segment: SegmentId,
    /// Where it starts there.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}
