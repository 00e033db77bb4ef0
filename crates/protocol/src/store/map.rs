//! The catalog as maps in memory: what the simulation crashes and restarts (a clone is the disk),
//! and the plain twin that the other stores are read against. Applied is durable.

mod audits;
mod burials;
#[cfg(test)]
mod invariants;
mod nodes;
mod objects;
mod owed;
mod placements;
mod uploads;
mod witnesses;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{
    AuditId, NodeId, ObjectId, OwnerId, RepairId, SegmentId, Sequence, ShardId, ShardIndex, UploadId, VerdictId, Wall,
};

use crate::{
    message::RecordKind,
    model::{
        Assignment, AuditRow, DeletionRow, ExtentRow, Lease, NodeRow, ObjectRow, Placement, RepairRow, SegmentRow,
        SegmentView, StagedSegment, UploadRow, Verdict, WitnessRow,
    },
    store::{ROWS_MAX, Store, StoreOp, StoreReply},
};

/// An upload and what is staged of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Upload {
    row: UploadRow,
    staged: BTreeMap<SegmentId, StagedSegment>,
    /// What its commit added, for the next one.
    segments: Vec<SegmentId>,
    /// It is being dropped, piece by piece.
    given_up: bool,
}

/// A committed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Segment {
    row: SegmentRow,
    placements: BTreeMap<ShardIndex, Placement>,
    revision: u64,
    described: u64,
    /// The owner's objects with extents in it.
    objects: BTreeSet<ObjectId>,
    /// Roots of its last descriptor's pages.
    pages: Vec<[u8; 32]>,
}

impl Segment {
    fn view(&self) -> SegmentView {
        SegmentView { segment: self.row.clone(), placements: self.placements.values().cloned().collect() }
    }

    fn good(&self) -> usize {
        self.placements.values().filter(|placement| placement.standing.is_good()).count()
    }

    fn spare(&self) -> i32 {
        self.good() as i32 - i32::from(self.row.code.data())
    }
}

/// An object with what is read piecewise.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Object {
    row: ObjectRow,
    extents: Vec<ExtentRow>,
    pages: BTreeMap<[u8; 32], Vec<u8>>,
}

/// The whole catalog in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapStore {
    epoch: u64,
    counter: u64,
    nodes: BTreeMap<NodeId, NodeRow>,
    uploads: BTreeMap<UploadId, Upload>,
    segments: BTreeMap<SegmentId, Segment>,
    objects: BTreeMap<(OwnerId, ObjectId), Object>,
    /// Placements by node, for its list.
    on_node: BTreeSet<(NodeId, Sequence, SegmentId, ShardIndex)>,
    /// What placements and live assignments name, each once.
    claims: BTreeSet<(NodeId, ShardId)>,
    /// The receipts of live assignments, by their numbers.
    numbers: BTreeMap<(NodeId, Sequence), ShardId>,
    /// Of staged and of committed segments.
    witnesses: BTreeMap<(SegmentId, ShardIndex), WitnessRow>,
    /// Since when placements are there, or void.
    since: BTreeMap<(SegmentId, ShardIndex), Wall>,
    open: BTreeMap<AuditId, AuditRow>,
    verdicts: Vec<Verdict>,
    leases: BTreeMap<SegmentId, Lease>,
    repairs: BTreeMap<RepairId, RepairRow>,
    deletions: BTreeMap<(NodeId, ShardId), DeletionRow>,
    owed: BTreeMap<(NodeId, RecordKind, [u8; 32]), Vec<u8>>,
    /// Nodes that held a shard of the segment before a repair moved it, and keep its records.
    former: BTreeSet<(SegmentId, NodeId)>,
    /// Records of what was deleted, and since when.
    burials: BTreeMap<(RecordKind, [u8; 32], NodeId), Wall>,
}

impl Store for MapStore {
    fn apply(&mut self, op: StoreOp) -> StoreReply {
        if let Some(sequence) = too_large(&op) {
            return StoreReply::Failed(format!("{sequence} does not fit the catalog's 63-bit numbers"));
        }
        match op {
            StoreOp::RaiseEpoch { above } => self.raise_epoch(above),
            StoreOp::PutNode(row) => self.put_node(*row),
            StoreOp::Nodes => StoreReply::Nodes(self.nodes.values().cloned().collect()),
            StoreOp::BeginUpload(row) => self.begin_upload(row),
            StoreOp::StagedSegments { id, owner, after, limit } => self.staged_segments(id, owner, after, limit),
            StoreOp::StagedSegment { id, owner, segment } => self.staged_segment(id, owner, segment),
            StoreOp::StagedSpans { id, owner } => self.staged_spans(id, owner),
            StoreOp::StageSegment { staged, expires, witnesses } => self.stage_segment(*staged, expires, witnesses),
            StoreOp::NoteReceipts { upload, segment, receipts } => self.note_receipts(upload, segment, &receipts),
            StoreOp::CommitUpload { id, owner, objects, at } => self.commit_upload(id, owner, objects, at),
            StoreOp::ExpireUploads { now } => self.expire_uploads(now),
            StoreOp::AbortUpload { id, owner, at } => self.abort_upload(id, owner, at),
            StoreOp::Object { owner, id } => self.object(owner, id),
            StoreOp::Objects { owner, after, limit } => self.objects_of(owner, after, limit),
            StoreOp::Extents { owner, id, from, to, limit } => self.extents(owner, id, from, to, limit),
            StoreOp::PageRoots { owner, id } => self.page_roots(owner, id),
            StoreOp::Page { owner, root } => self.page(owner, &root),
            StoreOp::DeleteObject { owner, id, tombstone, at } => self.delete_object(owner, id, &tombstone, at),
            StoreOp::Segment(id) => self.segment(id),
            StoreOp::SegmentsAtRisk { after, limit } => self.segments_at_risk(after, limit),
            StoreOp::PlacementsOfNode { node, from, limit } => self.placements_of(node, from, limit),
            StoreOp::PendingCommitments { after, limit } => self.pending_commitments(after, limit),
            StoreOp::BurnWitness { segment, index, shard, id, digest } => {
                self.burn_witness((segment, index), shard, id, digest)
            }
            StoreOp::CommitmentDebts => self.commitment_debts(),
            StoreOp::CommitmentCounts => self.commitment_counts(),
            StoreOp::WitnessedLists(id) => StoreReply::Witnessed(self.witnessed(id)),
            StoreOp::NamedLists(digests) => self.named_lists(&digests),
            StoreOp::SetCommitment { segment, index, shard, expected, to, at } => {
                self.set_commitment((segment, index), shard, (expected, to), at)
            }
            StoreOp::SetSequence { segment, index, node, sequence } => {
                self.set_sequence(segment, index, node, sequence)
            }
            StoreOp::Place { placement, expected, at } => self.place(*placement, expected, at),
            StoreOp::OpenAudit(row) => self.open_audit(*row),
            StoreOp::CloseAudit { verdict, changes } => self.close_audit(*verdict, &changes),
            StoreOp::OpenAudits => StoreReply::Audits(self.open.values().cloned().collect()),
            StoreOp::Audit(id) => self.audit(id),
            StoreOp::Verdicts { after, node, limit } => self.verdicts_after(after, node, limit),
            StoreOp::LatestVerdicts { node, limit } => self.latest_verdicts(node, limit),
            StoreOp::LoseNode { verdict } => self.lose_node(*verdict),
            StoreOp::AcquireLease { segment, now, ttl } => self.acquire_lease(segment, now, ttl),
            StoreOp::RenewLease { lease, expires } => self.renew_lease(lease, expires),
            StoreOp::ReleaseLease(lease) => self.release_lease(lease),
            StoreOp::PutRepair(row) => self.put_repair(*row),
            StoreOp::Repairs { limit } => self.latest_repairs(limit),
            StoreOp::Repair(id) => self.repair(id),
            StoreOp::RunningRepairs => self.running_repairs(),
            StoreOp::DueDeletions { now, after, limit } => self.due_deletions(now, after, limit),
            StoreOp::OwedDeletions { shards } => self.owed_deletions(&shards),
            StoreOp::QueueDeletions(rows) => self.queue_orphans(rows),
            StoreOp::DeletionDone { node, shard } => self.deletion_done(node, shard),
            StoreOp::Unknown { node, entries } => self.unknown(node, entries),
            StoreOp::Undescribed { limit } => self.undescribed(limit),
            StoreOp::OweRecords(owed) => self.owe_records(*owed),
            StoreOp::BuryStrays { node, kind, keys, at } => self.bury_strays(node, kind, keys, at),
            StoreOp::EndBurials { before, after, limit } => self.end_burials(before, after, limit),
            StoreOp::OwedRecords { after, limit } => self.owed_records(after, limit),
            StoreOp::RecordKept { node, kind, key, digest } => self.record_kept(node, kind, key, digest),
            StoreOp::SegmentsBySpare => self.segments_by_spare(),
            StoreOp::Summary => self.summary(),
        }
    }
}

/// A number of a node's that SQLite could not keep: what comes of it there, the simulation is to see.
fn too_large(op: &StoreOp) -> Option<Sequence> {
    let named = match op {
        StoreOp::NoteReceipts { receipts, .. } => receipts.iter().map(|(_, _, sequence)| *sequence).max(),
        StoreOp::PlacementsOfNode { from: sequence, .. } | StoreOp::SetSequence { sequence, .. } => Some(*sequence),
        StoreOp::Place { placement, .. } => Some(placement.sequence),
        _ => None,
    };
    named.filter(|sequence| i64::try_from(sequence.0).is_err())
}

/// A limit as a count of rows, never above [`ROWS_MAX`].
fn rows(limit: u32) -> usize {
    limit.min(ROWS_MAX) as usize
}

fn conflict(why: impl Into<String>) -> StoreReply {
    StoreReply::Conflict(why.into())
}

impl MapStore {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts bytes on a node; one that left the table counts nothing.
    fn reserve(&mut self, node: NodeId, bytes: u64) {
        if let Some(row) = self.nodes.get_mut(&node) {
            row.used = row.used.saturating_add(bytes);
        }
    }

    fn free(&mut self, node: NodeId, bytes: u64) {
        if let Some(row) = self.nodes.get_mut(&node) {
            row.used = row.used.saturating_sub(bytes);
        }
    }

    /// A placement or an assignment names the shard there: it is not to be deleted any more.
    fn claim(&mut self, node: NodeId, shard: ShardId) {
        self.claims.insert((node, shard));
        self.deletions.remove(&(node, shard));
    }

    /// Queues a deletion unless something claims the shard there; the earlier due stays.
    fn queue(&mut self, row: DeletionRow) {
        let key = (row.node, row.shard);
        if self.claims.contains(&key) {
            return;
        }
        let kept = self.deletions.entry(key).or_insert(row);
        kept.due = kept.due.min(row.due);
    }

    /// The shard leaves a node: its bytes are freed, its copy is queued for deletion.
    fn drop_copy(&mut self, node: NodeId, shard: ShardId, owner: OwnerId, len: u64, due: Wall) {
        self.claims.remove(&(node, shard));
        self.free(node, len);
        self.queue(DeletionRow { node, shard, owner, due });
    }

    /// Whether another shard than this one has the number on the node. Lost placements do not count: a wiped node
    /// begins to count anew.
    fn sequence_taken(&self, node: NodeId, sequence: Sequence, shard: ShardId) -> bool {
        let from = (node, sequence, SegmentId([0; 16]), ShardIndex(0));
        let to = (node, sequence, SegmentId([0xff; 16]), ShardIndex(u16::MAX));
        let placed = self.on_node.range(from..=to).any(|(_, _, segment, index)| {
            let found = self.segments.get(segment).and_then(|segment| segment.placements.get(index));
            found.is_some_and(|p| p.shard != shard && p.standing != crate::model::Standing::Lost)
        });
        placed || self.numbers.get(&(node, sequence)).is_some_and(|noted| *noted != shard)
    }

    /// An assignment has a receipt.
    fn note(&mut self, assignment: &Assignment) {
        if let Some(sequence) = assignment.sequence {
            self.numbers.insert((assignment.node, sequence), assignment.shard);
        }
    }

    /// An assignment goes, or its receipt.
    fn unnote(&mut self, assignment: &Assignment) {
        if let Some(sequence) = assignment.sequence {
            self.numbers.remove(&(assignment.node, sequence));
        }
    }

    /// Puts a row in place of the one with its key and keeps the list of its node.
    fn set_placement(&mut self, placement: Placement) {
        let (id, index) = (placement.segment, placement.index);
        let place = (placement.node, placement.sequence, id, index);
        let Some(segment) = self.segments.get_mut(&id) else { return };
        if let Some(old) = segment.placements.insert(index, placement) {
            self.on_node.remove(&(old.node, old.sequence, id, index));
        }
        self.on_node.insert(place);
    }

    fn verdict_id(&self) -> VerdictId {
        VerdictId(self.verdicts.len() as i64 + 1)
    }
}
