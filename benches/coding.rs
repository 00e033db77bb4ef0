//! A segment to its masked, named shards, beside reed-solomon-erasure's encode alone: what mask and
//! hash cost on top.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a bench may panic")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benches::noise;
use holdfast_dispersal::{Encoder, PlacementSecret};
use holdfast_types::Code;
use reed_solomon_erasure::galois_8::ReedSolomon;

const LEN: usize = 16 << 20;

fn encode(criterion: &mut Criterion) {
    for (data, parity) in [(8u16, 4u16), (16, 4)] {
        let segment = noise(LEN, 3);
        let secret = PlacementSecret::from_bytes([1; 32]);
        let encoder = Encoder::new(Code::new(data, parity).unwrap());
        let mut group = criterion.benchmark_group(format!("encode 16 MiB at {data}+{parity}"));
        group.throughput(Throughput::Bytes(LEN as u64)).sample_size(10);
        group.bench_function("holdfast: code, mask and name", |bencher| {
            let fresh = || segment.clone();
            bencher.iter_batched(fresh, |segment| encoder.encode(segment, &secret).unwrap(), BatchSize::LargeInput);
        });
        let peer = ReedSolomon::new(data.into(), parity.into()).unwrap();
        let part = LEN / usize::from(data);
        let mut shards: Vec<Vec<u8>> = segment.chunks(part).map(<[u8]>::to_vec).collect();
        shards.resize(usize::from(data + parity), vec![0; part]);
        group.bench_function("reed-solomon-erasure: code only", |bencher| {
            bencher.iter(|| peer.encode(black_box(&mut shards)).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
