//! The contests for people: `cargo bench --manifest-path benches/peers/Cargo.toml`. Compare the two lines of a group, not
//! the absolute times.
#![allow(missing_docs, reason = "criterion's macros")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast_peers::{Scale, contests, pin};

fn all(criterion: &mut Criterion) {
    pin().expect("a processor of its own");
    let scale = Scale { quick: true };
    for (_, make) in contests() {
        let mut contest = make(scale);
        let mut group = criterion.benchmark_group(contest.work());
        group.sample_size(10);
        if let Some(bytes) = contest.bytes() {
            group.throughput(Throughput::Bytes(bytes));
        }
        let sum =
            |round: &mut dyn FnMut() -> f64, rounds: u64| Duration::from_secs_f64((0..rounds).map(|_| round()).sum());
        group.bench_function("holdfast", |bencher| {
            bencher.iter_custom(|rounds| sum(&mut || contest.ours(), rounds));
        });
        if let Some(peer) = contest.peer_name() {
            group.bench_function(peer, |bencher| bencher.iter_custom(|rounds| sum(&mut || contest.peer(), rounds)));
        }
        group.finish();
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
