//! What a segment of a put costs does not grow with the segments before it, nor a look at burials with those that
//! wait: counted in the steps of SQLite's own machine, which are the same on every computer.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use holdfast_protocol::{
    model::{Assignment, ExtentRow, NodeLife, NodeRow, ObjectRow, SegmentRow, StagedSegment, UploadRow},
    store::{NewObject, StoreOp, StoreReply, rules::UPLOAD_SEGMENTS_MAX},
};
use holdfast_types::{
    Code, Incarnation, NodeId, ObjectId, OwnerId, PublicKey, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex,
    UploadId, VolumeId, Wall, ZoneName,
};
use sqlx::SqliteConnection;

use super::{SqliteStore, run};

const SHARDS: u16 = 6;
const LEN: u64 = 1 << 20;
const UPLOAD: UploadId = UploadId([1; 16]);
const OWNER: OwnerId = OwnerId([2; 32]);
/// Segments of the longer put.
const MANY: u64 = 1500;
/// Segments of the shorter one, and where the cost of one is first looked at: the trees have their depth by then.
const FEW: u64 = 150;

fn node(number: u16) -> NodeRow {
    NodeRow {
        id: NodeId([number as u8; 32]),
        key: PublicKey([number as u8; 32]),
        addresses: vec!["[::1]:1".into()],
        zone: ZoneName(format!("zone-{number}")),
        operator: "op".into(),
        life: NodeLife::Active,
        containment: None,
        volume: VolumeId([1; 16]),
        incarnation: Incarnation([1; 16]),
        capacity: 1 << 50,
        used: 0,
        joined: Wall(0),
        seen: Wall(0),
        judged: None,
        version: 0,
    }
}

fn staged(number: u64) -> StagedSegment {
    let shard = |index: u16| {
        let mut name = [0; 32];
        name[..8].copy_from_slice(&number.to_be_bytes());
        name[8..10].copy_from_slice(&index.to_be_bytes());
        ShardId::from_bytes(name)
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let segment = SegmentRow {
        id: SegmentId(id),
        owner: OWNER,
        root: SegmentRoot::from_bytes([3; 32]),
        len: LEN,
        code: Code::new(4, 2).expect("a code"),
        shard_len: LEN / 4,
        shards: (0..SHARDS).map(shard).collect(),
        repair_threshold: 5,
        secret_for_owner: vec![0; 60],
        secret_for_recovery: vec![0; 100],
    };
    let place =
        |index: u16| Assignment { index: ShardIndex(index), shard: shard(index), node: node(index).id, sequence: None };
    StagedSegment { upload: UPLOAD, offset: number * LEN, segment, assignments: (0..SHARDS).map(place).collect() }
}

fn upload() -> UploadRow {
    UploadRow {
        id: UPLOAD,
        owner: OWNER,
        policy: "p".into(),
        code: Code::new(4, 2).expect("a code"),
        write_threshold: SHARDS,
        repair_threshold: 5,
        expires: Wall(9),
        committed: false,
    }
}

/// One object over all of them.
fn object(segments: u64) -> NewObject {
    let row = ObjectRow {
        id: ObjectId::from_bytes([4; 32]),
        owner: OWNER,
        name: "large".into(),
        sealed_len: segments * LEN,
        plain_len: 1,
        created: Wall(1),
        manifest: vec![1],
        envelope: vec![2],
    };
    let extent = |n: u64| ExtentRow { at: n * LEN, segment: staged(n).segment.id, offset: 0, len: LEN };
    NewObject { row, extents: (0..segments).map(extent).collect(), pages: Vec::new() }
}

struct Counted {
    steps: Arc<AtomicU64>,
}

impl Counted {
    async fn on(db: &mut SqliteConnection) -> Self {
        let counted = Self { steps: Arc::default() };
        let steps = counted.steps.clone();
        db.lock_handle().await.expect("its handle").set_progress_handler(1, move || {
            steps.fetch_add(1, Ordering::Relaxed);
            true
        });
        counted
    }

    async fn apply(&self, db: &mut SqliteConnection, op: StoreOp) -> u64 {
        let before = self.steps.load(Ordering::Relaxed);
        let reply = run(db, op).await.expect("an answer");
        let refused = matches!(reply, StoreReply::Conflict(_) | StoreReply::NotFound | StoreReply::Failed(_));
        assert!(!refused, "{reply:?}");
        self.steps.load(Ordering::Relaxed) - before
    }

    /// What the API does for one segment: look, stage, look, note.
    async fn segment(&self, db: &mut SqliteConnection, number: u64) -> u64 {
        let staged = staged(number);
        let segment = staged.segment.id;
        let receipts = staged.assignments.iter().map(|a| (a.index, a.node, Sequence(number))).collect();
        let look = || StoreOp::StagedSegment { id: UPLOAD, owner: OWNER, segment };
        self.apply(db, look()).await
            + self
                .apply(db, StoreOp::StageSegment { staged: Box::new(staged), expires: Wall(9), witnesses: vec![] })
                .await
            + self.apply(db, look()).await
            + self.apply(db, StoreOp::NoteReceipts { upload: UPLOAD, segment, receipts }).await
    }
}

/// Steps for each segment of a put of that many, and for its commit.
async fn put(segments: u64) -> (Vec<u64>, u64) {
    let home = tempfile::TempDir::new().expect("a directory");
    let store = SqliteStore::open(&home.path().join("catalog.sqlite")).await.expect("a catalog");
    let mut writer = store.writer.begin().await.expect("the writer");
    let counted = Counted::on(&mut writer).await;
    for number in 0..SHARDS {
        counted.apply(&mut writer, StoreOp::PutNode(Box::new(node(number)))).await;
    }
    counted.apply(&mut writer, StoreOp::BeginUpload(upload())).await;
    let mut each = Vec::new();
    for number in 0..segments {
        each.push(counted.segment(&mut writer, number).await);
    }
    let commit = StoreOp::CommitUpload { id: UPLOAD, owner: OWNER, objects: vec![object(segments)], at: Wall(5) };
    let commit = counted.apply(&mut writer, commit).await;
    (each, commit)
}

#[tokio::test]
async fn a_segment_costs_the_thousandth_time_what_it_cost_the_first() {
    let (each, commit) = put(MANY).await;
    let (first, last) = (each[1], each[MANY as usize - 1]);
    assert!(last <= first + first / 10, "the last of {MANY} segments took {last} steps, the first {first}");
    let (_, few) = put(FEW).await;
    let (dear, cheap) = (commit / MANY, few / FEW);
    assert!(dear <= cheap + cheap / 10, "a commit takes {dear} steps a segment for {MANY}, {cheap} for {FEW}");
}

/// Fault: a node is away while very much is deleted. All of these tombstones wait for it.
async fn look(waiting: u32) -> u64 {
    let home = tempfile::TempDir::new().expect("a directory");
    let store = SqliteStore::open(&home.path().join("catalog.sqlite")).await.expect("a catalog");
    let mut writer = store.writer.begin().await.expect("the writer");
    let all = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)";
    for fill in [
        "INSERT INTO burial (kind, key, node, at) SELECT 5, CAST(printf('%032d', n) AS BLOB), zeroblob(32), 0 FROM n",
        "INSERT INTO owed_record (node, kind, key, bytes) SELECT x'02', 5, key, x'03' FROM burial",
    ] {
        let fill = format!("{all} {fill}");
        sqlx::query(sqlx::AssertSqlSafe(fill)).bind(waiting).execute(&mut *writer).await.expect("rows");
    }
    let counted = Counted::on(&mut writer).await;
    counted.apply(&mut writer, StoreOp::EndBurials { before: Wall(1), after: None, limit: 100 }).await
}

#[tokio::test]
async fn a_look_at_burials_costs_the_same_however_many_wait() {
    let (few, many) = (look(1000).await, look(20_000).await);
    assert!(many <= few + few / 10, "{many} steps where 20,000 wait, {few} where 1,000 do");
}

/// Attack: segments of a byte, without end. The count of those before it costs the next nothing.
#[tokio::test]
async fn no_more_is_staged_than_a_commit_takes() {
    let home = tempfile::TempDir::new().expect("a directory");
    let store = SqliteStore::open(&home.path().join("catalog.sqlite")).await.expect("a catalog");
    for number in 0..SHARDS {
        store.apply(StoreOp::PutNode(Box::new(node(number)))).await;
    }
    store.apply(StoreOp::BeginUpload(upload())).await;
    let stage = |number: u64| {
        let staged = Box::new(staged(number));
        store.apply(StoreOp::StageSegment { staged, expires: Wall(9), witnesses: vec![] })
    };
    assert_eq!(stage(0).await, StoreReply::Done);
    assert_eq!(stage(0).await, StoreReply::Done);
    let before = "UPDATE upload SET segments = segments + ?";
    let before = sqlx::query(before).bind(UPLOAD_SEGMENTS_MAX as i64 - 2);
    before.execute(&store.writer).await.expect("as if they were there");
    assert_eq!(stage(1).await, StoreReply::Done);
    let refused = stage(2).await;
    assert!(matches!(refused, StoreReply::Conflict(_)), "{refused:?}");
    assert_eq!(stage(1).await, StoreReply::Done, "again");
}
