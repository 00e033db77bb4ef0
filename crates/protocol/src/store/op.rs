//! What is asked of the catalog. Each operation says what holds when it was applied; where two
//! callers race, the rule is inside the operation, never before it.

use holdfast_types::{
    AuditId, Millis, NodeId, ObjectId, OwnerId, RepairId, SegmentId, Sequence, ShardId, ShardIndex, UploadId,
    VerdictId, Wall,
};

use super::argument::{NewObject, SegmentRecords, StandingChange};
use crate::{
    message::{RecordKind, SetEntry},
    model::{
        AuditRow, CommitmentState, DeletionRow, Lease, NodeRow, Placement, RepairRow, SealedWitness, StagedSegment,
        UploadRow, Verdict,
    },
    witness::WitnessId,
};

/// An operation on the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreOp {
    /// Raises the epoch above `above` and its own, and returns the new one. Unless it is the first,
    /// burns every fresh witness, for no list: the catalog may be an old copy, and its later self may have told their secrets.
    RaiseEpoch {
        /// The highest epoch any node reported.
        above: u64,
    },
    /// Inserts (version 0 in the argument) or replaces a node if its version is the argument's, and answers the row as stored, its version one higher;
    /// `Conflict` otherwise. `used` and `judged` are never taken from the argument: reservations and verdicts own them, and they start at 0 and `None`.
    PutNode(Box<NodeRow>),
    /// All nodes, by id.
    Nodes,

    /// Begins or finds an upload: same id and owner answers the row as it stands and how many segments are staged,
    /// another owner `Conflict`. A new one is not committed, whatever the argument says.
    BeginUpload(UploadRow),
    /// The upload and its segments so far, by (offset, id); none once it is committed.
    StagedSegments {
        /// Which.
        id: UploadId,
        /// Only its owner sees it.
        owner: OwnerId,
        /// After this one.
        after: Option<(u64, SegmentId)>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// The upload and one segment of it, if that is staged: what a segment costs does not grow with those before it.
    StagedSegment {
        /// Which.
        id: UploadId,
        /// Only its owner sees it.
        owner: OwnerId,
        /// Which segment.
        segment: SegmentId,
    },
    /// The upload and the spans of all its segments so far, by (offset, id); none once it is committed.
    StagedSpans {
        /// Which.
        id: UploadId,
        /// Only its owner sees it.
        owner: OwnerId,
    },
    /// Adds or replaces a segment's assignments before its commit and sets the upload's expiry. Reserves `shard_len` bytes on newly assigned nodes and
    /// releases those replaced. An assignment that keeps its node keeps its noted sequence; sequences in the argument are ignored. Withdraws queued deletions
    /// of what it assigns. `NotFound` without such an upload of the segment's owner. `Conflict`, and nothing done, if the upload is committed, the segment is
    /// there with another row or offset, in another upload or in the catalog, the assignments are not one an index with the row's names on distinct nodes, there
    /// are [`crate::store::rules::UPLOAD_SEGMENTS_MAX`] others, or a newly assigned node is unknown, has less than `shard_len` free, or has a shard of that name for somebody else.
    StageSegment {
        /// The segment.
        staged: Box<StagedSegment>,
        /// New expiry of the upload.
        expires: Wall,
        /// Witnesses of its shards, by [`crate::store::rules::witness_fault`]; of two for one shard the later counts, but a list that the client
        /// computed stays, by [`crate::store::rules::list_fault`]. They become the catalog's with the segment, and go with it.
        witnesses: Vec<SealedWitness>,
    },
    /// Notes receipts: sets the sequence of assignments that still name this node. Others are ignored, and so is a sequence that another shard of the node
    /// has: it would hide one of the two from audits. `NotFound` without such an upload; a committed one answers `Done`.
    NoteReceipts {
        /// The upload.
        upload: UploadId,
        /// The segment.
        segment: SegmentId,
        /// (index, node, sequence) each.
        receipts: Vec<(ShardIndex, NodeId, Sequence)>,
    },
    /// Makes an upload's segments and objects the catalog's, all or nothing. `Conflict` by [`crate::store::rules::commit_fault`] (too few receipts, an extent
    /// outside the upload's segments). Idempotent: a second one answers those of its segments that are still there. An object that its owner has already is
    /// left as it is; segments that no new object refers to do not enter the catalog and their shards are queued for deletion. `Conflict` also while a node
    /// may keep a tombstone of one of the objects: a recovery could not tell it from the one that was deleted. Of the others, assignments with a receipt
    /// become placements (good, [`crate::store::rules::first_commitment`], version 1, no fence); those without are absent, and their reservation is freed.
    /// The new segments need a description ([`StoreOp::Undescribed`]).
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
    /// Drops uploads whose expiry is before `now`; of those not committed, queues all assigned shards for deletion, receipt or not, and frees the reservations.
    /// [`crate::store::rules::DROPPED_AT_ONCE`] segments and uploads at a time, by (upload, offset, id): `More` where there are others. What is left is nobody's.
    ExpireUploads {
        /// The time.
        now: Wall,
    },
    /// Gives an upload up as if it had expired; so much at a time, too. `Done` also where there is none of this owner, or a committed one: that is left as it is.
    AbortUpload {
        /// Which.
        id: UploadId,
        /// Only its owner gives it up.
        owner: OwnerId,
        /// When.
        at: Wall,
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
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
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
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// The roots of an object's pages, ascending.
    PageRoots {
        /// Whose.
        owner: OwnerId,
        /// Which.
        id: ObjectId,
    },
    /// A page of a manifest.
    Page {
        /// Whose.
        owner: OwnerId,
        /// BLAKE3 root of the page.
        root: [u8; 32],
    },
    /// Deletes an object: the row goes, with its pages; segments that nothing refers to any more go, with their lease, their placements' bytes are freed and
    /// their shards queued for deletion. Segments that stay need a new description. Idempotent: an absent object answers `Done`. Its records leave every node
    /// that holds a shard of the segment they lie with, or held one before a repair: what was still owed of them is not any more, the tombstone is owed, and
    /// burials begin ([`StoreOp::EndBurials`]) of tombstone, pages and descriptors of segments that went; without a tombstone, of manifest and envelope.
    /// Where another owner has an object of this id, the records stay: they are that one's, too.
    DeleteObject {
        /// Whose.
        owner: OwnerId,
        /// Which.
        id: ObjectId,
        /// Signed by the owner, at most [`holdfast_types::RECORD_LEN_MAX`]; empty where nobody signed one.
        tombstone: Vec<u8>,
        /// When.
        at: Wall,
    },

    /// A segment with its placements.
    Segment(SegmentId),
    /// Committed segments that have a placement not good, or fewer than n; worst first: by spare (good shards less k, negative when that many are missing), then by id.
    SegmentsAtRisk {
        /// After this (spare, id): whoever cannot help the worst still comes to the rest.
        after: Option<(i32, SegmentId)>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// A node's committed placements, whatever their standing, in order of (sequence, segment, index).
    PlacementsOfNode {
        /// Which node.
        node: NodeId,
        /// From this sequence on.
        from: Sequence,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// Good placements whose commitment is pending, by (segment, index), with their witnesses.
    PendingCommitments {
        /// After this one: one node that does not answer must not hold up the others.
        after: Option<(SegmentId, ShardIndex)>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// Notes that a witness's secret is about to be revealed for the list with this digest. `Conflict`, and nothing done, by [`crate::store::rules::burn_fault`]: it has
    /// another name, or is burnt already, for whatever list; or the shard is another. `NotFound` where the placement or the witness is not there.
    BurnWitness {
        /// The segment.
        segment: SegmentId,
        /// Which shard.
        index: ShardIndex,
        /// Its name: a client may use a segment's id again for other bytes, once its objects are deleted.
        shard: ShardId,
        /// Which witness.
        id: WitnessId,
        /// Digest of the list it judges from now on.
        digest: [u8; 32],
    },
    /// What each node owes in commitments, by node.
    CommitmentDebts,
    /// Where the commitments stand.
    CommitmentCounts,
    /// Digests that witnesses of this segment are burnt with, by index: staged, those of the lists that its client computed.
    WitnessedLists(SegmentId),
    /// Which of these lists a placement or a witness names, in the order asked: the others are nobody's any more.
    NamedLists(Vec<[u8; 32]>),
    /// Sets the commitment of a shard where the placement's is `expected` and the shard this one; `Conflict` otherwise, and by [`crate::store::rules::acceptance_fault`]: a
    /// client vouches only for the list that its witness was burnt with. Raises its version. Accepted, the shard's witness is gone.
    SetCommitment {
        /// The segment.
        segment: SegmentId,
        /// Which shard.
        index: ShardIndex,
        /// Its name. Attack: a client deletes the segment while it is read, and puts other bytes under its id; what was read
        /// would vouch for bytes that nobody read.
        shard: ShardId,
        /// What it must be now.
        expected: CommitmentState,
        /// What it becomes.
        to: CommitmentState,
        /// When: deadlines of a voided one count from there.
        at: Wall,
    },
    /// The shard is on the node after all, under another number. Raises the version. `Conflict` if another shard of the node has that number.
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
    /// Puts a shard in its new place: only if the placement's version is `expected` (0: there was none), `fence` is not below the one stored and is the
    /// segment's live lease at `at`, name and length are the segment's, the node is registered, no other shard of the segment is on that node, and nothing
    /// else there has that sequence or name; `Conflict` otherwise. The old place's copy, if another node's, is queued for deletion, a deletion queued for the
    /// new place is withdrawn, `used` follows, and the segment needs a new description.
    Place {
        /// The new placement; its version is ignored and becomes `expected + 1`.
        placement: Box<Placement>,
        /// The version it replaces.
        expected: u64,
        /// When, for the deletion queue.
        at: Wall,
    },

    /// Records an audit before its challenge goes out. Idempotent; `Conflict` if the id is taken by another row.
    OpenAudit(Box<AuditRow>),
    /// Ends an audit: the verdict (its id is ignored), its exceptions, and the standings they change, in one
    /// transaction, with the node's `judged`. Answers the verdict's id. An audit that is not open answers `Conflict`.
    CloseAudit {
        /// The verdict.
        verdict: Box<Verdict>,
        /// What it changes.
        changes: Vec<StandingChange>,
    },
    /// Audits that were opened and not closed, by id: after a restart they end `Inconclusive`.
    OpenAudits,
    /// One open audit, for the same challenge again.
    Audit(AuditId),
    /// Verdicts after an id, oldest first.
    Verdicts {
        /// After this one.
        after: VerdictId,
        /// Of this node only.
        node: Option<NodeId>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// The newest verdicts, newest first.
    LatestVerdicts {
        /// Of this node only.
        node: Option<NodeId>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// Marks all of a node's placements lost (it ran out of excuses, or was wiped) and voids the receipts of uploads in progress there, in one transaction
    /// with the verdict that says so, which closes its audit if that is open. Answers the verdict's id.
    LoseNode {
        /// The verdict; its exceptions are filled in: one a placement that was not lost before, with the verdict's outcome, by
        /// (sequence, segment, index).
        verdict: Box<Verdict>,
    },

    /// Takes the lease of a segment: refused with `Conflict` while another is live at `now` (until `expires`,
    /// exclusive). The fence is new: (epoch, one more than any before), whatever was released meanwhile.
    AcquireLease {
        /// On what.
        segment: SegmentId,
        /// The time.
        now: Wall,
        /// How long.
        ttl: Millis,
    },
    /// Extends the lease if it is still the holder's, by fence; `Conflict` otherwise.
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
    /// The newest repairs, newest first: by start, then id.
    Repairs {
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// One repair.
    Repair(RepairId),
    /// Repairs that are running, by id: after a restart they ended, whether they know it or not.
    RunningRepairs,

    /// Deletions that are due at `now`, by (node, shard).
    DueDeletions {
        /// The time.
        now: Wall,
        /// After this one: a node that does not answer must not hold up the others.
        after: Option<(NodeId, ShardId)>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// Deletions of these shards that are queued, due or not, by (node, shard). After a restart any may be on its way still.
    OwedDeletions {
        /// Of one segment.
        shards: Vec<ShardId>,
    },
    /// Queues deletions (of orphans). What a placement or an assignment of a live upload names is left out: it was claimed since somebody called it an
    /// orphan. Of one queued already the earlier due stays. At no time is a shard queued for deletion on a node where the catalog places it.
    QueueDeletions(Vec<DeletionRow>),
    /// A node confirmed a deletion.
    DeletionDone {
        /// Which node.
        node: NodeId,
        /// What.
        shard: ShardId,
    },
    /// Which of these entries of a node no placement, no assignment of an uncommitted upload and no queued deletion knows; in order.
    Unknown {
        /// Which node.
        node: NodeId,
        /// What it listed; at most [`crate::message::LIST_ENTRIES_MAX`].
        entries: Vec<SetEntry>,
    },
    /// Segments whose descriptor is older than their placements or extents, by id.
    Undescribed {
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// Owes a segment's records to nodes, replacing those of the same node, kind and key, whose burials end. `NotFound` without the segment,
    /// `Conflict` and nothing done where it is at another revision: what was gathered may be of an object that was deleted since.
    OweRecords(Box<SegmentRecords>),
    /// Buries those of these records of a node that nothing needs: descriptors of no segment, manifests and envelopes of no object,
    /// tombstones that nobody is to keep. What is owed or buried already stays as it is; pages are left alone.
    BuryStrays {
        /// Which node.
        node: NodeId,
        /// Of which kind.
        kind: RecordKind,
        /// What it listed; at most [`crate::message::LIST_ENTRIES_MAX`].
        keys: Vec<[u8; 32]>,
        /// When the burial begins: in the future, for what this catalog may not know yet.
        at: Wall,
    },
    /// Ends burials that began at `before` or earlier: each node is owed the absence of the record that was buried there. A tombstone's only once nobody is
    /// owed one of that key any more. Nodes that are evicted or have left are asked nothing, and nobody waits for them. Looks at so many burials, by
    /// (kind, key, node), ends what can end of them, forgets as many tombstones that are owed to who left, and answers the last that it looked at.
    EndBurials {
        /// Before this no record can be on its way any more.
        before: Wall,
        /// After this one: of those that wait for a node that is away there may be millions.
        after: Option<(RecordKind, [u8; 32], NodeId)>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// Records still owed, by (node, kind, key).
    OwedRecords {
        /// After this one: a node that does not answer must not hold up the others.
        after: Option<(NodeId, RecordKind, [u8; 32])>,
        /// At most; [`ROWS_MAX`](crate::store::ROWS_MAX).
        limit: u32,
    },
    /// A node keeps a record: nothing is owed any more, unless it is other bytes by now.
    RecordKept {
        /// Which node.
        node: NodeId,
        /// What kind.
        kind: RecordKind,
        /// Its key.
        key: [u8; 32],
        /// BLAKE3 of the bytes it keeps.
        digest: [u8; 32],
    },
    /// Committed segments by their spare (good shards less k), the fewest first: one row for each spare there is.
    SegmentsBySpare,
    /// Numbers for a status page.
    Summary,
}
