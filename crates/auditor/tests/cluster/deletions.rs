//! A deletion that is on its way to a node must not meet what was put in the same place since.

use std::collections::BTreeSet;

use holdfast_dispersal::{OwnerKey, Signed, Tombstone};
use holdfast_protocol::profile::Profile;
use holdfast_types::{Millis, NodeId, UploadId, Wall};
use holdfast_wire::{
    ErrorCode,
    convert::{BeginUpload, Staged},
};

use crate::{
    client::{segment, stage},
    cluster::{Cluster, eventually, noise, profile},
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_leaves_the_nodes_with_its_records_and_at_last_its_tombstones() {
    let cluster = Cluster::start(5, Profile { orphan_grace: Millis::from_secs(1), ..profile() }).await;
    let object = cluster.put(&noise(1, 50_000)).await;
    let catalog = async || cluster.auditor.status().await.unwrap().catalog;
    eventually("the nodes keep its records", async || (catalog().await.owed_records == 0).then_some(())).await;

    // Nobody but its owner buries it, and no word that would not keep it down is taken.
    let stranger = OwnerKey::from_bytes([9; 32]);
    let tombstone = Tombstone { version: 9, object, owner: stranger.owner_id(), deleted: Wall(1) };
    let signed = Signed::sign(tombstone, &stranger.signing()).unwrap();
    for word in [signed.bytes(), b"no tombstone at all"] {
        let error = cluster.auditor.delete_object(object, word).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Invalid, "{error}");
    }
    assert_eq!(catalog().await.objects, 1);

    cluster.client.remove(object).await.unwrap();
    let after = catalog().await;
    assert_eq!((after.objects, after.segments), (0, 0));
    assert!(after.burials > 0, "{after:?}");
    eventually("the burials are over", async || {
        let catalog = catalog().await;
        (catalog.burials == 0 && catalog.owed_records == 0 && catalog.deletions == 0).then_some(())
    })
    .await;
    cluster.stop().await;
}
