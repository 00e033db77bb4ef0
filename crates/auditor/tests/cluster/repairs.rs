//! The repair's executor against nodes that lie, die and are gone: what it writes is right, or nothing is placed.

use holdfast_protocol::model::{Outcome, RepairState, Standing};
use holdfast_types::BLOB_LEN;

use crate::{
    cluster::{Cluster, eventually, impatient, noise},
    relay::Lie,
};

/// A cluster with one object, committed to and held; a fifth node and more are spare.
async fn with_object(nodes: u8, seed: u8) -> (Cluster, Vec<u8>, holdfast_types::ObjectId) {
    let cluster = Cluster::start(nodes, impatient()).await;
    let content = noise(seed, 400_000);
    let object = cluster.put(&content).await;
    cluster.committed().await;
    cluster.all_held(object, cluster.newest().await).await;
    (cluster, content, object)
}

/// A source that proves its shard honestly and sends other bytes to whoever reads: they are found out before anything
/// is decoded, another source is read, and the source's node is audited at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_lies_poisons_nothing() {
    let (cluster, content, object) = with_object(6, 11).await;
    let segment = cluster.segment(object).await;
    let (lost, liar) = (&segment.shards[0], &segment.shards[1]);
    // Preferred by index: it is asked first.
    cluster.by_id(liar.node).relay.lie(Some(Lie::FalseReads));
    cluster.by_id(lost.node).lose(lost.shard, segment.shard_len, BLOB_LEN / 2, 16);
    let repair = eventually("the shard is repaired", async || {
        let repairs = cluster.repairs().await;
        repairs.into_iter().find(|row| row.shard == lost.shard && row.state == RepairState::Done)
    })
    .await;
    assert_eq!(repair.shard, lost.shard);
    cluster.whole_without(object, &[]).await;
    cluster.by_id(liar.node).relay.lie(None);
    assert_eq!(cluster.get(object).await, content);
    cluster.all_held(object, cluster.newest().await).await;
    cluster.only_these_were_blamed(&[lost.node, liar.node]).await;
    cluster.stop().await;
}

/// Attack: a source gives its shard once, so that it is chosen, and refuses the second reading, so that nothing is decoded.
/// Another source takes its place in the same repair.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_gives_its_shard_only_once_ends_no_repair() {
    let (cluster, content, object) = with_object(6, 14).await;
    let segment = cluster.segment(object).await;
    let (lost, liar) = (&segment.shards[0], &segment.shards[1]);
    cluster.by_id(liar.node).relay.lie(Some(Lie::GivesOnce));
    cluster.by_id(lost.node).lose(lost.shard, segment.shard_len, BLOB_LEN / 2, 16);
    eventually("the shard is repaired", async || {
        let repairs = cluster.repairs().await;
        repairs.into_iter().find(|row| row.shard == lost.shard && row.state == RepairState::Done)
    })
    .await;
    let rows: Vec<_> = cluster.repairs().await.into_iter().filter(|row| row.shard == lost.shard).collect();
    assert!(rows.iter().all(|row| row.state == RepairState::Done), "no repair failed on its account: {rows:?}");
    cluster.by_id(liar.node).relay.lie(None);
    cluster.whole_without(object, &[]).await;
    assert_eq!(cluster.get(object).await, content);
    cluster.only_these_were_blamed(&[lost.node, liar.node]).await;
    cluster.stop().await;
}

/// A target that dies while it is written to: the row says so, and the shard goes elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_in_the_middle_is_replaced_by_another() {
    let (cluster, content, object) = with_object(6, 12).await;
    let segment = cluster.segment(object).await;
    let lost = &segment.shards[3];
    let holders: Vec<_> = segment.shards.iter().map(|shard| shard.node).collect();
    // Whichever spare node is chosen first dies; one is left.
    for node in cluster.nodes.iter().filter(|node| !holders.contains(&node.id)) {
        node.relay.lie(Some(Lie::DiesAtPut));
    }
    cluster.by_id(lost.node).relay.lie(Some(Lie::Dead));
    let died = eventually("a target dies", async || {
        cluster.nodes.iter().find(|node| !holders.contains(&node.id) && node.relay.puts() > 0).map(|node| node.id)
    })
    .await;
    for node in cluster.nodes.iter().filter(|node| node.id != died && node.id != lost.node) {
        node.relay.lie(None);
    }
    cluster.whole_without(object, &[lost.node, died]).await;
    let repairs = cluster.repairs().await;
    let first = repairs.iter().find(|row| row.to == died).expect("a row for the attempt");
    assert_eq!((first.shard, first.state), (lost.shard, RepairState::Failed));
    assert!(!first.reason.is_empty());
    assert_eq!(cluster.get(object).await, content);
    cluster.only_these_were_blamed(&[lost.node, died]).await;
    cluster.stop().await;
}

/// With fewer than k sources nothing is placed and nothing is given up: when a node comes back, the segment is healed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sources_a_repair_waits_for_them() {
    let (cluster, content, object) = with_object(7, 13).await;
    let segment = cluster.segment(object).await;
    for shard in &segment.shards[..3] {
        cluster.by_id(shard.node).relay.lie(Some(Lie::Dead));
    }
    eventually("three shards are lost", async || {
        let shards = cluster.segment(object).await.shards;
        (shards.iter().filter(|shard| shard.standing == Standing::Lost).count() == 3).then_some(())
    })
    .await;
    let status = cluster.auditor.status().await.unwrap();
    assert_eq!((status.catalog.unrecoverable, status.catalog.worst_spare), (1, -1));
    let before = cluster.segment(object).await.shards;
    assert_eq!(before.iter().map(|shard| shard.node).collect::<Vec<_>>(), {
        segment.shards.iter().map(|shard| shard.node).collect::<Vec<_>>()
    });

    // The nodes are back, with everything: what was given up is found again, and the rest is made anew from it.
    for shard in &segment.shards[..3] {
        cluster.by_id(shard.node).relay.lie(None);
    }
    cluster.whole_without(object, &[]).await;
    assert_eq!(cluster.get(object).await, content);
    let verdicts = cluster.verdicts(holdfast_types::VerdictId(0)).await;
    assert!(verdicts.iter().all(|verdict| verdict.outcome != Outcome::Corrupt), "silence proves nothing");
    cluster.stop().await;
}
