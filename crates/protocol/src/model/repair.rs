//! Leases, repairs, and what is still to be deleted.

use holdfast_types::{Fence, NodeId, OwnerId, RepairId, SegmentId, ShardId, ShardIndex, Wall};

/// A lease on a segment: the right to repair it, for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// What it is on.
    pub segment: SegmentId,
    /// Orders its holders.
    pub fence: Fence,
    /// Until when.
    pub expires: Wall,
}

/// Where a repair stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RepairState {
    /// Leased and being done.
    Running,
    /// The new placement is in the catalog.
    Done,
    /// It did not come to an end; the segment is queued again.
    Failed,
}

/// One shard's way from where it was lost to where it stands again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairRow {
    /// Its id.
    pub id: RepairId,
    /// The segment.
    pub segment: SegmentId,
    /// Which of its shards.
    pub index: ShardIndex,
    /// The shard's name; the same before and after.
    pub shard: ShardId,
    /// Who held it.
    pub from: Option<NodeId>,
    /// Who holds it now; `from` again for a repair in place.
    pub to: NodeId,
    /// Where it stands.
    pub state: RepairState,
    /// The lease.
    pub fence: Fence,
    /// When it began.
    pub started: Wall,
    /// When it ended.
    pub ended: Option<Wall>,
    /// Bytes of shard written.
    pub bytes: u64,
    /// Why it failed; empty otherwise.
    pub reason: String,
}

/// A shard to be deleted from a node: a durable intent, retried until the node confirms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeletionRow {
    /// Where.
    pub node: NodeId,
    /// What.
    pub shard: ShardId,
    /// Whose, for the grant.
    pub owner: OwnerId,
    /// Not before: the grace of an orphan, zero for a wish of the owner.
    pub due: Wall,
}
