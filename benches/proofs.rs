//! Commitments beside c-kzg's, the Merkle builder beside `blake3::Hasher`, folds by themselves.
//! `cargo bench -p holdfast-benches --bench proofs`; compare the two lines of a group, not the
//! absolute times.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a bench may panic")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benches::noise;
use holdfast_kzg::{BLOB_LEN, Fold, Gamma, Scalar, Setup, pack};

fn commit(criterion: &mut Criterion) {
    let blob = noise(BLOB_LEN, 7);
    let expanded = pack(&blob).unwrap();
    let peer = c_kzg::ethereum_kzg_settings(0);
    let peer_blob = c_kzg::Blob::from_bytes(&expanded[..]).unwrap();
    let setup = Setup::ethereum();
    setup.prepare();
    let ours = setup.commit(&blob).unwrap();
    assert_eq!(ours.0[..], peer.blob_to_kzg_commitment(&peer_blob).unwrap().to_bytes().into_inner()[..]);
    let mut group = criterion.benchmark_group("commit a blob");
    group.throughput(Throughput::Bytes(BLOB_LEN as u64)).sample_size(20);
    group.bench_function("holdfast", |bencher| bencher.iter(|| setup.commit(black_box(&blob)).unwrap()));
    group.bench_function("c-kzg", |bencher| {
        bencher.iter(|| peer.blob_to_kzg_commitment(black_box(&peer_blob)).unwrap());
    });
    group.finish();
}

fn fold(criterion: &mut Criterion) {
    const BLOBS: usize = 64;
    let bytes = noise(BLOBS * BLOB_LEN, 9);
    let setup = Setup::ethereum();
    setup.prepare();
    let absorbed = || {
        let mut fold = Fold::new();
        for (blob, bytes) in bytes.chunks(BLOB_LEN).enumerate() {
            fold.absorb(Gamma(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835 ^ blob as u128), 0, bytes).unwrap();
        }
        fold
    };
    let mut group = criterion.benchmark_group("fold 64 blobs");
    group.throughput(Throughput::Bytes((BLOBS * BLOB_LEN) as u64)).sample_size(10);
    group.bench_function("absorb", |bencher| bencher.iter(absorbed));
    group.bench_function("absorb and open", |bencher| {
        bencher.iter(|| absorbed().open(setup, black_box(Scalar::from(12_345))));
    });
    group.finish();
}

fn merkle(criterion: &mut Criterion) {
    let bytes = noise(8 << 20, 11);
    let mut group = criterion.benchmark_group("hash 8 MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(20);
    group.bench_function("merkle-cid, root and outboard", |bencher| {
        bencher.iter(|| {
            let mut builder = merkle_cid::Builder::new();
            builder.update(black_box(&bytes));
            builder.finish()
        });
    });
    group.bench_function("blake3, root only", |bencher| {
        bencher.iter(|| blake3::Hasher::new().update(black_box(&bytes)).finalize());
    });
    group.finish();
}

criterion_group!(benches, commit, fold, merkle);
criterion_main!(benches);
