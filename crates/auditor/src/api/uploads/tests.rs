//! Staging beside deletions: what is on its way is avoided, what may be on its way after a restart too. And what a
//! caller can take before it has shown that there is anything to take it for. Clients' own lists are in [`lists`].

mod lists;

use futures::{StreamExt, stream};
use holdfast_dispersal::{Geometry, RecoveryWrap, WRAPPED_LEN};
use holdfast_protocol::{
    model::{DeletionRow, NodeLife},
    store::{StoreReply, rules::DROPPED_AT_ONCE},
};
use holdfast_transport::{ClusterCa, Subject, Validity};
use holdfast_types::{Code, Incarnation, Millis, PublicKey, Root, SegmentRoot, ShardId, VolumeId, Wall, ZoneName};
use holdfast_wire::convert::SegmentSpec;
use tempfile::TempDir;

use super::*;
use crate::{clock::Clock, config::Raw, running::assemble, shared::Shared};

const UPLOAD: UploadId = UploadId([1; 16]);
const OWNER: OwnerId = OwnerId([2; 32]);
const NODES: u8 = 9;

fn row(number: u8) -> NodeRow {
    NodeRow {
        id: NodeId([number; 32]),
        key: PublicKey([number; 32]),
        addresses: vec!["[::1]:9".into()],
        zone: ZoneName(format!("zone-{number}")),
        operator: "op".into(),
        life: NodeLife::Active,
        containment: None,
        volume: VolumeId([1; 16]),
        incarnation: Incarnation([1; 16]),
        capacity: 1 << 30,
        used: 0,
        joined: Wall(0),
        seen: Wall(0),
        judged: None,
        version: 0,
    }
}

/// An API over a catalog with nodes and no driver: as it is in the first moment after a start.
async fn api(home: &TempDir, change: impl FnOnce(&mut Shared)) -> Api {
    let ca = ClusterCa::generate("test".parse().unwrap(), clock::wall()).unwrap();
    let validity = Validity::starting(clock::wall(), Millis::from_secs(3600));
    let issued = ca.issue(&Subject::Auditor("auditor".parse().unwrap()), &[], validity).unwrap();
    let material = issued.material(clock::wall()).unwrap();
    let text = r#"
        cluster = "test"
        listen = ["127.0.0.1:0"]
        data_dir = "auditor"
        [tls]
        ca = ""
        cert = ""
        key = ""
        [policy.p]
        data = 2
        parity = 2
    "#;
    let raw: Raw = toml::from_str(text).unwrap();
    let (mut shared, _) = assemble(&raw.into_checked(home.path()).unwrap(), &material).await.unwrap();
    change(std::sync::Arc::get_mut(&mut shared).unwrap());
    let api = Api::new(&shared);
    for number in 1..=NODES {
        let put = api.ask(StoreOp::PutNode(Box::new(row(number)))).await.unwrap();
        assert!(matches!(put, StoreReply::Nodes(_)), "{put:?}");
    }
    api
}

fn segment() -> StageSegment {
    let geometry = Geometry::new(Code::new(2, 2).unwrap(), 100_000).unwrap();
    let segment = SegmentSpec {
        id: SegmentId([4; 16]),
        root: SegmentRoot::from_bytes([4; 32]),
        len: 100_000,
        shard_len: geometry.shard_len(),
        shards: (0..4).map(|index| ShardId(Root::of(&[index]))).collect(),
        secret_for_owner: vec![0; WRAPPED_LEN],
        secret_for_recovery: vec![0; RecoveryWrap::LEN],
    };
    StageSegment { upload: UPLOAD, offset: 0, segment, avoid: vec![], witnesses: vec![], commitments: vec![] }
}

async fn staged(api: &Api) -> BTreeSet<NodeId> {
    api.begin(OWNER, BeginUpload { upload: UPLOAD, policy: "p".into() }).await.unwrap();
    let staged = api.stage(OWNER, segment()).await.unwrap();
    staged.assignments.iter().map(|assignment| assignment.node.id).collect()
}

async fn owed(api: &Api) -> Vec<DeletionRow> {
    match api.ask(StoreOp::OwedDeletions { shards: segment().segment.shards }).await.unwrap() {
        StoreReply::Deletions(rows) => rows,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_staged_where_a_deletion_of_it_is_under_way() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |shared| shared.clock = Clock::started_before(DELETION_OUTSTANDING).unwrap()).await;
    let before = staged(&api).await;
    assert_eq!(staged(&api).await, before, "the same segment draws the same nodes");
    let shards = segment().segment.shards;
    let under_way = before.iter().map(|node| (*node, shards[0])).collect();
    *api.0.deleting.write().unwrap() = under_way;
    assert!(staged(&api).await.is_disjoint(&before));
}

#[tokio::test]
async fn after_a_restart_what_is_owed_may_be_under_way() {
    let home = TempDir::new().unwrap();
    let first = api(&home, |_| {}).await;
    let before = staged(&first).await;
    first.abort(OWNER, UPLOAD).await.unwrap();
    assert_eq!(owed(&first).await.len(), 4);
    let after = staged(&first).await;
    assert!(after.is_disjoint(&before), "{after:?}");
    let still = owed(&first).await.into_iter().map(|row| row.node).collect::<BTreeSet<_>>();
    assert_eq!(still, before, "what may be under way is not withdrawn");
}

#[tokio::test]
async fn later_what_is_owed_and_not_under_way_is_withdrawn() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |shared| shared.clock = Clock::started_before(DELETION_OUTSTANDING).unwrap()).await;
    let before = staged(&api).await;
    api.abort(OWNER, UPLOAD).await.unwrap();
    assert_eq!(staged(&api).await, before, "the nodes that may have the shards already");
    assert_eq!(owed(&api).await, []);
}

#[tokio::test]
async fn a_large_upload_is_given_up_to_its_end() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    staged(&api).await;
    for n in 0..=DROPPED_AT_ONCE as u8 {
        let shards = (0..4).map(|index| ShardId(Root::of(&[n, index]))).collect();
        let segment = SegmentSpec { id: SegmentId([100 + n; 16]), shards, ..segment().segment };
        let more = StageSegment { segment, offset: 100_000 * (u64::from(n) + 1), ..self::segment() };
        api.stage(OWNER, more).await.unwrap();
    }
    api.abort(OWNER, UPLOAD).await.unwrap();
    assert!(api.0.walks.count(&api.0.store).await.is_ok_and(|counted| counted.summary.uploads == 0));
}

type Parts = stream::BoxStream<'static, Result<pb::CommitUploadRequest, Status>>;

/// These parts, and then silence without an end.
fn parts(parts: Vec<CommitPart>) -> Parts {
    stream::iter(parts.into_iter().map(|part| Ok(part.into()))).chain(stream::pending()).boxed()
}

#[tokio::test]
async fn nothing_is_taken_in_for_an_upload_that_is_not_there() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    // It would have to wait for more of the records.
    let refused = api.commit(OWNER, parts(vec![CommitPart::Header(UPLOAD)])).await.unwrap_err();
    assert_eq!(WireError::from(refused).code, ErrorCode::NotFound);
}

#[tokio::test]
async fn records_are_taken_in_as_far_as_there_is_room_and_while_they_come() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |_| {}).await;
    let object = || {
        CommitPart::Object(Box::new(holdfast_wire::convert::NewObject {
            name: "n".into(),
            manifest: vec![1],
            envelope: vec![2],
            offset: 0,
            sealed_len: 1,
            plain_len: 1,
        }))
    };
    let patience = Duration::from_millis(20);
    let mut room = api.1.commit(OWNER);
    let silent = gather(&mut parts(vec![object()]), &mut room, patience).await.unwrap_err();
    assert_eq!(WireError::from(silent).code, ErrorCode::Retry);

    // Pages of one byte: what they take is not one byte.
    let page = || CommitPart::Page(vec![0]);
    let pages = stream::iter(std::iter::once(object()).chain(std::iter::repeat_with(page).take(1000)));
    let mut ended = pages.map(|part| Ok(part.into()));
    let mut others = api.1.commit(OwnerId([3; 32]));
    others.grow(super::super::allowance::COMMIT_BYTES_MAX).unwrap();
    let mut own = api.1.commit(OWNER);
    own.grow(super::super::allowance::COMMIT_BYTES_MAX - 20_000).unwrap();
    let full = gather(&mut ended, &mut room, patience).await.unwrap_err();
    assert_eq!(WireError::from(full).code, ErrorCode::Retry);
}

/// Attack: an upload is staged just while the deletion of what it had there sets out.
#[tokio::test]
async fn what_sets_out_while_a_segment_is_staged_is_met_before_its_grants_go_out() {
    let home = TempDir::new().unwrap();
    let api = api(&home, |shared| shared.clock = Clock::started_before(DELETION_OUTSTANDING).unwrap()).await;
    staged(&api).await;
    let (_, known) = api.staged(UPLOAD, OWNER, segment().segment.id).await.unwrap();
    let known = known.unwrap();
    assert!(api.look_again(&known).is_ok());
    let assigned = known.assignments[1];
    *api.0.deleting.write().unwrap() = BTreeSet::from([(assigned.node, assigned.shard)]);
    assert_eq!(api.look_again(&known).unwrap_err().code, ErrorCode::Retry);
}
