//! What is true of the catalog after every operation, whatever was asked of it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{model::Standing, store::contract::twin::Walk};

/// Seeds of the walk, and operations in each.
const WALKS: u64 = 40;
const STEPS: usize = 1200;

fn assert_invariants(map: &MapStore) {
    let live = || map.uploads.values().filter(|upload| !upload.row.committed).flat_map(|upload| upload.staged.values());
    let placed = || map.segments.values().flat_map(|segment| segment.placements.values());
    let mut used: BTreeMap<NodeId, u64> = map.nodes.keys().map(|node| (*node, 0)).collect();
    let mut claims = BTreeSet::new();
    for staged in live() {
        for assignment in &staged.assignments {
            *used.entry(assignment.node).or_default() += staged.segment.shard_len;
            assert!(claims.insert((assignment.node, assignment.shard)), "claimed twice");
        }
    }
    for placement in placed() {
        *used.entry(placement.node).or_default() += placement.len;
        assert!(claims.insert((placement.node, placement.shard)), "claimed twice");
    }
    assert_eq!(claims, map.claims);
    for row in map.nodes.values() {
        assert_eq!(row.used, used[&row.id], "bytes of {}", row.id);
    }
    assert!(map.deletions.keys().all(|key| !claims.contains(key)), "a placed shard is queued for deletion");
    let listed: BTreeSet<_> = placed().map(|p| (p.node, p.sequence, p.segment, p.index)).collect();
    assert_eq!(listed, map.on_node);
    let assigned = || map.uploads.values().flat_map(|upload| upload.staged.values()).flat_map(|s| &s.assignments);
    let noted: BTreeMap<_, _> = assigned().filter_map(|a| Some(((a.node, a.sequence?), a.shard))).collect();
    assert_eq!(noted, map.numbers);
    assert_eq!(noted.len(), assigned().filter(|a| a.sequence.is_some()).count(), "one number for two shards");
    let mut numbers = BTreeSet::new();
    for placement in placed().filter(|placement| placement.standing != Standing::Lost) {
        assert!(numbers.insert((placement.node, placement.sequence)), "one number for two shards");
    }
    for segment in map.segments.values() {
        let nodes: BTreeSet<NodeId> = segment.placements.values().map(|placement| placement.node).collect();
        assert_eq!(nodes.len(), segment.placements.len(), "two shards of a segment on one node");
        assert!(!segment.objects.is_empty(), "a segment that nothing refers to");
        for placement in segment.placements.values() {
            assert_eq!(segment.row.shards[usize::from(placement.index.0)], placement.shard);
        }
    }
    for object in map.objects.values() {
        for extent in &object.extents {
            assert!(map.segments[&extent.segment].objects.contains(&object.row.id), "an extent of nothing");
        }
    }
    for (segment, index) in map.witnesses.keys() {
        let committed = map.segments.get(segment);
        assert!(committed.is_some() || live().any(|staged| staged.segment.id == *segment), "a witness of nothing");
        let placement = committed.and_then(|found| found.placements.get(index));
        let open = placement.is_none_or(|p| p.commitment == crate::model::CommitmentState::Pending);
        assert!(open, "a witness of what is accepted");
    }
    assert!(map.leases.values().all(|lease| map.segments.contains_key(&lease.segment)));
    assert!(map.leases.values().all(|lease| lease.fence.epoch < map.epoch || lease.fence.counter <= map.counter));
}

#[test]
fn the_catalog_is_sound_after_every_operation() {
    let mut commits = 0;
    let mut places = 0;
    for seed in 0..WALKS {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let op = walk.op();
            let (is_place, is_commit) =
                (matches!(op, StoreOp::Place { .. }), matches!(op, StoreOp::CommitUpload { .. }));
            let before = walk.map.clone();
            let reply = walk.map.apply(op.clone());
            walk.answered(&reply);
            if matches!(reply, StoreReply::Conflict(_) | StoreReply::NotFound) {
                assert_eq!(walk.map, before, "refused, and something was done: {op:?}");
            }
            commits +=
                u32::from(is_commit && matches!(&reply, StoreReply::Committed { segments } if !segments.is_empty()));
            places += u32::from(is_place && reply == StoreReply::Done);
            assert_invariants(&walk.map);
        }
    }
    // A walk that is refused everything would prove nothing.
    assert!(commits > 300 && places > 150, "{commits} commits, {places} places");
}
