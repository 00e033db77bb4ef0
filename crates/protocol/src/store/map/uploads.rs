//! Puts in progress: staged, receipted, committed or expired.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{NodeId, OwnerId, SegmentId, Sequence, ShardIndex, UploadId, Wall};

use crate::{
    model::{Placement, SealedWitness, StagedSegment, StagedSpan, Standing, UploadRow},
    store::{
        FENCE_NONE, MapStore, NewObject, StoreReply,
        map::{Object, Segment, Upload, conflict, rows},
        rules,
    },
};

impl Upload {
    fn in_order(&self) -> Vec<&StagedSegment> {
        let mut staged: Vec<_> = self.staged.values().collect();
        staged.sort_by_key(|segment| (segment.offset, segment.segment.id));
        staged
    }

    fn spans(&self) -> Vec<StagedSpan> {
        self.in_order().into_iter().take(rules::UPLOAD_SEGMENTS_MAX + 1).map(StagedSpan::of).collect()
    }
}

impl MapStore {
    fn own_upload(&self, id: UploadId, owner: OwnerId) -> Option<&Upload> {
        self.uploads.get(&id).filter(|upload| upload.row.owner == owner && !upload.given_up)
    }

    pub(super) fn begin_upload(&mut self, row: UploadRow) -> StoreReply {
        let owner = row.owner;
        let row = UploadRow { committed: false, ..row };
        let fresh = Upload { row, staged: BTreeMap::new(), segments: Vec::new(), given_up: false };
        let upload = self.uploads.entry(fresh.row.id).or_insert(fresh);
        if upload.row.owner != owner || upload.given_up {
            return conflict("the upload id is taken; draw another");
        }
        StoreReply::Begun { upload: upload.row.clone(), segments: upload.staged.len() as u64 }
    }

    pub(super) fn staged_segments(
        &self,
        id: UploadId,
        owner: OwnerId,
        after: Option<(u64, SegmentId)>,
        limit: u32,
    ) -> StoreReply {
        let Some(upload) = self.own_upload(id, owner) else { return StoreReply::NotFound };
        let place = |staged: &StagedSegment| Some((staged.offset, staged.segment.id));
        let page = upload.in_order().into_iter().filter(|staged| place(staged) > after).take(rows(limit));
        StoreReply::Upload(upload.row.clone(), page.cloned().collect())
    }

    pub(super) fn staged_segment(&self, id: UploadId, owner: OwnerId, segment: SegmentId) -> StoreReply {
        let Some(upload) = self.own_upload(id, owner) else { return StoreReply::NotFound };
        StoreReply::Upload(upload.row.clone(), upload.staged.get(&segment).cloned().into_iter().collect())
    }

    pub(super) fn staged_spans(&self, id: UploadId, owner: OwnerId) -> StoreReply {
        let found = self.own_upload(id, owner);
        found.map_or(StoreReply::NotFound, |upload| StoreReply::Spans(upload.row.clone(), upload.spans()))
    }

    pub(super) fn stage_segment(
        &mut self,
        mut staged: StagedSegment,
        expires: Wall,
        witnesses: Vec<SealedWitness>,
    ) -> StoreReply {
        let (id, len) = (staged.segment.id, staged.segment.shard_len);
        let Some(upload) = self.own_upload(staged.upload, staged.segment.owner) else { return StoreReply::NotFound };
        let known = upload.staged.get(&id).cloned();
        if let (None, Some(why)) = (&known, rules::room_fault(upload.staged.len() as u64)) {
            return conflict(why);
        }
        let fault = rules::stage_fault(&upload.row, known.as_ref(), &staged);
        let fault = fault.or_else(|| rules::witness_fault(&staged.segment, &witnesses));
        let fault = fault.or_else(|| rules::list_fault(&self.witnessed(id), rules::given_lists(&witnesses)));
        if let Some(why) = fault {
            return conflict(why);
        }
        let mut others = self.uploads.iter().filter(|(upload, _)| **upload != staged.upload);
        if self.segments.contains_key(&id) || others.any(|(_, other)| other.staged.contains_key(&id)) {
            return conflict(format!("segment id {id} is taken; draw another"));
        }
        let old = known.map_or_else(Vec::new, |known| known.assignments);
        let kept = |node: NodeId, index: ShardIndex| old.iter().find(|a| a.node == node && a.index == index);
        for assignment in &mut staged.assignments {
            let before = kept(assignment.node, assignment.index);
            assignment.sequence = before.and_then(|before| before.sequence);
            let was_there = old.iter().any(|a| a.node == assignment.node);
            let claimed = self.claims.contains(&(assignment.node, assignment.shard));
            if claimed && !old.iter().any(|a| a.node == assignment.node && a.shard == assignment.shard) {
                return conflict(format!("node {} has a shard {} already", assignment.node, assignment.shard));
            }
            let room = self.nodes.get(&assignment.node).map(|node| node.capacity.saturating_sub(node.used));
            match room {
                None => return conflict(format!("node {} is not registered", assignment.node)),
                Some(room) if !was_there && room < len => {
                    return conflict(format!("node {} has {room} bytes free, needs {len}", assignment.node));
                }
                Some(_) => {}
            }
        }
        for assignment in &old {
            self.free(assignment.node, len);
            self.claims.remove(&(assignment.node, assignment.shard));
            self.unnote(assignment);
        }
        for assignment in &staged.assignments {
            self.reserve(assignment.node, len);
            self.note(assignment);
            self.claim(assignment.node, assignment.shard);
        }
        if let Some(upload) = self.uploads.get_mut(&staged.upload) {
            upload.row.expires = expires;
            upload.staged.insert(id, staged);
        }
        self.stage_witnesses(id, witnesses);
        StoreReply::Done
    }

    pub(super) fn note_receipts(
        &mut self,
        upload: UploadId,
        segment: SegmentId,
        receipts: &[(ShardIndex, NodeId, Sequence)],
    ) -> StoreReply {
        let found = self.uploads.get(&upload).filter(|upload| !upload.given_up);
        let Some(found) = found else { return StoreReply::NotFound };
        if found.row.committed {
            return StoreReply::Done;
        }
        if !found.staged.contains_key(&segment) {
            return StoreReply::NotFound;
        }
        for (index, node, sequence) in receipts {
            let staged = self.uploads.get(&upload).and_then(|upload| upload.staged.get(&segment));
            let shard = staged.and_then(|s| s.segment.shards.get(usize::from(index.0)).copied());
            let Some(shard) = shard.filter(|shard| !self.sequence_taken(*node, *sequence, *shard)) else { continue };
            let staged = self.uploads.get_mut(&upload).and_then(|upload| upload.staged.get_mut(&segment));
            let mut assignments = staged.into_iter().flat_map(|staged| &mut staged.assignments);
            if let Some(found) = assignments.find(|a| a.index == *index && a.node == *node && a.shard == shard) {
                let before = *found;
                found.sequence = Some(*sequence);
                let after = *found;
                self.unnote(&before);
                self.note(&after);
            }
        }
        StoreReply::Done
    }

    pub(super) fn commit_upload(
        &mut self,
        id: UploadId,
        owner: OwnerId,
        objects: Vec<NewObject>,
        at: Wall,
    ) -> StoreReply {
        let Some(upload) = self.own_upload(id, owner) else { return StoreReply::NotFound };
        if upload.row.committed {
            return StoreReply::Committed { segments: upload.segments.clone() };
        }
        if let Some(why) = rules::commit_fault(&upload.row, &upload.spans(), &objects) {
            return conflict(why);
        }
        if let Some(buried) = objects.iter().find(|object| self.is_buried(object.row.id)) {
            return conflict(rules::tombstone_fault(buried.row.id));
        }
        let staged: Vec<StagedSegment> = upload.in_order().into_iter().cloned().collect();
        let mut users: BTreeMap<SegmentId, BTreeSet<_>> = BTreeMap::new();
        for object in objects {
            let key = (owner, object.row.id);
            if self.objects.contains_key(&key) {
                continue;
            }
            for extent in &object.extents {
                users.entry(extent.segment).or_default().insert(object.row.id);
            }
            let NewObject { row, extents, pages } = object;
            self.objects.insert(key, Object { row, extents, pages: pages.into_iter().collect() });
        }
        let mut segments = Vec::new();
        for staged in staged {
            match users.remove(&staged.segment.id) {
                Some(objects) => {
                    segments.push(staged.segment.id);
                    let id = staged.segment.id;
                    self.enter_segment(staged, objects);
                    self.enter_witnesses(id, at);
                }
                None => self.drop_staged(&staged, at),
            }
        }
        if let Some(upload) = self.uploads.get_mut(&id) {
            upload.row.committed = true;
            upload.staged.clear();
            upload.segments.clone_from(&segments);
        }
        StoreReply::Committed { segments }
    }

    fn enter_segment(&mut self, staged: StagedSegment, objects: BTreeSet<holdfast_types::ObjectId>) {
        let StagedSegment { segment: row, assignments, .. } = staged;
        let (id, len) = (row.id, row.shard_len);
        self.segments.insert(
            id,
            Segment { row, placements: BTreeMap::new(), revision: 1, described: 0, objects, pages: Vec::new() },
        );
        for assignment in assignments {
            self.unnote(&assignment);
            let Some(sequence) = assignment.sequence else {
                // It may still arrive there: then it is an orphan, and a repair may want it before its grace is over.
                self.free(assignment.node, len);
                self.claims.remove(&(assignment.node, assignment.shard));
                continue;
            };
            let commitment = self.first_commitment(id, assignment.index);
            self.set_placement(Placement {
                segment: id,
                index: assignment.index,
                shard: assignment.shard,
                len,
                node: assignment.node,
                sequence,
                commitment,
                standing: Standing::Good,
                version: 1,
                fence: FENCE_NONE,
            });
        }
    }

    fn drop_staged(&mut self, staged: &StagedSegment, due: Wall) {
        self.drop_witnesses(staged.segment.id);
        for assignment in &staged.assignments {
            self.unnote(assignment);
            let owner = staged.segment.owner;
            self.drop_copy(assignment.node, assignment.shard, owner, staged.segment.shard_len, due);
        }
    }

    pub(super) fn expire_uploads(&mut self, now: Wall) -> StoreReply {
        let late = |upload: &&Upload| upload.given_up || upload.row.expires < now;
        let ids: Vec<UploadId> = self.uploads.values().filter(late).map(|upload| upload.row.id).collect();
        let mut room = rules::DROPPED_AT_ONCE;
        for id in ids {
            if room == 0 {
                return StoreReply::More;
            }
            match self.drop_some(id, now, room) {
                Some(left) => room = left,
                None => return StoreReply::More,
            }
        }
        StoreReply::Done
    }

    pub(super) fn abort_upload(&mut self, id: UploadId, owner: OwnerId, at: Wall) -> StoreReply {
        let found = self.uploads.get(&id).filter(|upload| upload.row.owner == owner && !upload.row.committed);
        if found.is_none() {
            return StoreReply::Done;
        }
        match self.drop_some(id, at, rules::DROPPED_AT_ONCE) {
            Some(_) => StoreReply::Done,
            None => StoreReply::More,
        }
    }

    /// Drops so many of an upload's segments, and the upload with the last of them; what room is left then.
    fn drop_some(&mut self, id: UploadId, due: Wall, room: usize) -> Option<usize> {
        let upload = self.uploads.get_mut(&id)?;
        upload.given_up = true;
        let some: Vec<StagedSegment> = upload.in_order().into_iter().take(room).cloned().collect();
        upload.staged.retain(|id, _| some.iter().all(|staged| staged.segment.id != *id));
        let is_empty = upload.staged.is_empty();
        some.iter().for_each(|staged| self.drop_staged(staged, due));
        if !is_empty || some.len() == room {
            return None;
        }
        self.uploads.remove(&id);
        Some(room - some.len() - 1)
    }
}
