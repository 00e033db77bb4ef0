//! Puts.

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use holdfast_client::{ClientError, PutOptions, Source};
use holdfast_protocol::put::PutError;

use crate::{
    cluster::{Cluster, Listener, noise},
    node::Fault,
};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_every_size_come_back_as_they_were() {
    let cluster = Cluster::start(7).await;
    for len in [0, 1, 4096, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 77] {
        let bytes = noise(len as u8, len);
        let put = cluster.put("object", &bytes).await;
        assert_eq!((put.bytes, put.owed_shards, put.objects.len()), (len as u64, 0, 1));
        let (got, read) = cluster.get(put.objects[0].id, None).await;
        assert!(read == bytes, "{len} bytes");
        assert_eq!((got.bytes, got.name.as_deref(), got.reconstructed), (len as u64, Some("object"), 0));
        assert!(got.met.is_empty(), "{:?}", got.met);
    }
    assert_eq!(cluster.client.list().await.unwrap().len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_share_a_segment_and_are_acknowledged_together() {
    let cluster = Cluster::start(6).await;
    let all: Vec<Vec<u8>> = (0..40).map(|n| noise(n, 1000 + usize::from(n))).collect();
    let sources = all.iter().enumerate().map(|(n, bytes)| Source::bytes(format!("small {n}"), bytes.clone()));
    let listener = Arc::new(Listener::default());
    let put = cluster.client.put(sources.collect(), PutOptions::default(), listener.clone()).await.unwrap();
    assert_eq!(put.segments, 1);
    assert_eq!(*listener.plain.lock().unwrap(), put.bytes);
    for (object, bytes) in put.objects.iter().zip(&all) {
        assert_eq!(&cluster.get(object.id, None).await.1, bytes);
    }
    let stat = cluster.client.stat(put.objects[3].id).await.unwrap();
    assert_eq!(
        (stat.plain_len, stat.names.as_slice(), stat.worst_spare()),
        (1003, &["small 3".to_owned()][..], Some(2))
    );
    assert_eq!(stat.segments[0].object_len, put.objects[3].sealed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_goes_around_nodes_that_are_gone_busy_or_forging() {
    for fault in [None, Some(Fault::Busy), Some(Fault::Forges)] {
        let cluster = Cluster::start(8).await;
        let bad = cluster.nodes[2].clone();
        match fault {
            None => cluster.auditor.lose(bad.id()),
            Some(fault) => bad.fail(fault),
        }
        let bytes = noise(1, 5 * MIB);
        let put = cluster.put("object", &bytes).await;
        assert_eq!(put.owed_shards, 0);
        let stat = cluster.client.stat(put.objects[0].id).await.unwrap();
        for segment in &stat.segments {
            assert_eq!(segment.good(), 6);
            assert!(segment.shards.iter().all(|shard| shard.node != bad.id()));
        }
        assert!(cluster.get(put.objects[0].id, None).await.1 == bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_without_spare_nodes_stops_at_the_threshold_and_says_what_is_owed() {
    let cluster = Cluster::with_threshold(6, 5).await;
    cluster.auditor.lose(cluster.nodes[0].id());
    let bytes = noise(1, MIB);
    let put = cluster.put("object", &bytes).await;
    assert_eq!(put.owed_shards, 1);
    assert!(cluster.get(put.objects[0].id, None).await.1 == bytes);

    cluster.auditor.lose(cluster.nodes[1].id());
    let error = cluster.try_put(vec![Source::bytes("object", bytes)]).await.unwrap_err();
    assert!(matches!(error, ClientError::Put(PutError::TooFew { held: 4, needed: 5, total: 6, .. })), "{error}");
    assert_eq!(cluster.client.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_lives_through_expired_grants_and_a_restarting_auditor() {
    let cluster = Cluster::start(6).await;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Denies(1)));
    cluster.auditor.inner().away = 1;
    let bytes = noise(1, 4 * MIB);
    let putting = {
        let (client, bytes) = (cluster.client.clone(), bytes.clone());
        tokio::spawn(async move {
            let sources = vec![Source::bytes("object", bytes)];
            client.put(sources, PutOptions::default(), Arc::new(Listener::default())).await
        })
    };
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        cluster.auditor.inner().away += 1;
    }
    let put = putting.await.unwrap().unwrap();
    assert!(cluster.get(put.objects[0].id, None).await.1 == bytes);
}

/// Gives some bytes, then an error.
struct Breaks(usize);

impl Read for Breaks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        let len = buffer.len().min(self.0);
        self.0 -= len;
        Ok(len)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_off_is_never_committed_in_part() {
    let cluster = Cluster::start(6).await;
    let sources = vec![Source::bytes("first", noise(1, 3 * MIB)), Source::reader("second", Breaks(7 * MIB))];
    let error = cluster.try_put(sources).await.unwrap_err();
    assert!(matches!(error, ClientError::Source { .. }), "{error}");
    assert!(error.to_string().contains("second: the disk is gone"), "{error}");
    assert_eq!(cluster.auditor.inner().commits, 0);
    assert!(cluster.client.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_put_is_refused_before_a_byte_is_read() {
    let cluster = Cluster::start(6).await;
    let bad = [
        vec![],
        vec![Source::bytes("new\nline", vec![])],
        vec![Source::bytes("x".repeat(1025), vec![])],
        vec![Source::file(cluster.dir.path())],
        vec![Source::file("/nowhere/at/all")],
    ];
    for sources in bad {
        cluster.try_put(sources).await.unwrap_err();
    }
    assert_eq!(cluster.auditor.inner().stages, 0);
    let few = Cluster::start(5).await;
    let error = few.try_put(vec![Source::bytes("object", vec![1])]).await.unwrap_err();
    assert!(matches!(error, ClientError::Said { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_is_gone_and_removing_it_again_succeeds() {
    let cluster = Cluster::start(6).await;
    let put = cluster.put("object", b"bytes").await;
    for _ in 0..2 {
        cluster.client.remove(put.objects[0].id).await.unwrap();
        assert!(cluster.client.list().await.unwrap().is_empty());
        let error = cluster.try_get(put.objects[0].id, None).await.unwrap_err();
        assert_eq!(error.code(), holdfast_wire::ErrorCode::NotFound);
    }
}
