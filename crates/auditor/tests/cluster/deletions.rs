//! A deletion that is on its way to a node must not meet what was put in the same place since.

use std::collections::BTreeSet;

use holdfast_types::{NodeId, UploadId};
use holdfast_wire::convert::{BeginUpload, Staged};

use crate::{
    client::{segment, stage},
    cluster::{Cluster, eventually, profile},
    relay::Lie,
};

const UPLOAD: UploadId = UploadId([6; 16]);

fn nodes(staged: &Staged) -> BTreeSet<NodeId> {
    staged.assignments.iter().map(|assignment| assignment.node.id).collect()
}

async fn staged(cluster: &Cluster) -> BTreeSet<NodeId> {
    cluster.auditor.begin_upload(&BeginUpload { upload: UPLOAD, policy: "default".into() }).await.unwrap();
    nodes(&cluster.auditor.stage_segment(&stage(UPLOAD, segment(3, 100_000))).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_comes_back_is_not_put_where_its_own_deletion_is_under_way() {
    let mut cluster = Cluster::start(9, profile()).await;
    let before = staged(&cluster).await;
    // The same segment draws the same nodes: without a reason, it comes back to them.
    assert_eq!(staged(&cluster).await, before);
    cluster.nodes.iter().for_each(|node| node.relay.lie(Some(Lie::HoldsDeletions)));
    cluster.auditor.abort_upload(UPLOAD).await.unwrap();
    eventually("the deletions are on their way", async || {
        let sent = |node: &NodeId| !cluster.by_id(*node).relay.deletions().is_empty();
        before.iter().all(sent).then_some(())
    })
    .await;
    let after = staged(&cluster).await;
    assert!(after.is_disjoint(&before), "staged on {:?}, where it is being deleted", after.intersection(&before));

    // Nor after a restart, when nobody remembers what was sent.
    cluster.restart_auditor().await;
    cluster.auditor.abort_upload(UPLOAD).await.unwrap();
    eventually("the nodes are back", async || {
        let nodes = cluster.auditor.nodes().await.unwrap();
        (nodes.len() == cluster.nodes.len()).then_some(())
    })
    .await;
    cluster.nodes.iter().for_each(|node| node.relay.lie(None));
    eventually("every deletion is confirmed", async || {
        let catalog = cluster.auditor.status().await.unwrap().catalog;
        (catalog.deletions == 0).then_some(())
    })
    .await;
    assert_eq!(staged(&cluster).await.len(), 4);
    cluster.stop().await;
}
