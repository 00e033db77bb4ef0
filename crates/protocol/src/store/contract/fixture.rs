//! Rows for the promises: small numbers stand for ids, so that a failing assertion is readable.

use std::collections::BTreeMap;

use holdfast_types::{
    AuditId, Code, Fence, Incarnation, Millis, NodeId, ObjectId, OwnerId, PublicKey, Seed, SegmentId, SegmentRoot,
    Sequence, ShardId, ShardIndex, UploadId, VerdictId, VolumeId, Wall, ZoneName,
};

use crate::{
    message::SeqRun,
    model::{
        Assignment, AuditRow, DeletionRow, ExtentRow, Lane, Lease, NodeLife, NodeRow, ObjectRow, Outcome, Placement,
        SegmentRow, SegmentView, StagedSegment, UploadRow, Verdict,
    },
    store::{NewObject, Store, StoreOp, StoreReply, Summary},
};

/// Bytes of each shard in these tests.
pub(super) const SHARD: u64 = 1000;
/// Bytes each node offers: room for ten shards.
pub(super) const CAPACITY: u64 = 10 * SHARD;
/// When these tests begin.
pub(super) const START: Wall = Wall(1_000_000);
/// A lease's length.
pub(super) const TTL: Millis = Millis(10_000);

pub(super) fn code() -> Code {
    Code::new(2, 2).expect("a valid code")
}

pub(super) fn owner(n: u8) -> OwnerId {
    OwnerId([n; 32])
}

pub(super) fn node_id(n: u8) -> NodeId {
    NodeId([n; 32])
}

pub(super) fn upload_id(n: u8) -> UploadId {
    UploadId([n; 16])
}

pub(super) fn segment_id(n: u8) -> SegmentId {
    SegmentId([n; 16])
}

pub(super) fn object_id(n: u8) -> ObjectId {
    ObjectId::from_bytes([n; 32])
}

pub(super) fn shard_id(segment: u8, index: u16) -> ShardId {
    let mut bytes = [segment; 32];
    bytes[31] = index as u8;
    ShardId::from_bytes(bytes)
}

pub(super) fn node(n: u8) -> NodeRow {
    NodeRow {
        id: node_id(n),
        key: PublicKey([n; 32]),
        addresses: vec![format!("10.0.0.{n}:7000"), format!("[fd00::{n}]:7000")],
        zone: ZoneName(format!("zone-{}", n % 4)),
        operator: "op".into(),
        life: NodeLife::Active,
        containment: None,
        volume: VolumeId([n; 16]),
        incarnation: Incarnation([n; 16]),
        capacity: CAPACITY,
        used: 0,
        joined: START,
        seen: START,
        judged: None,
        version: 0,
    }
}

pub(super) fn upload(n: u8, of: u8) -> UploadRow {
    UploadRow {
        id: upload_id(n),
        owner: owner(of),
        policy: "p".into(),
        code: code(),
        write_threshold: 3,
        repair_threshold: 3,
        expires: Wall(START.0 + 5000),
        committed: false,
    }
}

pub(super) fn segment(n: u8, of: u8) -> SegmentRow {
    SegmentRow {
        id: segment_id(n),
        owner: owner(of),
        root: SegmentRoot::from_bytes([n; 32]),
        len: 2 * SHARD,
        code: code(),
        shard_len: SHARD,
        shards: (0..4).map(|index| shard_id(n, index)).collect(),
        repair_threshold: 3,
        secret_for_owner: vec![n, 1],
        secret_for_recovery: vec![n, 2],
    }
}

/// Segment `n` of upload `up`, its four shards on these nodes.
pub(super) fn staged(up: u8, n: u8, of: u8, offset: u64, nodes: [u8; 4]) -> StagedSegment {
    let assign = |(index, node): (usize, u8)| Assignment {
        index: ShardIndex(index as u16),
        shard: shard_id(n, index as u16),
        node: node_id(node),
        sequence: None,
    };
    let assignments = nodes.into_iter().enumerate().map(assign).collect();
    StagedSegment { upload: upload_id(up), offset, segment: segment(n, of), assignments }
}

pub(super) fn object(n: u8, of: u8, extents: Vec<ExtentRow>) -> NewObject {
    let sealed_len = extents.iter().map(|extent| extent.len).sum();
    let row = ObjectRow {
        id: object_id(n),
        owner: owner(of),
        name: format!("object-{n}"),
        sealed_len,
        plain_len: sealed_len / 2,
        created: START,
        manifest: vec![n, 3],
        envelope: vec![n, 4],
    };
    NewObject { row, extents, pages: vec![([n; 32], vec![n, 5])] }
}

pub(super) fn extent(at: u64, segment: u8, offset: u64, len: u64) -> ExtentRow {
    ExtentRow { at, segment: segment_id(segment), offset, len }
}

pub(super) fn verdict(audit: u8, node: u8) -> Verdict {
    Verdict {
        id: VerdictId(0),
        audit: AuditId([audit; 32]),
        node: node_id(node),
        lane: Lane::Fold,
        outcome: Outcome::Unreachable,
        at: Wall(START.0 + u64::from(audit)),
        took: Millis(7),
        shards: 1,
        bytes: SHARD,
        exceptions: Vec::new(),
        evidence: vec![audit],
    }
}

pub(super) fn audit(n: u8, node: u8) -> AuditRow {
    AuditRow {
        id: AuditId([n; 32]),
        node: node_id(node),
        lane: Lane::Fold,
        seed: Seed([n; 32]),
        runs: vec![SeqRun { from: Sequence(1), to: Sequence(2) }, SeqRun { from: Sequence(5), to: Sequence(9) }],
        set_digest: [n; 32],
        opened: START,
    }
}

/// Registers nodes 1 to `count`.
pub(super) fn nodes(store: &mut dyn Store, count: u8) {
    for n in 1..=count {
        let reply = store.apply(StoreOp::PutNode(Box::new(node(n))));
        assert!(matches!(&reply, StoreReply::Nodes(rows) if rows.len() == 1 && rows[0].version == 1), "{reply:?}");
    }
}

#[track_caller]
pub(super) fn done(store: &mut dyn Store, op: StoreOp) {
    let asked = format!("{op:?}");
    let reply = store.apply(op);
    assert_eq!(reply, StoreReply::Done, "{asked}");
}

#[track_caller]
pub(super) fn conflict(store: &mut dyn Store, op: StoreOp) {
    let asked = format!("{op:?}");
    let reply = store.apply(op);
    assert!(matches!(reply, StoreReply::Conflict(_)), "{asked}: {reply:?}");
}

/// Stages the segment and notes receipts of its first `held` shards: shard `index` gets number `10 * segment + index`.
#[track_caller]
pub(super) fn stage(store: &mut dyn Store, staged: StagedSegment, held: usize) {
    let id = staged.segment.id;
    let upload = staged.upload;
    let number = |a: &Assignment| Sequence(10 * u64::from(id.0[0]) + u64::from(a.index.0));
    let receipts = staged.assignments.iter().take(held).map(|a| (a.index, a.node, number(a))).collect();
    done(store, StoreOp::StageSegment { staged: Box::new(staged), expires: Wall(START.0 + 6000), witnesses: vec![] });
    done(store, StoreOp::NoteReceipts { upload, segment: id, receipts });
}

#[track_caller]
pub(super) fn commit(store: &mut dyn Store, up: u8, of: u8, objects: Vec<NewObject>) -> Vec<SegmentId> {
    match store.apply(StoreOp::CommitUpload { id: upload_id(up), owner: owner(of), objects, at: START }) {
        StoreReply::Committed { segments } => segments,
        other => panic!("expected a commit, got {other:?}"),
    }
}

/// Puts object `n` of owner 1 in segment `n`, on nodes 1 to 4, through upload `n`.
#[track_caller]
pub(super) fn put(store: &mut dyn Store, n: u8) {
    let reply = store.apply(StoreOp::BeginUpload(upload(n, 1)));
    assert!(matches!(reply, StoreReply::Begun { .. }), "{reply:?}");
    stage(store, staged(n, n, 1, 0, [1, 2, 3, 4]), 4);
    let segments = commit(store, n, 1, vec![object(n, 1, vec![extent(0, n, 0, 2 * SHARD)])]);
    assert_eq!(segments, vec![segment_id(n)]);
}

#[track_caller]
pub(super) fn view(store: &mut dyn Store, n: u8) -> SegmentView {
    match store.apply(StoreOp::Segment(segment_id(n))) {
        StoreReply::Segment(view) => *view,
        other => panic!("expected segment {n}, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn placement(store: &mut dyn Store, n: u8, index: u16) -> Placement {
    let view = view(store, n);
    view.placements.into_iter().find(|p| p.index == ShardIndex(index)).expect("a placement at the index")
}

/// Bytes in use, by the nodes' small numbers.
#[track_caller]
pub(super) fn used(store: &mut dyn Store) -> BTreeMap<u8, u64> {
    match store.apply(StoreOp::Nodes) {
        StoreReply::Nodes(rows) => rows.into_iter().map(|row| (row.id.0[0], row.used)).collect(),
        other => panic!("expected nodes, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn lease(store: &mut dyn Store, n: u8, now: Wall) -> Lease {
    match store.apply(StoreOp::AcquireLease { segment: segment_id(n), now, ttl: TTL }) {
        StoreReply::Lease(lease) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

/// All deletions, due or not, as (node, shard) in order.
#[track_caller]
pub(super) fn deletions(store: &mut dyn Store) -> Vec<DeletionRow> {
    match store.apply(StoreOp::DueDeletions { now: Wall(u64::MAX >> 1), after: None, limit: 1000 }) {
        StoreReply::Deletions(rows) => rows,
        other => panic!("expected deletions, got {other:?}"),
    }
}

#[track_caller]
pub(super) fn summary(store: &mut dyn Store) -> Summary {
    match store.apply(StoreOp::Summary) {
        StoreReply::Summary(summary) => summary,
        other => panic!("expected a summary, got {other:?}"),
    }
}

/// Shard `index` of segment `n` on `node`, under `fence`, as a repair would place it.
pub(super) fn replaced(old: &Placement, node: u8, sequence: u64, fence: Fence) -> StoreOp {
    let placement = Placement {
        node: node_id(node),
        sequence: Sequence(sequence),
        standing: crate::model::Standing::Good,
        fence,
        ..old.clone()
    };
    StoreOp::Place { placement: Box::new(placement), expected: old.version, at: START }
}
