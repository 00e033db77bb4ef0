//! The auditor's disk: the map store, seen from outside. Every operation goes through here, so that
//! what must hold of leases, fences and verdicts is looked at the moment it becomes durable.

use std::collections::BTreeMap;

use holdfast_protocol::{
    model::{NodeRow, Placement, SegmentView, Standing, Verdict},
    store::{MapStore, ROWS_MAX, Store, StoreOp, StoreReply, Summary},
};
use holdfast_types::{Fence, SegmentId, Sequence, ShardIndex, VerdictId, Wall};

/// A promise that does not hold, and what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) promise: &'static str,
    pub(crate) what: String,
}

/// A lease as it was granted or renewed.
struct Held {
    fence: Fence,
    expires: Wall,
}

/// The map store and what was seen of it.
pub(crate) struct Catalog {
    store: MapStore,
    /// All placements, as of the last change.
    places: BTreeMap<(SegmentId, ShardIndex), Placement>,
    verdicts: Vec<Verdict>,
    /// Verdicts that nobody looked at yet.
    fresh: usize,
    highest: Fence,
    leases: BTreeMap<SegmentId, Held>,
    /// Placements changed since somebody looked.
    pub(crate) changed: bool,
    pub(crate) breach: Option<Breach>,
    pub(crate) repairs: u64,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        Self {
            store: MapStore::new(),
            places: BTreeMap::new(),
            verdicts: Vec::new(),
            fresh: 0,
            highest: Fence::default(),
            leases: BTreeMap::new(),
            changed: false,
            breach: None,
            repairs: 0,
        }
    }

    /// A backup.
    pub(crate) fn copy(&self) -> MapStore {
        self.store.clone()
    }

    /// A backup takes its place. The highest fence is what it was: none below is given out again, by whichever life.
    pub(crate) fn restore(&mut self, copy: MapStore) {
        self.store = copy;
        self.leases.clear();
        self.refresh();
    }

    /// Applies an operation and looks at what came of it.
    pub(crate) fn apply(&mut self, op: StoreOp) -> StoreReply {
        let asked = op.clone();
        let reply = self.store.apply(op);
        match (&asked, &reply) {
            (StoreOp::AcquireLease { segment, now, .. }, StoreReply::Lease(lease)) => {
                self.leased(*segment, *now, lease.fence, lease.expires);
            }
            (StoreOp::RenewLease { lease, .. }, StoreReply::Lease(renewed)) => {
                self.leases.insert(lease.segment, Held { fence: renewed.fence, expires: renewed.expires });
            }
            (StoreOp::ReleaseLease(lease), _) => {
                let fence = self.leases.get(&lease.segment).map(|held| held.fence);
                self.leases.retain(|segment, _| *segment != lease.segment || fence != Some(lease.fence));
            }
            (StoreOp::RaiseEpoch { .. }, StoreReply::Epoch(epoch)) => {
                self.highest = self.highest.max(Fence { epoch: *epoch, counter: 0 });
            }
            (StoreOp::Place { placement, .. }, StoreReply::Done) => {
                self.placed(placement);
                self.refresh();
            }
            (StoreOp::CloseAudit { changes, .. }, StoreReply::Verdict(id)) => {
                self.judged(*id);
                if !changes.is_empty() {
                    self.refresh();
                }
            }
            (StoreOp::LoseNode { .. }, StoreReply::Verdict(id)) => {
                self.judged(*id);
                self.refresh();
            }
            (StoreOp::CommitUpload { .. }, StoreReply::Committed { .. })
            | (StoreOp::DeleteObject { .. } | StoreOp::SetSequence { .. } | StoreOp::SetCommitment { .. }, _) => {
                self.refresh();
            }
            _ => {}
        }
        reply
    }

    fn leased(&mut self, segment: SegmentId, now: Wall, fence: Fence, expires: Wall) {
        if fence <= self.highest {
            self.break_promise("one valid fence a segment", format!("lease {fence} after {}", self.highest));
        }
        let live = self.leases.get(&segment).filter(|held| now < held.expires);
        if let Some(held) = live {
            let what = format!("{segment}: lease {fence} while {} lives until {:?}", held.fence, held.expires);
            self.break_promise("one valid fence a segment", what);
        }
        self.highest = self.highest.max(fence);
        self.leases.insert(segment, Held { fence, expires });
    }

    fn placed(&mut self, placement: &Placement) {
        self.repairs += 1;
        let newest = self.leases.get(&placement.segment).map(|held| held.fence);
        let before = self.places.get(&(placement.segment, placement.index)).map(|old| old.fence);
        if newest != Some(placement.fence) || before.is_some_and(|before| placement.fence < before) {
            let what =
                format!("{} placed under {}, lease {newest:?}, before {before:?}", placement.shard, placement.fence);
            self.break_promise("one valid fence a segment", what);
        }
    }

    fn judged(&mut self, id: VerdictId) {
        let after = VerdictId(id.0 - 1);
        if let StoreReply::Verdicts(found) = self.store.apply(StoreOp::Verdicts { after, node: None, limit: 1 }) {
            self.verdicts.extend(found);
        }
    }

    fn break_promise(&mut self, promise: &'static str, what: String) {
        self.breach.get_or_insert(Breach { promise, what });
    }

    fn refresh(&mut self) {
        self.places.clear();
        for row in self.nodes() {
            let op = StoreOp::PlacementsOfNode { node: row.id, from: Sequence(0), limit: ROWS_MAX };
            if let StoreReply::Placements(found) = self.store.apply(op) {
                self.places
                    .extend(found.into_iter().map(|placement| ((placement.segment, placement.index), placement)));
            }
        }
        self.changed = true;
    }

    pub(crate) fn nodes(&mut self) -> Vec<NodeRow> {
        match self.store.apply(StoreOp::Nodes) {
            StoreReply::Nodes(rows) => rows,
            _ => Vec::new(),
        }
    }

    pub(crate) fn summary(&mut self) -> Summary {
        match self.store.apply(StoreOp::Summary) {
            StoreReply::Summary(summary) => summary,
            _ => Summary::default(),
        }
    }

    pub(crate) fn segment(&mut self, id: SegmentId) -> Option<SegmentView> {
        match self.store.apply(StoreOp::Segment(id)) {
            StoreReply::Segment(view) => Some(*view),
            _ => None,
        }
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Placement> {
        self.places.values()
    }

    pub(crate) fn segments(&self) -> Vec<SegmentId> {
        let mut ids: Vec<SegmentId> = self.places.keys().map(|(id, _)| *id).collect();
        ids.dedup();
        ids
    }

    /// Placements that are believed to be there, in whole or in part.
    pub(crate) fn believed(&self) -> impl Iterator<Item = &Placement> {
        self.places.values().filter(|placement| placement.standing != Standing::Lost)
    }

    /// Verdicts since the last call.
    pub(crate) fn take_verdicts(&mut self) -> Vec<Verdict> {
        let fresh = self.verdicts[self.fresh..].to_vec();
        self.fresh = self.verdicts.len();
        fresh
    }

    pub(crate) fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }
}
