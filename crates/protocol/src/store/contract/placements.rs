//! Placements change by compare-and-swap, under the segment's live lease, and never twice.

use holdfast_types::{Fence, SegmentId, Sequence, ShardIndex, Wall};

use super::fixture::*;
use crate::{
    model::{CommitmentState, Placement, Provenance, SegmentView, Standing},
    store::{Store, StoreOp, StoreReply},
};

fn accepted(n: u8) -> CommitmentState {
    CommitmentState::Accepted { digest: [n; 32], provenance: Provenance::AuditorRead }
}

fn set(n: u8, index: u16, expected: CommitmentState, to: CommitmentState) -> StoreOp {
    let (segment, shard, index) = (segment_id(n), shard_id(n, index), ShardIndex(index));
    StoreOp::SetCommitment { segment, index, shard, expected, to, at: START }
}

pub(super) fn a_commitment_is_set_against_the_expected_one_only(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    conflict(store, set(1, 0, accepted(1), accepted(2)));
    done(store, set(1, 0, CommitmentState::Pending, accepted(1)));
    conflict(store, set(1, 0, CommitmentState::Pending, accepted(2)));
    store.reopen();
    let found = placement(store, 1, 0);
    assert_eq!((found.commitment, found.version), (accepted(1), 2));
    done(store, set(1, 0, accepted(1), CommitmentState::Pending));
    assert_eq!(placement(store, 1, 0).commitment, CommitmentState::Pending);
    assert_eq!(store.apply(set(9, 0, accepted(1), accepted(2))), StoreReply::NotFound);
    assert_eq!(store.apply(set(1, 9, accepted(1), accepted(2))), StoreReply::NotFound);
}

pub(super) fn pending_commitments_come_in_pages(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 2);
    put(store, 1);
    done(store, set(1, 1, CommitmentState::Pending, accepted(1)));
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(1, 3)) });
    let mut page = |after: Option<(SegmentId, ShardIndex)>, limit: u32| match store
        .apply(StoreOp::PendingCommitments { after, limit })
    {
        StoreReply::Pending(rows) => {
            rows.iter().map(|p| (p.placement.segment.0[0], p.placement.index.0)).collect::<Vec<_>>()
        }
        other => panic!("expected pending shards, got {other:?}"),
    };
    assert_eq!(page(None, 9), vec![(1, 0), (1, 3), (2, 0), (2, 1), (2, 3)]);
    assert_eq!(page(None, 2), vec![(1, 0), (1, 3)]);
    assert_eq!(page(Some((segment_id(1), ShardIndex(3))), 2), vec![(2, 0), (2, 1)]);
}

pub(super) fn placements_come_in_order_of_sequence(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 3);
    put(store, 1);
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(1, 2)) });
    let mut page = |from: u64, limit: u32| match store.apply(StoreOp::PlacementsOfNode {
        node: node_id(2),
        from: Sequence(from),
        limit,
    }) {
        StoreReply::Placements(rows) => rows.iter().map(|p| p.sequence.0).collect::<Vec<_>>(),
        other => panic!("expected placements, got {other:?}"),
    };
    assert_eq!(page(0, 9), vec![11, 31]);
    assert_eq!(page(11, 1), vec![11]);
    assert_eq!(page(12, 9), vec![31]);
    assert_eq!(page(32, 9), Vec::<u64>::new());
    let moved =
        StoreOp::SetSequence { segment: segment_id(3), index: ShardIndex(0), node: node_id(1), sequence: Sequence(10) };
    conflict(store, moved);
    let moved = |node: u8, sequence: u64| StoreOp::SetSequence {
        segment: segment_id(3),
        index: ShardIndex(0),
        node: node_id(node),
        sequence: Sequence(sequence),
    };
    conflict(store, moved(2, 50));
    done(store, moved(1, 5));
    let found = placement(store, 3, 0);
    assert_eq!((found.sequence, found.version), (Sequence(5), 2));
    let list = store.apply(StoreOp::PlacementsOfNode { node: node_id(1), from: Sequence(0), limit: 1 });
    assert_eq!(list, StoreReply::Placements(vec![found]));
}

/// Attack: the number is the node's choice. The greatest is kept, and what comes after it can be asked for.
pub(super) fn the_greatest_number_is_kept_and_ends_a_page(store: &mut dyn Store) {
    let (last, after) = (Sequence::MAX, Sequence(Sequence::MAX.0 + 1));
    nodes(store, 6);
    put(store, 1);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, last.0, held.fence));
    done(
        store,
        StoreOp::SetSequence { segment: segment_id(1), index: ShardIndex(0), node: node_id(1), sequence: last },
    );
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [2, 3, 4, 6]), 3);
    let receipts = vec![(ShardIndex(3), node_id(6), last)];
    done(store, StoreOp::NoteReceipts { upload: upload_id(2), segment: segment_id(2), receipts });
    commit(store, 2, 1, vec![object(2, 1, vec![extent(0, 2, 0, SHARD)])]);
    for (node, segment, index) in [(5, 1, 3), (1, 1, 0), (6, 2, 3)] {
        let found = placement(store, segment, index);
        assert_eq!((found.node, found.sequence), (node_id(node), last));
        let page = |from| StoreOp::PlacementsOfNode { node: node_id(node), from, limit: 1 };
        assert_eq!(store.apply(page(last)), StoreReply::Placements(vec![found]));
        assert_eq!(store.apply(page(after)), StoreReply::Placements(vec![]));
    }
}

/// Beyond that a store fails, and changes nothing: it is for whoever hears the node to let no such number come here.
pub(super) fn a_number_that_does_not_fit_fails_and_changes_nothing(store: &mut dyn Store) {
    let beyond = Sequence(1 << 63);
    nodes(store, 6);
    put(store, 1);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [2, 3, 4, 6]), 2);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    let receipts = vec![(ShardIndex(2), node_id(4), Sequence(7)), (ShardIndex(3), node_id(6), beyond)];
    for op in [
        replaced(&seen, 5, beyond.0, held.fence),
        StoreOp::SetSequence { segment: segment_id(1), index: ShardIndex(3), node: seen.node, sequence: beyond },
        StoreOp::NoteReceipts { upload: upload_id(2), segment: segment_id(2), receipts },
        StoreOp::PlacementsOfNode { node: node_id(4), from: beyond, limit: 1 },
    ] {
        let reply = store.apply(op.clone());
        assert!(matches!(reply, StoreReply::Failed(_)), "{op:?}: {reply:?}");
    }
    assert_eq!(placement(store, 1, 3), seen);
    let one = StoreOp::StagedSegment { id: upload_id(2), owner: owner(1), segment: segment_id(2) };
    let StoreReply::Upload(_, staged) = store.apply(one) else { panic!("staged") };
    assert!(staged[0].assignments[2..].iter().all(|assignment| assignment.sequence.is_none()));
}

pub(super) fn the_worst_segment_comes_first(store: &mut dyn Store) {
    nodes(store, 8);
    for n in 1..=3 {
        store.apply(StoreOp::BeginUpload(upload(n, 1)));
        let on = [[1, 2, 3, 4], [1, 5, 6, 7], [4, 5, 6, 8]][usize::from(n) - 1];
        stage(store, staged(n, n, 1, 0, on), 4);
        commit(store, n, 1, vec![object(n, 1, vec![extent(0, n, 0, SHARD)])]);
    }
    let ids = |reply: StoreReply| match reply {
        StoreReply::Segments(views) => views.iter().map(|view: &SegmentView| view.segment.id.0[0]).collect::<Vec<_>>(),
        other => panic!("expected segments, got {other:?}"),
    };
    let risk = |after: Option<(i32, SegmentId)>, limit: u32| StoreOp::SegmentsAtRisk { after, limit };
    assert_eq!(ids(store.apply(risk(None, 9))), Vec::<u8>::new());
    for (audit, node) in [(1, 4), (2, 5), (3, 6), (4, 7)] {
        store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(audit, node)) });
    }
    // Good shards over k = 2: segment 1 has 3, segment 2 has 1, segment 3 has 1.
    assert_eq!(ids(store.apply(risk(None, 9))), vec![2, 3, 1]);
    assert_eq!(ids(store.apply(risk(None, 2))), vec![2, 3]);
    assert_eq!(ids(store.apply(risk(Some((-1, segment_id(2))), 9))), vec![3, 1]);
    assert_eq!(ids(store.apply(risk(Some((-1, segment_id(3))), 9))), vec![1]);
    assert_eq!(ids(store.apply(risk(Some((1, segment_id(1))), 9))), Vec::<u8>::new());
}

pub(super) fn a_place_needs_the_version_it_replaces(store: &mut dyn Store) {
    nodes(store, 6);
    put(store, 1);
    let lease = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, set(1, 3, CommitmentState::Pending, accepted(1)));
    conflict(store, replaced(&seen, 5, 7, lease.fence));
    assert_eq!(placement(store, 1, 3).node, node_id(4));
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 7, lease.fence));
    conflict(store, replaced(&seen, 6, 7, lease.fence));
    store.reopen();
    let found = placement(store, 1, 3);
    let expected = Placement {
        node: node_id(5),
        sequence: Sequence(7),
        version: seen.version + 1,
        fence: lease.fence,
        standing: Standing::Good,
        ..seen
    };
    assert_eq!(found, expected);
}

pub(super) fn a_place_needs_the_live_lease(store: &mut dyn Store) {
    nodes(store, 6);
    put(store, 1);
    let seen = placement(store, 1, 3);
    let made_up = Fence { epoch: 9, counter: 9 };
    conflict(store, replaced(&seen, 5, 7, made_up));
    let held = lease(store, 1, START);
    conflict(store, replaced(&seen, 5, 7, made_up));
    let at = |op: StoreOp, at: Wall| match op {
        StoreOp::Place { placement, expected, .. } => StoreOp::Place { placement, expected, at },
        other => other,
    };
    conflict(store, at(replaced(&seen, 5, 7, held.fence), held.expires));
    done(store, StoreOp::ReleaseLease(held));
    conflict(store, replaced(&seen, 5, 7, held.fence));
    let held = lease(store, 1, START);
    done(store, at(replaced(&seen, 5, 7, held.fence), Wall(held.expires.0 - 1)));
}

pub(super) fn an_older_fence_is_refused(store: &mut dyn Store) {
    nodes(store, 6);
    put(store, 1);
    let seen = placement(store, 1, 3);
    let old = lease(store, 1, START);
    // The holder sleeps past its lease; another takes over and places the shard.
    let new = lease(store, 1, old.expires);
    conflict(store, replaced(&seen, 5, 7, old.fence));
    done(store, replaced(&seen, 6, 7, new.fence));
    let placed = placement(store, 1, 3);
    conflict(store, replaced(&placed, 5, 7, old.fence));
    assert_eq!(placement(store, 1, 3), placed);
    assert_eq!(placed.fence, new.fence);
}

pub(super) fn a_place_moves_bytes_and_queues_the_old_copy(store: &mut dyn Store) {
    nodes(store, 6);
    put(store, 1);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 7, held.fence));
    assert_eq!((used(store)[&4], used(store)[&5]), (0, SHARD));
    let queued: Vec<_> = deletions(store).into_iter().map(|row| (row.node, row.shard, row.owner, row.due)).collect();
    assert_eq!(queued, vec![(node_id(4), shard_id(1, 3), owner(1), START)]);
    let list = |node: u8| StoreOp::PlacementsOfNode { node: node_id(node), from: Sequence(0), limit: 9 };
    assert_eq!(store.apply(list(4)), StoreReply::Placements(vec![]));
    // In place: nothing to delete, nothing to count anew, and the number follows.
    let seen = placement(store, 1, 3);
    done(store, replaced(&seen, 5, 8, held.fence));
    assert_eq!((used(store)[&5], deletions(store).len()), (SHARD, 1));
    let found = placement(store, 1, 3);
    assert_eq!(store.apply(list(5)), StoreReply::Placements(vec![found.clone()]));
    // Back to where it came from: the queued deletion would destroy it, so it is withdrawn.
    done(store, replaced(&found, 4, 9, held.fence));
    let queued: Vec<_> = deletions(store).into_iter().map(|row| row.node).collect();
    assert_eq!(queued, vec![node_id(5)]);
}

pub(super) fn a_place_fills_an_absent_index(store: &mut dyn Store) {
    nodes(store, 5);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 3);
    commit(store, 1, 1, vec![object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)])]);
    let held = lease(store, 1, START);
    let like = placement(store, 1, 2);
    let absent = Placement { index: ShardIndex(3), shard: shard_id(1, 3), version: 0, ..like };
    conflict(store, replaced(&Placement { version: 1, ..absent.clone() }, 5, 7, held.fence));
    done(store, replaced(&absent, 5, 7, held.fence));
    assert_eq!(placement(store, 1, 3).version, 1);
    assert_eq!(used(store)[&5], SHARD);
    conflict(store, replaced(&absent, 4, 7, held.fence));
    assert_eq!(store.apply(StoreOp::SegmentsAtRisk { after: None, limit: 9 }), StoreReply::Segments(vec![]));
}

pub(super) fn a_place_of_other_content_is_refused(store: &mut dyn Store) {
    nodes(store, 5);
    put(store, 1);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    conflict(store, replaced(&Placement { shard: shard_id(1, 2), ..seen.clone() }, 5, 7, held.fence));
    conflict(store, replaced(&Placement { len: SHARD + 1, ..seen.clone() }, 5, 7, held.fence));
    conflict(store, replaced(&Placement { index: ShardIndex(4), ..seen.clone() }, 5, 7, held.fence));
    let nowhere = Placement { segment: segment_id(9), ..seen.clone() };
    assert_eq!(store.apply(replaced(&nowhere, 5, 7, held.fence)), StoreReply::NotFound);
    assert_eq!(placement(store, 1, 3), seen);
}

pub(super) fn a_node_holds_one_shard_of_a_segment(store: &mut dyn Store) {
    nodes(store, 8);
    put(store, 1);
    let held = lease(store, 1, START);
    let seen = placement(store, 1, 3);
    conflict(store, replaced(&seen, 1, 99, held.fence));
    conflict(store, replaced(&seen, 99, 99, held.fence));
    // Nor does it have one number for two shards.
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    stage(store, staged(2, 2, 1, 0, [5, 6, 7, 8]), 4);
    commit(store, 2, 1, vec![object(2, 1, vec![extent(0, 2, 0, SHARD)])]);
    conflict(store, replaced(&seen, 5, 20, held.fence));
    done(store, replaced(&seen, 5, 21, held.fence));
}
