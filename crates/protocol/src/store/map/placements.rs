//! Who holds what, how it stands, and the leases under which that changes.

use holdfast_types::{Fence, Millis, NodeId, SegmentId, Sequence, ShardIndex, Wall};

use crate::{
    model::{Lease, Placement, Standing},
    store::{
        MapStore, StandingChange, StoreReply,
        map::{conflict, rows},
        rules,
    },
};

impl MapStore {
    pub(super) fn segment(&self, id: SegmentId) -> StoreReply {
        let found = self.segments.get(&id);
        found.map_or(StoreReply::NotFound, |segment| StoreReply::Segment(Box::new(segment.view())))
    }

    pub(super) fn segments_at_risk(&self, after: Option<(i32, SegmentId)>, limit: u32) -> StoreReply {
        let at_risk = self.segments.values().filter(|s| s.good() < usize::from(s.row.code.total()));
        let ranked = at_risk.map(|segment| ((segment.spare(), segment.row.id), segment));
        let mut ranked: Vec<_> = ranked.filter(|(rank, _)| after.is_none_or(|after| *rank > after)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        StoreReply::Segments(ranked.into_iter().take(rows(limit)).map(|(_, segment)| segment.view()).collect())
    }

    pub(super) fn placements_of(&self, node: NodeId, from: Sequence, limit: u32) -> StoreReply {
        let start = (node, from, SegmentId([0; 16]), ShardIndex(0));
        let mine = self.on_node.range(start..).take_while(|(of, ..)| *of == node);
        let found = mine.filter_map(|(_, _, segment, index)| self.segments.get(segment)?.placements.get(index));
        StoreReply::Placements(found.take(rows(limit)).cloned().collect())
    }

    fn placement(&self, segment: SegmentId, index: ShardIndex) -> Option<&Placement> {
        self.segments.get(&segment)?.placements.get(&index)
    }

    pub(super) fn set_sequence(
        &mut self,
        segment: SegmentId,
        index: ShardIndex,
        node: NodeId,
        sequence: Sequence,
    ) -> StoreReply {
        let Some(found) = self.placement(segment, index).cloned() else { return StoreReply::NotFound };
        if found.node != node {
            return conflict(format!("shard {index} of segment {segment} is on another node by now"));
        }
        if self.sequence_taken(node, sequence, found.shard) {
            return conflict(format!("node {node} has another shard under number {sequence}"));
        }
        self.set_placement(Placement { sequence, version: found.version + 1, ..found });
        StoreReply::Done
    }

    /// Applies what a verdict changes, where it still is what was judged.
    pub(super) fn change_standing(&mut self, change: &StandingChange) {
        let Some(found) = self.placement(change.segment, change.index).cloned() else { return };
        if found.node != change.node || found.sequence != change.sequence {
            return;
        }
        let standing = found.standing.after(&change.standing, found.len);
        if standing != found.standing {
            self.set_placement(Placement { standing, version: found.version + 1, ..found });
        }
    }

    pub(super) fn place(&mut self, new: Placement, expected: u64, at: Wall) -> StoreReply {
        let Some(segment) = self.segments.get(&new.segment) else { return StoreReply::NotFound };
        if let Some(why) = rules::shard_fault(&segment.row, new.index, &new.shard, new.len) {
            return conflict(why);
        }
        let old = segment.placements.get(&new.index).cloned();
        let version = old.as_ref().map_or(0, |old| old.version);
        let stored = old.as_ref().map_or(Fence::default(), |old| old.fence);
        let live = self.leases.get(&new.segment).filter(|lease| at < lease.expires);
        if version != expected {
            return conflict(format!("expected version {version}, got {expected}; read the segment again"));
        }
        if new.fence < stored || live.is_none_or(|lease| lease.fence != new.fence) {
            return conflict(format!("fence {} is not the segment's live lease; somebody else repairs it", new.fence));
        }
        if !self.nodes.contains_key(&new.node) {
            return conflict(format!("node {} is not registered", new.node));
        }
        if segment.placements.values().any(|p| p.index != new.index && p.node == new.node) {
            return conflict(format!("node {} holds another shard of this segment", new.node));
        }
        if self.sequence_taken(new.node, new.sequence, new.shard) {
            return conflict(format!("node {} has another shard under number {}", new.node, new.sequence));
        }
        let moved = old.as_ref().is_none_or(|old| old.node != new.node);
        if moved && self.claims.contains(&(new.node, new.shard)) {
            return conflict(format!("node {} has a shard {} for somebody else", new.node, new.shard));
        }
        let (owner, id, new_node) = (segment.row.owner, new.segment, new.node);
        if moved {
            self.reserve(new.node, new.len);
            self.claim(new.node, new.shard);
        }
        self.pends_since(id, new.index, at);
        self.set_placement(Placement { version: version + 1, ..new });
        self.former.remove(&(id, new_node));
        if let Some(old) = old.filter(|_| moved) {
            self.former.insert((id, old.node));
            self.drop_copy(old.node, old.shard, owner, old.len, at);
        }
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.revision += 1;
        }
        StoreReply::Done
    }

    pub(super) fn acquire_lease(&mut self, segment: SegmentId, now: Wall, ttl: Millis) -> StoreReply {
        if !self.segments.contains_key(&segment) {
            return StoreReply::NotFound;
        }
        if let Some(live) = self.leases.get(&segment).filter(|lease| now < lease.expires) {
            return conflict(format!("segment {segment} is leased under {} until {}", live.fence, live.expires.0));
        }
        self.counter += 1;
        let lease = Lease { segment, fence: Fence { epoch: self.epoch, counter: self.counter }, expires: now + ttl };
        self.leases.insert(segment, lease);
        StoreReply::Lease(lease)
    }

    pub(super) fn renew_lease(&mut self, lease: Lease, expires: Wall) -> StoreReply {
        match self.leases.get_mut(&lease.segment) {
            Some(held) if held.fence == lease.fence => {
                held.expires = expires;
                StoreReply::Lease(*held)
            }
            _ => conflict(format!("the lease {} of segment {} is gone", lease.fence, lease.segment)),
        }
    }

    pub(super) fn release_lease(&mut self, lease: Lease) -> StoreReply {
        if self.leases.get(&lease.segment).is_some_and(|held| held.fence == lease.fence) {
            self.leases.remove(&lease.segment);
        }
        StoreReply::Done
    }

    /// Placements of a node that are not lost yet, in the order of its list.
    pub(super) fn standing_on(&self, node: NodeId) -> Vec<Placement> {
        let start = (node, Sequence(0), SegmentId([0; 16]), ShardIndex(0));
        let mine = self.on_node.range(start..).take_while(|(of, ..)| *of == node);
        let found = mine.filter_map(|(_, _, segment, index)| self.placement(*segment, *index));
        found.filter(|placement| placement.standing != Standing::Lost).cloned().collect()
    }
}
