//! `cargo xtask bench-report`: every figure, beside its peer, in one run; `docs/performance.md` and one JSON object.
//!
//! ```text
//! benches/peers (a build of its own) ─► ratios ─┐
//! benches/audit_round ─► growth ────────────────┤
//! benches/reading ─► fold beside plain reads ───┼─► Report ─► docs/performance.md, docs/performance-*.svg, JSON
//! the shipped binary: 16 nodes, put, get ───────┘
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `build` | what is built, and where |
//! | `contests` | what `benches/peers` found |
//! | `cluster` | a cluster of processes, and what putting and getting takes |
//! | `rounds` | what `benches/audit_round` found |
//! | `reading` | what `benches/reading` found |
//! | `page`, `plot` | what is written |
//!
//! Children's output goes to standard error; only the object goes to standard output.

mod build;
mod cluster;
mod contests;
mod page;
mod plot;
mod reading;
mod rounds;

use std::{path::Path, time::Instant};

use serde_json::{Value, json};

/// Raised when a key of the object changes its meaning.
const SCHEMA: u32 = 1;

/// All that was measured, and where.
struct Report {
    quick: bool,
    commit: String,
    changed: bool,
    machine: String,
    contests: contests::Contests,
    cluster: cluster::Figures,
    rounds: rounds::Rounds,
    reading: reading::Reading,
    seconds: f64,
}

/// Builds, runs, writes. With `--json`, the last line of standard output is one object.
pub(crate) fn report(words: &[String]) -> Result<(), String> {
    let (mut quick, mut json) = (false, false);
    for word in words {
        match word.as_str() {
            "--quick" => quick = true,
            "--json" => json = true,
            other => return Err(format!("expected --quick or --json, got {other:?}")),
        }
    }
    let place = build::Place::find()?;
    let built = build::build(&place)?;
    let began = Instant::now();
    let contests = contests::run(&built, quick)?;
    let rounds = rounds::run(&built, quick)?;
    let reading = reading::run(&built, quick)?;
    let cluster = cluster::run(&place, &built, quick)?;
    let report = Report {
        quick,
        commit: build::commit(&place),
        changed: build::is_changed(&place),
        machine: build::machine(),
        contests,
        cluster,
        rounds,
        reading,
        seconds: began.elapsed().as_secs_f64(),
    };
    let object = report.object()?;
    write(&place.root.join("docs/performance.md"), &page::page(&report))?;
    write(&place.root.join("docs/performance-ratios.svg"), &plot::ratios(&report.contests))?;
    write(&place.root.join("docs/performance-growth.svg"), &plot::growth(&report.rounds))?;
    eprintln!("measured in {:.1} s; docs/performance.md is written", report.seconds);
    if json {
        println!("{object}");
    }
    report.rounds.judge()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

impl Report {
    /// The object that programs read. Every number in it was measured in this run.
    fn object(&self) -> Result<Value, String> {
        let contests = &self.contests;
        let cluster = &self.cluster;
        let fold = contests.row("fold_vs_blst")?;
        let mut sizes = serde_json::Map::new();
        for row in &contests.rows {
            let works = contests.rows.iter().filter(|other| other.key == row.key).map(|other| json!(other.work));
            sizes.insert(row.key.clone(), works.collect());
        }
        sizes.insert("fold_vs_disk".into(), json!(self.reading.bytes));
        sizes.insert("put_mb_per_s".into(), json!(cluster.large_bytes));
        sizes.insert("get_mb_per_s".into(), json!(cluster.large_bytes));
        sizes.insert("commit_backlog_core_seconds".into(), json!(cluster.backlog_bytes));
        sizes.insert(
            "small_puts_per_s".into(),
            json!({ "files": cluster.small_files, "bytes_each": cluster.small_len }),
        );
        Ok(json!({
            "schema": SCHEMA,
            "cpu_path": contests.cpu_path(),
            "commit": self.commit,
            "quick": self.quick,
            "sizes": sizes,
            "fold_vs_blst": contests.ratio("fold_vs_blst")?,
            "fold_gb_per_s": rounded(fold.rate()?),
            "commit_vs_ckzg": contests.ratio("commit_vs_ckzg")?,
            "prove_vs_blst": contests.ratio("prove_vs_blst")?,
            "verify_vs_blst": contests.ratio("verify_vs_blst")?,
            "batch_verify_gain": contests.ratio("batch_verify_gain")?,
            "rs_encode_vs_simd_accel": contests.ratio("rs_encode_vs_simd_accel")?,
            "rs_reconstruct_vs_simd_accel": contests.ratio("rs_reconstruct_vs_simd_accel")?,
            "merkle_vs_blake3": contests.ratio("merkle_vs_blake3")?,
            "pipeline_gb_per_s": rounded(contests.row("pipeline_gb_per_s")?.rate()?),
            "fold_vs_disk": rounded(self.reading.ratio()),
            "put_mb_per_s": rounded(cluster.put_mb_per_s),
            "get_mb_per_s": rounded(cluster.get_mb_per_s),
            "small_puts_per_s": rounded(cluster.small_puts_per_s),
            "commit_backlog_core_seconds": rounded(cluster.backlog_core_seconds),
        }))
    }
}

/// Three decimals: what is beyond is the machine's mood.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// A number that a child's object must have.
fn number(object: &Value, key: &str, whose: &str) -> Result<f64, String> {
    let found = object.get(key).and_then(Value::as_f64).filter(|number| number.is_finite());
    found.ok_or_else(|| {
        format!("expected a number {key:?} from {whose}, got {}", object.get(key).unwrap_or(&Value::Null))
    })
}

/// The last line that a child printed, as an object.
fn last_object(text: &str, whose: &str) -> Result<Value, String> {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|error| format!("expected an object as {whose}'s last line, got {line:?}: {error}"))
}
