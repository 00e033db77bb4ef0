//! Deleted objects: their records leave every node that may have them, and their tombstones stay just as long.

use std::collections::BTreeSet;

use holdfast_types::{NodeId, Wall};

use super::fixture::*;
use crate::{
    message::{RecordKind, descriptor_key},
    model::NodeLife,
    store::{OwedRecord, SegmentRecords, Store, StoreOp, StoreReply},
};

const WORD: &[u8] = b"buried";

#[track_caller]
fn owed(store: &mut dyn Store) -> Vec<OwedRecord> {
    match store.apply(StoreOp::OwedRecords { after: None, limit: 1000 }) {
        StoreReply::Owed(rows) => rows,
        other => panic!("expected records, got {other:?}"),
    }
}

/// What is owed, without the bytes: node, kind, whether it is an absence.
fn owed_kinds(store: &mut dyn Store) -> Vec<(u8, RecordKind, bool)> {
    owed(store).iter().map(|record| (record.node.0[0], record.kind, record.bytes.is_empty())).collect()
}

/// The nodes keep all that is owed to them, but for this one.
fn keep_all_but(store: &mut dyn Store, away: u8) {
    for record in owed(store).into_iter().filter(|record| record.node != node_id(away)) {
        let digest = *blake3::hash(&record.bytes).as_bytes();
        done(store, StoreOp::RecordKept { node: record.node, kind: record.kind, key: record.key, digest });
    }
}

/// Describes segment `n` of object `n` to `nodes`, by a descriptor with this page.
fn describe(store: &mut dyn Store, n: u8, nodes: &[u8], page: u8) {
    let StoreReply::Undescribed(rows) = store.apply(StoreOp::Undescribed { limit: 99 }) else { panic!("segments") };
    let row = rows.into_iter().find(|row| row.view.segment.id == segment_id(n)).expect("a segment to describe");
    let names = [
        (RecordKind::Descriptor, descriptor_key(segment_id(n))),
        (RecordKind::Manifest, [n; 32]),
        (RecordKind::Envelope, [n; 32]),
        (RecordKind::Page, [n; 32]),
        (RecordKind::Page, [page; 32]),
    ];
    let record = |node: u8| names.map(|(kind, key)| OwedRecord { node: node_id(node), kind, key, bytes: vec![n] });
    let records = nodes.iter().flat_map(|node| record(*node)).collect();
    let (segment, revision, described) = (segment_id(n), row.revision, Some(vec![[page; 32]]));
    done(store, StoreOp::OweRecords(Box::new(SegmentRecords { segment, revision, records, described, at: START })));
}

fn delete(n: u8, tombstone: &[u8]) -> StoreOp {
    StoreOp::DeleteObject { owner: owner(1), id: object_id(n), tombstone: tombstone.to_vec(), at: START }
}

fn end(store: &mut dyn Store, before: u64) {
    let ended = store.apply(StoreOp::EndBurials { before: Wall(before), after: None, limit: 999 });
    assert_eq!(ended, StoreReply::Burials(None));
}

pub(super) fn a_deleted_objects_records_are_not_owed_and_its_tombstone_is(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    put(store, 2);
    describe(store, 1, &[1, 2, 3, 4], 90);
    describe(store, 2, &[1, 2, 3, 4], 91);
    keep_all_but(store, 3);
    let others: Vec<_> = owed(store).into_iter().filter(|record| record.bytes == vec![2]).collect();
    assert_eq!(others.len(), 5);
    done(store, delete(1, WORD));
    store.reopen();
    let tombstone = |n: u8| (n, RecordKind::Tombstone, false);
    let of_one: Vec<_> = owed(store).into_iter().filter(|record| !others.contains(record)).collect();
    assert!(of_one.iter().all(|record| record.key == [1; 32] && record.bytes == WORD));
    let kinds: Vec<_> = of_one.iter().map(|r| (r.node.0[0], r.kind, false)).collect();
    assert_eq!(kinds, vec![tombstone(1), tombstone(2), tombstone(3), tombstone(4)]);
    // Tombstone, descriptor and two pages on four nodes.
    assert_eq!(summary(store).burials, 16);
    done(store, delete(1, WORD));
    assert_eq!(owed(store).len(), 9);
}

pub(super) fn burials_end_when_every_node_keeps_the_tombstone_and_the_grace_is_over(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    describe(store, 1, &[1, 2, 3, 4], 90);
    keep_all_but(store, 9);
    done(store, delete(1, WORD));
    keep_all_but(store, 4);
    end(store, START.0 - 1);
    assert_eq!(owed_kinds(store), vec![(4, RecordKind::Tombstone, false)]);
    // Node 4 may still have them: the tombstones stay, and pages and descriptors, which bring nothing back, go.
    end(store, START.0);
    let left = |node: u8| {
        [(node, RecordKind::Descriptor, true), (node, RecordKind::Page, true), (node, RecordKind::Page, true)]
    };
    let mut expected: Vec<_> = (1..=4).flat_map(left).collect();
    expected.push((4, RecordKind::Tombstone, false));
    assert_eq!(owed_kinds(store), expected);
    keep_all_but(store, 9);
    store.reopen();
    assert_eq!((owed(store).len(), summary(store).burials), (0, 4));
    end(store, START.0);
    let gone: Vec<_> = (1..=4).map(|node| (node, RecordKind::Tombstone, true)).collect();
    assert_eq!(owed_kinds(store), gone);
    keep_all_but(store, 9);
    end(store, START.0);
    assert_eq!((owed(store).len(), summary(store).burials), (0, 0));
}

/// Fault: a node is away for long. What waits for it is passed over, page by page, and what can end does.
pub(super) fn burials_end_page_by_page(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    put(store, 2);
    describe(store, 1, &[1, 2, 3, 4], 90);
    describe(store, 2, &[1, 2, 3, 4], 91);
    keep_all_but(store, 9);
    done(store, delete(1, WORD));
    done(store, delete(2, WORD));
    keep_all_but(store, 4);
    let all = summary(store).burials;
    let (mut after, mut before, mut pages) = (None, all, 0);
    loop {
        let page = store.apply(StoreOp::EndBurials { before: START, after, limit: 3 });
        let StoreReply::Burials(last) = page else { panic!("expected a place, got {page:?}") };
        let left = summary(store).burials;
        assert!(before - left <= 3 && last.is_none_or(|last| after.is_none_or(|after| after < last)));
        (after, before, pages) = (last, left, pages + 1);
        if last.is_none() {
            break;
        }
    }
    // Descriptors and two pages each went; a tombstone on four nodes waits.
    assert_eq!((all, before, pages), (32, 8, 32 / 3 + 1));
    // Who left is waited for no longer, once what it was owed is forgotten: so many at a time.
    let gone = crate::model::NodeRow { life: NodeLife::Evicted, version: 1, ..node(4) };
    assert!(matches!(store.apply(StoreOp::PutNode(Box::new(gone))), StoreReply::Nodes(_)));
    let tombstones = |store: &mut dyn Store| {
        store.apply(StoreOp::EndBurials { before: START, after: None, limit: 1 });
        owed(store).into_iter().filter(|record| record.bytes == WORD).count()
    };
    assert_eq!((tombstones(store), tombstones(store)), (1, 0));
    end(store, START.0);
    keep_all_but(store, 9);
    end(store, START.0);
    assert_eq!(summary(store).burials, 0);
}

pub(super) fn without_a_tombstone_the_records_go_after_the_grace(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    describe(store, 1, &[1, 2, 3, 4], 90);
    done(store, delete(1, b""));
    assert_eq!(owed(store), vec![]);
    end(store, START.0);
    let absences: BTreeSet<_> = owed_kinds(store).into_iter().filter(|(_, _, absence)| *absence).collect();
    for kind in [RecordKind::Descriptor, RecordKind::Manifest, RecordKind::Page, RecordKind::Envelope] {
        assert!((1..=4).all(|node| absences.contains(&(node, kind, true))), "{kind:?}");
    }
    assert_eq!(owed(store).len(), 20);
}

pub(super) fn a_node_that_left_holds_up_no_burial(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    done(store, delete(1, WORD));
    keep_all_but(store, 2);
    let gone = crate::model::NodeRow { life: NodeLife::Evicted, version: 1, ..node(2) };
    assert!(matches!(store.apply(StoreOp::PutNode(Box::new(gone))), StoreReply::Nodes(_)));
    end(store, START.0);
    let kinds = owed_kinds(store);
    assert!(kinds.iter().all(|(node, _, absence)| *node != 2 && *absence), "{kinds:?}");
    keep_all_but(store, 9);
    end(store, START.0);
    assert_eq!(summary(store).burials, 0);
}

pub(super) fn a_node_that_held_a_shard_before_a_repair_buries_too(store: &mut dyn Store) {
    nodes(store, 6);
    put(store, 1);
    describe(store, 1, &[1, 2, 3, 4], 90);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 7, held.fence));
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 6, 7, held.fence));
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 8, held.fence));
    done(store, delete(1, WORD));
    let told: Vec<NodeId> = owed(store).into_iter().filter(|r| r.bytes == WORD).map(|record| record.node).collect();
    assert_eq!(told, (1..=6).map(node_id).collect::<Vec<_>>());
}

pub(super) fn what_is_buried_is_not_committed_until_its_tombstones_are_gone(store: &mut dyn Store) {
    nodes(store, 8);
    put(store, 1);
    done(store, delete(1, WORD));
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [5, 6, 7, 8]), 4);
    let again = || vec![object(1, 1, vec![extent(0, 2, 0, 2 * SHARD)])];
    let put_again = |objects| StoreOp::CommitUpload { id: upload_id(2), owner: owner(1), objects, at: START };
    conflict(store, put_again(again()));
    keep_all_but(store, 9);
    conflict(store, put_again(again()));
    end(store, START.0);
    // The absences are owed, and not there yet.
    conflict(store, put_again(again()));
    keep_all_but(store, 9);
    assert_eq!(commit(store, 2, 1, again()), vec![segment_id(2)]);
}

pub(super) fn records_of_another_revision_are_not_owed(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    let extents = [extent(0, 1, 0, 100), extent(0, 1, 100, 50)];
    commit(store, 1, 1, vec![object(1, 1, vec![extents[0]]), object(2, 1, vec![extents[1]])]);
    let StoreReply::Undescribed(rows) = store.apply(StoreOp::Undescribed { limit: 9 }) else { panic!("segments") };
    let manifest = OwedRecord { node: node_id(1), kind: RecordKind::Manifest, key: [1; 32], bytes: vec![1] };
    let owe = |segment: u8, revision: u64, described| {
        let (segment, records) = (segment_id(segment), vec![manifest.clone()]);
        StoreOp::OweRecords(Box::new(SegmentRecords { segment, revision, records, described, at: START }))
    };
    // Gathered, and deleted before it was owed.
    done(store, delete(1, WORD));
    conflict(store, owe(1, rows[0].revision, None));
    conflict(store, owe(1, rows[0].revision, Some(vec![])));
    assert_eq!(store.apply(owe(9, 1, None)), StoreReply::NotFound);
    assert!(owed(store).iter().all(|record| record.kind == RecordKind::Tombstone));
    let StoreReply::Undescribed(rows) = store.apply(StoreOp::Undescribed { limit: 9 }) else { panic!("segments") };
    assert_eq!((rows[0].described, rows[0].extents.len()), (0, 1));
}

pub(super) fn what_others_need_is_not_buried(store: &mut dyn Store) {
    nodes(store, 8);
    // Two objects in one segment, and the second again as another owner's.
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    let extents = [extent(0, 1, 0, 100), extent(0, 1, 100, 50)];
    commit(store, 1, 1, vec![object(1, 1, vec![extents[0]]), object(2, 1, vec![extents[1]])]);
    store.apply(StoreOp::BeginUpload(upload(3, 2)));
    stage(store, staged(3, 3, 2, 0, [1, 2, 3, 4]), 4);
    commit(store, 3, 2, vec![object(2, 2, vec![extent(0, 3, 0, 50)])]);
    done(store, delete(1, WORD));
    // The descriptor stays with the segment: tombstone and page on four nodes.
    assert_eq!(summary(store).burials, 8);
    done(store, delete(2, WORD));
    // The other owner's manifest, envelope and page have the same names; the segment went.
    assert_eq!(summary(store).burials, 12);
    assert!(owed(store).iter().all(|record| record.key == [1; 32]));
}

pub(super) fn a_new_descriptor_buries_pages_of_the_last_one(store: &mut dyn Store) {
    nodes(store, 5);
    put(store, 1);
    describe(store, 1, &[1, 2, 3, 4], 90);
    assert_eq!(summary(store).burials, 0);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 7, held.fence));
    describe(store, 1, &[1, 2, 3, 5], 91);
    assert_eq!(summary(store).burials, 5);
    // Needed again: its burial ends where it is owed.
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 4, 8, held.fence));
    describe(store, 1, &[1, 2, 3, 4], 90);
    assert_eq!(summary(store).burials, 1 + 5);
    keep_all_but(store, 9);
    end(store, START.0);
    let pages: Vec<_> = owed(store).into_iter().map(|record| (record.node, record.key)).collect();
    let expected = [(1, 91), (2, 91), (3, 91), (4, 91), (5, 90), (5, 91)];
    assert_eq!(pages, expected.map(|(node, key)| (node_id(node), [key; 32])).to_vec());
}

pub(super) fn strays_are_buried_and_nothing_else_is(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    put(store, 2);
    describe(store, 1, &[1, 2, 3, 4], 90);
    keep_all_but(store, 9);
    done(store, delete(2, WORD));
    keep_all_but(store, 9);
    let before = summary(store).burials;
    let later = Wall(START.0 + 500);
    let listed = |store: &mut dyn Store, kind, keys: Vec<[u8; 32]>| {
        done(store, StoreOp::BuryStrays { node: node_id(1), kind, keys, at: later });
        summary(store).burials - before
    };
    let padded_otherwise = [1; 32];
    let descriptors = vec![descriptor_key(segment_id(1)), descriptor_key(segment_id(2)), padded_otherwise];
    assert_eq!(listed(store, RecordKind::Descriptor, descriptors), 1);
    assert_eq!(listed(store, RecordKind::Manifest, vec![[1; 32], [2; 32]]), 2);
    assert_eq!(listed(store, RecordKind::Envelope, vec![[1; 32], [2; 32]]), 3);
    assert_eq!(listed(store, RecordKind::Tombstone, vec![[2; 32], [3; 32]]), 4);
    assert_eq!(listed(store, RecordKind::Page, vec![[1; 32], [77; 32]]), 4);
    // What a node lists again is buried once, since the first time.
    done(store, StoreOp::BuryStrays { node: node_id(1), kind: RecordKind::Manifest, keys: vec![[2; 32]], at: Wall(0) });
    end(store, START.0);
    assert_eq!(summary(store).burials, 4);
    keep_all_but(store, 9);
    end(store, later.0);
    let kinds = [RecordKind::Descriptor, RecordKind::Manifest, RecordKind::Envelope, RecordKind::Tombstone];
    assert_eq!(owed_kinds(store), kinds.map(|kind| (1, kind, true)).to_vec());
}
