//! Lists that clients computed: what is written of them, and what is left.

use holdfast_kzg::{CommitmentList, Setup};
use holdfast_protocol::model::{AuditRow, Lane};
use holdfast_types::{AuditId, Seed};
use holdfast_wire::convert::ShardCommitments;

use super::*;
use crate::lists::sweep::{GRACE, Sweep};

fn list(blob: &[u8]) -> Vec<u8> {
    CommitmentList::new(vec![Setup::ethereum().commit(blob).unwrap()]).unwrap().encode()
}

/// Files of lists.
fn kept(home: &TempDir) -> usize {
    let files = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_dir(entry.unwrap().path()).unwrap().count();
    std::fs::read_dir(home.path().join("auditor/commitments")).unwrap().map(files).sum()
}

/// The segment, with a list of each of its first shards.
fn with_lists(lists: &[Vec<u8>]) -> StageSegment {
    let own = |(list, index): (&Vec<u8>, u16)| ShardCommitments { index: ShardIndex(index), list: list.clone() };
    StageSegment { commitments: lists.iter().zip(0..).map(own).collect(), ..segment() }
}

async fn staged_row(api: &Api) -> Option<StagedSegment> {
    api.staged(UPLOAD, OWNER, segment().segment.id).await.unwrap().1
}

fn code(refused: Status) -> ErrorCode {
    WireError::from(refused).code
}

#[tokio::test]
async fn no_list_is_kept_before_all_are_known_to_be_good() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    api.begin(OWNER, BeginUpload { upload: UPLOAD, policy: "p".into() }).await.unwrap();
    let own = |second: Vec<u8>| with_lists(&[list(b"a blob"), second]);
    // On the curve or not, these bytes are no point of the group.
    let mut false_point = list(b"another");
    let last = false_point.len() - 1;
    false_point[last] ^= 1;
    let refused = api.stage(OWNER, own(false_point)).await.unwrap_err();
    assert_eq!((code(refused), kept(&home)), (ErrorCode::Invalid, 0));

    let other = StageSegment { segment: SegmentSpec { shard_len: 1, ..segment().segment }, ..own(list(b"another")) };
    assert!(api.stage(OWNER, other).await.is_err());
    assert_eq!(kept(&home), 0, "a segment that cannot be staged");

    // One caller at a time.
    let turn = api.1.lists().await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(300), api.stage(OWNER, own(list(b"another"))));
    assert!(waiting.await.is_err(), "expected it to wait");
    assert_eq!(kept(&home), 0);
    drop(turn);
    api.stage(OWNER, own(list(b"another"))).await.unwrap();
    assert_eq!(kept(&home), 2);
}

/// Attack: the same segment, over and over, each time with other valid points.
#[tokio::test]
async fn a_segment_that_is_staged_again_with_other_lists_writes_nothing() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    api.begin(OWNER, BeginUpload { upload: UPLOAD, policy: "p".into() }).await.unwrap();
    let own = || with_lists(&[list(b"a blob"), list(b"another")]);
    api.stage(OWNER, own()).await.unwrap();
    assert_eq!(kept(&home), 2);
    for n in 0..3 {
        let refused = api.stage(OWNER, with_lists(&[list(b"a blob"), list(&[n])])).await.unwrap_err();
        assert_eq!((code(refused), kept(&home)), (ErrorCode::Conflict, 2));
    }
    api.stage(OWNER, own()).await.unwrap();
    assert_eq!(kept(&home), 2);
}

/// Attack: lists come with a segment that everything is right about, but that another upload has staged.
#[tokio::test]
async fn nothing_is_written_for_a_segment_that_the_catalog_refuses() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    staged(&api).await;
    let other = UploadId([7; 16]);
    api.begin(OWNER, BeginUpload { upload: other, policy: "p".into() }).await.unwrap();
    let theirs = StageSegment { upload: other, ..with_lists(&[list(b"a blob")]) };
    let refused = api.stage(OWNER, theirs).await.unwrap_err();
    assert_eq!((code(refused), kept(&home)), (ErrorCode::Conflict, 0));
}

/// Attack: a client hangs up while its lists are written, so that no row names them, and comes with others.
#[tokio::test]
async fn a_caller_that_hangs_up_leaves_no_list_without_its_row() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    api.begin(OWNER, BeginUpload { upload: UPLOAD, policy: "p".into() }).await.unwrap();
    let mut call = Box::pin(api.stage(OWNER, with_lists(&[list(b"a blob")])));
    // As far as the segment's row, and hardly ever to the end.
    while futures::poll!(&mut call).is_pending() && staged_row(&api).await.is_none() {}
    drop(call);
    let refused = api.stage(OWNER, with_lists(&[list(b"another")])).await.unwrap_err();
    assert_eq!((code(refused), kept(&home)), (ErrorCode::Conflict, 1));
}

#[tokio::test]
async fn lists_that_nobody_names_go_and_others_stay() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    api.begin(OWNER, BeginUpload { upload: UPLOAD, policy: "p".into() }).await.unwrap();
    api.stage(OWNER, with_lists(&[list(b"a blob"), list(b"another")])).await.unwrap();
    // Fault: the power failed between this file and its row.
    api.0.lists.keep(CommitmentList::decode(&list(b"a third")).unwrap()).unwrap();
    let pass = async |grace| Sweep::new(&api.0, grace).pass(Duration::ZERO).await.unwrap();
    let (short, long) = (Duration::ZERO, GRACE);
    assert_eq!((pass(short).await, kept(&home)), (0, 3), "seen for the first time");
    assert_eq!((pass(long).await, kept(&home)), (0, 3), "its row may be on its way");
    assert_eq!((pass(short).await, kept(&home)), (1, 2));
    assert_eq!((pass(short).await, kept(&home)), (0, 2), "staged");
    api.abort(OWNER, UPLOAD).await.unwrap();
    assert_eq!((pass(short).await, pass(short).await, kept(&home)), (0, 2, 0));
}

/// Attack: a client deletes what a node in league with it holds while that is silent, so that its fold cannot be judged.
#[tokio::test]
async fn a_list_outlives_the_audits_that_may_need_it() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    api.0.lists.keep(CommitmentList::decode(&list(b"a blob")).unwrap()).unwrap();
    let opened = Wall(clock::wall().0 - 3_600_000);
    let audit = AuditRow {
        id: AuditId([1; 32]),
        node: NodeId([1; 32]),
        lane: Lane::Fold,
        seed: Seed([0; 32]),
        runs: vec![],
        set_digest: [0; 32],
        opened,
    };
    api.ask(StoreOp::OpenAudit(Box::new(audit))).await.unwrap();
    let sweep = Sweep::new(&api.0, Duration::ZERO);
    for _ in 0..3 {
        assert_eq!((sweep.pass(Duration::ZERO).await.unwrap(), kept(&home)), (0, 1));
    }
}
