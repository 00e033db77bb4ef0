//! Puts whose client dies.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use holdfast_client::{Client, ClientError, PutOptions, PutReport, Quiet, Source};
use holdfast_protocol::store::{Store, StoreOp, StoreReply};
use holdfast_types::Wall;

use crate::{
    cluster::{Cluster, Listener, noise},
    node::Fault,
};

const MIB: usize = 1 << 20;

fn sources(paths: &[PathBuf]) -> Vec<Source> {
    paths.iter().map(Source::file).collect()
}

/// Puts and dies as soon as `dead` says so: whatever the process did not write down is gone. `true` if
/// the put ended before.
async fn put_and_die(cluster: &Cluster, paths: &[PathBuf], dead: impl Fn(&Listener) -> bool) -> bool {
    let client = Client::connect(&cluster.config).await.unwrap();
    let listener = Arc::new(Listener::default());
    let death = async {
        while !dead(&listener) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        ended = client.put(sources(paths), PutOptions::default(), listener.clone()) => ended.is_ok(),
        () = death => false,
    }
}

/// So many segments are durable.
fn durable(count: u64) -> impl Fn(&Listener) -> bool {
    move |listener| *listener.segments.lock().unwrap() >= count
}

fn state_files(cluster: &Cluster) -> usize {
    let walk = |entry: fs::DirEntry| fs::read_dir(entry.path()).map_or(1, Iterator::count);
    fs::read_dir(cluster.dir.path().join("uploads")).map_or(0, |dir| dir.map(|entry| walk(entry.unwrap())).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_dies_again_and_again_ends_with_one_right_object() {
    let cluster = Cluster::start(7).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(30))));
    let all = [noise(1, 3000), noise(2, 17 * MIB + 3), noise(3, 2 * MIB), noise(4, 10)];
    let paths: Vec<_> = all.iter().enumerate().map(|(n, bytes)| cluster.file(&format!("file-{n}"), bytes)).collect();
    for plain in [0, 2, 4] {
        // Whatever the plain bytes are then: staged, sent or noted.
        let dead = |listener: &Listener| *listener.plain.lock().unwrap() >= plain << 20;
        assert!(!put_and_die(&cluster, &paths, dead).await);
    }
    for count in [1, 2, 1] {
        assert!(!put_and_die(&cluster, &paths, durable(count)).await);
    }
    let listener = Arc::new(Listener::default());
    let client = Client::connect(&cluster.config).await.unwrap();
    let put = client.put(sources(&paths), PutOptions::default(), listener.clone()).await.unwrap();
    assert!(put.resumed_bytes > 0, "{:?}", listener.notices.lock().unwrap());
    assert_eq!(*listener.plain.lock().unwrap(), put.bytes);
    for (object, bytes) in put.objects.iter().zip(&all) {
        assert!(cluster.get(object.id, None).await.1 == *bytes, "{}", object.name);
    }
    assert_eq!(cluster.client.list().await.unwrap().len(), all.len(), "nothing is there twice");
    assert_eq!(state_files(&cluster), 0, "nothing is left behind");
    let StoreReply::Summary(summary) = cluster.auditor.inner().store.apply(StoreOp::Summary) else { panic!() };
    let sealed: u64 = put.objects.iter().map(|object| object.sealed).sum();
    assert!(summary.segments <= sealed.div_ceil(1 << 20) + 1, "{} segments of one put", summary.segments);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changed_where_it_was_read_begins_anew_and_one_that_grew_goes_on() {
    for grown in [true, false] {
        let cluster = Cluster::start(7).await;
        cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(40))));
        let mut bytes = noise(1, 15 * MIB);
        let paths = [cluster.file("file", &bytes)];
        assert!(!put_and_die(&cluster, &paths, durable(2)).await);
        if grown {
            bytes.extend(noise(2, MIB + 1));
        } else {
            bytes[17] ^= 1;
        }
        fs::write(&paths[0], &bytes).unwrap();
        let listener = Arc::new(Listener::default());
        let put = cluster.client.put(sources(&paths), PutOptions::default(), listener.clone()).await.unwrap();
        let notices = listener.notices.lock().unwrap().join("; ");
        assert_eq!(put.resumed_bytes > 0, grown, "{notices}");
        assert_eq!(notices.contains("changed since they were stored"), !grown, "{notices}");
        assert!(cluster.get(put.objects[0].id, None).await.1 == bytes);
        assert_eq!(cluster.client.list().await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_cut_off_where_a_segment_ended_begins_anew() {
    let cluster = Cluster::start(7).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(40))));
    let bytes = noise(1, 15 * MIB);
    let paths = [cluster.file("file", &bytes)];
    assert!(!put_and_die(&cluster, &paths, durable(2)).await);
    for mib in 1..15 {
        // Every length at which the last frame might be missing.
        fs::write(&paths[0], &bytes[..mib * MIB]).unwrap();
        let put = cluster.try_put(sources(&paths)).await.unwrap();
        assert!(cluster.get(put.objects[0].id, None).await.1 == bytes[..mib * MIB], "{mib} MiB");
        if put.resumed_bytes == 0 {
            // The interrupted put is given up: interrupt another.
            fs::write(&paths[0], &bytes).unwrap();
            assert!(!put_and_die(&cluster, &paths, durable(2)).await);
        } else {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_that_nobody_heard_is_found_again_and_nothing_stored_twice() {
    for expired in [false, true] {
        let cluster = Cluster::start(6).await;
        let bytes = noise(1, 3 * MIB);
        let paths = [cluster.file("file", &bytes)];
        cluster.auditor.inner().mute = true;
        let auditor = cluster.auditor.clone();
        assert!(!put_and_die(&cluster, &paths, move |_| auditor.inner().commits == 1).await);
        cluster.auditor.inner().mute = false;
        if expired {
            cluster.auditor.inner().store.apply(StoreOp::ExpireUploads { now: Wall(u64::MAX) });
        }
        let put = cluster.try_put(sources(&paths)).await.unwrap();
        assert_eq!((put.resumed_bytes, put.stored_bytes), (bytes.len() as u64, 0), "expired: {expired}");
        let listed = cluster.client.list().await.unwrap();
        assert_eq!(listed.iter().map(|object| object.id).collect::<Vec<_>>(), [put.objects[0].id]);
        assert!(cluster.get(put.objects[0].id, None).await.1 == bytes);
        assert_eq!(state_files(&cluster), 0);
        // From here on it is another put.
        let again = cluster.try_put(sources(&paths)).await.unwrap();
        assert_ne!(again.objects[0].id, put.objects[0].id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_nobody_was_told_is_told_again_unless_the_file_changed() {
    let cluster = Cluster::start(6).await;
    let paths = [cluster.file("file", &noise(1, 2 * MIB))];
    let put = async |fails: bool| {
        let mut told = None;
        let tell = |report: &PutReport| {
            told = Some(report.objects[0].id);
            // Killed here, or the pipe is closed: nobody has seen it.
            if fails { Err(ClientError::Invalid("nobody listens".into())) } else { Ok(()) }
        };
        let put = cluster.client.put_and_tell(sources(&paths), PutOptions::default(), Arc::new(Quiet), tell).await;
        assert_eq!(put.is_err(), fails);
        told.unwrap()
    };
    let first = put(true).await;
    assert_eq!(put(true).await, first);
    assert_eq!(put(false).await, first);
    assert_eq!(cluster.client.list().await.unwrap().len(), 1);
    assert_eq!(state_files(&cluster), 0);

    let second = put(true).await;
    assert_ne!(second, first, "told and forgotten: another put");
    fs::write(&paths[0], noise(2, 2 * MIB)).unwrap();
    let third = put(false).await;
    assert_ne!(third, second, "these bytes were never stored");
    assert!(cluster.get(third, None).await.1 == noise(2, 2 * MIB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_whose_upload_expired_begins_anew() {
    let cluster = Cluster::start(7).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(40))));
    let bytes = noise(1, 12 * MIB);
    let paths = [cluster.file("file", &bytes)];
    assert!(!put_and_die(&cluster, &paths, durable(2)).await);
    cluster.auditor.inner().store.apply(StoreOp::ExpireUploads { now: Wall(u64::MAX) });
    let put = cluster.try_put(sources(&paths)).await.unwrap();
    assert_eq!(put.resumed_bytes, 0);
    assert!(cluster.get(put.objects[0].id, None).await.1 == bytes);
    assert_eq!(cluster.client.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_put_twice_at_once_is_refused() {
    let cluster = Cluster::start(6).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(300))));
    let paths = [cluster.file("file", &noise(1, MIB))];
    let one = cluster.try_put(sources(&paths));
    let two = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cluster.try_put(sources(&paths)).await
    };
    let (one, two) = tokio::join!(one, two);
    one.unwrap();
    assert!(matches!(two, Err(ClientError::Running { .. })), "{two:?}");
}
