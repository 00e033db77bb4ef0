//! Runs seeds of the simulated cluster: `cargo xtask sim [--seeds N] [--from S]`.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use clap::Parser;
use holdfast_sim::{Failure, Options, Report, run};

/// Runs seeds of the simulated cluster, each in one thread, and stops at the first broken promise.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seeds at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Prove under the ceremony's setup; some seconds a seed.
    #[arg(long)]
    real_setup: bool,
    /// Print every event.
    #[arg(long)]
    loud: bool,
    /// Go on after a failure, and list all of them at the end.
    #[arg(long)]
    keep_going: bool,
}

#[derive(Default)]
struct Tally {
    reports: Vec<Report>,
    failures: Vec<Failure>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (next, stop, tally) = (AtomicU64::new(arguments.from), AtomicBool::new(false), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| work(&arguments, &next, &stop, &tally));
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.failures.sort_by_key(|failure| failure.seed);
    summary(&tally.reports);
    if arguments.keep_going {
        tally
            .failures
            .iter()
            .for_each(|failure| println!("seed {}: {}: {}", failure.seed, failure.promise, failure.what));
    }
    match tally.failures.first() {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &Arguments, next: &AtomicU64, stop: &AtomicBool, tally: &Mutex<Tally>) {
    let options = Options { real_setup: arguments.real_setup, loud: arguments.loud };
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= arguments.from.saturating_add(arguments.seeds) || stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = run(seed, options);
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(report) => tally.reports.push(report),
            Err(failure) => {
                stop.store(!arguments.keep_going, Ordering::Relaxed);
                tally.failures.push(*failure);
            }
        }
        let done = tally.reports.len() + tally.failures.len();
        if done.is_multiple_of(50) {
            eprintln!("{done} seeds, {} broken", tally.failures.len());
        }
    }
}

fn summary(reports: &[Report]) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in reports.iter().flat_map(|report| &report.kinds) {
        *kinds.entry(kind).or_default() += count;
    }
    println!(
        "{} seeds kept every promise: {} events, {} faults, {} objects, {} verdicts, {} shards harmed, {} repaired, {} reads, \
         {} segments beyond help; healed within {:.1} s at the latest",
        reports.len(),
        sum(|r| r.events),
        sum(|r| r.faults),
        sum(|r| r.objects),
        sum(|r| r.verdicts),
        sum(|r| r.harmed),
        sum(|r| r.repairs),
        sum(|r| r.reads),
        sum(|r| r.beyond),
        reports.iter().map(|r| r.healed_ms).max().unwrap_or(0) as f64 / 1000.0,
    );
    for (kind, count) in kinds {
        println!("  {count:>6} {kind}");
    }
}
