//! A witness is used once, for the list it was burnt with, and by nobody else.

use holdfast_types::{ShardIndex, Wall};

use super::fixture::*;
use crate::{
    model::{
        CommitmentCounts, CommitmentState, Debt, NO_LIST, PendingShard, Provenance, SealedWitness, WitnessRow,
        WitnessState,
    },
    store::{Store, StoreOp, StoreReply},
    witness::WitnessId,
};

fn sealed(index: u16, n: u8) -> SealedWitness {
    SealedWitness { index: ShardIndex(index), id: WitnessId([n; 16]), sealed: vec![n; 92], list: None }
}

fn stage_with(n: u8, witnesses: Vec<SealedWitness>) -> StoreOp {
    let staged = Box::new(staged(n, n, 1, 0, [1, 2, 3, 4]));
    StoreOp::StageSegment { staged, expires: Wall(START.0 + 6000), witnesses }
}

/// Segment `n` of owner 1 on nodes 1 to 4, committed, with these witnesses.
fn put_with(store: &mut dyn Store, n: u8, witnesses: Vec<SealedWitness>) {
    store.apply(StoreOp::BeginUpload(upload(n, 1)));
    done(store, stage_with(n, witnesses));
    stage(store, staged(n, n, 1, 0, [1, 2, 3, 4]), 4);
    commit(store, n, 1, vec![object(n, 1, vec![extent(0, n, 0, 2 * SHARD)])]);
}

#[track_caller]
fn pending(store: &mut dyn Store) -> Vec<PendingShard> {
    match store.apply(StoreOp::PendingCommitments { after: None, limit: 99 }) {
        StoreReply::Pending(rows) => rows,
        other => panic!("expected pending shards, got {other:?}"),
    }
}

#[track_caller]
fn witness(store: &mut dyn Store, n: u8, index: u16) -> Option<WitnessRow> {
    let found = pending(store);
    let is =
        |shard: &PendingShard| (shard.placement.segment, shard.placement.index) == (segment_id(n), ShardIndex(index));
    found.into_iter().find(is).expect("a pending shard").witness
}

fn burn(n: u8, index: u16, id: u8, digest: u8) -> StoreOp {
    let (segment, shard, index) = (segment_id(n), shard_id(n, index), ShardIndex(index));
    StoreOp::BurnWitness { segment, index, shard, id: WitnessId([id; 16]), digest: [digest; 32] }
}

fn accept(n: u8, index: u16, digest: u8, provenance: Provenance) -> StoreOp {
    let to = CommitmentState::Accepted { digest: [digest; 32], provenance };
    let (segment, shard, index) = (segment_id(n), shard_id(n, index), ShardIndex(index));
    StoreOp::SetCommitment { segment, index, shard, expected: CommitmentState::Pending, to, at: START }
}

pub(super) fn witnesses_come_with_their_segment_and_the_later_one_counts(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    done(store, stage_with(1, vec![sealed(0, 1), sealed(1, 2), sealed(3, 3)]));
    done(store, stage_with(1, vec![sealed(1, 4)]));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    commit(store, 1, 1, vec![object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)])]);
    store.reopen();
    let row = |n: u8| {
        let state = WitnessState::Fresh;
        Some(WitnessRow { id: WitnessId([n; 16]), sealed: vec![n; 92], state, since: START })
    };
    let found: Vec<_> = (0..4).map(|index| witness(store, 1, index)).collect();
    assert_eq!(found, [row(1), row(4), None, row(3)]);
    // Attack: a client that learnt what its node claimed stages another witness for it.
    conflict(store, stage_with(1, vec![sealed(0, 9)]));
    assert_eq!(witness(store, 1, 0), row(1));
}

pub(super) fn witnesses_that_fit_no_shard_are_refused_with_their_segment(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    conflict(store, stage_with(1, vec![sealed(4, 1)]));
    conflict(store, stage_with(1, vec![sealed(0, 1), sealed(0, 2)]));
    let long = SealedWitness { sealed: vec![1; 257], ..sealed(0, 1) };
    conflict(store, stage_with(1, vec![long]));
    conflict(store, stage_with(1, vec![SealedWitness { sealed: vec![], ..sealed(0, 1) }]));
    assert!(used(store).values().all(|used| *used == 0));
}

/// Attack: a witness whose secret is out judges a second list, made to suit it.
pub(super) fn a_witness_is_burnt_once(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1)]);
    conflict(store, burn(1, 0, 2, 5));
    assert_eq!(witness(store, 1, 0).map(|row| row.state), Some(WitnessState::Fresh));
    done(store, burn(1, 0, 1, 5));
    store.reopen();
    assert_eq!(witness(store, 1, 0).map(|row| row.state), Some(WitnessState::Burnt([5; 32])));
    // Not again, not by a second auditor, not even for the same list: whoever comes second does not know who knows what.
    conflict(store, burn(1, 0, 1, 6));
    conflict(store, burn(1, 0, 1, 5));
    assert_eq!(store.apply(burn(1, 1, 1, 5)), StoreReply::NotFound);
    assert_eq!(store.apply(burn(1, 9, 1, 5)), StoreReply::NotFound);
    assert_eq!(store.apply(burn(7, 0, 1, 5)), StoreReply::NotFound);
}

/// Attack: a catalog restored from a copy that knows nothing of a reveal takes the same witness for fresh.
pub(super) fn a_raised_epoch_burns_what_may_have_been_told(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1), sealed(1, 2)]);
    // The first epoch: a new catalog has no earlier self.
    store.apply(StoreOp::RaiseEpoch { above: 0 });
    done(store, burn(1, 1, 2, 5));
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    done(store, stage_with(2, vec![sealed(0, 3)]));
    store.apply(StoreOp::RaiseEpoch { above: 7 });
    stage(store, staged(2, 2, 1, 0, [1, 2, 3, 4]), 4);
    commit(store, 2, 1, vec![object(2, 1, vec![extent(0, 2, 0, 2 * SHARD)])]);
    store.reopen();
    let state = |store: &mut dyn Store, n, index| witness(store, n, index).map(|row| row.state);
    assert_eq!(state(store, 1, 0), Some(WitnessState::Burnt(NO_LIST)));
    assert_eq!(state(store, 1, 1), Some(WitnessState::Burnt([5; 32])));
    assert_eq!(state(store, 2, 0), Some(WitnessState::Burnt(NO_LIST)));
    conflict(store, burn(1, 0, 1, 6));
    conflict(store, accept(1, 0, 6, Provenance::ClientWitness));
}

/// Attack: a list other than the burnt one is accepted on the witness's word.
pub(super) fn a_client_vouches_only_for_the_list_its_witness_was_burnt_with(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1), sealed(1, 2), sealed(2, 3)]);
    conflict(store, accept(1, 0, 5, Provenance::ClientWitness));
    done(store, burn(1, 0, 1, 5));
    conflict(store, accept(1, 0, 6, Provenance::ClientWitness));
    conflict(store, accept(1, 3, 5, Provenance::ClientWitness));
    done(store, accept(1, 0, 5, Provenance::ClientWitness));
    // What the auditor read itself needs nobody's word.
    done(store, accept(1, 1, 6, Provenance::AuditorRead));
    done(store, burn(1, 2, 3, 7));
    done(store, accept(1, 2, 8, Provenance::AuditorRead));
    done(store, accept(1, 3, 9, Provenance::AuditorRead));
    assert_eq!(pending(store), vec![]);
    // A witness that has spoken is gone: a voided list is judged anew from the bytes.
    for (index, digest, provenance) in [(0, 5, Provenance::ClientWitness), (1, 6, Provenance::AuditorRead)] {
        let expected = CommitmentState::Accepted { digest: [digest; 32], provenance };
        let (segment, shard, index) = (segment_id(1), shard_id(1, index), ShardIndex(index));
        let to = CommitmentState::Pending;
        done(store, StoreOp::SetCommitment { segment, index, shard, expected, to, at: START });
        assert_eq!(store.apply(burn(1, index.0, 1, 5)), StoreReply::NotFound);
        assert_eq!(witness(store, 1, index.0), None);
    }
}

pub(super) fn a_list_that_the_client_computed_stands_on_its_word_from_the_commit_on(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    let own = |index: u16| SealedWitness { sealed: vec![], list: Some([8; 32]), ..sealed(index, 0) };
    conflict(store, stage_with(1, vec![SealedWitness { sealed: vec![1], ..own(0) }]));
    done(store, stage_with(1, vec![own(0), sealed(1, 2), own(3)]));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 3);
    commit(store, 1, 1, vec![object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)])]);
    store.reopen();
    let provenance = Provenance::ClientWitness;
    let word = CommitmentState::Accepted { digest: [8; 32], provenance };
    assert_eq!((placement(store, 1, 0).commitment, placement(store, 1, 0).version), (word, 1));
    assert_eq!(placement(store, 1, 1).commitment, CommitmentState::Pending);
    assert_eq!(pending(store).len(), 2);
    // Voided, it is judged by the bytes: the word was given once.
    let (segment, shard, to) = (segment_id(1), shard_id(1, 0), CommitmentState::Pending);
    let index = ShardIndex(0);
    done(store, StoreOp::SetCommitment { segment, index, shard, expected: word, to, at: START });
    assert_eq!(witness(store, 1, 0), None);
}

/// Attack: a client stages a segment again and again, each time with other lists, each of them a file by then.
pub(super) fn a_staged_shard_keeps_its_list(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    let own = |index: u16, digest: u8| SealedWitness { sealed: vec![], list: Some([digest; 32]), ..sealed(index, 0) };
    // Nobody's word is lost where a list comes after a witness.
    done(store, stage_with(1, vec![sealed(0, 1), own(1, 8)]));
    done(store, stage_with(1, vec![own(0, 7), own(1, 8)]));
    let lists = StoreReply::Witnessed(vec![(ShardIndex(0), [7; 32]), (ShardIndex(1), [8; 32])]);
    assert_eq!(store.apply(StoreOp::WitnessedLists(segment_id(1))), lists);
    conflict(store, stage_with(1, vec![own(0, 7), own(1, 9)]));
    conflict(store, stage_with(1, vec![own(0, 9), sealed(2, 4)]));
    // Nor by way of a witness: the list stays.
    done(store, stage_with(1, vec![sealed(0, 2), sealed(1, 3)]));
    conflict(store, stage_with(1, vec![own(1, 9)]));
    store.reopen();
    assert_eq!(store.apply(StoreOp::WitnessedLists(segment_id(1))), lists);
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 4);
    commit(store, 1, 1, vec![object(1, 1, vec![extent(0, 1, 0, 2 * SHARD)])]);
    let found: Vec<_> = pending(store).into_iter().map(|shard| (shard.placement.index, shard.witness)).collect();
    assert_eq!(found, [(ShardIndex(2), None), (ShardIndex(3), None)]);
    // What goes with its segment binds nobody.
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    let again = Box::new(staged(2, 1, 1, 0, [1, 2, 3, 4]));
    done(store, StoreOp::StageSegment { staged: again, expires: START, witnesses: vec![own(0, 9)] });
}

pub(super) fn lists_are_named_by_placements_and_witnesses_and_nothing_else(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1), sealed(1, 2)]);
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    let own = SealedWitness { sealed: vec![], list: Some([4; 32]), ..sealed(3, 0) };
    done(store, stage_with(2, vec![own]));
    done(store, burn(1, 0, 1, 5));
    done(store, burn(1, 1, 2, 6));
    done(store, accept(1, 1, 6, Provenance::ClientWitness));
    done(store, accept(1, 2, 7, Provenance::AuditorRead));
    store.reopen();
    let all = || StoreOp::NamedLists([9, 7, 6, 5, 4].map(|n| [n; 32]).to_vec());
    assert_eq!(store.apply(all()), StoreReply::Named([7, 6, 5, 4].map(|n| [n; 32]).to_vec()));
    assert_eq!(store.apply(StoreOp::NamedLists(vec![])), StoreReply::Named(vec![]));
    done(store, StoreOp::AbortUpload { id: upload_id(2), owner: owner(1), at: START });
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    assert_eq!(store.apply(all()), StoreReply::Named(vec![]));
}

pub(super) fn no_witness_is_burnt_for_what_is_accepted(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1)]);
    done(store, accept(1, 0, 6, Provenance::AuditorRead));
    assert_eq!(store.apply(burn(1, 0, 1, 5)), StoreReply::NotFound);
}

pub(super) fn witnesses_go_with_their_segment(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1)]);
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    store.apply(StoreOp::BeginUpload(upload(2, 1)));
    done(store, stage_with(2, vec![sealed(0, 2)]));
    done(store, StoreOp::AbortUpload { id: upload_id(2), owner: owner(1), at: START });
    for n in [1, 2] {
        // The same names again, without witnesses.
        store.apply(StoreOp::BeginUpload(upload(n + 4, 1)));
        stage(store, staged(n + 4, n, 1, 0, [1, 2, 3, 4]), 4);
        commit(store, n + 4, 1, vec![object(n, 1, vec![extent(0, n, 0, 2 * SHARD)])]);
        assert_eq!(witness(store, n, 0), None);
    }
}

pub(super) fn debts_and_counts_are_those_of_good_pending_shards(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1), sealed(1, 2), sealed(3, 3)]);
    put(store, 2);
    done(store, burn(1, 1, 2, 5));
    done(store, burn(1, 0, 1, 5));
    done(store, accept(1, 0, 5, Provenance::ClientWitness));
    done(store, accept(2, 1, 6, Provenance::AuditorRead));
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(1, 3)) });
    store.reopen();
    let debt = |n: u8, shards: u64| Debt { node: node_id(n), shards, bytes: shards * SHARD };
    assert_eq!(store.apply(StoreOp::CommitmentDebts), StoreReply::Debts(vec![debt(1, 1), debt(2, 1), debt(4, 2)]));
    let counts = CommitmentCounts {
        pending: 4,
        bytes: 4 * SHARD,
        blobs: 4,
        fresh: 1,
        burnt: 1,
        oldest: Some(START),
        auditor_read: 1,
        client_witness: 1,
        link_sampled: 0,
    };
    assert_eq!(store.apply(StoreOp::CommitmentCounts), StoreReply::Counts(counts));
}

pub(super) fn the_oldest_pending_may_have_no_witness(store: &mut dyn Store) {
    nodes(store, 4);
    let oldest = |store: &mut dyn Store| match store.apply(StoreOp::CommitmentCounts) {
        StoreReply::Counts(counts) => counts.oldest,
        other => panic!("expected counts, got {other:?}"),
    };
    assert_eq!(oldest(store), None);
    put(store, 1);
    assert_eq!(oldest(store), Some(START));
    (0..4).for_each(|index| done(store, accept(1, index, 6, Provenance::AuditorRead)));
    assert_eq!(oldest(store), None);
    let (segment, index, shard) = (segment_id(1), ShardIndex(1), shard_id(1, 1));
    let expected = CommitmentState::Accepted { digest: [6; 32], provenance: Provenance::AuditorRead };
    let (to, at) = (CommitmentState::Pending, Wall(START.0 + 70));
    done(store, StoreOp::SetCommitment { segment, index, shard, expected, to, at });
    store.reopen();
    assert_eq!(oldest(store), Some(at));
}

/// Attack: a client deletes a segment while its shards are judged, and puts other bytes under its id. What was read and what
/// was claimed is of the first bytes.
pub(super) fn nothing_that_is_known_of_one_shard_is_noted_of_another_in_its_place(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1)]);
    let (segment, index, shard) = (segment_id(1), ShardIndex(0), shard_id(2, 0));
    let (id, digest) = (WitnessId([1; 16]), [5; 32]);
    conflict(store, StoreOp::BurnWitness { segment, index, shard, id, digest });
    let to = CommitmentState::Accepted { digest, provenance: Provenance::AuditorRead };
    let expected = CommitmentState::Pending;
    conflict(store, StoreOp::SetCommitment { segment, index, shard, expected, to, at: START });
    assert_eq!(placement(store, 1, 0).commitment, CommitmentState::Pending);
    assert_eq!(witness(store, 1, 0).map(|row| row.state), Some(WitnessState::Fresh));
}

pub(super) fn what_is_pending_says_since_when(store: &mut dyn Store) {
    nodes(store, 4);
    put_with(store, 1, vec![sealed(0, 1)]);
    let since = |store: &mut dyn Store, at: u16| {
        let found = pending(store).into_iter().find(|shard| shard.placement.index == ShardIndex(at));
        found.map(|shard| shard.since)
    };
    assert_eq!((since(store, 0), since(store, 1)), (Some(START), Some(START)), "with a witness and without");
    done(store, accept(1, 1, 6, Provenance::AuditorRead));
    let (segment, index, shard) = (segment_id(1), ShardIndex(1), shard_id(1, 1));
    let expected = CommitmentState::Accepted { digest: [6; 32], provenance: Provenance::AuditorRead };
    let (to, at) = (CommitmentState::Pending, Wall(START.0 + 70));
    done(store, StoreOp::SetCommitment { segment, index, shard, expected, to, at });
    store.reopen();
    assert_eq!((since(store, 0), since(store, 1)), (Some(START), Some(at)));
}
