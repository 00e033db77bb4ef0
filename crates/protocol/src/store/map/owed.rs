//! What is owed to the nodes: deletions and records.

use holdfast_types::{NodeId, ObjectId, ShardId, Wall};

use crate::{
    message::{RecordKind, SetEntry},
    model::{DeletionRow, ExtentRow},
    store::{
        MapStore, OwedRecord, SegmentRecords, StoreReply, Undescribed,
        map::{Segment, conflict, rows},
        rules,
    },
};

impl MapStore {
    pub(super) fn due_deletions(&self, now: Wall, after: Option<(NodeId, ShardId)>, limit: u32) -> StoreReply {
        let due = self.deletions.values().filter(|row| row.due <= now);
        let past = due.filter(|row| after.is_none_or(|after| (row.node, row.shard) > after));
        StoreReply::Deletions(past.take(rows(limit)).copied().collect())
    }

    pub(super) fn owed_deletions(&self, shards: &[ShardId]) -> StoreReply {
        let of = self.deletions.values().filter(|row| shards.contains(&row.shard));
        StoreReply::Deletions(of.take(rows(u32::MAX)).copied().collect())
    }

    pub(super) fn queue_orphans(&mut self, orphans: Vec<DeletionRow>) -> StoreReply {
        for row in orphans {
            self.queue(row);
        }
        StoreReply::Done
    }

    pub(super) fn deletion_done(&mut self, node: NodeId, shard: ShardId) -> StoreReply {
        self.deletions.remove(&(node, shard));
        StoreReply::Done
    }

    pub(super) fn unknown(&self, node: NodeId, entries: Vec<SetEntry>) -> StoreReply {
        let known = |entry: &SetEntry| {
            let key = (node, entry.shard);
            self.claims.contains(&key) || self.deletions.contains_key(&key)
        };
        StoreReply::Entries(entries.into_iter().filter(|entry| !known(entry)).collect())
    }

    fn extents_in(&self, segment: &Segment) -> Vec<(ObjectId, ExtentRow)> {
        let objects = segment.objects.iter().filter_map(|id| self.objects.get(&(segment.row.owner, *id)));
        let all = objects.flat_map(|object| object.extents.iter().map(|extent| (object.row.id, *extent)));
        let mut found: Vec<_> = all.filter(|(_, extent)| extent.segment == segment.row.id).collect();
        found.sort_by_key(|(id, extent)| (extent.offset, *id));
        found
    }

    pub(super) fn undescribed(&self, limit: u32) -> StoreReply {
        let behind = self.segments.values().filter(|segment| segment.described < segment.revision);
        let with_extents = |segment: &Segment| Undescribed {
            view: segment.view(),
            revision: segment.revision,
            described: segment.described,
            extents: self.extents_in(segment),
        };
        StoreReply::Undescribed(behind.take(rows(limit)).map(with_extents).collect())
    }

    pub(super) fn owe_records(&mut self, owed: SegmentRecords) -> StoreReply {
        let SegmentRecords { segment: id, revision, records, described, at } = owed;
        let Some(segment) = self.segments.get(&id) else { return StoreReply::NotFound };
        if segment.revision != revision {
            return conflict(rules::revision_fault(id, revision, segment.revision));
        }
        for record in records {
            self.burials.remove(&(record.kind, record.key, record.node));
            self.owed.insert((record.node, record.kind, record.key), record.bytes);
        }
        if let Some(pages) = described {
            self.bury_pages(id, &pages, at);
            if let Some(segment) = self.segments.get_mut(&id) {
                (segment.described, segment.pages) = (revision, pages);
            }
        }
        StoreReply::Done
    }

    pub(super) fn owed_records(&self, after: Option<(NodeId, RecordKind, [u8; 32])>, limit: u32) -> StoreReply {
        let past = self.owed.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
        let record = |((node, kind, key), bytes): (&(NodeId, RecordKind, [u8; 32]), &Vec<u8>)| OwedRecord {
            node: *node,
            kind: *kind,
            key: *key,
            bytes: bytes.clone(),
        };
        StoreReply::Owed(past.take(rows(limit)).map(record).collect())
    }

    pub(super) fn record_kept(
        &mut self,
        node: NodeId,
        kind: RecordKind,
        key: [u8; 32],
        digest: [u8; 32],
    ) -> StoreReply {
        let place = (node, kind, key);
        if self.owed.get(&place).is_some_and(|bytes| *blake3::hash(bytes).as_bytes() == digest) {
            self.owed.remove(&place);
        }
        StoreReply::Done
    }
}
