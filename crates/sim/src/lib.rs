//! The deterministic cluster: the real cores and the real volume engine of a whole cluster in one
//! thread from one seed.
//!
//! ```text
//!            ┌───────────── queue: (time, number) ─► event ──────────────┐
//!            ▼                                                           │
//!   World ─► network (loss, delay, order, copies, cuts) ─► process ─► effects, answers
//!            │                                              auditor: protocol's core, MapStore as its disk
//!            │                                              nodes:   protocol's responder over volume over FakeDisk
//!            ▼                                              clients: protocol's put and get over dispersal
//!   promises, kept after every step ─► Failure, with the seed that shows it
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `plan` | what goes wrong when, drawn from the seed |
//! | `world`, `network` | the clock, the queue, calls and their ends |
//! | `auditor`, `api`, `jobs`, `lists` | the driver of the auditor's core: store, pool, calls of clients, repairs, commitments |
//! | `node`, `liar` | a storage node, and the ways in which one lies |
//! | `client`, `sealing`, `reading` | puts and gets, an honest and a hostile client |
//! | `faults`, `rot`, `old_copy` | what a fault does |
//! | `catalog`, `promises`, `records` | what must hold, looked at from outside |
//!
//! Left out: protobuf and TLS (wire and transport have tests of their own), threads (the cores have
//! none), SQLite (the contract suite binds it to the [`holdfast_protocol::store::MapStore`] used here).
//! The node's order of writes is that of the daemon, played by one call at a time.

#![forbid(unsafe_code)]

mod api;
mod auditor;
mod catalog;
mod chance;
mod client;
mod faults;
mod jobs;
mod liar;
mod lists;
mod mark;
mod message;
mod network;
mod node;
mod old_copy;
mod plan;
mod promises;
mod reading;
mod records;
mod rot;
mod sealing;
mod trace;
mod world;

use std::sync::OnceLock;

use holdfast_kzg::{Scalar, Setup};

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Commit and prove under the ceremony's setup, as the product does, instead of one whose secret is known. Slow.
    pub real_setup: bool,
    /// Print every event to standard error.
    pub loud: bool,
}

/// What a run came to when every promise was kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// BLAKE3 over the log of all events.
    pub digest: [u8; 32],
    /// Events.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Objects acknowledged.
    pub objects: u64,
    /// Verdicts.
    pub verdicts: u64,
    /// Placements that damage or lies hit.
    pub harmed: u64,
    /// Repairs that ended well.
    pub repairs: u64,
    /// Faults that were done.
    pub faults: u64,
    /// Segments that were harmed beyond their parity, and were not expected back.
    pub beyond: u64,
    /// Virtual milliseconds from the last fault until everything was whole.
    pub healed_ms: u64,
    /// Reads that came to their end, identical.
    pub reads: u64,
    /// What went wrong on purpose, by name.
    pub kinds: std::collections::BTreeMap<&'static str, u64>,
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// Which promise.
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
    /// The last events before.
    pub last: Vec<String>,
    /// BLAKE3 over the log until then.
    pub digest: [u8; 32],
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {} breaks a promise: {}", self.seed, self.promise)?;
        writeln!(f, "  {}", self.what)?;
        writeln!(f, "  the last events:")?;
        for line in &self.last {
            writeln!(f, "  {line}")?;
        }
        write!(f, "  replay: cargo xtask sim --seeds 1 --from {} --loud", self.seed)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed to its end.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, options: Options) -> Result<Report, Box<Failure>> {
    world::World::new(seed, options).run()
}

fn setup(options: Options) -> &'static Setup {
    static KNOWN: OnceLock<Setup> = OnceLock::new();
    if options.real_setup {
        return Setup::ethereum();
    }
    KNOWN.get_or_init(|| Setup::insecure_from_tau(Scalar::from_wide(&[0x5a; 64])))
}
