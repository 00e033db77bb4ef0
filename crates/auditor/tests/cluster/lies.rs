//! One node of the cluster lies, with its true key and certificate. It is found out, by what it said; nobody else is.

use holdfast_protocol::{
    model::{Cause, Exception, Lane, Outcome, RepairState, Verdict},
    profile::Profile,
};
use holdfast_types::{BLOB_LEN, ByteRange, Millis};

use crate::{
    cluster::{Cluster, eventually, impatient, noise, profile},
    relay::Lie,
};

/// A verdict on this node with an exception of this outcome.
async fn convicted(cluster: &Cluster, node: holdfast_types::NodeId, outcome: Outcome) -> (Verdict, Exception) {
    let after = holdfast_types::VerdictId(0);
    eventually("the liar is convicted", async || {
        let verdicts = cluster.verdicts(after).await;
        verdicts.into_iter().filter(|verdict| verdict.node == node).find_map(|verdict| {
            let found = verdict.exceptions.iter().find(|exception| exception.outcome == outcome).cloned();
            found.map(|exception| (verdict, exception))
        })
    })
    .await
}

/// The node lost 16 bytes and proves what it has: (y, π) of other bytes than it was given. Its leaves convict it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_bytes_that_a_node_denies_convict_it_by_merkle_to_within_two_blobs() {
    let cluster = Cluster::start(5, profile()).await;
    let content = noise(1, 1_500_000);
    let object = cluster.put(&content).await;
    cluster.committed().await;
    cluster.all_held(object, cluster.newest().await).await;

    let segment = cluster.segment(object).await;
    let victim = &segment.shards[1];
    let (at, blob) = (3 * BLOB_LEN + 5000, BLOB_LEN);
    cluster.by_id(victim.node).lose(victim.shard, segment.shard_len, at, 16);

    let (verdict, exception) = convicted(&cluster, victim.node, Outcome::Corrupt).await;
    assert_eq!((verdict.lane, verdict.outcome), (Lane::Fold, Outcome::Corrupt));
    assert_eq!((exception.shard, exception.cause), (victim.shard, Some(Cause::Proven)));
    let range = exception.range.expect("the range that the judge found");
    assert!(range.start() <= at && at + 16 <= range.end() && range.len() <= 2 * blob, "{range} for {at}");

    let repair = eventually("the shard is repaired", async || {
        let done =
            |row: &holdfast_protocol::model::RepairRow| row.shard == victim.shard && row.state == RepairState::Done;
        cluster.repairs().await.into_iter().find(done)
    })
    .await;
    assert_eq!(repair.segment, segment.id);
    cluster.whole_without(object, &[]).await;
    cluster.all_held(object, cluster.newest().await).await;
    assert_eq!(cluster.get(object).await, content);
    cluster.only_these_were_blamed(&[victim.node]).await;
    cluster.stop().await;
}

/// Signed numbers that prove nothing: every part is false, and Merkle, asked for each, gets no leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_garbage_convicts_whoever_signed_it() {
    let cluster = Cluster::start(5, profile()).await;
    let content = noise(2, 600_000);
    let object = cluster.put(&content).await;
    cluster.committed().await;
    cluster.all_held(object, cluster.newest().await).await;

    let segment = cluster.segment(object).await;
    let liar = segment.shards[0].clone();
    cluster.by_id(liar.node).relay.lie(Some(Lie::SignedGarbage));
    let (verdict, exception) = convicted(&cluster, liar.node, Outcome::Corrupt).await;
    assert_eq!((verdict.lane, exception.cause), (Lane::Fold, Some(Cause::Proven)));
    assert_eq!(exception.shard, liar.shard);
    // Nothing of it was shown to be there.
    assert_eq!(exception.range, Some(ByteRange::first(segment.shard_len)));

    cluster.by_id(liar.node).relay.lie(None);
    cluster.whole_without(object, &[]).await;
    cluster.all_held(object, cluster.newest().await).await;
    assert_eq!(cluster.get(object).await, content);
    cluster.only_these_were_blamed(&[liar.node]).await;
    cluster.stop().await;
}

/// What is not this challenge's answer is no answer: the node is silent, then contained, then lost, and its shards are
/// made anew elsewhere. It is not called corrupt, for nothing was proven.
async fn counts_as_silence(lie: Lie, outcome: Outcome) {
    let cluster = Cluster::start(6, Profile { sample_every: Millis::from_secs(3600), ..impatient() }).await;
    let content = noise(3, 400_000);
    let object = cluster.put(&content).await;
    cluster.committed().await;
    cluster.all_held(object, cluster.newest().await).await;

    let liar = cluster.segment(object).await.shards[2].clone();
    let node = cluster.by_id(liar.node);
    let answered = node.relay.challenges();
    node.relay.lie(Some(lie));
    let (verdict, exception) = convicted(&cluster, liar.node, outcome).await;
    // On record is the lane that found it: there are folds only.
    assert_eq!((exception.shard, exception.cause, verdict.lane), (liar.shard, None, Lane::Fold), "{verdict:?}");
    assert!(node.relay.challenges() >= answered + 3, "it was asked again before it was given up");
    cluster.whole_without(object, &[liar.node]).await;
    assert_eq!(cluster.get(object).await, content);
    let verdicts = cluster.verdicts(holdfast_types::VerdictId(0)).await;
    assert!(verdicts.iter().all(|verdict| verdict.outcome != Outcome::Corrupt), "nothing was proven");
    cluster.only_these_were_blamed(&[liar.node]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_answer_is_no_answer() {
    counts_as_silence(Lie::Replay, Outcome::Late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_is_no_answer() {
    counts_as_silence(Lie::Noise, Outcome::Late).await;
}

/// Attack: what it was asked about is gone, and every challenge is denied: a status costs nothing and proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_no_answer() {
    counts_as_silence(Lie::Denies, Outcome::Refused).await;
}
