//! What a client holds does not grow with the object. A process of its own: the peak of its resident
//! memory is what is measured, with all nodes and the auditor in it.

#![allow(clippy::unwrap_used, dead_code)]

#[path = "driver/auditor.rs"]
mod auditor;
#[path = "driver/cluster.rs"]
mod cluster;
#[path = "driver/node.rs"]
mod node;

use std::{
    fs,
    io::{self, Read, Write},
    sync::Arc,
};

use holdfast_client::{PutOptions, Quiet, Source};
use holdfast_dispersal::SEGMENT_LEN_DEFAULT;
use holdfast_types::{Code, Policy};

use cluster::Cluster;

/// Twelve segments in flight one after the other: what leaked of each would show.
const LEN: u64 = 384 << 20;

/// The promise for 1 GiB; the nodes' and the auditor's share of this process counts against it.
const RESIDENT_MAX_KIB: u64 = 256 << 10;

/// Noise without end, cut off after a length, made while it is read.
struct Noise(blake3::OutputReader, u64);

impl Noise {
    fn new() -> Self {
        Self(blake3::Hasher::new().finalize_xof(), LEN)
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (buffer.len() as u64).min(self.1) as usize;
        self.0.fill(&mut buffer[..len]);
        self.1 -= len as u64;
        Ok(len)
    }
}

/// Compares what is written with the noise.
struct Compare(Noise);

impl Write for Compare {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut expected = vec![0; bytes.len()];
        self.0.read_exact(&mut expected)?;
        if expected == bytes { Ok(bytes.len()) } else { Err(io::Error::other("other bytes than were put")) }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_goes_in_and_out_below_256_mib() {
    let policy = Policy::new("default", Code::new(8, 4).unwrap());
    let cluster = Cluster::build(12, policy, SEGMENT_LEN_DEFAULT).await;
    let sources = vec![Source::reader("large", Noise::new())];
    let put = cluster.client.put(sources, PutOptions::default(), Arc::new(Quiet)).await.unwrap();
    let after_put = peak_kib();
    assert!(after_put < RESIDENT_MAX_KIB, "the put took {after_put} KiB");
    let object = put.objects[0].id;
    let (got, sink) = cluster.client.get(object, None, Compare(Noise::new()), Arc::new(Quiet)).await.unwrap();
    assert_eq!((got.bytes, sink.0.1), (LEN, 0));
    let after_get = peak_kib();
    assert!(after_get < RESIDENT_MAX_KIB, "the get took {after_get} KiB, after the put's {after_put}");
    println!("put {:.1} s, {after_put} KiB; get {:.1} s, {after_get} KiB", put.seconds, got.seconds);
}
