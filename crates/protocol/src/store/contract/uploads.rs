//! Puts: reserved, receipted, committed once, or expired without a trace.

use std::collections::BTreeMap;

use holdfast_types::{Sequence, ShardIndex, Wall};

use super::fixture::*;
use crate::{
    model::{CommitmentState, NodeRow, StagedSegment, StagedSpan, Standing, UploadRow},
    store::{FENCE_NONE, NewObject, Store, StoreOp, StoreReply, rules::DROPPED_AT_ONCE},
};

#[track_caller]
fn found(store: &mut dyn Store, up: u8) -> (UploadRow, Vec<StagedSegment>) {
    match store.apply(all_of(up, 1)) {
        StoreReply::Upload(row, staged) => (row, staged),
        other => panic!("expected upload {up}, got {other:?}"),
    }
}

fn all_of(up: u8, of: u8) -> StoreOp {
    StoreOp::StagedSegments { id: upload_id(up), owner: owner(of), after: None, limit: 99 }
}

fn stage_op(staged: StagedSegment) -> StoreOp {
    StoreOp::StageSegment { staged: Box::new(staged), expires: Wall(START.0 + 9000), witnesses: vec![] }
}

pub(super) fn beginning_twice_finds_the_same_upload(store: &mut dyn Store) {
    nodes(store, 4);
    let begun = store.apply(StoreOp::BeginUpload(UploadRow { committed: true, ..upload(1, 1) }));
    assert_eq!(begun, StoreReply::Begun { upload: upload(1, 1), segments: 0 });
    done(store, stage_op(staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4])));
    done(store, stage_op(staged(1, 7, 1, 0, [1, 2, 3, 4])));
    store.reopen();
    let other = UploadRow { policy: "q".into(), write_threshold: 4, ..upload(1, 1) };
    let again = store.apply(StoreOp::BeginUpload(other));
    let row = UploadRow { expires: Wall(START.0 + 9000), ..upload(1, 1) };
    let segments = vec![staged(1, 7, 1, 0, [1, 2, 3, 4]), staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4])];
    assert_eq!(again, StoreReply::Begun { upload: row.clone(), segments: 2 });
    assert_eq!(found(store, 1), (row, segments));
    conflict(store, StoreOp::BeginUpload(upload(1, 2)));
}

pub(super) fn an_upload_is_seen_by_its_owner_only(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    assert_eq!(store.apply(all_of(1, 2)), StoreReply::NotFound);
    assert_eq!(store.apply(stage_op(staged(1, 1, 2, 0, [1, 2, 3, 4]))), StoreReply::NotFound);
    let theirs = StoreOp::CommitUpload { id: upload_id(1), owner: owner(2), objects: vec![], at: START };
    assert_eq!(store.apply(theirs), StoreReply::NotFound);
    assert_eq!(found(store, 1), (upload(1, 1), vec![]));
}

pub(super) fn staged_segments_come_in_pages_one_by_one_and_as_spans(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 3, 1, 2 * SHARD, [1, 2, 3, 4]), 3);
    stage(store, staged(1, 5, 1, 0, [1, 2, 3, 4]), 4);
    // Where two are at one offset, for the time being, the id decides.
    stage(store, staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4]), 0);
    let (row, all) = found(store, 1);
    assert_eq!(all.iter().map(|staged| staged.segment.id.0[0]).collect::<Vec<_>>(), [5, 2, 3]);
    let page = |after: Option<(u64, u8)>, limit: u32| {
        let after = after.map(|(offset, n)| (offset, segment_id(n)));
        StoreOp::StagedSegments { id: upload_id(1), owner: owner(1), after, limit }
    };
    assert_eq!(store.apply(page(None, 2)), StoreReply::Upload(row.clone(), all[..2].to_vec()));
    assert_eq!(store.apply(page(Some((2 * SHARD, 2)), 2)), StoreReply::Upload(row.clone(), all[2..].to_vec()));
    assert_eq!(store.apply(page(Some((2 * SHARD, 3)), 2)), StoreReply::Upload(row.clone(), vec![]));
    let one = |n: u8, of: u8| StoreOp::StagedSegment { id: upload_id(1), owner: owner(of), segment: segment_id(n) };
    for found in &all {
        let n = found.segment.id.0[0];
        assert_eq!(store.apply(one(n, 1)), StoreReply::Upload(row.clone(), vec![found.clone()]));
    }
    assert_eq!(store.apply(one(9, 1)), StoreReply::Upload(row.clone(), vec![]));
    // Staged by another upload of the same owner: not this one's.
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 9, 1, 0, [1, 2, 3, 4]), 0);
    assert_eq!(store.apply(one(9, 1)), StoreReply::Upload(row.clone(), vec![]));
    assert_eq!(store.apply(one(5, 2)), StoreReply::NotFound);
    let spans = StoreOp::StagedSpans { id: upload_id(1), owner: owner(1) };
    assert_eq!(store.apply(spans.clone()), StoreReply::Spans(row, all.iter().map(StagedSpan::of).collect()));
    let theirs = StoreOp::StagedSpans { id: upload_id(1), owner: owner(2) };
    assert_eq!(store.apply(theirs), StoreReply::NotFound);
    done(store, StoreOp::AbortUpload { id: upload_id(1), owner: owner(1), at: START });
    assert_eq!((store.apply(one(5, 1)), store.apply(spans)), (StoreReply::NotFound, StoreReply::NotFound));
}

pub(super) fn staging_reserves_and_restaging_moves_the_reservation(store: &mut dyn Store) {
    nodes(store, 5);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 2);
    assert_eq!(used(store), BTreeMap::from([(1, SHARD), (2, SHARD), (3, SHARD), (4, SHARD), (5, 0)]));
    done(store, stage_op(staged(1, 1, 1, 0, [1, 5, 3, 4])));
    assert_eq!(used(store), BTreeMap::from([(1, SHARD), (2, 0), (3, SHARD), (4, SHARD), (5, SHARD)]));
    let sequences: Vec<_> = found(store, 1).1[0].assignments.iter().map(|a| a.sequence).collect();
    assert_eq!(sequences, vec![Some(Sequence(10)), None, None, None]);
}

pub(super) fn staging_what_does_not_fit_changes_nothing(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    for n in 1..=9 {
        done(store, stage_op(staged(1, n, 1, u64::from(n), [1, 2, 3, 4])));
    }
    let before = (found(store, 1), used(store));
    // Other bytes under a known id, at another place, for an unknown node, on one node twice, under a wrong name.
    let mut other = staged(1, 1, 1, 1, [1, 2, 3, 4]);
    other.segment.root = holdfast_types::SegmentRoot::from_bytes([0xaa; 32]);
    conflict(store, stage_op(other));
    conflict(store, stage_op(staged(1, 1, 1, 2, [1, 2, 3, 4])));
    conflict(store, stage_op(staged(1, 20, 1, 99, [1, 2, 3, 9])));
    conflict(store, stage_op(staged(1, 20, 1, 99, [1, 2, 3, 3])));
    let mut misnamed = staged(1, 20, 1, 99, [1, 2, 3, 4]);
    misnamed.assignments[2].shard = shard_id(1, 2);
    conflict(store, stage_op(misnamed));
    let mut copied = staged(1, 20, 1, 99, [1, 2, 3, 4]);
    copied.assignments[2].shard = shard_id(1, 2);
    copied.segment.shards[2] = shard_id(1, 2);
    conflict(store, stage_op(copied));
    // The same id in another upload.
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    conflict(store, stage_op(staged(2, 1, 1, 0, [1, 2, 3, 4])));
    assert_eq!((found(store, 1), used(store)), before);
    // Room for ten shards a node: the tenth fits, the eleventh does not; staging what is there again does.
    done(store, stage_op(staged(1, 10, 1, 99, [1, 2, 3, 4])));
    conflict(store, stage_op(staged(1, 11, 1, 100, [1, 2, 3, 4])));
    done(store, stage_op(staged(1, 10, 1, 99, [4, 3, 2, 1])));
    assert!(used(store).values().all(|used| *used == CAPACITY));
}

pub(super) fn receipts_are_noted_where_the_assignment_still_stands(store: &mut dyn Store) {
    nodes(store, 5);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    done(store, stage_op(staged(1, 1, 1, 0, [1, 2, 3, 4])));
    let note = |index: u16, node: u8, number: u64| StoreOp::NoteReceipts {
        upload: upload_id(1),
        segment: segment_id(1),
        receipts: vec![(ShardIndex(index), node_id(node), Sequence(number))],
    };
    done(store, note(0, 1, 5));
    done(store, note(0, 1, 6));
    done(store, note(1, 5, 7));
    done(store, note(9, 1, 8));
    let sequences: Vec<_> = found(store, 1).1[0].assignments.iter().map(|a| a.sequence).collect();
    assert_eq!(sequences, vec![Some(Sequence(6)), None, None, None]);
    let unknown = StoreOp::NoteReceipts { upload: upload_id(9), segment: segment_id(1), receipts: vec![] };
    assert_eq!(store.apply(unknown), StoreReply::NotFound);
}

pub(super) fn a_number_given_twice_is_not_noted(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    done(store, stage_op(staged(2, 2, 1, 0, [1, 2, 3, 4])));
    // Node 1 says that both its shards are number 10, node 2 says so of two shards of this upload.
    let receipts = vec![(ShardIndex(0), node_id(1), Sequence(10)), (ShardIndex(1), node_id(2), Sequence(99))];
    done(store, StoreOp::NoteReceipts { upload: upload_id(2), segment: segment_id(2), receipts });
    done(store, stage_op(staged(2, 3, 1, 2 * SHARD, [1, 2, 3, 4])));
    let receipts = vec![(ShardIndex(1), node_id(2), Sequence(99))];
    done(store, StoreOp::NoteReceipts { upload: upload_id(2), segment: segment_id(3), receipts });
    let (_, segments) = found(store, 2);
    assert_eq!(segments[0].assignments[0].sequence, None);
    assert_eq!(segments[0].assignments[1].sequence, Some(Sequence(99)));
    assert_eq!(segments[1].assignments[1].sequence, None);
}

pub(super) fn a_commit_is_all_or_nothing(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    stage(store, staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4]), 2);
    let good = || object(1, 1, vec![extent(0, 1, 0, SHARD)]);
    let commit =
        |objects: Vec<NewObject>| StoreOp::CommitUpload { id: upload_id(1), owner: owner(1), objects, at: START };
    conflict(store, commit(vec![good()]));
    stage(store, staged(1, 2, 1, 2 * SHARD, [1, 2, 3, 4]), 3);
    conflict(store, commit(vec![good(), object(2, 1, vec![extent(0, 1, SHARD, SHARD + 1)])]));
    conflict(store, commit(vec![good(), object(2, 1, vec![extent(0, 3, 0, 1)])]));
    conflict(store, commit(vec![good(), object(2, 1, vec![extent(1, 1, 0, 1)])]));
    conflict(store, commit(vec![good(), object(2, 1, vec![extent(0, 1, u64::MAX, 2)])]));
    conflict(store, commit(vec![good(), object(2, 2, vec![extent(0, 1, 0, 1)])]));
    let short = NewObject { extents: vec![], ..object(2, 1, vec![extent(0, 1, 0, 1)]) };
    conflict(store, commit(vec![good(), short]));
    assert_eq!(store.apply(StoreOp::Object { owner: owner(1), id: object_id(1) }), StoreReply::NotFound);
    assert_eq!(store.apply(StoreOp::Segment(segment_id(1))), StoreReply::NotFound);
    assert!(!found(store, 1).0.committed);
    let whole = object(2, 1, vec![extent(0, 1, SHARD, SHARD), extent(SHARD, 2, 0, 2 * SHARD)]);
    let reply = store.apply(commit(vec![good(), whole]));
    assert_eq!(reply, StoreReply::Committed { segments: vec![segment_id(1), segment_id(2)] });
}

pub(super) fn a_second_commit_answers_the_same(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let before = (view(store, 1), used(store));
    assert_eq!(commit(store, 1, 1, vec![]), vec![segment_id(1)]);
    let (row, segments) = found(store, 1);
    assert!(row.committed && segments.is_empty());
    let one = StoreOp::StagedSegment { id: upload_id(1), owner: owner(1), segment: segment_id(1) };
    assert_eq!(store.apply(one), StoreReply::Upload(row.clone(), vec![]));
    let spans = StoreOp::StagedSpans { id: upload_id(1), owner: owner(1) };
    assert_eq!(store.apply(spans), StoreReply::Spans(row, vec![]));
    conflict(store, stage_op(staged(1, 5, 1, 0, [1, 2, 3, 4])));
    let late = vec![(ShardIndex(0), node_id(1), Sequence(77))];
    done(store, StoreOp::NoteReceipts { upload: upload_id(1), segment: segment_id(1), receipts: late });
    assert_eq!((view(store, 1), used(store)), before);
    // Its expiry takes the upload's row and nothing else.
    done(store, StoreOp::ExpireUploads { now: Wall(START.0 + 99_999) });
    assert_eq!(store.apply(all_of(1, 1)), StoreReply::NotFound);
    assert_eq!((view(store, 1), used(store)), before);
    assert_eq!(deletions(store), vec![]);
    // Nor can its segment id be used again.
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    conflict(store, stage_op(staged(2, 1, 1, 0, [1, 2, 3, 4])));
}

pub(super) fn a_commit_below_all_shards_leaves_the_rest_absent(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 3);
    commit(store, 1, 1, vec![object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)])]);
    let view = view(store, 1);
    assert_eq!(view.segment, segment(1, 1));
    assert_eq!(view.placements.len(), 3);
    for (placement, at) in view.placements.iter().zip(0u16..) {
        assert_eq!((placement.index, placement.shard), (ShardIndex(at), shard_id(1, at)));
        assert_eq!((placement.node, placement.len), (node_id(at as u8 + 1), SHARD));
        assert_eq!(placement.sequence, Sequence(10 + u64::from(at)));
        assert_eq!((placement.version, placement.fence), (1, FENCE_NONE));
        assert_eq!((&placement.standing, placement.commitment), (&Standing::Good, CommitmentState::Pending));
    }
    assert_eq!(used(store), BTreeMap::from([(1, SHARD), (2, SHARD), (3, SHARD), (4, 0)]));
    assert_eq!(deletions(store), vec![]);
}

pub(super) fn an_object_put_twice_keeps_the_first_copy(store: &mut dyn Store) {
    nodes(store, 8);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [5, 6, 7, 8]), 4);
    stage(store, staged(2, 3, 1, 2 * SHARD, [5, 6, 7, 8]), 4);
    let again = NewObject { pages: vec![], ..object(1, 1, vec![extent(0, 2, 0, SHARD)]) };
    let fresh = object(3, 1, vec![extent(0, 3, 0, SHARD)]);
    assert_eq!(commit(store, 2, 1, vec![again, fresh]), vec![segment_id(3)]);
    assert_eq!(store.apply(StoreOp::Segment(segment_id(2))), StoreReply::NotFound);
    let first = StoreReply::Object(Box::new(object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)]).row));
    assert_eq!(store.apply(StoreOp::Object { owner: owner(1), id: object_id(1) }), first);
    let queued: Vec<_> = deletions(store).into_iter().map(|row| (row.node, row.shard, row.owner, row.due)).collect();
    let expected: Vec<_> = (0..4u16).map(|at| (node_id(5 + at as u8), shard_id(2, at), owner(1), START)).collect();
    assert_eq!(queued, expected);
    assert_eq!(used(store)[&5], SHARD);
    // The same content of another owner is another object.
    store.apply(StoreOp::BeginUpload(upload(4, 2)));
    stage(store, staged(4, 4, 2, 0, [5, 6, 7, 8]), 4);
    assert_eq!(commit(store, 4, 2, vec![object(1, 2, vec![extent(0, 4, 0, SHARD)])]), vec![segment_id(4)]);
}

pub(super) fn an_expired_upload_leaves_nothing_but_deletions(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 2);
    done(store, StoreOp::ExpireUploads { now: Wall(START.0 + 6000) });
    assert_eq!(found(store, 1).1.len(), 1);
    done(store, StoreOp::ExpireUploads { now: Wall(START.0 + 6001) });
    assert_eq!(store.apply(all_of(1, 1)), StoreReply::NotFound);
    assert!(used(store).values().all(|used| *used == 0));
    assert_eq!(deletions(store).len(), 4);
    // The client comes back and puts the same segment: what it claims is not deleted any more.
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    assert_eq!(deletions(store), vec![]);
}

pub(super) fn an_aborted_upload_leaves_nothing_but_deletions(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [1, 2, 3, 4]), 2);
    let abort = |n: u8, of: u8| StoreOp::AbortUpload { id: upload_id(n), owner: owner(of), at: START };
    done(store, abort(2, 2));
    assert_eq!(found(store, 2).1.len(), 1);
    for _ in 0..2 {
        done(store, abort(2, 1));
        assert_eq!(store.apply(all_of(2, 1)), StoreReply::NotFound);
        assert!(used(store).values().all(|used| *used == SHARD));
        let queued: Vec<_> = deletions(store).into_iter().map(|row| (row.shard, row.due)).collect();
        assert_eq!(queued, (0..4).map(|index| (shard_id(2, index), START)).collect::<Vec<_>>());
    }
    // What is committed is the catalog's: only a deletion takes it away.
    done(store, abort(1, 1));
    assert!(found(store, 1).0.committed);
    assert_eq!(view(store, 1).placements.len(), 4);
}

/// Nodes with room for `n` segments of an upload, which are staged.
fn stage_many(store: &mut dyn Store, up: u8, n: u8) {
    for n in 1..=4 {
        let row = NodeRow { capacity: 1000 * SHARD, ..node(n) };
        assert!(matches!(store.apply(StoreOp::PutNode(Box::new(row))), StoreReply::Nodes(_)));
    }
    store.apply(StoreOp::BeginUpload(upload(up, 1)));
    for n in 1..=n {
        done(store, stage_op(staged(up, n, 1, u64::from(n), [1, 2, 3, 4])));
    }
}

/// Attack: a client stages as much as it may and gives it up; nobody else would write until all of it is dropped.
/// Fault: whoever drops it dies in between.
pub(super) fn a_large_upload_is_dropped_piece_by_piece(store: &mut dyn Store) {
    const MANY: u8 = 2 * DROPPED_AT_ONCE as u8 + 1;
    stage_many(store, 1, MANY);
    let abort = || StoreOp::AbortUpload { id: upload_id(1), owner: owner(1), at: START };
    assert_eq!(store.apply(abort()), StoreReply::More);
    store.reopen();
    let queued = |store: &mut dyn Store| deletions(store).len();
    assert_eq!(queued(store), 4 * DROPPED_AT_ONCE);
    assert_eq!(used(store)[&1], u64::from(MANY) * SHARD - DROPPED_AT_ONCE as u64 * SHARD);
    // What is left is nobody's: it is not seen, staged into, receipted or committed, and nobody else may drop it.
    assert_eq!(store.apply(all_of(1, 1)), StoreReply::NotFound);
    conflict(store, StoreOp::BeginUpload(upload(1, 1)));
    assert_eq!(store.apply(stage_op(staged(1, 200, 1, 200, [1, 2, 3, 4]))), StoreReply::NotFound);
    let receipts = vec![(ShardIndex(0), node_id(1), Sequence(5))];
    let note = StoreOp::NoteReceipts { upload: upload_id(1), segment: segment_id(MANY), receipts };
    assert_eq!(store.apply(note), StoreReply::NotFound);
    let commit = StoreOp::CommitUpload { id: upload_id(1), owner: owner(1), objects: vec![], at: START };
    assert_eq!(store.apply(commit), StoreReply::NotFound);
    done(store, StoreOp::AbortUpload { id: upload_id(1), owner: owner(2), at: START });
    assert_eq!(queued(store), 4 * DROPPED_AT_ONCE);
    // It goes with what expires, long before its own time.
    let expire = || StoreOp::ExpireUploads { now: START };
    assert_eq!(store.apply(expire()), StoreReply::More);
    done(store, expire());
    assert_eq!((queued(store), summary(store).uploads), (4 * usize::from(MANY), 0));
    assert!(used(store).values().all(|used| *used == 0));
    assert!(matches!(store.apply(StoreOp::BeginUpload(upload(1, 1))), StoreReply::Begun { segments: 0, .. }));
}

pub(super) fn what_expires_together_is_dropped_piece_by_piece(store: &mut dyn Store) {
    const MANY: u8 = DROPPED_AT_ONCE as u8 - 1;
    stage_many(store, 1, MANY);
    for n in 2..=4 {
        store.apply(StoreOp::BeginUpload(UploadRow { expires: START, ..upload(n, 1) }));
    }
    let expire = || StoreOp::ExpireUploads { now: Wall(START.0 + 99_999) };
    assert_eq!((store.apply(expire()), summary(store).uploads), (StoreReply::More, 3));
    assert_eq!(deletions(store).len(), 4 * usize::from(MANY));
    done(store, expire());
    assert_eq!(summary(store).uploads, 0);
}

pub(super) fn what_is_acknowledged_outlives_a_reopening(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [1, 2, 3, 4]), 3);
    let before = (view(store, 1), found(store, 2), used(store), summary(store));
    store.reopen();
    assert_eq!((view(store, 1), found(store, 2), used(store), summary(store)), before);
    let reply = store.apply(StoreOp::Page { owner: owner(1), root: [1; 32] });
    assert_eq!(reply, StoreReply::Page(vec![1, 5]));
}
