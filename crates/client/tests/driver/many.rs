//! Puts of many objects, each acknowledged on its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use holdfast_client::{Client, ClientError, ManyReport, Progress, PutOptions, Quiet, Source};
use holdfast_types::ObjectId;
use tokio::sync::Notify;

use crate::{
    cluster::{Cluster, noise},
    node::Fault,
};

const MIB: usize = 1 << 20;

/// What was told of each source: its object, or why there is none.
type Told = BTreeMap<usize, Result<ObjectId, String>>;

async fn put_many(cluster: &Cluster, sources: Vec<Source>) -> (ManyReport, Told) {
    let mut told = Told::new();
    let tell = |outcome: holdfast_client::Outcome<'_>| {
        let stored = outcome.stored.map(|object| object.id).map_err(ToString::to_string);
        assert!(told.insert(outcome.source, stored).is_none(), "{} is told twice", outcome.name);
        Ok::<_, ClientError>(())
    };
    let report = cluster.client.put_many(sources, PutOptions::default(), Arc::new(Quiet), tell).await.unwrap();
    (report, told)
}

fn files(cluster: &Cluster, lens: &[usize]) -> Vec<PathBuf> {
    let file = |(n, len): (usize, &usize)| cluster.file(&format!("file-{n}"), &noise(n as u8, *len));
    lens.iter().enumerate().map(file).collect()
}

fn sources(paths: &[PathBuf]) -> Vec<Source> {
    paths.iter().map(Source::file).collect()
}

fn state_directories(cluster: &Cluster) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().to_string_lossy().into_owned();
    fs::read_dir(cluster.dir.path().join("uploads")).map_or(Vec::new(), |dir| dir.map(name).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_share_uploads_and_segments_and_live_and_die_by_themselves() {
    let cluster = Cluster::start(6).await;
    // More than one upload takes, and one that has an upload for itself.
    let mut lens = vec![40; 600];
    lens.extend([0, 1, MIB, 9 * MIB]);
    let paths = files(&cluster, &lens);
    let (report, told) = put_many(&cluster, sources(&paths)).await;
    assert_eq!((report.objects, report.failed, report.uploads), (604, 0, 3));
    assert_eq!(report.bytes, lens.iter().sum::<usize>() as u64);
    assert!(report.segments <= 9, "{} segments", report.segments);
    assert_eq!(cluster.auditor.inner().commits, 3, "one transaction for many");
    for at in [0, 1, 511, 512, 599, 600, 601, 602, 603] {
        let (_, read) = cluster.get(told[&at].clone().unwrap(), None).await;
        assert!(read == noise(at as u8, lens[at]), "object {at}");
    }
    assert!(state_directories(&cluster).is_empty(), "nothing is left behind");

    // Its neighbours in the segment stay.
    cluster.client.remove(told[&1].clone().unwrap()).await.unwrap();
    let gone = cluster.try_get(told[&1].clone().unwrap(), None).await.unwrap_err();
    assert_eq!(gone.code(), holdfast_wire::ErrorCode::NotFound);
    assert!(cluster.get(told[&2].clone().unwrap(), None).await.1 == noise(2, 40));
    assert_eq!(cluster.client.list().await.unwrap().len(), 603);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_cannot_be_read_is_named_and_keeps_nobody() {
    let cluster = Cluster::start(6).await;
    let mut paths = files(&cluster, &[10, 20, 30]);
    paths.insert(1, cluster.dir.path().join("not-there"));
    // It opens, and says what is wrong when it is read: after others of its batch were.
    paths.insert(2, "/proc/self/mem".into());
    let (report, told) = put_many(&cluster, sources(&paths)).await;
    assert_eq!((report.objects, report.failed, report.uploads), (3, 2, 1));
    assert!(told[&1].as_ref().unwrap_err().contains("not-there"), "{told:?}");
    assert!(told[&2].as_ref().unwrap_err().contains("/proc/self/mem"), "{told:?}");
    for (at, seed) in [(0, 0), (3, 1), (4, 2)] {
        let (_, read) = cluster.get(told[&at].clone().unwrap(), None).await;
        assert!(read == noise(seed, 10 * (usize::from(seed) + 1)));
    }
    assert_eq!(cluster.client.list().await.unwrap().len(), 3);

    // The same call tells the same ids, and tries only what failed.
    let (again, same) = put_many(&cluster, sources(&paths)).await;
    assert_eq!((again.objects, again.failed, again.uploads), (3, 2, 0));
    assert_eq!((&same[&0], &same[&3], &same[&4]), (&told[&0], &told[&3], &told[&4]));
    assert_eq!(cluster.client.list().await.unwrap().len(), 3);
}

/// When a client dies.
#[derive(Clone, Copy)]
enum Death {
    /// When the first shard of this life is durable.
    Moved,
    /// When an object is told that was not before.
    Told,
}

/// Says when something moved.
struct Moved(Option<Arc<Notify>>);

impl Progress for Moved {
    fn moved(&self, _bytes: u64) {
        if let Some(end) = &self.0 {
            end.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_that_was_told_and_stores_nothing_twice() {
    let cluster = Cluster::start(7).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(20))));
    // Batches of two each, and a large one.
    let lens = [[3 * MIB + 17; 9].as_slice(), &[10 * MIB]].concat();
    let paths = files(&cluster, &lens);
    let told: Arc<Mutex<BTreeMap<usize, ObjectId>>> = Arc::default();
    let count = || told.lock().unwrap().len();
    // While the first batch is on its way; whenever one is told; in the large one.
    let deaths = std::iter::once(Death::Moved).chain(std::iter::repeat_n(Death::Told, 8)).chain([Death::Moved]);
    for death in deaths {
        if matches!(death, Death::Told) && count() == 9 {
            continue;
        }
        let (client, before, end) = (Client::connect(&cluster.config).await.unwrap(), count(), Arc::new(Notify::new()));
        let tell = |outcome: holdfast_client::Outcome<'_>| {
            let id = outcome.stored.unwrap().id;
            if let Some(before) = told.lock().unwrap().insert(outcome.source, id) {
                assert_eq!(before, id, "what was told stays so");
            }
            if matches!(death, Death::Told) && count() > before {
                end.notify_one();
            }
            Ok::<_, ClientError>(())
        };
        let progress = Arc::new(Moved(matches!(death, Death::Moved).then(|| end.clone())));
        tokio::select! {
            // Not looked at before it has to: nothing is told between the word and the end.
            biased;
            () = end.notified() => {}
            _ = client.put_many(sources(&paths), PutOptions::default(), progress, tell) => panic!("it came to its end"),
        }
    }
    let before = told.lock().unwrap().clone();
    assert!(!before.is_empty());
    let (report, after) = put_many(&cluster, sources(&paths)).await;
    assert_eq!((report.objects, report.failed), (10, 0));
    assert!(report.resumed_bytes > 0);
    for (source, id) in &before {
        assert_eq!(after[source].as_ref(), Ok(id));
    }
    for (at, len) in lens.iter().enumerate() {
        assert!(cluster.get(after[&at].clone().unwrap(), None).await.1 == noise(at as u8, *len), "object {at}");
    }
    assert_eq!(cluster.client.list().await.unwrap().len(), 10, "nothing is there twice");
    assert!(state_directories(&cluster).is_empty(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_or_was_deleted_since_is_stored_anew_and_told_so() {
    let cluster = Cluster::start(6).await;
    let paths = files(&cluster, &[100, 200, 300]);
    // Told, but not to its end: the ledger stays.
    let mut told = Vec::new();
    let tell = |outcome: holdfast_client::Outcome<'_>| {
        told.push(outcome.stored.unwrap().id);
        if told.len() == 3 { Err(ClientError::Invalid("the pipe is closed".into())) } else { Ok(()) }
    };
    cluster.client.put_many(sources(&paths), PutOptions::default(), Arc::new(Quiet), tell).await.unwrap_err();
    fs::write(&paths[0], noise(9, 100)).unwrap();
    cluster.client.remove(told[1]).await.unwrap();
    let (report, after) = put_many(&cluster, sources(&paths)).await;
    assert_eq!((report.objects, report.resumed_bytes), (3, 300));
    let ids: Vec<ObjectId> = after.values().cloned().map(Result::unwrap).collect();
    assert!(ids[0] != told[0] && ids[1] != told[1] && ids[2] == told[2]);
    assert!(cluster.get(ids[0], None).await.1 == noise(9, 100));
    assert_eq!(cluster.client.list().await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_enough_nodes_every_source_hears_why() {
    let cluster = Cluster::start(6).await;
    for node in &cluster.nodes[..2] {
        cluster.auditor.lose(node.id());
    }
    let paths = files(&cluster, &[[3 * MIB; 12].as_slice(), &[10 * MIB]].concat());
    let (report, told) = put_many(&cluster, sources(&paths)).await;
    assert_eq!((report.objects, report.failed, told.len()), (0, 13, 13));
    let words: BTreeSet<&str> = told.values().map(|told| told.as_ref().unwrap_err().as_str()).collect();
    assert!(words.iter().any(|words| words.contains("not stored")), "{words:?}");
    assert!(cluster.client.list().await.unwrap().is_empty());
}
