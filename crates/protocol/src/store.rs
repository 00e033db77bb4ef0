//! What is asked of the catalog, and what it answers: a closed list, applied by SQLite, by
//! PostgreSQL and by the simulation's map under one contract suite. Every operation is one
//! transaction: durable before its reply, or not at all. Compare-and-swap happens inside it.

use holdfast_types::{
    AuditId, Fence, Millis, NodeId, ObjectId, OwnerId, RepairId, SegmentId, Sequence, ShardId, ShardIndex, UploadId,
    VerdictId, Wall,
};

use crate::{
    message::{RecordKind, SetEntry},
    model::{
        Assignment, AuditRow, CommitmentState, DeletionRow, ExtentRow, Lease, NodeRow, ObjectRow, Placement, RepairRow,
        SegmentView, StagedSegment, Standing, UploadRow, Verdict,
    },
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
    /// Only while it is this shard on this node: a verdict must not hit what came after it.
    pub node: NodeId,
    /// What it becomes. `Damaged` adds to the ranges that are there.
    pub standing: Standing,
}

/// A record owed to the nodes that hold a segment's shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwedRecord {
    /// To whom.
    pub node: NodeId,
    /// What kind.
    pub kind: RecordKind,
    /// Its key.
    pub key: [u8; 32],
    /// Its bytes.
    pub bytes: Vec<u8>,
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

/// An operation on the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreOp {
    /// Raises the epoch above `above` and its own, and returns the new one.
    RaiseEpoch {
        /// The highest epoch any node reported.
        above: u64,
    },
    /// Inserts (version 0 in the argument) or replaces a node if its version is the argument's; the
    /// stored version is one higher. `used` is never taken from the argument: reservations own it.
    PutNode(Box<NodeRow>),
    /// All nodes, by id.
    Nodes,

    /// Begins or finds an upload: same id and owner answers the row as it stands, another owner `Conflict`.
    BeginUpload(UploadRow),
    /// The upload and its segments so far.
    Upload {
        /// Which.
        id: UploadId,
        /// Only its owner sees it.
        owner: OwnerId,
    },
    /// Adds or replaces a segment's assignments before its commit and extends the upload's expiry. Reserves
    /// bytes on newly assigned nodes and releases those replaced. Conflict if the segment is there with another root.
    StageSegment {
        /// The segment.
        staged: Box<StagedSegment>,
        /// New expiry of the upload.
        expires: Wall,
    },
    /// Notes receipts: sets the sequence of assignments that still name this node. Others are ignored.
    NoteReceipts {
        /// The upload.
        upload: UploadId,
        /// The segment.
        segment: SegmentId,
        /// (index, node, sequence) each.
        receipts: Vec<(ShardIndex, NodeId, Sequence)>,
    },
    /// Makes an upload's segments and objects the catalog's, all or nothing. `Conflict` if a segment has fewer
    /// receipts than the write threshold or an extent lies outside the upload's segments. Idempotent. An object that its owner has
    /// already is left as it is, and the new copy's unreferenced segments are queued for deletion.
    CommitUpload {
        /// The upload.
        id: UploadId,
        /// Whose.
        owner: OwnerId,
        /// What it holds.
        objects: Vec<NewObject>,
        /// When.
        at: Wall,
    },
    /// Drops uploads whose expiry is before `now`, queues what they left on nodes for deletion, frees reservations.
    ExpireUploads {
        /// The time.
        now: Wall,
    },

    /// One object of an owner.
    Object {
        /// Whose.
        owner: OwnerId,
        /// Which.
        id: ObjectId,
    },
    /// An owner's objects, by id.
    Objects {
        /// Whose.
        owner: OwnerId,
        /// After this one.
        after: Option<ObjectId>,
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// An object's extents that touch sealed bytes `from..to`, in order, from the first after `from` on.
    Extents {
        /// Whose.
        owner: OwnerId,
        /// Which.
        id: ObjectId,
        /// First byte of the sealed stream.
        from: u64,
        /// First byte after.
        to: u64,
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// A page of a manifest.
    Page {
        /// Whose.
        owner: OwnerId,
        /// BLAKE3 root of the page.
        root: [u8; 32],
    },
    /// Deletes an object: the row goes, segments that nothing refers to any more go, their shards are queued.
    /// Idempotent: an absent object answers `Done`.
    DeleteObject {
        /// Whose.
        owner: OwnerId,
        /// Which.
        id: ObjectId,
        /// When.
        at: Wall,
    },

    /// A segment with its placements.
    Segment(SegmentId),
    /// Committed segments that have a placement not good, or fewer than n; worst (fewest good shards over k) first.
    SegmentsAtRisk {
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// A node's committed placements in order of sequence.
    PlacementsOfNode {
        /// Which node.
        node: NodeId,
        /// From this sequence on.
        from: Sequence,
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// Good placements whose commitment is pending, oldest first.
    PendingCommitments {
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// Sets the commitment of a shard where the placement's is `expected`; `Conflict` otherwise.
    SetCommitment {
        /// The segment.
        segment: SegmentId,
        /// Which shard.
        index: ShardIndex,
        /// What it must be now.
        expected: CommitmentState,
        /// What it becomes.
        to: CommitmentState,
    },
    /// The shard is on the node after all, under another number.
    SetSequence {
        /// The segment.
        segment: SegmentId,
        /// Which shard.
        index: ShardIndex,
        /// The node that must hold it still.
        node: NodeId,
        /// The number it has there.
        sequence: Sequence,
    },
    /// Puts a shard in its new place: only if the placement's version is `expected` (0: there was none) and
    /// `fence` is not below the one stored and is the segment's live lease. The old place's copy, if another node's, is queued for deletion.
    Place {
        /// The new placement; its version is ignored and becomes `expected + 1`.
        placement: Box<Placement>,
        /// The version it replaces.
        expected: u64,
        /// When, for the deletion queue.
        at: Wall,
    },

    /// Records an audit before its challenge goes out.
    OpenAudit(Box<AuditRow>),
    /// Ends an audit: the verdict (its id is ignored), its exceptions, and the standings they change, in one
    /// transaction. Answers the verdict's id. An audit that is not open answers `Conflict`.
    CloseAudit {
        /// The verdict.
        verdict: Box<Verdict>,
        /// What it changes.
        changes: Vec<StandingChange>,
    },
    /// Audits that were opened and not closed: after a restart they end `Inconclusive`.
    OpenAudits,
    /// One open audit, for the same challenge again.
    Audit(AuditId),
    /// Verdicts after an id, oldest first.
    Verdicts {
        /// After this one.
        after: VerdictId,
        /// Of this node only.
        node: Option<NodeId>,
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// The newest verdicts, newest first.
    LatestVerdicts {
        /// Of this node only.
        node: Option<NodeId>,
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// Marks all of a node's placements lost (it ran out of excuses, or was wiped); in one transaction with
    /// the verdict that says so. Answers the verdict's id.
    LoseNode {
        /// The verdict; its exceptions are filled in from the placements.
        verdict: Box<Verdict>,
    },

    /// Takes the lease of a segment: refused with `Conflict` while another is live at `now`. The fence is new and higher than any before.
    AcquireLease {
        /// On what.
        segment: SegmentId,
        /// The time.
        now: Wall,
        /// How long.
        ttl: Millis,
    },
    /// Extends the lease if it is still the holder's.
    RenewLease {
        /// As it was granted.
        lease: Lease,
        /// The new end.
        expires: Wall,
    },
    /// Gives it back; nothing happens if it is somebody else's by now.
    ReleaseLease(Lease),
    /// Inserts or replaces a repair by id.
    PutRepair(Box<RepairRow>),
    /// The newest repairs, newest first.
    Repairs {
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// One repair.
    Repair(RepairId),

    /// Deletions that are due, by node.
    DueDeletions {
        /// The time.
        now: Wall,
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// Queues deletions (of orphans).
    QueueDeletions(Vec<DeletionRow>),
    /// A node confirmed a deletion.
    DeletionDone {
        /// Which node.
        node: NodeId,
        /// What.
        shard: ShardId,
    },
    /// Which of these entries of a node no placement, no assignment of a live upload and no queued deletion knows.
    Unknown {
        /// Which node.
        node: NodeId,
        /// What it listed; at most [`crate::message::LIST_ENTRIES_MAX`].
        entries: Vec<SetEntry>,
    },
    /// Owes records to nodes.
    OweRecords(Vec<OwedRecord>),
    /// Records still owed, by node.
    OwedRecords {
        /// At most; [`ROWS_MAX`].
        limit: u32,
    },
    /// A node keeps a record.
    RecordKept {
        /// Which node.
        node: NodeId,
        /// What kind.
        kind: RecordKind,
        /// Its key.
        key: [u8; 32],
    },
    /// Numbers for a status page.
    Summary,
}

/// Counts for a status page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Objects of all owners.
    pub objects: u64,
    /// Plain bytes of all objects.
    pub plain_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Placements.
    pub placements: u64,
    /// Of them good.
    pub good: u64,
    /// Good ones whose commitment is pending.
    pub pending_commitments: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// Segments with a shard not good or absent.
    pub at_risk: u64,
    /// Segments with fewer than k good shards.
    pub unrecoverable: u64,
    /// Fewest good shards of any segment; 0 when there is none.
    pub worst_held: u16,
    /// Fewest good shards over k of any segment (negative: that many short); 0 when there is none.
    pub worst_spare: i32,
    /// Deletions queued.
    pub deletions: u64,
    /// Records owed.
    pub owed_records: u64,
    /// Live uploads.
    pub uploads: u64,
    /// The catalog's epoch.
    pub epoch: u64,
}

/// What the catalog answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreReply {
    /// It is durable.
    Done,
    /// The row changed under the caller, or the rule inside the operation does not hold; nothing was done.
    Conflict(String),
    /// There is no such row (for this owner).
    NotFound,
    /// To `RaiseEpoch`.
    Epoch(u64),
    /// To `PutNode` (one) and `Nodes`.
    Nodes(Vec<NodeRow>),
    /// To `BeginUpload` and `Upload`.
    Upload(UploadRow, Vec<StagedSegment>),
    /// To `CommitUpload`.
    Committed {
        /// The segments that are now the catalog's, for their descriptors.
        segments: Vec<SegmentId>,
    },
    /// To `Object`.
    Object(Box<ObjectRow>),
    /// To `Objects`; manifests and envelopes are left empty.
    Objects(Vec<ObjectRow>),
    /// To `Extents`.
    Extents(Vec<ExtentRow>),
    /// To `Page`.
    Page(Vec<u8>),
    /// To `Segment`.
    Segment(Box<SegmentView>),
    /// To `SegmentsAtRisk`.
    Segments(Vec<SegmentView>),
    /// To `PlacementsOfNode` and `PendingCommitments`.
    Placements(Vec<Placement>),
    /// To `CloseAudit` and `LoseNode`.
    Verdict(VerdictId),
    /// To `Verdicts` and `LatestVerdicts`.
    Verdicts(Vec<Verdict>),
    /// To `OpenAudits` and `Audit`.
    Audits(Vec<AuditRow>),
    /// To `AcquireLease` and `RenewLease`.
    Lease(Lease),
    /// To `Repairs` and `Repair`.
    Repairs(Vec<RepairRow>),
    /// To `DueDeletions`.
    Deletions(Vec<DeletionRow>),
    /// To `Unknown`.
    Entries(Vec<SetEntry>),
    /// To `OwedRecords`.
    Owed(Vec<OwedRecord>),
    /// To `Summary`.
    Summary(Summary),
    /// The store itself failed (disk, connection): our own trouble. Nothing is known of the operation.
    Failed(String),
}

/// A segment's assignments by index, as `StageSegment` keeps them.
pub type Assignments = Vec<Assignment>;

/// The fence of a catalog that was never leased.
pub const FENCE_NONE: Fence = Fence { epoch: 0, counter: 0 };
