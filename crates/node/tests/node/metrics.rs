//! What an operator's scraper reads of a node, over a real socket.

use std::collections::BTreeMap;

use holdfast_node::config::{RawCommitments, RawMetrics};
use holdfast_protocol::message::{Ask, Challenge};
use holdfast_types::{AuditId, BLOB_LEN, Millis, Seed};
use holdfast_wire::pb::node::v1 as pb;

use crate::cluster::*;

fn at<'a>(page: &'a BTreeMap<String, f64>) -> impl Fn(&str) -> f64 + 'a {
    move |name| *page.get(name).unwrap_or_else(|| panic!("no {name} in {page:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_moves_with_what_the_node_does() {
    let cluster = Cluster::new().await;
    let node = cluster
        .start_with(|raw| {
            raw.metrics = Some(RawMetrics { listen: "127.0.0.1:0".into() });
            raw.commitments = RawCommitments { cpu_share: 1.0 };
        })
        .await;
    let page = scrape(&node).await;
    let value = at(&page);
    assert_eq!((value("holdfast_node_shards"), value("holdfast_node_puts_total")), (0.0, 0.0));
    assert_eq!(value("holdfast_node_capacity_bytes"), f64::from(1 << 30));

    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    let content = bytes(2 * BLOB_LEN as usize + 77, 1);
    let len = content.len() as f64;
    cluster.put(&mut client, node.id(), &content).await.unwrap();
    // The same again stores nothing, and is no put.
    cluster.put(&mut client, node.id(), &content).await.unwrap();
    get(&mut client, shard_of(&content), None).await.unwrap();
    let challenge = Challenge {
        audit: AuditId([7; 32]),
        node: node.id(),
        set: holdfast_protocol::set::reference(&list(&mut auditor).await),
        commitments: [0; 32],
        seed: Seed([8; 32]),
        ask: Ask::Sample { count: 8 },
        deadline: Millis::from_secs(60),
    };
    auditor.challenge(pb::ChallengeRequest::from(&challenge)).await.unwrap();
    eventually("committed to", async || node.tally().done == 1).await;

    let page = scrape(&node).await;
    all_documented(&page);
    let value = at(&page);
    assert_eq!((value("holdfast_node_puts_total"), value("holdfast_node_put_bytes_total")), (1.0, len));
    assert_eq!((value("holdfast_node_gets_total"), value("holdfast_node_get_bytes_total")), (1.0, len));
    assert_eq!(value("holdfast_node_challenges_total{lane=\"sample\",outcome=\"proof\"}"), 1.0);
    assert_eq!(value("holdfast_node_challenges_total{lane=\"fold\",outcome=\"proof\"}"), 0.0);
    assert_eq!((value("holdfast_node_shards"), value("holdfast_node_backlog_shards")), (1.0, 0.0));
    assert_eq!(value("holdfast_node_committed_blobs_total"), 3.0);
    assert!(value("holdfast_node_commit_cpu_seconds_total") > 0.0);
    assert!(value("holdfast_node_used_bytes") >= len);
    assert_eq!(value("holdfast_node_damaged_shards"), 0.0);

    flip(&cluster.volume_dir(), 0, *shard_of(&content).as_bytes(), BLOB_LEN + 9);
    let got = get(&mut client, shard_of(&content), None).await.unwrap();
    assert_eq!(got.damaged.len(), 1);
    let page = scrape(&node).await;
    let value = at(&page);
    assert_eq!(value("holdfast_node_damaged_shards"), 1.0);
    assert_eq!(value("holdfast_node_get_bytes_total"), 2.0 * len - BLOB_LEN as f64, "damaged bytes are not handed on");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_not_told_to_serves_no_numbers() {
    let node = Cluster::new().await.start().await;
    assert_eq!(node.metrics(), None);
}

/// Whoever reads the page finds each of its names in the documentation.
fn all_documented(page: &BTreeMap<String, f64>) {
    let documented = include_str!("../../../../docs/metrics.md");
    for name in page.keys() {
        let name = name.split('{').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}
