//! What the catalog answers.

use holdfast_types::{NodeId, ObjectId, SegmentId, ShardIndex, VerdictId};

use crate::{
    message::{RecordKind, SetEntry},
    model::{
        AuditRow, CommitmentCounts, Debt, DeletionRow, ExtentRow, Lease, NodeRow, ObjectRow, PendingShard, Placement,
        RepairRow, SegmentView, StagedSegment, StagedSpan, UploadRow, Verdict,
    },
    store::OwedRecord,
};

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
    /// Records owed, or their absence.
    pub owed_records: u64,
    /// Burials that have not ended: records of what was deleted, or tombstones of it, that nodes still keep.
    pub burials: u64,
    /// Live uploads.
    pub uploads: u64,
    /// The catalog's epoch.
    pub epoch: u64,
    /// The highest fence given out so far in this epoch is (epoch, counter).
    pub counter: u64,
}

/// A segment that needs a descriptor, with what goes into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undescribed {
    /// The segment and its placements.
    pub view: SegmentView,
    /// Rises with every change of placements or extents; the descriptor's version.
    pub revision: u64,
    /// The revision of the last description; 0 when there was none.
    pub described: u64,
    /// What of which objects lies in it, by (offset, object).
    pub extents: Vec<(ObjectId, ExtentRow)>,
}

/// What the catalog answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreReply {
    /// It is durable.
    Done,
    /// To `ExpireUploads` and `AbortUpload`: some of it is, and there is more to do. Ask again.
    More,
    /// The row changed under the caller, or the rule inside the operation does not hold; nothing was done.
    Conflict(String),
    /// There is no such row (for this owner).
    NotFound,
    /// To `RaiseEpoch`.
    Epoch(u64),
    /// To `PutNode` (one) and `Nodes`.
    Nodes(Vec<NodeRow>),
    /// To `BeginUpload`.
    Begun {
        /// As it stands.
        upload: UploadRow,
        /// Segments staged so far.
        segments: u64,
    },
    /// To `StagedSegments` and `StagedSegment` (one at most).
    Upload(UploadRow, Vec<StagedSegment>),
    /// To `StagedSpans`.
    Spans(UploadRow, Vec<StagedSpan>),
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
    /// To `PageRoots`.
    PageRoots(Vec<[u8; 32]>),
    /// To `Page`.
    Page(Vec<u8>),
    /// To `Segment`.
    Segment(Box<SegmentView>),
    /// To `SegmentsAtRisk`.
    Segments(Vec<SegmentView>),
    /// To `PlacementsOfNode`.
    Placements(Vec<Placement>),
    /// To `PendingCommitments`.
    Pending(Vec<PendingShard>),
    /// To `WitnessedLists`.
    Witnessed(Vec<(ShardIndex, [u8; 32])>),
    /// To `NamedLists`.
    Named(Vec<[u8; 32]>),
    /// To `CommitmentDebts`.
    Debts(Vec<Debt>),
    /// To `CommitmentCounts`.
    Counts(CommitmentCounts),
    /// To `CloseAudit` and `LoseNode`.
    Verdict(VerdictId),
    /// To `Verdicts` and `LatestVerdicts`.
    Verdicts(Vec<Verdict>),
    /// To `OpenAudits` and `Audit`.
    Audits(Vec<AuditRow>),
    /// To `AcquireLease` and `RenewLease`.
    Lease(Lease),
    /// To `Repairs`, `Repair` and `RunningRepairs`.
    Repairs(Vec<RepairRow>),
    /// To `DueDeletions` and `OwedDeletions`.
    Deletions(Vec<DeletionRow>),
    /// To `Unknown`.
    Entries(Vec<SetEntry>),
    /// To `Undescribed`.
    Undescribed(Vec<Undescribed>),
    /// To `OwedRecords`.
    Owed(Vec<OwedRecord>),
    /// To `EndBurials`: the last one looked at, if there may be more.
    Burials(Option<(RecordKind, [u8; 32], NodeId)>),
    /// To `SegmentsBySpare`: (spare, segments) each.
    Spares(Vec<(i32, u64)>),
    /// To `Summary`.
    Summary(Summary),
    /// The store itself failed (disk, connection): our own trouble. Nothing is known of the operation.
    Failed(String),
}
