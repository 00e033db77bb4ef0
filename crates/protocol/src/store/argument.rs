//! What operations carry that is no row of the catalog's own.

use holdfast_types::{NodeId, SegmentId, Sequence, ShardIndex, Wall};

use crate::{
    message::RecordKind,
    model::{ExtentRow, ObjectRow, Standing},
};

/// Rows in one reply at most, whatever was asked.
pub const ROWS_MAX: u32 = 4096;

/// A change of a placement's standing, in the same transaction as the verdict that causes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StandingChange {
    /// The segment.
    pub segment: SegmentId,
    /// Which shard.
    pub index: ShardIndex,
    /// Only while it is on this node: a verdict must not hit what came after it.
    pub node: NodeId,
    /// Only while it has this number there: nor what was put in the same place since.
    pub sequence: Sequence,
    /// What it becomes, by [`Standing::after`]: `Damaged` adds to the ranges that are there.
    pub standing: Standing,
}

/// A record owed to the nodes that hold a segment's shards, or its absence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwedRecord {
    /// To whom.
    pub node: NodeId,
    /// What kind.
    pub kind: RecordKind,
    /// Its key.
    pub key: [u8; 32],
    /// Its bytes. None: the node is to have no record of this kind and key; a record itself is never empty.
    pub bytes: Vec<u8>,
}

/// Records of a segment and of the objects that begin in it, all or some of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentRecords {
    /// Which segment.
    pub segment: SegmentId,
    /// The revision that they were made from.
    pub revision: u64,
    /// What is owed.
    pub records: Vec<OwedRecord>,
    /// `Some` with the last of them: the segment is described up to this revision, by a descriptor with these pages. Pages of an
    /// earlier descriptor that are not among them are buried.
    pub described: Option<Vec<[u8; 32]>>,
    /// When.
    pub at: Wall,
}

/// What a commit adds for one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewObject {
    /// The row.
    pub row: ObjectRow,
    /// Its extents, in order, without gap.
    pub extents: Vec<ExtentRow>,
    /// Pages of its manifest, by CID root.
    pub pages: Vec<([u8; 32], Vec<u8>)>,
}
