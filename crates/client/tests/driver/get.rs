//! Gets, through damage, lies and slowness.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use holdfast_client::{ClientError, Progress, Quiet};
use holdfast_dispersal::FRAME_SEALED_LEN_MAX;
use holdfast_protocol::{
    get::{GetError, Met, Trouble},
    model::Standing,
};
use holdfast_types::{ByteRange, Code, Policy};

use crate::{
    cluster::{Cluster, noise},
    node::{Fault, Garble, Node},
};

const MIB: usize = 1 << 20;

fn span(from: u64, to: u64) -> ByteRange {
    ByteRange::new(from, to).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_reads_only_the_frames_it_needs() {
    let cluster = Cluster::start(6).await;
    let bytes = noise(1, 9 * MIB + 5);
    let object = cluster.put("object", &bytes).await.objects[0].id;
    let len = bytes.len() as u64;
    for range in [span(0, 1), span(len - 1, len), span(MIB as u64 - 1, MIB as u64 + 1), span(5, 5), span(0, len)] {
        let (report, read) = cluster.get(object, Some(range)).await;
        assert!(read == bytes[range.start() as usize..range.end() as usize], "{range}");
        let frames = range.end().div_ceil(MIB as u64) - range.start() / MIB as u64;
        let sealed = if range.is_empty() { 0 } else { frames * (MIB as u64 + 16) };
        // Whole shards are read only where most of a segment is wanted.
        assert!(report.fetched_bytes <= sealed + 4096, "{range}: {} fetched", report.fetched_bytes);
    }
    let error = cluster.try_get(object, Some(span(0, len + 1))).await.unwrap_err();
    assert!(matches!(error, ClientError::Range { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_two_bad_shards_are_read_around_and_named() {
    let cluster = Cluster::start(6).await;
    let bytes = noise(2, 3 * MIB);
    let object = cluster.put("object", &bytes).await.objects[0].id;
    let holders = cluster.holders(object).await;
    let faults = [Fault::Flips, Fault::Wiped, Fault::Damaged(span(1000, 2000)), Fault::Garbles(Garble::Short)];
    for (at, fault) in faults.into_iter().enumerate() {
        cluster.heal();
        let (one, other) = (&holders[at % 4], &holders[(at + 1) % 6]);
        one.fail(fault.clone());
        other.fail(Fault::Flips);
        let (report, read) = cluster.get(object, None).await;
        assert!(read == bytes, "{fault:?}");
        assert!(report.reconstructed > 0);
        let met: Vec<_> = report.met.iter().filter(|met| met.node == one.id()).map(|met| &met.what).collect();
        assert!(!met.is_empty(), "{fault:?} was not met: {:?}", report.met);
        let expected = |what: &&Met| match (what, &fault) {
            (Met::Trouble(Trouble::Corrupt), Fault::Flips) => true,
            (Met::Trouble(Trouble::Missing), Fault::Wiped) => true,
            (Met::Trouble(Trouble::Damaged(ranges)), Fault::Damaged(_)) => ranges[0] == span(1000, 2000),
            (Met::Trouble(Trouble::Refused(_)), Fault::Garbles(_)) => true,
            _ => false,
        };
        assert!(met.iter().all(expected), "{fault:?}: {met:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_in_a_short_range_is_found_the_liar_named_and_the_bytes_right() {
    let cluster = Cluster::start(6).await;
    let (small, large) = (noise(3, 5000), noise(4, MIB + 100));
    let sources = [("small", &small), ("large", &large)];
    let sources = sources.map(|(name, bytes)| holdfast_client::Source::bytes(name, bytes.clone()));
    let put = cluster.try_put(sources.into()).await.unwrap();
    let object = put.objects[0].id;
    cluster.holders(object).await[0].fail(Fault::Flips);
    for range in [None, Some(span(100, 200))] {
        let (report, read) = cluster.get(object, range).await;
        let range = range.unwrap_or(span(0, 5000));
        assert!(read == small[range.start() as usize..range.end() as usize]);
        let liar = cluster.holders(object).await[0].id();
        let corrupt = |met: &holdfast_client::MetShard| met.node == liar && met.what == Met::Trouble(Trouble::Corrupt);
        assert!(report.met.iter().any(corrupt), "{:?}", report.met);
        assert!(report.is_damaged());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shard_too_few_is_an_error_that_counts() {
    let cluster = Cluster::start(6).await;
    let object = cluster.put("object", &noise(5, 2 * MIB)).await.objects[0].id;
    let holders = cluster.holders(object).await;
    holders[0].fail(Fault::Wiped);
    holders[1].fail(Fault::Flips);
    holders[5].fail(Fault::Damaged(span(0, 1)));
    let error = cluster.try_get(object, None).await.unwrap_err();
    assert!(matches!(&error, ClientError::Get { error: GetError::TooFew { found: 3, needed: 4, .. }, .. }), "{error}");
    assert!(error.to_string().contains("found 3 good shards, needed 4"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_node_does_not_slow_a_read() {
    let cluster = Cluster::start(6).await;
    let bytes = noise(6, 2 * MIB);
    let object = cluster.put("object", &bytes).await.objects[0].id;
    cluster.holders(object).await[1].fail(Fault::Slow(Duration::from_secs(20)));
    let (report, read) = cluster.get(object, None).await;
    assert!(read == bytes);
    assert!(report.seconds < 10.0, "{}", report.seconds);
    assert!(report.met.iter().any(|met| matches!(met.what, Met::Slow(_))), "{:?}", report.met);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_and_one_that_the_catalog_knows_to_be_damaged_are_read_around() {
    let cluster = Cluster::start(6).await;
    let bytes = noise(7, 4 * MIB);
    let object = cluster.put("object", &bytes).await.objects[0].id;
    let holders = cluster.holders(object).await;
    cluster.auditor.lose(holders[0].id());
    cluster.auditor.inner().standings.insert(holders[1].id(), Standing::Damaged(vec![span(0, 16)]));
    let before = holders[1].inner().served;
    let (report, read) = cluster.get(object, None).await;
    assert!(read == bytes);
    assert_eq!(holders[1].inner().served, before, "what is known to be damaged is not asked");
    assert!(report.met.iter().any(|met| met.node == holders[1].id() && matches!(met.what, Met::Known(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_sealed_by_another_key_is_refused() {
    let cluster = Cluster::start(6).await;
    let object = cluster.put("object", b"secret").await.objects[0].id;
    let other = Cluster::start(6).await;
    let error = other.try_get(object, None).await.unwrap_err();
    assert_eq!(error.code(), holdfast_wire::ErrorCode::NotFound, "{error}");
}

/// Takes some bytes, then none.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_sink_ends_a_read_at_once() {
    let cluster = Cluster::start(6).await;
    let object = cluster.put("object", &noise(8, 6 * MIB)).await.objects[0].id;
    let ended = cluster.client.get(object, None, Full(MIB), Arc::new(Quiet)).await;
    assert!(matches!(ended, Err(ClientError::Sink(_))));
}

/// Attack: an auditor tells extents of a few bytes, so that whoever reads ahead of itself asks for thousands of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extents_of_a_few_bytes_are_read_a_few_at_a_time() {
    let cluster = Cluster::start(6).await;
    let bytes = noise(9, 100_000);
    let object = cluster.put("object", &bytes).await.objects[0].id;
    cluster.auditor.inner().crumbs = 1000;
    cluster.nodes.iter().for_each(|node| node.fail(Fault::Slow(Duration::from_millis(10))));
    let (report, read) = cluster.get(object, None).await;
    assert!(read == bytes);
    assert!(report.segments > 100, "{} parts", report.segments);
    let most = cluster.nodes.iter().map(|node| node.inner().most_slow).max();
    assert!((2..=4).contains(&most.unwrap()), "{most:?} reads of one node at once");
}

/// Takes every node away when a segment was written, and brings them back when the read has stumbled; so many times.
struct Stumbles {
    nodes: Vec<Node>,
    left: AtomicU32,
}

impl Progress for Stumbles {
    fn segment(&self) {
        if self.left.load(Ordering::SeqCst) > 0 {
            self.nodes.iter().for_each(|node| node.fail(Fault::Wiped));
        }
    }
    fn notice(&self, text: &str) {
        if text.ends_with("; trying again") {
            self.left.fetch_sub(1, Ordering::SeqCst);
            self.nodes.iter().for_each(|node| node.inner().fault = None);
        }
    }
}

/// Fault: in a read of hours, nodes are away for a moment now and then, more often than a read may fail that does not get on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_gets_on_may_stumble_again_and_again() {
    // One frame a segment: of sixteen parts at most four are on their way when the first of a pass is written.
    let policy = Policy::new("default", Code::new(4, 2).unwrap());
    let cluster = Cluster::build(6, policy, FRAME_SEALED_LEN_MAX).await;
    let bytes = noise(10, 16 * MIB);
    let object = cluster.put("object", &bytes).await.objects[0].id;
    let stumbles = Arc::new(Stumbles { nodes: cluster.nodes.clone(), left: AtomicU32::new(3) });
    let (_, read) = cluster.client.get(object, None, Vec::new(), stumbles.clone()).await.unwrap();
    assert!(read == bytes);
    assert_eq!(stumbles.left.load(Ordering::SeqCst), 0);
}
