//! What a contest is, and how it is measured: one pinned thread, both sides in turn, the least time of each.
//!
//! The least of many rounds is what the code takes when nothing else is in the way; a mean would measure the neighbours.
//! Sides take turns, so that a slow spell of the machine meets both.

use std::{
    hint::black_box,
    io,
    time::{Duration, Instant},
};

use rustix::{
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

/// The same work, done by us and by a peer. Whoever makes one has asserted that both come to the same result.
pub trait Contest {
    /// What is done, with its sizes.
    fn work(&self) -> String;
    /// Who the peer is; `None` for a throughput that stands by itself.
    fn peer_name(&self) -> Option<String>;
    /// Bytes of input that one round takes, where a rate in bytes says something.
    fn bytes(&self) -> Option<u64>;
    /// One round of ours, in seconds.
    fn ours(&mut self) -> f64;
    /// One round of the peer's, in seconds; `NAN` where there is none.
    fn peer(&mut self) -> f64 {
        f64::NAN
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds at least.
    pub rounds: u32,
    /// And on until this much time went by.
    pub at_least: Duration,
}

/// What came out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// Least seconds of ours.
    pub ours: f64,
    /// Least seconds of the peer's.
    pub peer: f64,
    /// Rounds of each.
    pub rounds: u32,
}

/// Both sides in turn. The first round of each warms caches and tables and is not counted. What has no peer beside it that
/// a slow spell of the machine would meet as well is measured for four times as long, to outlast one.
pub fn measure(contest: &mut dyn Contest, effort: Effort) -> Measured {
    let has_peer = contest.peer_name().is_some();
    contest.ours();
    if has_peer {
        contest.peer();
    }
    let (began, times) = (Instant::now(), if has_peer { 1 } else { 4 });
    let mut best = Measured { ours: f64::MAX, peer: if has_peer { f64::MAX } else { f64::NAN }, rounds: 0 };
    while best.rounds < effort.rounds || began.elapsed() < effort.at_least * times {
        best.ours = best.ours.min(contest.ours());
        if has_peer {
            best.peer = best.peer.min(contest.peer());
        }
        best.rounds += 1;
    }
    best
}

/// Processor time that this process spends on `work`, in seconds.
pub fn timed<T>(work: impl FnOnce() -> T) -> f64 {
    let began = processor_time();
    black_box(work());
    processor_time() - began
}

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Pins this thread, and with it what it starts from now on, to the last processor it may run on (the first one serves
/// most interrupts). Answers its number.
pub fn pin() -> io::Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).ok_or(io::ErrorKind::NotFound)?;
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only)?;
    Ok(last)
}
