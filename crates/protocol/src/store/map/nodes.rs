//! Nodes, the epoch, and the numbers of the status page.

use std::collections::BTreeMap;

use crate::{
    model::{CommitmentState, NodeRow},
    store::{MapStore, StoreReply, Summary, map::conflict},
};

impl MapStore {
    pub(super) fn raise_epoch(&mut self, above: u64) -> StoreReply {
        if self.epoch > 0 {
            self.burn_all();
        }
        self.epoch = self.epoch.max(above).saturating_add(1);
        self.counter = 0;
        StoreReply::Epoch(self.epoch)
    }

    pub(super) fn put_node(&mut self, row: NodeRow) -> StoreReply {
        let stored = self.nodes.get(&row.id);
        let (version, used, judged) =
            stored.map_or((0, 0, None), |stored| (stored.version, stored.used, stored.judged));
        if version != row.version {
            return conflict(format!(
                "node {}: expected version {version}, got {}; read it again",
                row.id, row.version
            ));
        }
        let row = NodeRow { version: version + 1, used, judged, ..row };
        self.nodes.insert(row.id, row.clone());
        StoreReply::Nodes(vec![row])
    }

    pub(super) fn segments_by_spare(&self) -> StoreReply {
        let mut spares = BTreeMap::new();
        for segment in self.segments.values() {
            *spares.entry(segment.spare()).or_default() += 1;
        }
        StoreReply::Spares(spares.into_iter().collect())
    }

    pub(super) fn summary(&self) -> StoreReply {
        let code_total = |segment: &super::Segment| usize::from(segment.row.code.total());
        let segments = || self.segments.values();
        let placements = || segments().flat_map(|segment| segment.placements.values());
        let pending = || placements().filter(|p| p.standing.is_good() && p.commitment == CommitmentState::Pending);
        StoreReply::Summary(Summary {
            objects: self.objects.len() as u64,
            plain_bytes: self.objects.values().map(|object| object.row.plain_len).sum(),
            segments: self.segments.len() as u64,
            placements: placements().count() as u64,
            good: placements().filter(|placement| placement.standing.is_good()).count() as u64,
            pending_commitments: pending().count() as u64,
            pending_bytes: pending().map(|placement| placement.len).sum(),
            at_risk: segments().filter(|segment| segment.good() < code_total(segment)).count() as u64,
            unrecoverable: segments().filter(|segment| segment.spare() < 0).count() as u64,
            worst_held: segments().map(|segment| segment.good() as u16).min().unwrap_or(0),
            worst_spare: segments().map(super::Segment::spare).min().unwrap_or(0),
            deletions: self.deletions.len() as u64,
            owed_records: self.owed.len() as u64,
            burials: self.burials.len() as u64,
            uploads: self.uploads.values().filter(|upload| !upload.row.committed).count() as u64,
            epoch: self.epoch,
            counter: self.counter,
        })
    }
}
