//! The promises of the whole cluster, over seeds.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use holdfast_sim::{Failure, Options, Report, run};

/// Each seed in one thread, two at once.
fn run_all(seeds: std::ops::Range<u64>, options: Options) -> Vec<Report> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, options);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let (reports, mut failures): (Vec<_>, Vec<_>) = outcomes.into_inner().unwrap().into_iter().partition(Result::is_ok);
    failures.sort_by_key(|failure: &Result<Report, Box<Failure>>| failure.as_ref().err().map(|failure| failure.seed));
    if let Some(Err(failure)) = failures.first() {
        panic!("{} of {} seeds broke a promise; the first:\n{failure}", failures.len(), seeds.end - seeds.start);
    }
    reports.into_iter().map(Result::unwrap).collect()
}

#[test]
fn two_hundred_seeds_keep_every_promise() {
    let reports = run_all(0..200, Options::default());
    assert_eq!(reports.len(), 200);

    // A run in which nothing happens keeps every promise, too.
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in reports.iter().flat_map(|report| &report.kinds) {
        *kinds.entry(kind).or_default() += count;
    }
    let expected = [
        "auditor crash",
        "auditor crash mid-step",
        "catalog restored from an old copy",
        "clock jump",
        "crash",
        "crash mid-write",
        "cut file",
        "failing catalog",
        "failing fsync",
        "flipped bits",
        "full disk",
        "envelope of a deleted object found",
        "false list",
        "false witness",
        "hostile client",
        "kill",
        "lie: another set",
        "lie: bad reads",
        "lie: denies every challenge",
        "lie: dropped shards",
        "lie: endless refusal",
        "lie: false list",
        "lie: garbage",
        "lie: keeps no put",
        "lie: made-up fence",
        "lie: neighbour's answer",
        "lie: number beyond the catalog's",
        "lie: proves and does not serve",
        "lie: replay",
        "lie: silent to a secret",
        "lie: stale shard",
        "lie: wrong proof",
        "list by reading",
        "list by witness",
        "lost commitment list",
        "partition",
        "read across frames",
        "read across segments",
        "read of a range",
        "rotten journal, down",
        "rotten journal, running",
        "shard gone with its journal slot",
        "unreadable sector",
        "wiped disk",
    ];
    let absent: Vec<&str> = expected.into_iter().filter(|kind| !kinds.contains_key(kind)).collect();
    assert!(absent.is_empty(), "these never happened: {absent:?}");
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(sum(|report| report.harmed) > 200, "too little was damaged to tell anything");
    assert!(sum(|report| report.repairs) > 200, "too little was repaired to tell anything");
    assert!(sum(|report| report.reads) > 1_000, "too little was read back to tell anything");
    // Beyond help is what we broke ourselves beyond the promise: rare, or the plan is wrong.
    assert!(sum(|report| report.beyond) <= 10);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 41] {
        let (first, second) = (run(seed, Options::default()).unwrap(), run(seed, Options::default()).unwrap());
        assert_eq!(first, second);
    }
    assert_ne!(run(3, Options::default()).unwrap().digest, run(4, Options::default()).unwrap().digest);
}

#[test]
fn the_ceremonys_setup_keeps_the_promises_too() {
    run_all(1000..1002, Options { real_setup: true, loud: false });
}
