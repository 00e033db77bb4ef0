//! What a link takes for an answer.

use std::time::Duration;

use holdfast_client::{LinkError, Links, link::ShardPart};
use holdfast_transport::{Dialer, TlsMaterial};
use holdfast_types::{ByteRange, ShardId};

use crate::{
    cluster::{Cluster, noise, now},
    node::{Fault, Garble, Node},
};

fn links(cluster: &Cluster) -> Links {
    Links::new(Dialer::new(TlsMaterial::load(&cluster.dir.path().join("tls"), now()).unwrap()))
}

/// Reads a whole shard, as far as the link lets it.
async fn read(cluster: &Cluster, node: &Node, shard: ShardId, len: u64) -> Result<Vec<ShardPart>, LinkError> {
    let link = links(cluster).to(node.id(), &[node.address.to_string()])?;
    let patience = Duration::from_millis(500);
    let mut reader = link.get(shard, len, ByteRange::first(len), None, patience).await?;
    let mut parts = Vec::new();
    while let Some(part) = reader.next().await? {
        parts.push(part);
    }
    Ok(parts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_a_gap_a_repeat_or_a_wrong_length_is_no_answer() {
    let cluster = Cluster::start(6).await;
    cluster.put("object", &noise(1, 2 << 20)).await;
    let node = &cluster.nodes[0];
    let (shard, len) = node.inner().shards.first_key_value().map(|(id, len)| (*id, *len)).unwrap();
    let bytes = node.bytes(&shard);
    let good = read(&cluster, node, shard, len).await.unwrap();
    let joined: Vec<u8> = good
        .iter()
        .flat_map(|part| match part {
            ShardPart::Bytes(_, bytes) => bytes.to_vec(),
            ShardPart::Damaged(_) => panic!("a good node"),
        })
        .collect();
    assert!(joined == bytes);
    let garbles = [Garble::Short, Garble::Long, Garble::Gap, Garble::Repeats, Garble::NoHeader, Garble::OtherLength];
    for garble in garbles {
        node.fail(Fault::Garbles(garble));
        let error = read(&cluster, node, shard, len).await.unwrap_err();
        assert!(matches!(error, LinkError::Malformed { .. }), "{garble:?}: {error}");
    }
    node.fail(Fault::Damaged(ByteRange::new(10, 20).unwrap()));
    let damaged = read(&cluster, node, shard, len).await.unwrap();
    assert!(damaged.contains(&ShardPart::Damaged(ByteRange::new(10, 20).unwrap())));
    node.fail(Fault::Slow(Duration::from_secs(5)));
    let error = read(&cluster, node, shard, len).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { .. }), "{error}");
}

/// Attack: a byte now and then, each of them in time, keeps whoever reads waiting for years.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_comes_drop_by_drop_is_not_coming() {
    let cluster = Cluster::start(6).await;
    cluster.put("object", &noise(1, 2 << 20)).await;
    let node = &cluster.nodes[0];
    let (shard, len) = node.inner().shards.first_key_value().map(|(id, len)| (*id, *len)).unwrap();
    node.fail(Fault::Drips(Duration::from_millis(20)));
    let began = std::time::Instant::now();
    let error = read(&cluster, node, shard, len).await.unwrap_err();
    assert!(matches!(error, LinkError::Timeout { .. }), "{error}");
    let parts = u32::try_from(len / (256 << 10)).unwrap() + 1;
    let least = Duration::from_millis(500) * parts;
    assert!(began.elapsed() >= least, "{:?} of {least:?}", began.elapsed());
    assert!(began.elapsed() < 4 * least, "{:?} of {least:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_the_place_of_another_is_unreachable() {
    let cluster = Cluster::start(6).await;
    let (wanted, there) = (&cluster.nodes[0], &cluster.nodes[1]);
    let link = links(&cluster).to(wanted.id(), &[there.address.to_string()]).unwrap();
    let shard = ShardId::from_bytes([1; 32]);
    let ended = link.get(shard, 1, ByteRange::first(1), None, Duration::from_secs(5)).await;
    assert!(matches!(ended, Err(LinkError::Unreachable { .. })), "{ended:?}");
}
