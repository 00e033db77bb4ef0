//! Nodes, the epoch, the summary.

use super::fixture::*;
use crate::{
    model::{Containment, NodeLife, NodeRow, Outcome},
    store::{Store, StoreOp, StoreReply, Summary},
};

pub(super) fn an_epoch_only_rises(store: &mut dyn Store) {
    assert_eq!(store.apply(StoreOp::RaiseEpoch { above: 0 }), StoreReply::Epoch(1));
    assert_eq!(store.apply(StoreOp::RaiseEpoch { above: 7 }), StoreReply::Epoch(8));
    assert_eq!(store.apply(StoreOp::RaiseEpoch { above: 3 }), StoreReply::Epoch(9));
    store.reopen();
    assert_eq!(summary(store).epoch, 9);
}

pub(super) fn a_node_is_replaced_by_its_own_version_only(store: &mut dyn Store) {
    nodes(store, 2);
    conflict(store, StoreOp::PutNode(Box::new(node(1))));
    let containment = Containment {
        audit: holdfast_types::AuditId([9; 32]),
        since: START,
        attempts: 2,
        next: START,
        outcome: Outcome::Late,
    };
    let changed = NodeRow {
        life: NodeLife::Contained,
        containment: Some(containment),
        judged: Some(START),
        used: 77,
        version: 1,
        ..node(1)
    };
    let stored = NodeRow { version: 2, used: 0, judged: None, ..changed.clone() };
    let reply = store.apply(StoreOp::PutNode(Box::new(changed.clone())));
    assert_eq!(reply, StoreReply::Nodes(vec![stored.clone()]));
    conflict(store, StoreOp::PutNode(Box::new(changed)));
    conflict(store, StoreOp::PutNode(Box::new(NodeRow { version: 1, ..node(3) })));
    store.reopen();
    let second = NodeRow { version: 1, ..node(2) };
    assert_eq!(store.apply(StoreOp::Nodes), StoreReply::Nodes(vec![stored, second]));
}

pub(super) fn the_summary_counts_what_is_there(store: &mut dyn Store) {
    assert_eq!(summary(store), Summary::default());
    nodes(store, 8);
    put(store, 1);
    put(store, 2);
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(1, 4)) });
    store.apply(StoreOp::BeginUpload(upload(9, 1)));
    let fence = lease(store, 1, START).fence;
    let expected = Summary {
        objects: 2,
        plain_bytes: 2 * SHARD,
        segments: 2,
        placements: 8,
        good: 6,
        pending_commitments: 6,
        pending_bytes: 6 * SHARD,
        at_risk: 2,
        unrecoverable: 0,
        worst_held: 3,
        worst_spare: 1,
        uploads: 1,
        epoch: fence.epoch,
        counter: fence.counter,
        ..Summary::default()
    };
    assert_eq!(summary(store), expected);
    done(store, StoreOp::DeleteObject { owner: owner(1), id: object_id(1), tombstone: vec![], at: START });
    assert_eq!(summary(store).deletions, 4);
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(2, 3)) });
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(3, 2)) });
    let after = summary(store);
    assert_eq!((after.unrecoverable, after.worst_held, after.worst_spare), (1, 1, -1));
}

pub(super) fn segments_are_counted_by_spare_worst_first(store: &mut dyn Store) {
    let spares = |store: &mut dyn Store| store.apply(StoreOp::SegmentsBySpare);
    assert_eq!(spares(store), StoreReply::Spares(Vec::new()));
    nodes(store, 8);
    put(store, 1);
    put(store, 2);
    put(store, 3);
    assert_eq!(spares(store), StoreReply::Spares(vec![(2, 3)]));
    // Each segment loses what it has on these nodes; what is only staged is not counted.
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(1, 4)) });
    store.apply(StoreOp::BeginUpload(upload(9, 1)));
    let StoreReply::Spares(after) = spares(store) else { panic!("spares") };
    assert!(after.is_sorted() && after.iter().map(|(_, count)| count).sum::<u64>() == 3, "{after:?}");
    let mut expected = std::collections::BTreeMap::new();
    for n in 1..=3 {
        let StoreReply::Segment(view) = store.apply(StoreOp::Segment(segment_id(n))) else { panic!("a segment") };
        let good = view.placements.iter().filter(|placement| placement.standing.is_good()).count() as i32;
        *expected.entry(good - i32::from(view.segment.code.data())).or_default() += 1;
    }
    assert_eq!(after, expected.into_iter().collect::<Vec<_>>());
    assert_ne!(after, vec![(2, 3)], "the node held something");
}
