//! Deletions and records: owed until the node confirms, and never against the catalog.

use holdfast_types::{NodeId, Sequence, ShardId, ShardIndex, Wall};

use super::fixture::*;
use crate::{
    message::{RecordKind, SetEntry},
    model::DeletionRow,
    store::{OwedRecord, SegmentRecords, Store, StoreOp, StoreReply},
};

fn deletion(node: u8, shard: ShardId, due: u64) -> DeletionRow {
    DeletionRow { node: node_id(node), shard, owner: owner(0), due: Wall(due) }
}

#[track_caller]
fn due(store: &mut dyn Store, now: u64, after: Option<(NodeId, ShardId)>, limit: u32) -> Vec<(u8, u8)> {
    match store.apply(StoreOp::DueDeletions { now: Wall(now), after, limit }) {
        StoreReply::Deletions(rows) => rows.iter().map(|row| (row.node.0[0], row.shard.as_bytes()[0])).collect(),
        other => panic!("expected deletions, got {other:?}"),
    }
}

pub(super) fn deletions_come_when_due_and_go_when_done(store: &mut dyn Store) {
    nodes(store, 4);
    let rows = vec![deletion(2, shard_id(9, 0), 50), deletion(1, shard_id(8, 0), 10), deletion(1, shard_id(7, 0), 20)];
    done(store, StoreOp::QueueDeletions(rows));
    assert_eq!(due(store, 9, None, 9), vec![]);
    assert_eq!(due(store, 20, None, 9), vec![(1, 7), (1, 8)]);
    done(store, StoreOp::QueueDeletions(vec![deletion(2, shard_id(9, 0), 99), deletion(1, shard_id(7, 0), 5)]));
    store.reopen();
    assert_eq!(due(store, 5, None, 9), vec![(1, 7)]);
    assert_eq!(due(store, 50, None, 2), vec![(1, 7), (1, 8)]);
    assert_eq!(due(store, 50, Some((node_id(1), shard_id(8, 0))), 2), vec![(2, 9)]);
    for _ in 0..2 {
        done(store, StoreOp::DeletionDone { node: node_id(1), shard: shard_id(7, 0) });
        assert_eq!(due(store, 50, None, 9), vec![(1, 8), (2, 9)]);
    }
}

pub(super) fn deletions_are_found_by_their_shards(store: &mut dyn Store) {
    nodes(store, 5);
    put(store, 1);
    put(store, 2);
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    let later = DeletionRow { node: node_id(5), shard: shard_id(1, 2), owner: owner(0), due: Wall(u64::MAX >> 1) };
    done(store, StoreOp::QueueDeletions(vec![later]));
    let owed = |store: &mut dyn Store, shards: Vec<_>| match store.apply(StoreOp::OwedDeletions { shards }) {
        StoreReply::Deletions(rows) => {
            rows.into_iter().map(|row| (row.node.0[0], row.shard, row.due)).collect::<Vec<_>>()
        }
        other => panic!("expected deletions, got {other:?}"),
    };
    let (first, third) = (shard_id(1, 0), shard_id(1, 2));
    let expected = vec![(1, first, START), (3, third, START), (5, third, later.due)];
    assert_eq!(owed(store, vec![third, first, shard_id(2, 1)]), expected);
    assert_eq!(owed(store, vec![shard_id(2, 0)]), vec![]);
    done(store, StoreOp::DeletionDone { node: node_id(3), shard: third });
    assert_eq!(owed(store, vec![third]), vec![(5, third, later.due)]);
}

pub(super) fn what_is_claimed_is_never_queued(store: &mut dyn Store) {
    nodes(store, 8);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [5, 6, 7, 8]), 1);
    let rows = vec![
        deletion(1, shard_id(1, 0), 5),
        deletion(6, shard_id(2, 1), 5),
        deletion(2, shard_id(1, 0), 5),
        deletion(1, shard_id(2, 1), 5),
    ];
    done(store, StoreOp::QueueDeletions(rows));
    let queued: Vec<_> = deletions(store).into_iter().map(|row| (row.node, row.shard)).collect();
    assert_eq!(queued, vec![(node_id(1), shard_id(2, 1)), (node_id(2), shard_id(1, 0))]);
}

pub(super) fn a_claim_withdraws_a_queued_deletion(store: &mut dyn Store) {
    nodes(store, 5);
    done(store, StoreOp::QueueDeletions(vec![deletion(1, shard_id(1, 0), 5), deletion(5, shard_id(1, 3), 5)]));
    put(store, 1);
    let queued: Vec<_> = deletions(store).into_iter().map(|row| row.node).collect();
    assert_eq!(queued, vec![node_id(5)]);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 7, held.fence));
    let queued: Vec<_> = deletions(store).into_iter().map(|row| row.node).collect();
    assert_eq!(queued, vec![node_id(4)]);
}

pub(super) fn only_what_nobody_knows_is_unknown(store: &mut dyn Store) {
    nodes(store, 8);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [1, 6, 7, 8]), 0);
    done(store, StoreOp::QueueDeletions(vec![deletion(1, shard_id(7, 0), 5)]));
    let entry = |number: u64, shard: ShardId| SetEntry { sequence: Sequence(number), shard, len: SHARD };
    let entries = vec![
        entry(30, shard_id(9, 9)),
        entry(10, shard_id(1, 0)),
        entry(11, shard_id(1, 1)),
        entry(12, shard_id(2, 0)),
        entry(13, shard_id(7, 0)),
    ];
    let reply = store.apply(StoreOp::Unknown { node: node_id(1), entries: entries.clone() });
    assert_eq!(reply, StoreReply::Entries(vec![entries[0], entries[2]]));
    done(store, StoreOp::ExpireUploads { now: Wall(u64::MAX >> 1) });
    done(store, StoreOp::DeletionDone { node: node_id(1), shard: shard_id(2, 0) });
    let reply = store.apply(StoreOp::Unknown { node: node_id(1), entries: entries.clone() });
    assert_eq!(reply, StoreReply::Entries(vec![entries[0], entries[2], entries[3]]));
}

fn record(node: u8, key: u8, bytes: &[u8]) -> OwedRecord {
    OwedRecord { node: node_id(node), kind: RecordKind::Manifest, key: [key; 32], bytes: bytes.to_vec() }
}

/// Owes records beside those of segment 1, which is there and was not touched since its put.
fn owe(records: Vec<OwedRecord>) -> StoreOp {
    StoreOp::OweRecords(Box::new(SegmentRecords {
        segment: segment_id(1),
        revision: 1,
        records,
        described: None,
        at: START,
    }))
}

fn kept(record: &OwedRecord) -> StoreOp {
    let digest = *blake3::hash(&record.bytes).as_bytes();
    StoreOp::RecordKept { node: record.node, kind: record.kind, key: record.key, digest }
}

#[track_caller]
fn owed(store: &mut dyn Store, after: Option<&OwedRecord>, limit: u32) -> Vec<OwedRecord> {
    let after = after.map(|record| (record.node, record.kind, record.key));
    match store.apply(StoreOp::OwedRecords { after, limit }) {
        StoreReply::Owed(rows) => rows,
        other => panic!("expected records, got {other:?}"),
    }
}

pub(super) fn owed_records_go_when_kept(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let page = OwedRecord { kind: RecordKind::Page, ..record(1, 0, b"page") };
    let (first, second, third) = (record(1, 1, b"one"), record(1, 2, b"two"), record(2, 1, b"three"));
    done(store, owe(vec![third.clone(), page.clone(), second.clone(), first.clone()]));
    store.reopen();
    assert_eq!(owed(store, None, 9), vec![first.clone(), second.clone(), page.clone(), third.clone()]);
    assert_eq!(owed(store, Some(&second), 1), vec![page.clone()]);
    for _ in 0..2 {
        done(store, kept(&second));
        assert_eq!(owed(store, None, 9), vec![first.clone(), page.clone(), third.clone()]);
    }
}

pub(super) fn a_kept_record_that_changed_since_is_still_owed(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let (old, new) = (record(1, 1, b"version 1"), record(1, 1, b"version 2"));
    done(store, owe(vec![old.clone()]));
    done(store, owe(vec![new.clone()]));
    done(store, kept(&old));
    assert_eq!(owed(store, None, 9), vec![new.clone()]);
    done(store, kept(&new));
    assert_eq!(owed(store, None, 9), vec![]);
}

pub(super) fn a_change_of_a_segment_asks_for_a_description(store: &mut dyn Store) {
    nodes(store, 5);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    let extents = [extent(0, 1, 100, 50), extent(0, 1, 0, 100)];
    commit(store, 1, 1, vec![object(1, 1, vec![extents[0]]), object(2, 1, vec![extents[1]])]);
    let ask = |store: &mut dyn Store| match store.apply(StoreOp::Undescribed { limit: 9 }) {
        StoreReply::Undescribed(rows) => rows,
        other => panic!("expected segments, got {other:?}"),
    };
    let described = |revision: u64| {
        StoreOp::OweRecords(Box::new(SegmentRecords {
            segment: segment_id(1),
            revision,
            records: vec![record(1, 1, b"descriptor")],
            described: Some(vec![]),
            at: START,
        }))
    };
    let first = ask(store);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].view, view(store, 1));
    assert_eq!(first[0].described, 0);
    assert_eq!(first[0].extents, vec![(object_id(2), extents[1]), (object_id(1), extents[0])]);
    // A repair places a shard while the descriptor is being made: another is due.
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 7, held.fence));
    conflict(store, described(first[0].revision));
    store.reopen();
    let second = ask(store);
    assert!(second[0].revision > first[0].revision);
    assert_eq!((second[0].described, owed(store, None, 9)), (0, vec![]));
    assert!(second[0].view.placements.iter().any(|p| p.node == node_id(5) && p.index == ShardIndex(3)));
    done(store, described(second[0].revision));
    assert_eq!(ask(store), vec![]);
    assert_eq!(owed(store, None, 9).len(), 1);
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    let third = ask(store);
    assert!(third[0].revision > second[0].revision);
    assert_eq!(third[0].extents, vec![(object_id(2), extents[1])]);
}
