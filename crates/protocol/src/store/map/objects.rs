//! Objects of owners: nobody sees another's.

use holdfast_types::{ObjectId, OwnerId, Wall};

use crate::{
    model::{ExtentRow, ObjectRow},
    store::{
        MapStore, StoreReply,
        map::{Object, rows},
    },
};

impl MapStore {
    pub(super) fn object(&self, owner: OwnerId, id: ObjectId) -> StoreReply {
        let found = self.objects.get(&(owner, id));
        found.map_or(StoreReply::NotFound, |object| StoreReply::Object(Box::new(object.row.clone())))
    }

    pub(super) fn objects_of(&self, owner: OwnerId, after: Option<ObjectId>, limit: u32) -> StoreReply {
        let mine = self.objects.range((owner, ObjectId::from_bytes([0; 32]))..);
        let mine = mine.take_while(|((of, _), _)| *of == owner);
        let past = mine.filter(|((_, id), _)| after.is_none_or(|after| *id > after));
        let brief = |object: &Object| ObjectRow { manifest: Vec::new(), envelope: Vec::new(), ..object.row.clone() };
        StoreReply::Objects(past.take(rows(limit)).map(|(_, object)| brief(object)).collect())
    }

    pub(super) fn extents(&self, owner: OwnerId, id: ObjectId, from: u64, to: u64, limit: u32) -> StoreReply {
        let Some(object) = self.objects.get(&(owner, id)) else { return StoreReply::NotFound };
        let touches = |extent: &&ExtentRow| extent.at < to && extent.at + extent.len > from;
        StoreReply::Extents(object.extents.iter().filter(touches).take(rows(limit)).copied().collect())
    }

    pub(super) fn page_roots(&self, owner: OwnerId, id: ObjectId) -> StoreReply {
        let found = self.objects.get(&(owner, id));
        found.map_or(StoreReply::NotFound, |object| StoreReply::PageRoots(object.pages.keys().copied().collect()))
    }

    pub(super) fn page(&self, owner: OwnerId, root: &[u8; 32]) -> StoreReply {
        let mine = self.objects.range((owner, ObjectId::from_bytes([0; 32]))..);
        let mut mine = mine.take_while(|((of, _), _)| *of == owner);
        let page = mine.find_map(|(_, object)| object.pages.get(root));
        page.map_or(StoreReply::NotFound, |page| StoreReply::Page(page.clone()))
    }

    pub(super) fn delete_object(&mut self, owner: OwnerId, id: ObjectId, tombstone: &[u8], at: Wall) -> StoreReply {
        let Some(object) = self.objects.remove(&(owner, id)) else { return StoreReply::Done };
        self.bury_object(&object, tombstone, at);
        for extent in object.extents {
            let Some(segment) = self.segments.get_mut(&extent.segment) else { continue };
            if segment.objects.remove(&id) {
                segment.revision += 1;
            }
            if !segment.objects.is_empty() {
                continue;
            }
            self.bury_descriptor(extent.segment, at);
            let Some(gone) = self.segments.remove(&extent.segment) else { continue };
            self.leases.remove(&extent.segment);
            self.drop_witnesses(extent.segment);
            for upload in self.uploads.values_mut() {
                upload.segments.retain(|id| *id != extent.segment);
            }
            for placement in gone.placements.into_values() {
                let place = (placement.node, placement.sequence, placement.segment, placement.index);
                self.on_node.remove(&place);
                self.drop_copy(placement.node, placement.shard, owner, placement.len, at);
            }
        }
        StoreReply::Done
    }
}
