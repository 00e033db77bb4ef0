//! What a round of audits costs the auditor, and how that grows: every node of a cluster is asked for a fold over all its
//! shards and for a sample of their leaves. `cargo bench -p holdfast-benches --bench audit_round [-- --quick] [-- --json]`
//!
//! The machines that decide (`protocol::audit`), the catalog (SQLite, on a real file), verification, the nodes' answers
//! (`protocol::responder`, signed) and the protobuf that would travel are the real ones; the wire itself and the clock are
//! not: a round is over when nothing is left to do. Shards are short (one blob of 1000 bytes), so that a million of them
//! fit and the nodes' reading does not drown what is asked about here: what a *shard* costs the auditor.
//!
//! | file | holds |
//! |---|---|
//! | `contents` | shards that many nodes may hold: bytes, tree, commitments |
//! | `catalog` | a catalog with that many placements |
//! | `round` | one round, and the processor time of each of its steps |
//! | `growth` | the exponent of each step's growth, and the verdict on it |
//!
//! It fails when a step grows faster than n log n.

mod catalog;
mod contents;
mod growth;
mod round;

use std::{error::Error, time::Instant};

use serde_json::json;

/// (nodes, shards on each, shards of a segment): 10² to 10⁶ shards.
const SIZES: [(usize, usize, u16); 5] = [(10, 10, 10), (20, 50, 10), (100, 100, 50), (250, 400, 50), (1000, 1000, 50)];
/// Of them for `--quick`.
const QUICK: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut sizes, mut json, mut judged) = (&SIZES[..], false, true);
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--quick" => sizes = &SIZES[..QUICK],
            "--json" => json = true,
            // Whoever reads the object judges.
            "--no-judge" => judged = false,
            // What cargo says to every bench.
            "--bench" => {}
            other => return Err(format!("expected --quick, --json or --no-judge, got {other:?}").into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let longest = sizes.iter().map(|(_, shards, width)| shards + usize::from(*width)).max().unwrap_or(0);
    let contents = contents::Contents::make(longest);
    let mut rounds = Vec::new();
    for &(nodes, shards, width) in sizes {
        let began = Instant::now();
        let catalog = runtime.block_on(catalog::Catalog::fill(nodes, shards, width, &contents))?;
        let filled = began.elapsed();
        let found = runtime.block_on(round::Round::run(catalog, &contents))?;
        eprintln!(
            "{nodes} nodes × {shards} shards: {:.3} CPU seconds for {} verdicts, {} bytes on the wire (catalog filled in {:.1} s, all in {:.1} s)",
            found.auditor_seconds(),
            found.verdicts,
            found.wire_bytes,
            filled.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
        rounds.push(found);
    }
    let growths = growth::of(&rounds);
    if json {
        let rounds: Vec<_> = rounds.iter().map(round::Round::described).collect();
        let growths: Vec<_> =
            growths.iter().map(|growth| json!({ "step": growth.step, "exponent": growth.exponent })).collect();
        println!("{}", json!({ "rounds": rounds, "growth": growths, "exponent_max": growth::EXPONENT_MAX }));
    } else {
        growth::print(&rounds, &growths);
    }
    if judged { growth::judge(&growths) } else { Ok(()) }
}
