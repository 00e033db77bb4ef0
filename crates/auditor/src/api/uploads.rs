//! Puts, from their beginning to their commit.

mod lists;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{Stream, TryStreamExt};
use holdfast_dispersal::{FRAME_PAGES_MAX, SEGMENT_LEN_DEFAULT};
use holdfast_protocol::{
    effect::Command,
    grants::DELETION_OUTSTANDING,
    model::{NodeRow, SealedWitness, StagedSegment, StagedSpan, UploadRow},
    store::{StoreOp, StoreReply},
    upload,
};
use holdfast_types::{Millis, NodeId, ObjectId, OwnerId, SegmentId, ShardId, ShardIndex, SignedGrant, UploadId, Wall};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{
        BeginUpload, CommitPart, NodeContact, NoteReceipts, OBJECTS_PER_COMMIT_MAX, ShardAssignment, ShardWitness,
        StageSegment, Staged, StagedSegmentView, UploadTerms,
    },
    pb::auditor::v1 as pb,
};
use tokio::time::timeout;
use tonic::Status;
use tracing::info;

use super::{
    Api,
    allowance::{CommitRoom, RECORD_COST},
    refused, unexpected,
};
use crate::clock;

/// A commit whose caller says nothing for so long holds memory that others need.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The same for one that says little: the largest comes in time at 1.2 MB/s, and our own client waits no longer for its
/// answer.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);

/// Staged segments read from the catalog at once, to be streamed: about 1 MiB at 8+4.
const VIEWS_AT_ONCE: u32 = 256;

/// A deletion that is on its way is over by then, as a rule.
const SOON: Millis = Millis(500);

/// A shard that was staged where it is being deleted.
fn being_deleted(staged: &StagedSegment, deleting: &BTreeSet<(NodeId, ShardId)>) -> Option<(NodeId, ShardId)> {
    staged.assignments.iter().map(|assigned| (assigned.node, assigned.shard)).find(|key| deleting.contains(key))
}

impl Api {
    pub(super) async fn begin(&self, owner: OwnerId, begin: BeginUpload) -> Result<UploadTerms, Status> {
        let Some(policy) = self.0.policies.get(&begin.policy) else {
            let known: Vec<&str> = self.0.policies.keys().map(String::as_str).collect();
            let message = format!("expected a policy of {}, got {:?}", known.join(", "), begin.policy);
            return Err(WireError::new(ErrorCode::Invalid, message).into());
        };
        let expires = clock::wall() + self.0.profile.upload_expiry;
        let row = upload::begin(begin.upload, owner, policy, &self.nodes().await?, expires).map_err(|e| refused(&e))?;
        match self.ask(StoreOp::BeginUpload(row)).await? {
            StoreReply::Begun { upload: row, segments } => {
                let recovery = self.0.recovery.public();
                let cluster = self.0.cluster.as_str();
                Ok(UploadTerms::of(&row, segments, SEGMENT_LEN_DEFAULT, &recovery.0, cluster))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The upload, and the segment if it is staged.
    async fn staged(
        &self,
        id: UploadId,
        owner: OwnerId,
        segment: SegmentId,
    ) -> Result<(UploadRow, Option<StagedSegment>), Status> {
        match self.ask(StoreOp::StagedSegment { id, owner, segment }).await? {
            StoreReply::Upload(row, staged) => Ok((row, staged.into_iter().next())),
            other => Err(unexpected(&other)),
        }
    }

    /// The staged segments after this one, a few; none when it was the last.
    pub(super) async fn staged_views(
        &self,
        id: UploadId,
        owner: OwnerId,
        after: Option<(u64, SegmentId)>,
    ) -> Result<Vec<StagedSegmentView>, Status> {
        let staged = match self.ask(StoreOp::StagedSegments { id, owner, after, limit: VIEWS_AT_ONCE }).await? {
            StoreReply::Upload(_, staged) => staged,
            other => return Err(unexpected(&other)),
        };
        let nodes = self.nodes().await?;
        let view = |staged: &StagedSegment| StagedSegmentView {
            offset: staged.offset,
            segment: holdfast_wire::convert::SegmentSpec::of(staged),
            assignments: assignments(staged, &nodes, &BTreeMap::new()),
        };
        Ok(staged.iter().map(view).collect())
    }

    pub(super) async fn stage(&self, owner: OwnerId, mut stage: StageSegment) -> Result<Staged, Status> {
        let (row, known) = self.staged(stage.upload, owner, stage.segment.id).await?;
        let nodes = self.nodes().await?;
        let mut avoid: BTreeSet<NodeId> = stage.avoid.iter().copied().collect();
        // Attack: an upload that comes back after it expired must not be put where its own deletion is on its way.
        let deleting = self.0.deleting.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        // Whoever owes more than it may gets nothing new: what is only sampled must not grow without end.
        avoid.extend(self.0.over_debt.read().unwrap_or_else(std::sync::PoisonError::into_inner).iter());
        avoid.extend(deleting.iter().filter(|(_, shard)| stage.segment.shards.contains(shard)).map(|(node, _)| *node));
        avoid.extend(self.perhaps_deleting(&stage.segment.shards).await?);
        let witnesses = self.seal(&stage)?;
        let own = std::mem::take(&mut stage.commitments);
        let spec = spec(stage);
        let next = upload::stage(&row, known.as_ref(), spec, &nodes, &avoid).map_err(|error| refused(&error))?;
        let expires = clock::wall() + self.0.profile.upload_expiry;
        match own.is_empty() {
            true => self.put_staged(&next, expires, witnesses).await?,
            // Last, for it takes seconds of a core and of a disk: only of segments that can be staged.
            false => self.stage_with_lists(own, next.clone(), expires, witnesses).await?,
        }
        // A deletion that set out between the look and the staging hits what is put there: what is staged now withdraws only
        // those that have not set out.
        self.look_again(&next)?;
        let grants = upload::put_grants(&next, expires, &self.0.key).into_iter().collect();
        Ok(Staged { assignments: assignments(&next, &nodes, &grants), expires })
    }

    async fn put_staged(
        &self,
        staged: &StagedSegment,
        expires: Wall,
        witnesses: Vec<SealedWitness>,
    ) -> Result<(), Status> {
        match self.ask(StoreOp::StageSegment { staged: Box::new(staged.clone()), expires, witnesses }).await? {
            StoreReply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn look_again(&self, staged: &StagedSegment) -> Result<(), WireError> {
        let deleting = self.0.deleting.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match being_deleted(staged, &deleting) {
            None => Ok(()),
            Some((node, shard)) => {
                let why = format_args!("shard {shard} is being deleted on node {node}; stage the segment again");
                Err(WireError::new(ErrorCode::Retry, why).retry_after(SOON))
            }
        }
    }

    /// Nodes that may be carrying out a deletion of one of these shards that was sent before a restart: what was on its
    /// way then is not known, but it is still owed.
    async fn perhaps_deleting(&self, shards: &[ShardId]) -> Result<BTreeSet<NodeId>, Status> {
        if self.0.clock.uptime() >= DELETION_OUTSTANDING {
            return Ok(BTreeSet::new());
        }
        match self.ask(StoreOp::OwedDeletions { shards: shards.to_vec() }).await? {
            StoreReply::Deletions(rows) => Ok(rows.into_iter().map(|row| row.node).collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// Sealed before anything of them is stored.
    fn seal(&self, stage: &StageSegment) -> Result<Vec<SealedWitness>, Status> {
        let seal = |of: &ShardWitness| self.0.witnesses.seal(stage.segment.id, of.index, &of.witness);
        let sealed: Result<_, String> = stage.witnesses.iter().map(seal).collect();
        sealed.map_err(|why| WireError::new(ErrorCode::Bug, why).into())
    }

    /// How many of the receipts hold.
    pub(super) async fn note(&self, owner: OwnerId, note: NoteReceipts) -> Result<u32, Status> {
        let (row, staged) = self.staged(note.upload, owner, note.segment).await?;
        if row.committed {
            return Ok(0);
        }
        let Some(staged) = staged else {
            let message = format!("segment {} is not staged; stage it first", note.segment);
            return Err(WireError::new(ErrorCode::NotFound, message).into());
        };
        let nodes = self.nodes().await?;
        let received: Vec<_> = note.receipts.iter().map(|receipt| (receipt.index, receipt.receipt)).collect();
        let sorted = upload::receipts(&staged, &received, &nodes);
        for (index, fault) in &sorted.faults {
            info!(upload = %note.upload, segment = %note.segment, %index, %fault, "receipt refused");
        }
        let noted = sorted.valid.len() as u32;
        let op = StoreOp::NoteReceipts { upload: note.upload, segment: note.segment, receipts: sorted.valid };
        match self.ask(op).await? {
            StoreReply::Done => Ok(noted),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn commit(
        &self,
        owner: OwnerId,
        mut parts: impl Stream<Item = Result<pb::CommitUploadRequest, Status>> + Unpin,
    ) -> Result<Vec<ObjectId>, Status> {
        let id = header(&mut parts, SILENCE_MAX).await?;
        // Before anything is taken in: whoever has no such upload has nothing to commit.
        self.spans(id, owner).await?;
        let mut room = self.1.commit(owner);
        let objects = timeout(COMMIT_PATIENCE, gather(&mut parts, &mut room, SILENCE_MAX)).await;
        let objects =
            objects.map_err(|_| WireError::new(ErrorCode::Retry, "the commit took too long; commit again"))??;
        let ids = objects.iter().map(|object| ObjectId(merkle_cid::Root::of(&object.manifest))).collect();
        let (row, staged) = self.spans(id, owner).await?;
        let at = clock::wall();
        // Committed before and asked again: the rows are there, the records need no second look.
        let objects = match row.committed {
            true => Vec::new(),
            false => upload::commit(&row, &staged, objects, at).map_err(|error| refused(&error))?,
        };
        match self.ask(StoreOp::CommitUpload { id, owner, objects, at }).await? {
            StoreReply::Committed { segments } => {
                info!(upload = %id, %owner, segments = segments.len(), "committed");
                self.0.command(Command::CatalogChanged);
                Ok(ids)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn spans(&self, id: UploadId, owner: OwnerId) -> Result<(UploadRow, Vec<StagedSpan>), Status> {
        match self.ask(StoreOp::StagedSpans { id, owner }).await? {
            StoreReply::Spans(row, staged) => Ok((row, staged)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn abort(&self, owner: OwnerId, id: UploadId) -> Result<(), Status> {
        // Piece by piece: others write in between. Who hangs up leaves the rest to expire at once.
        while self.ask(StoreOp::AbortUpload { id, owner, at: clock::wall() }).await? == StoreReply::More {}
        self.0.command(Command::CatalogChanged);
        Ok(())
    }
}

fn spec(stage: StageSegment) -> upload::SegmentSpec {
    let segment = stage.segment;
    upload::SegmentSpec {
        id: segment.id,
        offset: stage.offset,
        root: segment.root,
        len: segment.len,
        shard_len: segment.shard_len,
        shards: segment.shards,
        secret_for_owner: segment.secret_for_owner,
        secret_for_recovery: segment.secret_for_recovery,
    }
}

fn assignments(
    staged: &StagedSegment,
    nodes: &BTreeMap<NodeId, NodeRow>,
    grants: &BTreeMap<ShardIndex, SignedGrant>,
) -> Vec<ShardAssignment> {
    let known = staged.assignments.iter().filter_map(|assignment| Some((assignment, nodes.get(&assignment.node)?)));
    known
        .map(|(assignment, node)| {
            ShardAssignment::of(assignment, NodeContact::from(node), grants.get(&assignment.index).copied())
        })
        .collect()
}

fn invalid(why: impl std::fmt::Display) -> WireError {
    WireError::new(ErrorCode::Invalid, why)
}

/// The next part of a commit; `None` at the end.
async fn next<S>(parts: &mut S, patience: Duration) -> Result<Option<CommitPart>, Status>
where
    S: Stream<Item = Result<pb::CommitUploadRequest, Status>> + Unpin,
{
    let silent = |_| WireError::new(ErrorCode::Retry, format!("nothing came for {patience:?}; commit again"));
    let message = timeout(patience, parts.try_next()).await.map_err(silent)??;
    Ok(message.map(CommitPart::try_from).transpose()?)
}

/// Which upload it is.
async fn header<S>(parts: &mut S, patience: Duration) -> Result<UploadId, Status>
where
    S: Stream<Item = Result<pb::CommitUploadRequest, Status>> + Unpin,
{
    match next(parts, patience).await? {
        Some(CommitPart::Header(id)) => Ok(id),
        Some(_) => Err(invalid("expected a header first, got something else").into()),
        None => Err(invalid("expected a header first, got an empty stream").into()),
    }
}

/// The objects of a commit, in order, as far as there is room.
async fn gather<S>(parts: &mut S, room: &mut CommitRoom, patience: Duration) -> Result<Vec<upload::ObjectSpec>, Status>
where
    S: Stream<Item = Result<pb::CommitUploadRequest, Status>> + Unpin,
{
    let mut objects: Vec<upload::ObjectSpec> = Vec::new();
    while let Some(part) = next(parts, patience).await? {
        match part {
            CommitPart::Header(_) => return Err(invalid("expected one header, got another").into()),
            CommitPart::Object(object) => {
                let cost = size_of::<upload::ObjectSpec>() + 2 * RECORD_COST;
                room.grow(object.manifest.len() + object.envelope.len() + cost)?;
                objects.push(upload::ObjectSpec {
                    manifest: object.manifest,
                    envelope: object.envelope,
                    offset: object.offset,
                    sealed_len: object.sealed_len,
                    plain_len: object.plain_len,
                    pages: Vec::new(),
                });
            }
            CommitPart::Page(page) => {
                room.grow(page.len() + RECORD_COST)?;
                let Some(object) = objects.last_mut() else {
                    return Err(invalid("expected an object before its pages, got a page first").into());
                };
                object.pages.push(page);
                if object.pages.len() as u64 > FRAME_PAGES_MAX {
                    return Err(invalid("expected fewer pages of one manifest; split the object").into());
                }
            }
        }
        if objects.len() > OBJECTS_PER_COMMIT_MAX {
            let message = format!("expected at most {OBJECTS_PER_COMMIT_MAX} objects in one commit");
            return Err(invalid(format!("{message}; put in several uploads")).into());
        }
    }
    Ok(objects)
}
