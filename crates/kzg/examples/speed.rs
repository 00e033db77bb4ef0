//! What this crate takes beside c-kzg and blst, on one thread, interleaved, best of N.
//! `cargo run --release -p holdfast-kzg --features test-setup --example speed [-- commit|fold|verify]`

use std::{hint::black_box, time::Instant};

use holdfast_kzg::{BLOB_LEN, CheckedCommitment, Fold, FoldClaim, Gamma, Scalar, Setup, pack, verify, verify_batch};

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let begin = Instant::now();
    black_box(work());
    begin.elapsed().as_secs_f64()
}

fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::MAX, f64::min)
}

fn blob(seed: u64) -> Vec<u8> {
    let mut out = vec![0; BLOB_LEN];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn gamma(seed: u64) -> Gamma {
    Gamma(u128::from(seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn committing() {
    let setup = Setup::ethereum();
    println!("first commit (decompression): {:.1} ms", 1e3 * seconds(|| setup.commit(&blob(0))));
    let rented: Vec<f64> = (0..8).map(|seed| seconds(|| setup.commit(&blob(seed)))).collect();
    println!("commit by blst's Pippenger: {:.2} ms", 1e3 * best(&rented));
    println!("table: {:.0} ms", 1e3 * seconds(|| setup.prepare()));
    let theirs = c_kzg::ethereum_kzg_settings(0);
    let (mut ours, mut peers) = (vec![], vec![]);
    for seed in 0..24 {
        let bytes = blob(seed);
        let expanded = c_kzg::Blob::from_bytes(&pack(&bytes).expect("a blob")[..]).expect("a blob");
        ours.push(seconds(|| setup.commit(&bytes)));
        peers.push(seconds(|| theirs.blob_to_kzg_commitment(&expanded)));
    }
    let (ours, peers) = (best(&ours), best(&peers));
    println!("commit: {:.2} ms, c-kzg {:.2} ms, ratio {:.2}", ours * 1e3, peers * 1e3, peers / ours);
}

fn folding() {
    for count in [8u64, 64, 512] {
        let blobs: Vec<Vec<u8>> = (0..count).map(blob).collect();
        let fold_all = || {
            let mut fold = Fold::new();
            for (bytes, seed) in blobs.iter().zip(0..) {
                fold.absorb(gamma(seed), 0, bytes).expect("whole blobs");
            }
            fold
        };
        let times: Vec<f64> = (0..7).map(|_| seconds(fold_all)).collect();
        let fold = fold_all();
        let opening: Vec<f64> = (0..5)
            .map(|_| {
                let fold = fold.clone();
                seconds(|| fold.open(Setup::ethereum(), Scalar::from(77)))
            })
            .collect();
        let bytes = count as f64 * BLOB_LEN as f64;
        println!(
            "fold of {count}: {:.3} ms, {:.2} GB/s; open {:.2} ms",
            1e3 * best(&times),
            bytes / best(&times) / 1e9,
            1e3 * best(&opening)
        );
    }
}

fn verifying() {
    // Proving 256 answers takes a known secret; verifying is the same for any setup.
    let setup = Setup::insecure_from_tau(Scalar::from(123_456_789));
    let blobs: Vec<Vec<u8>> = (0..64).map(|seed| blob(seed)[..3100].to_vec()).collect();
    let parse = |bytes: &Vec<u8>| CheckedCommitment::parse(&setup.commit(bytes).expect("a blob")).expect("a point");
    let commitments: Vec<CheckedCommitment> = blobs.iter().map(parse).collect();
    let answers: Vec<_> = (0..256u64)
        .map(|node| {
            let (mut fold, mut terms) = (Fold::new(), vec![]);
            for (at, (bytes, commitment)) in blobs.iter().zip(&commitments).enumerate() {
                let gamma = gamma(node * 64 + at as u64);
                fold.absorb(gamma, 0, bytes).expect("a blob");
                terms.push((gamma, commitment));
            }
            let z = Scalar::from(node);
            (terms, z, fold.open(&setup, z))
        })
        .collect();
    let claims: Vec<FoldClaim<'_>> =
        answers.iter().map(|(terms, z, opening)| FoldClaim { terms, z: *z, opening: *opening }).collect();
    let one: Vec<f64> = claims.iter().take(50).map(|claim| seconds(|| verify(&setup, claim))).collect();
    let batch: Vec<f64> = (0..3).map(|_| seconds(|| verify_batch(&setup, &claims, [7; 32]))).collect();
    assert!(verify_batch(&setup, &claims, [7; 32]).all_hold());
    println!(
        "verify 64 commitments: {:.2} ms; 256 such answers in a batch: {:.1} ms, gain {:.2}",
        1e3 * best(&one),
        1e3 * best(&batch),
        256.0 * best(&one) / best(&batch)
    );
}

fn main() {
    let only = std::env::args().nth(1);
    for (name, part) in [("commit", committing as fn()), ("fold", folding), ("verify", verifying)] {
        if only.as_deref().is_none_or(|only| only == name) {
            part();
        }
    }
}
