//! What becomes of the records of what was deleted: tombstones at once, and nothing at all in the end.

use std::{collections::BTreeSet, ops::Bound};

use holdfast_types::{NodeId, ObjectId, SegmentId, Wall};

use crate::{
    message::{RecordKind, descriptor_key},
    model::NodeLife,
    store::{
        MapStore, StoreReply,
        map::{Object, rows},
    },
};

impl MapStore {
    /// Nodes that may keep records of a segment.
    fn record_holders(&self, id: SegmentId) -> BTreeSet<NodeId> {
        let former = self.former.range((id, NodeId([0; 32]))..=(id, NodeId([0xff; 32]))).map(|(_, node)| *node);
        let placed = self.segments.get(&id).into_iter().flat_map(|segment| segment.placements.values());
        former.chain(placed.map(|placement| placement.node)).collect()
    }

    fn bury(&mut self, kind: RecordKind, key: [u8; 32], node: NodeId, at: Wall) {
        self.owed.remove(&(node, kind, key));
        self.burials.insert((kind, key, node), at);
    }

    /// The records of an object whose row is gone, and whose segments are not yet.
    pub(super) fn bury_object(&mut self, object: &Object, tombstone: &[u8], at: Wall) {
        let (owner, id) = (object.row.owner, object.row.id);
        let shared = self.objects.keys().any(|(_, other)| *other == id);
        // They lie with its first bytes; without bytes, nowhere.
        let Some(first) = object.extents.first().filter(|_| !shared) else { return };
        let is_others = |root: &[u8; 32]| {
            self.objects.iter().any(|((of, _), other)| *of == owner && other.pages.contains_key(root))
        };
        let pages: Vec<[u8; 32]> = object.pages.keys().filter(|root| !is_others(root)).copied().collect();
        for node in self.record_holders(first.segment) {
            for root in &pages {
                self.bury(RecordKind::Page, *root, node, at);
            }
            let key = *id.as_bytes();
            if tombstone.is_empty() {
                self.bury(RecordKind::Manifest, key, node, at);
                self.bury(RecordKind::Envelope, key, node, at);
                continue;
            }
            for kind in [RecordKind::Manifest, RecordKind::Envelope] {
                self.owed.remove(&(node, kind, key));
            }
            self.bury(RecordKind::Tombstone, key, node, at);
            self.owed.insert((node, RecordKind::Tombstone, key), tombstone.to_vec());
        }
    }

    /// The descriptor of a segment that is about to go.
    pub(super) fn bury_descriptor(&mut self, id: SegmentId, at: Wall) {
        self.bury_pages(id, &[], at);
        for node in self.record_holders(id) {
            self.bury(RecordKind::Descriptor, descriptor_key(id), node, at);
            self.former.remove(&(id, node));
        }
    }

    /// Pages of a segment's last descriptor that the next one does not have.
    pub(super) fn bury_pages(&mut self, id: SegmentId, next: &[[u8; 32]], at: Wall) {
        let last = self.segments.get(&id).map(|segment| segment.pages.clone()).unwrap_or_default();
        for node in self.record_holders(id) {
            for root in last.iter().filter(|root| !next.contains(root)) {
                self.bury(RecordKind::Page, *root, node, at);
            }
        }
    }

    /// Whether a node may keep a tombstone of the object.
    pub(super) fn is_buried(&self, id: ObjectId) -> bool {
        let key = *id.as_bytes();
        let all = (RecordKind::Tombstone, key, NodeId([0; 32]))..=(RecordKind::Tombstone, key, NodeId([0xff; 32]));
        let is_owed = |(_, kind, of): &(NodeId, RecordKind, [u8; 32])| *kind == RecordKind::Tombstone && *of == key;
        self.burials.range(all).next().is_some() || self.owed.keys().any(is_owed)
    }

    pub(super) fn bury_strays(&mut self, node: NodeId, kind: RecordKind, keys: Vec<[u8; 32]>, at: Wall) -> StoreReply {
        let is_needed = |key: &[u8; 32]| match kind {
            RecordKind::Descriptor => self.segments.keys().any(|id| descriptor_key(*id) == *key),
            RecordKind::Manifest | RecordKind::Envelope => self.objects.keys().any(|(_, id)| id.as_bytes() == key),
            RecordKind::Page => true,
            // Where one is to lie, it is owed or buried.
            RecordKind::Tombstone => false,
        };
        let is_known = |key: &[u8; 32]| {
            self.owed.contains_key(&(node, kind, *key)) || self.burials.contains_key(&(kind, *key, node))
        };
        let strays: Vec<_> = keys.into_iter().filter(|key| !is_needed(key) && !is_known(key)).collect();
        self.burials.extend(strays.into_iter().map(|key| ((kind, key, node), at)));
        StoreReply::Done
    }

    pub(super) fn end_burials(
        &mut self,
        before: Wall,
        after: Option<(RecordKind, [u8; 32], NodeId)>,
        limit: u32,
    ) -> StoreReply {
        let gone = |life: NodeLife| matches!(life, NodeLife::Evicted | NodeLife::Left);
        let gone: BTreeSet<NodeId> = self.nodes.values().filter(|row| gone(row.life)).map(|row| row.id).collect();
        let is_tombstone = |(_, kind, _): &&(NodeId, RecordKind, [u8; 32])| *kind == RecordKind::Tombstone;
        let of_gone = self.owed.keys().filter(is_tombstone).filter(|(node, ..)| gone.contains(node));
        for owed in of_gone.take(rows(limit)).copied().collect::<Vec<_>>() {
            self.owed.remove(&owed);
        }
        let waited_for: BTreeSet<[u8; 32]> = self.owed.keys().filter(is_tombstone).map(|(.., key)| *key).collect();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.burials.range((from, Bound::Unbounded)).take(rows(limit));
        let page: Vec<_> = page.map(|(burial, at)| (*burial, *at)).collect();
        for ((kind, key, node), at) in &page {
            if *at > before || (*kind == RecordKind::Tombstone && waited_for.contains(key)) {
                continue;
            }
            self.burials.remove(&(*kind, *key, *node));
            if !gone.contains(node) {
                self.owed.insert((*node, *kind, *key), Vec::new());
            }
        }
        let last = page.last().filter(|_| page.len() == rows(limit));
        StoreReply::Burials(last.map(|(burial, _)| *burial))
    }
}
