//! Who may do what.

use holdfast_transport::Subject;
use holdfast_types::{Fence, Grant, Millis, NodeId, Operation, OwnerId, SecretKey};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{GetShard, PutPart, Statement},
    pb::node::v1 as pb,
};

use crate::cluster::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_opens_what_it_names_and_nothing_else() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut client = cluster.client(&node).await;
    let content = bytes(10_000, 1);
    let good = cluster.grant(node.id(), Operation::Put, &content);
    let cases: [(Grant, &str); 7] = [
        (Grant { node: NodeId([9; 32]), ..good }, "another node"),
        (Grant { operation: Operation::Get, ..good }, "another operation"),
        (Grant { operation: Operation::Delete, ..good }, "another operation"),
        (Grant { owner: OwnerId([9; 32]), ..good }, "another owner"),
        (Grant { kind: 1, ..good }, "another kind"),
        (Grant { len: u64::MAX, ..good }, "another length"),
        (Grant { expires: now() - Millis::from_secs(61), ..good }, "expired"),
    ];
    for (grant, word) in cases {
        refused(put(&mut client, &grant.sign(&cluster.auditor_key), false, &content).await, ErrorCode::Denied, word);
    }
    let forged = good.sign(&SecretKey::from_seed(&[77; 32]));
    refused(put(&mut client, &forged, false, &content).await, ErrorCode::Denied, "signature");
    // Within the skew that clocks may have, it still holds.
    let late = Grant { expires: now() - Millis::from_secs(30), ..good }.sign(&cluster.auditor_key);
    assert!(put(&mut client, &late, false, &content).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_do_its_part_only() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut client = cluster.client(&node).await;
    let mut gateway = cluster.caller(&Subject::Gateway("web".parse().unwrap()), &node).await;
    let mut neighbour = cluster.caller(&Subject::Node(NodeId([5; 32])), &node).await;
    let content = bytes(10_000, 1);
    cluster.put(&mut client, node.id(), &content).await.unwrap();

    let grant = cluster.grant(node.id(), Operation::Put, &content).sign(&cluster.auditor_key);
    refused(put(&mut gateway, &grant, false, &content).await, ErrorCode::Denied, "a client or the auditor");
    refused(put(&mut neighbour, &grant, false, &content).await, ErrorCode::Denied, "a client or the auditor");

    let shard = shard_of(&content);
    assert_eq!(get(&mut gateway, shard, None).await.unwrap().whole(), content);
    refused(get(&mut neighbour, shard, None).await, ErrorCode::Denied, "get grant");
    let wanted = |operation| {
        let grant = Some(cluster.grant(node.id(), operation, &content).sign(&cluster.auditor_key));
        GetShard { shard, range: None, grant }
    };
    assert_eq!(get_with(&mut neighbour, wanted(Operation::Get)).await.unwrap().whole(), content);
    refused(get_with(&mut neighbour, wanted(Operation::Put)).await, ErrorCode::Denied, "another operation");

    let delete_grant = cluster.grant(node.id(), Operation::Delete, &content).sign(&cluster.auditor_key);
    for caller in [&mut client, &mut gateway, &mut neighbour] {
        refused(delete(caller, &delete_grant).await, ErrorCode::Denied, "auditor");
        let denied = [
            caller.list_shards(pb::ListShardsRequest::default()).await.map(drop),
            caller.challenge(pb::ChallengeRequest::default()).await.map(drop),
            caller.put_record(pb::PutRecordRequest::default()).await.map(drop),
            caller.get_record(pb::GetRecordRequest::default()).await.map(drop),
            caller.list_records(pb::ListRecordsRequest::default()).await.map(drop),
        ];
        for result in denied {
            refused(result.map_err(WireError::from), ErrorCode::Denied, "auditor");
        }
    }
    assert_eq!(get(&mut client, shard, None).await.unwrap().whole(), content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_from_before_a_repair_does_not_hit_what_the_repair_made() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    let (content, shard) = (bytes(300_000, 1), shard_of(&bytes(300_000, 1)));
    let fenced = |operation, counter| {
        let fence = Fence { epoch: 1, counter };
        Grant { fence, ..cluster.grant(node.id(), operation, &content) }.sign(&cluster.auditor_key)
    };
    put(&mut auditor, &fenced(Operation::Put, 8), false, &content).await.unwrap();
    refused(delete(&mut auditor, &fenced(Operation::Delete, 7)).await, ErrorCode::Denied, "1.8");
    assert_eq!(get(&mut auditor, shard, None).await.unwrap().whole(), content);

    assert_eq!(delete(&mut auditor, &fenced(Operation::Delete, 8)).await, Ok(true));
    refused(get(&mut auditor, shard, None).await, ErrorCode::NotFound, "no shard");
    assert_eq!(delete(&mut auditor, &fenced(Operation::Delete, 8)).await, Ok(false));
    assert_eq!(list(&mut auditor).await, []);

    // Another repair under a lease that is older, but of another shard, is as good as any.
    let other = bytes(1_000, 2);
    let grant = Grant { fence: Fence { epoch: 1, counter: 3 }, ..cluster.grant(node.id(), Operation::Put, &other) };
    assert!(put(&mut auditor, &grant.sign(&cluster.auditor_key), false, &other).await.is_ok());
}

/// A catalog restored from an old copy believes a fence that it does not know by its own signature only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grant_of_the_highest_fence_is_kept_and_shown() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    let contents = [bytes(3_000, 1), bytes(3_000, 2)];
    let fenced = |operation, counter, content: &[u8]| {
        let fence = Fence { epoch: 1, counter };
        Grant { fence, ..cluster.grant(node.id(), operation, content) }.sign(&cluster.auditor_key)
    };
    let highest = fenced(Operation::Delete, 9, &contents[0]);
    put(&mut auditor, &fenced(Operation::Put, 8, &contents[0]), false, &contents[0]).await.unwrap();
    assert_eq!(delete(&mut auditor, &highest).await, Ok(true));
    put(&mut auditor, &fenced(Operation::Put, 3, &contents[1]), false, &contents[1]).await.unwrap();
    node.stop().await.unwrap();

    let node = cluster.start().await;
    let said = cluster.auditor(&node).await.stat(pb::StatRequest {}).await.unwrap().into_inner();
    let stat = Statement::try_from(said).unwrap().stat;
    assert_eq!((stat.proof.as_deref(), stat.fence), (Some(&highest), highest.grant.fence));
    assert!(highest.is_signed_by(&cluster.auditor_key.public()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_knows_an_auditor_a_node_takes_nothing_and_says_when_to_come_back() {
    let cluster = Cluster::new().await;
    let node = cluster
        .start_with(|raw| {
            raw.auditor.public_key = None;
            // Nobody listens there.
            raw.auditor.addresses = vec!["127.0.0.1:9".into()];
        })
        .await;
    let mut client = cluster.client(&node).await;
    let content = bytes(1_000, 1);
    let grant = Box::new(cluster.grant(node.id(), Operation::Put, &content).sign(&cluster.auditor_key));
    let error = put_messages(&mut client, vec![PutPart::Header { grant, replace: false }.into()]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Retry);
    assert!(error.retry_after.is_some());
    // It is alive all the same.
    assert!(client.stat(pb::StatRequest {}).await.is_ok());
}
