//! Bytes that change behind the node's back.

use std::fs;

use holdfast_types::{BLOB_LEN, ByteRange, Fence, Grant, Operation};
use holdfast_wire::ErrorCode;

use crate::cluster::*;

const LEN: usize = 10 * BLOB_LEN as usize + 77;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_named_by_range_never_served_and_healed_by_a_put() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut client = cluster.client(&node).await;
    let (content, shard) = (bytes(LEN, 1), shard_of(&bytes(LEN, 1)));
    let first = cluster.put(&mut client, node.id(), &content).await.unwrap();
    let hit = 3 * BLOB_LEN + 5;
    flip(&cluster.volume_dir(), 0, *shard.as_bytes(), hit);

    let got = get(&mut client, shard, None).await.unwrap();
    let piece = ByteRange::new(3 * BLOB_LEN, 4 * BLOB_LEN).unwrap();
    assert_eq!(got.damaged, [piece], "one blob is damaged, and it is said which");
    let mut served = 0;
    for (offset, bytes) in &got.pieces {
        assert_eq!(bytes[..], content[*offset as usize..*offset as usize + bytes.len()]);
        served += bytes.len() as u64;
    }
    assert_eq!(served, LEN as u64 - BLOB_LEN, "the rest is served");
    // A range beside the damage is whole, one that touches it says so.
    let beside = ByteRange::new(0, 3 * BLOB_LEN).unwrap();
    assert_eq!(get(&mut client, shard, Some(beside)).await.unwrap().whole(), content[..3 * BLOB_LEN as usize]);
    let touching = ByteRange::new(hit, hit + 1).unwrap();
    assert_eq!(get(&mut client, shard, Some(touching)).await.unwrap().damaged, [touching]);

    // Now that the damage is known, the same put replaces the copy instead of saying that it is there.
    let second = cluster.put(&mut client, node.id(), &content).await.unwrap();
    assert!(second.sequence > first.sequence);
    assert_eq!(get(&mut client, shard, None).await.unwrap().whole(), content);
    assert_eq!(list(&mut cluster.auditor(&node).await).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_in_place_looks_before_it_believes() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    let (content, shard) = (bytes(LEN, 1), shard_of(&bytes(LEN, 1)));
    let first = cluster.put(&mut client, node.id(), &content).await.unwrap();
    let fence = Fence { epoch: 1, counter: 1 };
    let grant = Grant { fence, ..cluster.grant(node.id(), Operation::Put, &content) }.sign(&cluster.auditor_key);

    // An intact copy stays what it is.
    assert_eq!(put(&mut auditor, &grant, true, &content).await.unwrap().sequence, first.sequence);
    flip(&cluster.volume_dir(), 0, *shard.as_bytes(), LEN as u64 - 1);
    // Nobody has read it since: without the wish to look, the node cannot know.
    let second = put(&mut auditor, &grant, true, &content).await.unwrap();
    assert!(second.sequence > first.sequence);
    assert_eq!(get(&mut client, shard, None).await.unwrap().whole(), content);

    // Wrong bytes do not replace a damaged copy: what it still has is better than nothing.
    flip(&cluster.volume_dir(), 0, *shard.as_bytes(), 0);
    let mut wrong = content.clone();
    wrong[0] ^= 1;
    refused(put(&mut auditor, &grant, true, &wrong).await, ErrorCode::Corrupt, "as granted");
    let got = get(&mut client, shard, None).await.unwrap();
    assert_eq!(got.damaged, [ByteRange::first(BLOB_LEN)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_volume_serves_what_is_left_and_names_what_is_not() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut client = cluster.client(&node).await;
    let (content, shard) = (bytes(LEN, 1), shard_of(&bytes(LEN, 1)));
    cluster.put(&mut client, node.id(), &content).await.unwrap();
    let volume = holdfast_volume::inspect(&cluster.volume_dir()).unwrap();
    let (path, _) = volume.locate(&holdfast_volume::Key { kind: 0, id: *shard.as_bytes() }).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();

    let got = get(&mut client, shard, None).await.unwrap();
    assert_eq!(got.pieces, []);
    assert_eq!(got.damaged.iter().map(|range| range.len()).sum::<u64>(), LEN as u64);
    // The node stays up and takes the shard anew.
    cluster.put(&mut client, node.id(), &content).await.unwrap();
    assert_eq!(get(&mut client, shard, None).await.unwrap().whole(), content);
}
