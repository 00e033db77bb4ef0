//! A client that lies: with forged receipts it commits nothing, with absurd numbers it stages nothing. One that asks too
//! often. And stock tools, which ask how the services are.

use holdfast_client::ClientError;
use holdfast_dispersal::{Geometry, RecoveryWrap, WRAPPED_LEN};
use holdfast_protocol::{message::Receipt, profile::Profile};
use holdfast_types::{
    Code, Incarnation, Millis, Root, SecretKey, SegmentId, SegmentRoot, Sequence, ShardId, ShardIndex, Signature,
    UploadId,
};
use holdfast_wire::{
    ErrorCode,
    convert::{BeginUpload, CommitPart, IndexedReceipt, NoteReceipts, SegmentSpec, ShardAssignment, StageSegment},
};

use crate::cluster::{Cluster, eventually, profile};

const UPLOAD: UploadId = UploadId([5; 16]);

pub(crate) fn segment(salt: u8, len: u64) -> SegmentSpec {
    let geometry = Geometry::new(Code::new(2, 2).unwrap(), len).unwrap();
    SegmentSpec {
        id: SegmentId([salt; 16]),
        root: SegmentRoot::from_bytes([salt; 32]),
        len,
        shard_len: geometry.shard_len(),
        shards: (0..4).map(|index| ShardId(Root::of(&[salt, index]))).collect(),
        secret_for_owner: vec![0; WRAPPED_LEN],
        secret_for_recovery: vec![0; RecoveryWrap::LEN],
    }
}

pub(crate) fn stage(upload: UploadId, segment: SegmentSpec) -> StageSegment {
    StageSegment { upload, offset: 0, segment, avoid: vec![], witnesses: vec![], commitments: vec![] }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>, code: ErrorCode, word: &str) {
    let error = result.expect_err("expected a refusal");
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(word), "{word:?} is not in {error}");
}

fn receipt(cluster: &Cluster, at: &ShardAssignment, spec: &SegmentSpec, signer: &SecretKey) -> Receipt {
    let unsigned = Receipt {
        node: at.node.id,
        // Not the node's life either: that is asked for before the signature.
        incarnation: cluster.by_id(at.node.id).incarnation(),
        owner: cluster.client.owner(),
        shard: at.shard,
        len: spec.shard_len,
        sequence: Sequence(1),
        signature: Signature { algorithm: 1, bytes: [0; 64] },
    };
    Receipt { signature: signer.sign(&unsigned.transcript()), ..unsigned }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_segments_are_refused_and_forged_receipts_commit_nothing() {
    let cluster = Cluster::start(5, profile()).await;
    let auditor = &cluster.auditor;
    auditor.begin_upload(&BeginUpload { upload: UPLOAD, policy: "default".into() }).await.unwrap();
    let good = || segment(1, 100_000);

    let absurd: [(&str, SegmentSpec); 5] = [
        ("len", SegmentSpec { len: u64::MAX, ..good() }),
        ("shard", SegmentSpec { shard_len: 1 << 60, ..good() }),
        ("bytes of a shard", SegmentSpec { shard_len: good().shard_len + 1024, ..good() }),
        ("names of shards", SegmentSpec { shards: vec![good().shards[0]; 4], ..good() }),
        ("recovery key", SegmentSpec { secret_for_recovery: vec![1; 7], ..good() }),
    ];
    for (word, spec) in absurd {
        refused(auditor.stage_segment(&stage(UPLOAD, spec)).await, ErrorCode::Invalid, word);
    }
    refused(auditor.stage_segment(&stage(UploadId([9; 16]), good())).await, ErrorCode::NotFound, "");

    let staged = auditor.stage_segment(&stage(UPLOAD, good())).await.unwrap();
    // Signed by the client itself, by another node, and by the right node for another shard.
    let forger = SecretKey::from_seed(&[9; 32]);
    let (first, second) = (&staged.assignments[0], &staged.assignments[1]);
    let (spec, other) = (good(), ShardAssignment { shard: second.shard, ..first.clone() });
    let forged = [
        receipt(&cluster, first, &spec, &forger),
        receipt(&cluster, first, &spec, &cluster.by_id(second.node.id).key()),
        receipt(&cluster, &other, &spec, &cluster.by_id(first.node.id).key()),
        Receipt { incarnation: Incarnation([0; 16]), ..receipt(&cluster, first, &spec, &forger) },
    ];
    for receipt in forged {
        let receipts = vec![IndexedReceipt { index: ShardIndex(0), receipt }];
        let note = NoteReceipts { upload: UPLOAD, segment: spec.id, receipts };
        assert_eq!(auditor.note_receipts(&note).await.unwrap(), 0, "{receipt:?}");
    }
    let commit = futures::stream::iter([CommitPart::Header(UPLOAD).into()]);
    refused(auditor.commit_upload(commit).await, ErrorCode::Conflict, "has 0 receipts");

    auditor.abort_upload(UPLOAD).await.unwrap();
    eventually("nothing is left of it", async || {
        let catalog = auditor.status().await.unwrap().catalog;
        (catalog.uploads == 0 && catalog.deletions == 0 && catalog.segments == 0).then_some(())
    })
    .await;
    assert!(auditor.objects().await.unwrap().is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_a_node_audited_only_so_often() {
    let every = Millis::from_secs(3600);
    let cluster = Cluster::start(4, Profile { asked_every: every, ..profile() }).await;
    cluster.put(&crate::cluster::noise(1, 50_000)).await;
    let one = cluster.nodes[0].id;
    let first = cluster.auditor.run_audit(Some(one)).await.unwrap();
    assert_eq!((first.nodes, first.too_soon), (vec![one], vec![]));
    let again = cluster.auditor.run_audit(Some(one)).await.unwrap_err();
    let ClientError::Said { error, .. } = &again else { panic!("{again}") };
    assert!(error.code == ErrorCode::Exhausted && error.retry_after.is_some_and(|wait| wait <= every), "{again}");

    // The others have not been asked for.
    let all = cluster.auditor.run_audit(None).await.unwrap();
    assert_eq!((all.nodes.len(), all.too_soon), (3, vec![one]));
    assert!(!all.nodes.contains(&one) && all.wait > Millis(0));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_of_every_service_answer_stock_tools() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let cluster = Cluster::start(0, profile()).await;
    let channel = cluster.channel().await;
    let asked = MessageRequest::ListServices(String::new());
    let asked = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let mut answers = reflection.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer else { panic!("{answer:?}") };
    let services: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    let ours = services.iter().filter(|name| name.starts_with("holdfast.auditor.v1.")).count();
    assert_eq!((ours, services.iter().any(|name| name.contains("holdfast.node"))), (5, false), "{services:?}");

    for service in services.iter().filter(|name| name.starts_with("holdfast.")).map(String::as_str).chain([""]) {
        let asked = HealthCheckRequest { service: service.into() };
        let health = HealthClient::new(channel.clone()).check(asked).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service:?}");
        if service.is_empty() {
            continue;
        }
        let asked = MessageRequest::FileContainingSymbol(service.into());
        let asked = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
        let mut answers = reflection.server_reflection_info(tokio_stream::once(asked)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().expect("an answer").message_response;
        assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{service}: {answer:?}");
    }
    cluster.stop().await;
}
