//! Objects belong to somebody, and go when they are told to.

use super::fixture::*;
use crate::{
    model::ObjectRow,
    store::{Store, StoreOp, StoreReply},
};

pub(super) fn an_object_is_seen_by_its_owner_only(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let row = object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)]).row;
    let found = store.apply(StoreOp::Object { owner: owner(1), id: object_id(1) });
    assert_eq!(found, StoreReply::Object(Box::new(row)));
    let theirs = owner(2);
    assert_eq!(store.apply(StoreOp::Object { owner: theirs, id: object_id(1) }), StoreReply::NotFound);
    assert_eq!(store.apply(StoreOp::Page { owner: theirs, root: [1; 32] }), StoreReply::NotFound);
    assert_eq!(store.apply(StoreOp::PageRoots { owner: theirs, id: object_id(1) }), StoreReply::NotFound);
    let roots = store.apply(StoreOp::PageRoots { owner: owner(1), id: object_id(1) });
    assert_eq!(roots, StoreReply::PageRoots(vec![[1; 32]]));
    assert_eq!(store.apply(StoreOp::Objects { owner: theirs, after: None, limit: 9 }), StoreReply::Objects(vec![]));
    let extents = StoreOp::Extents { owner: theirs, id: object_id(1), from: 0, to: 9, limit: 9 };
    assert_eq!(store.apply(extents), StoreReply::NotFound);
    done(store, StoreOp::DeleteObject { owner: theirs, id: object_id(1), tombstone: vec![], at: START });
    assert_eq!(summary(store).objects, 1);
}

pub(super) fn objects_come_in_order_and_in_pages(store: &mut dyn Store) {
    nodes(store, 4);
    for n in [3, 1, 2] {
        put(store, n);
    }
    let mut list = |after: Option<u8>, limit: u32| {
        let after = after.map(object_id);
        match store.apply(StoreOp::Objects { owner: owner(1), after, limit }) {
            StoreReply::Objects(rows) => rows,
            other => panic!("expected objects, got {other:?}"),
        }
    };
    let ids = |rows: &[ObjectRow]| rows.iter().map(|row| row.id.as_bytes()[0]).collect::<Vec<_>>();
    assert_eq!(ids(&list(None, 2)), vec![1, 2]);
    assert_eq!(ids(&list(Some(2), 2)), vec![3]);
    assert_eq!(ids(&list(None, 0)), Vec::<u8>::new());
    let rows = list(None, u32::MAX);
    assert_eq!(ids(&rows), vec![1, 2, 3]);
    assert!(rows.iter().all(|row| row.manifest.is_empty() && row.envelope.is_empty()));
    assert_eq!((rows[0].name.as_str(), rows[0].plain_len), ("object-1", SHARD));
}

pub(super) fn extents_come_by_the_bytes_they_touch(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    stage(store, staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4]), 4);
    let all = vec![extent(0, 1, 500, 1500), extent(1500, 2, 0, 100), extent(1600, 2, 300, 50)];
    commit(store, 1, 1, vec![object(1, 1, all.clone())]);
    let mut touched = |from: u64, to: u64, limit: u32| match store.apply(StoreOp::Extents {
        owner: owner(1),
        id: object_id(1),
        from,
        to,
        limit,
    }) {
        StoreReply::Extents(rows) => rows,
        other => panic!("expected extents, got {other:?}"),
    };
    assert_eq!(touched(0, u64::MAX >> 1, 9), all);
    assert_eq!(touched(0, 1500, 9), all[..1]);
    assert_eq!(touched(1499, 1501, 9), all[..2]);
    assert_eq!(touched(1500, 1600, 9), all[1..2]);
    assert_eq!(touched(1500, 9999, 1), all[1..2]);
    assert_eq!(touched(1650, 9999, 9), vec![]);
}

pub(super) fn deleting_keeps_a_shared_segment_until_its_last_object(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    stage(store, staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4]), 4);
    let small = object(1, 1, vec![extent(0, 1, 0, 10)]);
    let large = object(2, 1, vec![extent(0, 1, 10, 100), extent(100, 2, 0, 50), extent(150, 1, 200, 5)]);
    commit(store, 1, 1, vec![small, large]);
    let delete = |n: u8| StoreOp::DeleteObject { owner: owner(1), id: object_id(n), tombstone: vec![], at: START };
    done(store, delete(2));
    assert_eq!(store.apply(StoreOp::Segment(segment_id(2))), StoreReply::NotFound);
    assert_eq!(view(store, 1).placements.len(), 4);
    let queued: Vec<_> = deletions(store).into_iter().map(|row| (row.node, row.shard, row.owner, row.due)).collect();
    let expected: Vec<_> = (0..4u16).map(|at| (node_id(1 + at as u8), shard_id(2, at), owner(1), START)).collect();
    assert_eq!(queued, expected);
    assert!(used(store).values().all(|used| *used == SHARD));
    done(store, delete(1));
    assert_eq!(store.apply(StoreOp::Segment(segment_id(1))), StoreReply::NotFound);
    assert_eq!(deletions(store).len(), 8);
    assert!(used(store).values().all(|used| *used == 0));
    assert_eq!(store.apply(StoreOp::Page { owner: owner(1), root: [1; 32] }), StoreReply::NotFound);
    let list = StoreOp::PlacementsOfNode { node: node_id(1), from: holdfast_types::Sequence(0), limit: 9 };
    assert_eq!(store.apply(list), StoreReply::Placements(vec![]));
}

pub(super) fn deleting_what_is_not_there_is_done(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let delete = |n: u8| StoreOp::DeleteObject { owner: owner(1), id: object_id(n), tombstone: vec![], at: START };
    done(store, delete(9));
    done(store, delete(1));
    let queued = deletions(store);
    done(store, delete(1));
    assert_eq!(deletions(store), queued);
}
