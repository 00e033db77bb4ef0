//! The auditor's calls, as clients and nodes make them: the protocol's own checks around the
//! catalog's own operations. One call is one event; what two callers do to each other in between is
//! refused inside the store.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_dispersal::{Envelope, Extent};
use holdfast_protocol::{
    effect::{Command, Event as CoreEvent},
    grants::DELETION_OUTSTANDING,
    message::Receipt,
    model::{Lane, NodeLife, NodeRow, Outcome, SealedWitness, StagedSegment, UploadRow, Verdict},
    put::{CallFailure, Slot},
    store::{ROWS_MAX, StoreOp, StoreReply},
    upload::{self, ObjectSpec, SegmentSpec},
};
use holdfast_types::{
    AuditId, Millis, NodeId, ObjectId, OwnerId, Policy, SegmentId, ShardIndex, UploadId, VerdictId, Wall,
};

use crate::{
    message::{Api, ApiReply, Located, Peer},
    plan,
    world::World,
};

fn later(why: impl ToString) -> ApiReply {
    ApiReply::Failed(CallFailure::Later { after: None, why: why.to_string() })
}

fn no(why: impl ToString) -> ApiReply {
    ApiReply::Failed(CallFailure::No(why.to_string()))
}

/// What a reply that is not the one hoped for comes to.
fn otherwise(reply: StoreReply) -> ApiReply {
    match reply {
        StoreReply::NotFound => no("there is no such upload of this owner"),
        StoreReply::Conflict(why) | StoreReply::Failed(why) => later(why),
        other => no(format!("the catalog answered something else: {other:?}")),
    }
}

impl World {
    fn auditor_wall(&self) -> Wall {
        self.wall_of(Peer::Auditor)
    }

    fn expiry(&self) -> Wall {
        self.auditor_wall() + plan::profile().upload_expiry
    }

    pub(crate) fn api(&mut self, api: &Api) -> ApiReply {
        match api.clone() {
            Api::Register(node) => self.register(node),
            Api::Begin { id, owner, policy } => self.begin_upload(id, owner, &policy),
            Api::Stage { upload, owner, spec, avoid, witnesses } => {
                let witnesses = self.seal_witnesses(&witnesses);
                self.stage(upload, owner, spec, avoid.into_iter().collect(), witnesses)
            }
            Api::Note { upload, owner, segment, receipts } => self.note_receipts(upload, owner, segment, &receipts),
            Api::Commit { upload, owner, objects } => self.commit_upload(upload, owner, objects),
            Api::Abort { upload, owner } => {
                let at = self.auditor_wall();
                match self.store(StoreOp::AbortUpload { id: upload, owner, at }) {
                    // What is left goes with what expires.
                    StoreReply::Done | StoreReply::More => ApiReply::Done,
                    other => otherwise(other),
                }
            }
            Api::Locate { owner, object } => self.locate(owner, object),
            Api::Delete { owner, object, tombstone } => {
                let at = self.auditor_wall();
                match self.store(StoreOp::DeleteObject { owner, id: object, tombstone, at }) {
                    StoreReply::Done => {
                        self.auditor_step(CoreEvent::Command(Command::CatalogChanged));
                        ApiReply::Done
                    }
                    other => otherwise(other),
                }
            }
        }
    }

    fn rows(&mut self) -> Result<BTreeMap<NodeId, NodeRow>, ApiReply> {
        match self.store(StoreOp::Nodes) {
            StoreReply::Nodes(rows) => Ok(rows.into_iter().map(|row| (row.id, row)).collect()),
            other => Err(otherwise(other)),
        }
    }

    fn register(&mut self, at: usize) -> ApiReply {
        let known = match self.rows() {
            Ok(rows) => rows.get(&self.nodes[at].id).cloned(),
            Err(failed) => return failed,
        };
        let (node, now) = (&self.nodes[at], self.auditor_wall());
        let (volume, incarnation) = node.identity();
        let fresh = NodeRow {
            id: node.id,
            key: node.key.public(),
            addresses: vec![format!("[2001:db8::{at:x}]:7000")],
            zone: node.zone.clone(),
            operator: "sim".into(),
            life: NodeLife::Active,
            containment: None,
            volume,
            incarnation,
            capacity: node.capacity,
            used: 0,
            joined: now,
            seen: now,
            judged: None,
            version: 0,
        };
        let row = match known {
            Some(row) if row.incarnation == incarnation => return self.registered_anew(row.id),
            Some(row) => {
                // Another life: what the last one held went with its volume.
                let lost = self.store(StoreOp::LoseNode { verdict: Box::new(wiped(row.id, now)) });
                if !matches!(lost, StoreReply::Verdict(_)) {
                    return otherwise(lost);
                }
                NodeRow { volume, incarnation, seen: now, ..row }
            }
            None => fresh,
        };
        let id = row.id;
        match self.store(StoreOp::PutNode(Box::new(row))) {
            StoreReply::Nodes(_) => self.registered_anew(id),
            other => otherwise(other),
        }
    }

    fn registered_anew(&mut self, id: NodeId) -> ApiReply {
        self.auditor_step(CoreEvent::Command(Command::NodeChanged(id)));
        ApiReply::Done
    }

    fn begin_upload(&mut self, id: UploadId, owner: OwnerId, policy: &Policy) -> ApiReply {
        let rows = match self.rows() {
            Ok(rows) => rows,
            Err(failed) => return failed,
        };
        match upload::begin(id, owner, policy, &rows, self.expiry()) {
            Ok(row) => match self.store(StoreOp::BeginUpload(row)) {
                StoreReply::Begun { .. } => ApiReply::Done,
                other => otherwise(other),
            },
            // The cluster may be better off in a moment.
            Err(error) => later(error),
        }
    }

    fn staged_of(
        &mut self,
        id: UploadId,
        owner: OwnerId,
        segment: SegmentId,
    ) -> Result<(UploadRow, Option<StagedSegment>), ApiReply> {
        match self.store(StoreOp::StagedSegment { id, owner, segment }) {
            StoreReply::Upload(row, staged) => Ok((row, staged.into_iter().next())),
            other => Err(otherwise(other)),
        }
    }

    fn stage(
        &mut self,
        id: UploadId,
        owner: OwnerId,
        spec: SegmentSpec,
        mut avoid: BTreeSet<NodeId>,
        witnesses: Vec<SealedWitness>,
    ) -> ApiReply {
        let (row, known) = match self.staged_of(id, owner, spec.id) {
            Ok(found) => found,
            Err(failed) => return failed,
        };
        let rows = match self.rows() {
            Ok(rows) => rows,
            Err(failed) => return failed,
        };
        // A deletion on its way would hit what is put there now.
        let deleting = self.auditor.core.as_ref().map(|core| core.deleting()).unwrap_or_default();
        // Nor gets anything new whoever owes more than it may.
        avoid.extend(self.auditor.core.iter().flat_map(|core| core.over_debt()));
        avoid.extend(deleting.into_iter().filter(|(_, shard)| spec.shards.contains(shard)).map(|(node, _)| node));
        // One that was sent before a restart is not known any more, but it is still owed.
        if self.auditor_uptime() < DELETION_OUTSTANDING {
            match self.store(StoreOp::OwedDeletions { shards: spec.shards.clone() }) {
                StoreReply::Deletions(rows) => avoid.extend(rows.into_iter().map(|row| row.node)),
                other => return otherwise(other),
            }
        }
        let staged = match upload::stage(&row, known.as_ref(), spec, &rows, &avoid) {
            Ok(staged) => staged,
            Err(error) => return no(error),
        };
        let expires = self.expiry();
        match self.store(StoreOp::StageSegment { staged: Box::new(staged.clone()), expires, witnesses }) {
            StoreReply::Done => {}
            other => return otherwise(other),
        }
        let grants: BTreeMap<ShardIndex, _> =
            upload::put_grants(&staged, expires, &self.auditor.key).into_iter().collect();
        let slot = |assignment: &holdfast_protocol::model::Assignment| {
            let key = rows.get(&assignment.node)?.key;
            let held = assignment.sequence.is_some();
            let slot = Slot { index: assignment.index, shard: assignment.shard, node: assignment.node, key, held };
            Some((slot, grants.get(&assignment.index).copied()))
        };
        ApiReply::Staged(staged.assignments.iter().filter_map(slot).collect())
    }

    fn note_receipts(
        &mut self,
        upload: UploadId,
        owner: OwnerId,
        segment: SegmentId,
        received: &[(ShardIndex, Receipt)],
    ) -> ApiReply {
        let (found, rows) = match (self.staged_of(upload, owner, segment), self.rows()) {
            (Ok((_, found)), Ok(rows)) => (found, rows),
            (Err(failed), _) | (_, Err(failed)) => return failed,
        };
        let Some(staged) = found else {
            return no("there is no such segment in the upload");
        };
        let sorted = upload::receipts(&staged, received, &rows);
        let count = sorted.valid.len() as u32;
        match self.store(StoreOp::NoteReceipts { upload, segment, receipts: sorted.valid }) {
            StoreReply::Done => ApiReply::Noted(count),
            other => otherwise(other),
        }
    }

    fn commit_upload(&mut self, id: UploadId, owner: OwnerId, objects: Vec<ObjectSpec>) -> ApiReply {
        let (row, staged) = match self.store(StoreOp::StagedSpans { id, owner }) {
            StoreReply::Spans(row, staged) => (row, staged),
            other => return otherwise(other),
        };
        let at = self.auditor_wall();
        // A second commit answers like the first: the rows say what is there.
        let objects = match row.committed {
            true => Vec::new(),
            false => match upload::commit(&row, &staged, objects, at) {
                Ok(objects) => objects,
                Err(error) => return no(error),
            },
        };
        match self.store(StoreOp::CommitUpload { id, owner, objects, at }) {
            StoreReply::Committed { .. } => {
                self.auditor_step(CoreEvent::Command(Command::CatalogChanged));
                ApiReply::Done
            }
            other => otherwise(other),
        }
    }

    fn locate(&mut self, owner: OwnerId, object: ObjectId) -> ApiReply {
        let row = match self.store(StoreOp::Object { owner, id: object }) {
            StoreReply::Object(row) => row,
            StoreReply::NotFound => return ApiReply::NotFound,
            other => return otherwise(other),
        };
        let op = StoreOp::Extents { owner, id: object, from: 0, to: row.sealed_len, limit: ROWS_MAX };
        let (rows, extents) = match (self.rows(), self.store(op)) {
            (Ok(rows), StoreReply::Extents(extents)) => (rows, extents),
            (Err(failed), _) => return failed,
            (_, other) => return otherwise(other),
        };
        let mut segments = Vec::new();
        for extent in &extents {
            match self.store(StoreOp::Segment(extent.segment)) {
                StoreReply::Segment(view) => {
                    let silent = |node: &NodeId| rows.get(node).is_none_or(|row| row.life != NodeLife::Active);
                    let placements = view.placements.iter().map(|p| (p.clone(), silent(&p.node))).collect();
                    segments.push((view.segment, placements));
                }
                other => return otherwise(other),
            }
        }
        let Ok(envelope) = Envelope::decode(&row.envelope) else { return no("the envelope does not read back") };
        let extents = extents.into_iter().map(|extent| {
            let found = Extent { object, segment_offset: extent.offset, len: extent.len, stream_offset: extent.at };
            (extent.segment, found)
        });
        ApiReply::Located(Box::new(Located {
            manifest: row.manifest.clone(),
            key: envelope.body().key,
            extents: extents.collect(),
            segments,
        }))
    }
}

fn wiped(node: NodeId, at: Wall) -> Verdict {
    Verdict {
        id: VerdictId(0),
        audit: AuditId([0; 32]),
        node,
        lane: Lane::Sample,
        outcome: Outcome::Missing,
        at,
        took: Millis(0),
        shards: 0,
        bytes: 0,
        exceptions: Vec::new(),
        evidence: Vec::new(),
    }
}
