//! Verdicts: recorded once, with what they change, and nothing else changed.

use holdfast_types::{AuditId, ByteRange, NodeId, RepairId, Sequence, ShardIndex, VerdictId, Wall};

use super::fixture::*;
use crate::{
    model::{AuditRow, DAMAGED_RANGES_MAX, Exception, Outcome, RepairRow, RepairState, Standing, Verdict},
    store::{StandingChange, Store, StoreOp, StoreReply},
};

fn change(n: u8, index: u16, standing: Standing) -> StandingChange {
    let sequence = Sequence(10 * u64::from(n) + u64::from(index));
    let node = node_id(index as u8 + 1);
    StandingChange { segment: segment_id(n), index: ShardIndex(index), node, sequence, standing }
}

fn range(from: u64, to: u64) -> ByteRange {
    ByteRange::new(from, to).expect("forwards")
}

fn damaged(ranges: &[(u64, u64)]) -> Standing {
    Standing::Damaged(ranges.iter().map(|(from, to)| range(*from, *to)).collect())
}

#[track_caller]
fn close(store: &mut dyn Store, n: u8, changes: Vec<StandingChange>) -> VerdictId {
    done(store, StoreOp::OpenAudit(Box::new(audit(n, 1))));
    match store.apply(StoreOp::CloseAudit { verdict: Box::new(verdict(n, 1)), changes }) {
        StoreReply::Verdict(id) => id,
        other => panic!("expected a verdict, got {other:?}"),
    }
}

pub(super) fn an_audit_closes_once(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let op = || StoreOp::CloseAudit { verdict: Box::new(verdict(1, 1)), changes: vec![change(1, 0, Standing::Lost)] };
    conflict(store, op());
    assert_eq!(placement(store, 1, 0).standing, Standing::Good);
    done(store, StoreOp::OpenAudit(Box::new(audit(1, 1))));
    done(store, StoreOp::OpenAudit(Box::new(audit(1, 1))));
    conflict(store, StoreOp::OpenAudit(Box::new(AuditRow { runs: vec![], ..audit(1, 1) })));
    let reply = store.apply(op());
    let StoreReply::Verdict(id) = reply else { panic!("expected a verdict, got {reply:?}") };
    let stored = Verdict { id, ..verdict(1, 1) };
    let StoreReply::Nodes(rows) = store.apply(StoreOp::Nodes) else { panic!("expected nodes") };
    let judged: Vec<_> = rows.iter().filter(|row| row.judged == Some(stored.at)).map(|row| row.id).collect();
    assert_eq!(judged, [stored.node], "a verdict says when its node was judged, and nobody else's");
    let list = StoreOp::Verdicts { after: VerdictId(0), node: None, limit: 9 };
    assert_eq!(store.apply(list.clone()), StoreReply::Verdicts(vec![stored.clone()]));
    conflict(store, op());
    assert_eq!(store.apply(list), StoreReply::Verdicts(vec![stored]));
    assert_eq!(placement(store, 1, 0).standing, Standing::Lost);
    assert_eq!(store.apply(StoreOp::OpenAudits), StoreReply::Audits(vec![]));
    assert_eq!(store.apply(StoreOp::Audit(AuditId([1; 32]))), StoreReply::NotFound);
}

pub(super) fn a_verdict_changes_what_was_judged_only(store: &mut dyn Store) {
    nodes(store, 6);
    put(store, 1);
    let held = lease(store, 1, START);
    let moved = placement(store, 1, 0);
    done(store, replaced(&moved, 5, 7, held.fence));
    let again = placement(store, 1, 1);
    done(store, replaced(&again, 2, 99, held.fence));
    // Shard 0 has moved, shard 1 was put anew in the same place, 7 is no index, segment 9 does not exist.
    let stale = vec![
        change(1, 0, Standing::Lost),
        change(1, 1, Standing::Lost),
        change(1, 7, Standing::Lost),
        change(9, 0, Standing::Lost),
        change(1, 2, Standing::Lost),
    ];
    close(store, 1, stale);
    let standings: Vec<_> = view(store, 1).placements.into_iter().map(|p| p.standing).collect();
    assert_eq!(standings, vec![Standing::Good, Standing::Good, Standing::Lost, Standing::Good]);
}

pub(super) fn damage_adds_up_and_a_loss_stays(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 1);
    let before = placement(store, 1, 0).version;
    close(store, 1, vec![change(1, 0, damaged(&[(500, 600), (10, 20), (990, 5000)]))]);
    close(store, 2, vec![change(1, 0, damaged(&[(20, 30), (550, 700)]))]);
    store.reopen();
    let found = placement(store, 1, 0);
    assert_eq!(found.standing, damaged(&[(10, 30), (500, 700), (990, SHARD)]));
    assert!(found.version > before);
    let many: Vec<(u64, u64)> = (0..DAMAGED_RANGES_MAX as u64 + 1).map(|i| (10 * i, 10 * i + 5)).collect();
    close(store, 3, vec![change(1, 1, damaged(&many))]);
    assert_eq!(placement(store, 1, 1).standing, damaged(&[(0, SHARD)]));
    close(store, 4, vec![change(1, 0, Standing::Lost)]);
    close(store, 5, vec![change(1, 0, damaged(&[(0, 1)]))]);
    assert_eq!(placement(store, 1, 0).standing, Standing::Lost);
    close(store, 6, vec![change(1, 0, Standing::Good)]);
    assert_eq!(placement(store, 1, 0).standing, Standing::Good);
}

pub(super) fn losing_a_node_names_each_shard_once(store: &mut dyn Store) {
    nodes(store, 4);
    put(store, 2);
    put(store, 1);
    done(store, StoreOp::OpenAudit(Box::new(audit(7, 3))));
    let mut lose = |audit: u8| match store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(audit, 3)) }) {
        StoreReply::Verdict(id) => id,
        other => panic!("expected a verdict, got {other:?}"),
    };
    let (first, second) = (lose(7), lose(8));
    assert!(second > first);
    let exception = |n: u8| Exception {
        shard: shard_id(n, 2),
        segment: segment_id(n),
        index: ShardIndex(2),
        outcome: Outcome::Unreachable,
        cause: None,
        range: None,
    };
    let whole = Verdict { id: first, exceptions: vec![exception(1), exception(2)], ..verdict(7, 3) };
    let empty = Verdict { id: second, ..verdict(8, 3) };
    let list = StoreOp::Verdicts { after: VerdictId(0), node: None, limit: 9 };
    assert_eq!(store.apply(list), StoreReply::Verdicts(vec![whole, empty]));
    for n in [1, 2] {
        let standings: Vec<_> = view(store, n).placements.into_iter().map(|p| p.standing.is_good()).collect();
        assert_eq!(standings, vec![true, true, false, true]);
    }
    assert_eq!(store.apply(StoreOp::OpenAudits), StoreReply::Audits(vec![]));
    // It was wiped and counts anew: its old numbers are free, its bytes are still counted until repaired.
    assert_eq!(used(store)[&3], 2 * SHARD);
    let held = lease(store, 2, START);
    let lost = placement(store, 2, 2);
    done(store, replaced(&lost, 3, 12, held.fence));
}

pub(super) fn losing_a_node_voids_its_receipts(store: &mut dyn Store) {
    nodes(store, 4);
    store.apply(StoreOp::BeginUpload(upload(1, 1)));
    stage(store, staged(1, 1, 1, 0, [1, 2, 3, 4]), 3);
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(1, 2)) });
    let objects = vec![object(1, 1, vec![extent(0, 1, 0, SHARD)])];
    conflict(store, StoreOp::CommitUpload { id: upload_id(1), owner: owner(1), objects, at: START });
}

pub(super) fn verdicts_come_in_order_and_in_pages(store: &mut dyn Store) {
    nodes(store, 4);
    let ids: Vec<VerdictId> = (1..=5).map(|n| close(store, n, vec![])).collect();
    assert!(ids.is_sorted() && ids[0] > VerdictId(0));
    store.apply(StoreOp::LoseNode { verdict: Box::new(verdict(9, 2)) });
    store.reopen();
    let mut audits = |op: StoreOp| match store.apply(op) {
        StoreReply::Verdicts(rows) => rows.iter().map(|verdict| verdict.audit.0[0]).collect::<Vec<_>>(),
        other => panic!("expected verdicts, got {other:?}"),
    };
    let after = |after: VerdictId, node: Option<NodeId>, limit: u32| StoreOp::Verdicts { after, node, limit };
    assert_eq!(audits(after(VerdictId(0), None, 99)), vec![1, 2, 3, 4, 5, 9]);
    assert_eq!(audits(after(ids[1], None, 2)), vec![3, 4]);
    assert_eq!(audits(after(ids[1], Some(node_id(2)), 9)), vec![9]);
    assert_eq!(audits(StoreOp::LatestVerdicts { node: None, limit: 3 }), vec![9, 5, 4]);
    assert_eq!(audits(StoreOp::LatestVerdicts { node: Some(node_id(1)), limit: 2 }), vec![5, 4]);
}

pub(super) fn open_audits_are_there_after_a_reopening(store: &mut dyn Store) {
    nodes(store, 4);
    done(store, StoreOp::OpenAudit(Box::new(audit(2, 2))));
    done(store, StoreOp::OpenAudit(Box::new(audit(1, 1))));
    store.reopen();
    assert_eq!(store.apply(StoreOp::OpenAudits), StoreReply::Audits(vec![audit(1, 1), audit(2, 2)]));
    assert_eq!(store.apply(StoreOp::Audit(AuditId([2; 32]))), StoreReply::Audits(vec![audit(2, 2)]));
}

pub(super) fn repairs_come_newest_first(store: &mut dyn Store) {
    let row = |n: u8, started: u64| RepairRow {
        id: RepairId([n; 16]),
        segment: segment_id(1),
        index: ShardIndex(2),
        shard: shard_id(1, 2),
        from: (n != 2).then(|| node_id(1)),
        to: node_id(2),
        state: RepairState::Running,
        fence: holdfast_types::Fence { epoch: 1, counter: 5 },
        started: Wall(started),
        ended: None,
        bytes: 0,
        reason: String::new(),
    };
    for row in [row(1, 30), row(2, 10), row(3, 10)] {
        done(store, StoreOp::PutRepair(Box::new(row)));
    }
    assert_eq!(store.apply(StoreOp::Repairs { limit: 2 }), StoreReply::Repairs(vec![row(1, 30), row(3, 10)]));
    let ended = RepairRow {
        state: RepairState::Failed,
        ended: Some(Wall(40)),
        bytes: 5,
        reason: "a source lied".into(),
        ..row(1, 30)
    };
    done(store, StoreOp::PutRepair(Box::new(ended.clone())));
    store.reopen();
    let all = StoreReply::Repairs(vec![ended.clone(), row(3, 10), row(2, 10)]);
    assert_eq!(store.apply(StoreOp::Repairs { limit: 9 }), all);
    assert_eq!(store.apply(StoreOp::Repair(RepairId([1; 16]))), StoreReply::Repairs(vec![ended]));
    assert_eq!(store.apply(StoreOp::RunningRepairs), StoreReply::Repairs(vec![row(2, 10), row(3, 10)]));
    assert_eq!(store.apply(StoreOp::Repair(RepairId([9; 16]))), StoreReply::NotFound);
}
