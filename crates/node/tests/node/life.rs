//! From start to stop and back: identity, volume, registration, drain.

use std::{fs, path::Path, time::Duration};

use holdfast_node::{Checked, NodeError, Running};
use holdfast_protocol::message::NodeStat;
use holdfast_transport::Subject;
use holdfast_wire::{convert::Statement, pb::node::v1 as pb};
use tokio::time::timeout;

use crate::cluster::*;

async fn stat(client: &mut Client) -> NodeStat {
    Statement::try_from(client.stat(pb::StatRequest {}).await.unwrap().into_inner()).unwrap().stat
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_survives_a_restart_and_a_wiped_one_is_known_as_wiped() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let content = bytes(200_000, 1);
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();
    let before = stat(&mut cluster.client(&node).await).await;
    assert_eq!((before.node, (before.volume, before.incarnation)), (node.id(), node.volume()));
    assert!(before.used >= 200_000 && before.capacity == 1 << 30);
    node.stop().await.unwrap();

    let node = cluster.start().await;
    let mut client = cluster.client(&node).await;
    let again = stat(&mut client).await;
    assert_eq!((again.node, again.volume, again.incarnation), (before.node, before.volume, before.incarnation));
    assert_eq!(again.next, before.next);
    assert_eq!(get(&mut client, shard_of(&content), None).await.unwrap().whole(), content);
    node.stop().await.unwrap();

    fs::remove_dir_all(cluster.path().join("data")).unwrap();
    let node = cluster.start().await;
    let wiped = stat(&mut cluster.client(&node).await).await;
    assert_eq!(wiped.node, before.node);
    assert!(wiped.volume != before.volume && wiped.incarnation != before.incarnation);
    eventually("the auditor was told of the new volume", async || {
        cluster.registered.lock().unwrap().iter().any(|said| said.volume == wiped.volume)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_auditors_key_is_pinned_at_the_first_registration_and_stays() {
    let cluster = Cluster::new().await;
    let node = cluster.start_with(|raw| raw.auditor.public_key = None).await;
    eventually("the key is pinned", async || node.is_registered()).await;
    let content = bytes(1_000, 1);
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();
    let said = cluster.registered.lock().unwrap()[0].clone();
    assert_eq!(said.addresses, [node.addresses()[0].to_string()]);
    assert_eq!((said.zone.0.as_str(), said.capacity), ("north", 1 << 30));
    node.stop().await.unwrap();

    // Nobody answers, and the node judges grants all the same.
    let away = |raw: &mut holdfast_node::config::Raw| {
        raw.auditor.public_key = None;
        raw.auditor.addresses = vec!["127.0.0.1:9".into()];
    };
    let node = cluster.start_with(away).await;
    assert!(node.is_registered());
    cluster.put(&mut cluster.client(&node).await, node.id(), &bytes(1_000, 2)).await.unwrap();
    node.stop().await.unwrap();

    let mut raw = cluster.raw();
    raw.auditor.public_key = Some("ab".repeat(32));
    let refused = start_error(raw).await;
    assert!(matches!(refused, NodeError::Config { .. }), "{refused}");
}

async fn start_error(raw: holdfast_node::config::Raw) -> NodeError {
    match Running::start(Checked::of(raw, Path::new("/")).unwrap()).await {
        Ok(_) => panic!("expected a refusal to start"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_volumes_that_do_not_belong_together_are_refused() {
    let cluster = Cluster::new().await;
    cluster.start().await.stop().await.unwrap();
    let key = cluster.path().join("node.key");
    let saved = fs::read(&key).unwrap();

    fs::remove_file(&key).unwrap();
    let raw = || {
        // As `Cluster::raw`, without making a key.
        write_key(&key, &saved);
        let raw = cluster.raw();
        fs::remove_file(&key).unwrap();
        raw
    };
    let error = start_error(raw()).await.to_string();
    assert!(error.contains("restore the key"), "{error}");
    assert!(!key.exists(), "no new key was made");

    // Another key: its certificate is missing first of all.
    let other = raw();
    write_key(&key, &[42; 32]);
    let error = start_error(other).await;
    assert!(matches!(error, NodeError::ForeignCertificate { .. }), "{error}");

    // And with a certificate of its own, the volume is another's.
    fs::remove_dir_all(cluster.path().join("tls")).unwrap();
    let error = start_error(cluster.raw()).await;
    assert!(matches!(error, NodeError::ForeignVolume { .. }), "{error}");

    write_key(&key, &saved);
    fs::remove_dir_all(cluster.path().join("tls")).unwrap();
    let node = cluster.start().await;
    let twice = start_error(cluster.raw()).await;
    assert!(matches!(twice, NodeError::Volume(_)), "two processes on one volume: {twice}");
    node.stop().await.unwrap();
}

fn write_key(path: &Path, seed: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, seed).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_a_put_under_way_end_and_takes_no_longer_than_it_may() {
    use holdfast_wire::convert::PutPart;
    let cluster = Cluster::new().await;
    let node = cluster.start_with(|raw| raw.limits.uploads = 1).await;
    let mut client = cluster.client(&node).await;
    let content = bytes(400_000, 1);
    let grant = cluster.grant(node.id(), holdfast_types::Operation::Put, &content).sign(&cluster.auditor_key);
    let (send, messages) = tokio::sync::mpsc::channel(4);
    let putting =
        tokio::spawn(async move { client.put_shard(tokio_stream::wrappers::ReceiverStream::new(messages)).await });
    send.send(PutPart::Header { grant: Box::new(grant), replace: false }.into()).await.unwrap();
    send.send(PutPart::Chunk(content[..200_000].to_vec().into()).into()).await.unwrap();
    // There is place for one put, and this one has it.
    let mut other = cluster.client(&node).await;
    let mut salt = 2;
    eventually("the put is under way", async || {
        salt += 1;
        cluster.put(&mut other, node.id(), &bytes(1000, salt)).await.is_err()
    })
    .await;
    drop(other);

    let stopping = tokio::spawn(node.stop());
    send.send(PutPart::Chunk(content[200_000..].to_vec().into()).into()).await.unwrap();
    drop(send);
    let put = putting.await.unwrap();
    timeout(holdfast_node::DRAIN_MAX + Duration::from_secs(2), stopping).await.expect("in time").unwrap().unwrap();

    let node = cluster.start().await;
    let there = get(&mut cluster.client(&node).await, shard_of(&content), None).await;
    // Acknowledged or not, the two sides agree.
    assert_eq!(put.is_ok(), there.is_ok());
    assert!(put.is_ok(), "a put that was under way is served: {put:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_answer_stock_tools() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let address = node.addresses()[0].to_string();
    let channel = cluster.dial(&Subject::Client(cluster.owner()), node.id(), &address).await;
    for service in ["", "holdfast.node.v1.NodeService"] {
        let asked = HealthCheckRequest { service: service.into() };
        let health = HealthClient::new(channel.clone()).check(asked).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service:?}");
    }
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("holdfast.node.v1.NodeService.Challenge".into())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(asked))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().expect("an answer").message_response;
    assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
}
