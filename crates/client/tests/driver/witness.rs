//! Witnesses: what the auditor is handed beside each shard, and where its secrets do not go.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use holdfast_client::{Client, Commit, PutOptions, Quiet, Source};
use holdfast_kzg::{BLOB_LEN, CommitmentList, Setup};
use holdfast_protocol::witness::Witness;
use holdfast_wire::convert::ShardWitness;

use crate::{
    cluster::{Cluster, noise},
    node::Fault,
};

const MIB: usize = 1 << 20;

fn staged(cluster: &Cluster) -> Vec<Vec<ShardWitness>> {
    cluster.auditor.inner().witnesses.values().flatten().cloned().collect()
}

fn secrets(witnesses: &[ShardWitness]) -> BTreeSet<[u8; 32]> {
    witnesses.iter().map(|of| *of.witness.seed.expose()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_is_staged_with_a_secret_of_its_own_and_the_value_of_its_bytes() {
    let cluster = Cluster::start(7).await;
    let put = cluster.put("object", &noise(1, 5 * MIB + 77)).await;
    let stat = cluster.client.stat(put.objects[0].id).await.unwrap();
    let all = staged(&cluster);
    assert_eq!(all.len(), stat.segments.len());
    assert_eq!(secrets(&all.concat()).len(), 6 * all.len(), "no secret serves twice");
    let values: BTreeSet<[u8; 32]> = all.concat().iter().map(|of| of.witness.y).collect();
    for shard in stat.segments.iter().flat_map(|segment| &segment.shards) {
        let node = cluster.nodes.iter().find(|node| node.id() == shard.node).unwrap();
        let bytes = node.bytes(&shard.shard);
        let is_of_it = |of: &&ShardWitness| {
            let recomputed = Witness::of(of.witness.id, of.witness.seed.clone(), &bytes).unwrap();
            of.index == shard.index && recomputed.y == of.witness.y
        };
        let found = all.concat();
        assert_eq!(found.iter().filter(is_of_it).count(), 1, "{}", shard.shard);
    }
    assert_eq!(values.len(), 6 * all.len());
}

/// Whoever asks for it at once hands over the lists themselves, of the very bytes that the nodes hold, and no witness:
/// nobody is to be asked for anything afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_commits_now_stages_the_lists_and_no_secret() {
    let cluster = Cluster::start(7).await;
    let options = PutOptions { commit: Commit::Now, ..PutOptions::default() };
    let source = Source::bytes("object", noise(1, 2 * MIB + 77));
    let put = cluster.client.put(vec![source], options, Arc::new(Quiet)).await.unwrap();
    let stat = cluster.client.stat(put.objects[0].id).await.unwrap();
    assert!(staged(&cluster).iter().all(Vec::is_empty));
    let lists: Vec<_> = cluster.auditor.inner().lists.values().flatten().cloned().collect();
    let shards: Vec<_> = stat.segments.iter().flat_map(|segment| &segment.shards).collect();
    assert_eq!(lists.len(), shards.len());
    let mut bytes_in_all = 0;
    for shard in shards {
        let node = cluster.nodes.iter().find(|node| node.id() == shard.node).unwrap();
        let bytes = node.bytes(&shard.shard);
        bytes_in_all += bytes.len() as u64;
        let commit = |blob: &[u8]| Setup::ethereum().commit(blob).unwrap();
        let list = CommitmentList::new(bytes.chunks(BLOB_LEN).map(commit).collect()).unwrap().encode();
        assert!(lists.iter().any(|of| of.index == shard.index && of.list == list), "{}", shard.shard);
    }
    assert_eq!(put.committed_bytes, bytes_in_all);
    assert!(put.commit_seconds > 0.0);
}

/// The attack: whoever reads the client's disk after a crash, or its auditor's former mail, claims constants that give
/// the right value. The secrets are not on the disk, and those of the first staging are worth nothing after the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_died_left_no_secret_and_draws_new_ones() {
    let cluster = Cluster::start(7).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(300))));
    let path = cluster.file("file", &noise(1, 3 * MIB));
    let client = Client::connect(&cluster.config).await.unwrap();
    let death = async {
        while staged(&cluster).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = client.put(vec![Source::file(&path)], PutOptions::default(), Arc::new(Quiet)) => panic!("it did not die"),
        () = death => {}
    }
    drop(client);
    let before = secrets(&staged(&cluster).concat());
    assert!(before.len() >= 6);
    let mut files = 0;
    walk(&cluster.dir.path().join("uploads"), &mut |bytes| {
        files += 1;
        for secret in &before {
            assert!(!bytes.windows(32).any(|window| window == secret), "a secret is on the disk");
        }
    });
    assert!(files > 0, "the put can be resumed");

    cluster.heal();
    let client = Client::connect(&cluster.config).await.unwrap();
    client.put(vec![Source::file(&path)], PutOptions::default(), Arc::new(Quiet)).await.unwrap();
    let inner = cluster.auditor.inner();
    let again = inner.witnesses.values().find(|stagings| stagings.len() > 1).expect("a segment was staged again");
    assert!(secrets(&again[0]).is_disjoint(&secrets(again.last().unwrap())));
}

fn walk(directory: &Path, see: &mut impl FnMut(&[u8])) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, see) } else { see(&fs::read(&path).unwrap()) }
    }
}
