//! `holdfast-peers [--quick] [--only KEY]`: every contest once, or those of one key, and one JSON object on standard output. `cargo xtask bench-report` is
//! who usually asks.
//!
//! `{"paths":{"proofs":…,"coding":…},"cpu":n,"rows":[{"key":…,"work":…,"peer_name":…|null,"bytes":n|null,"ours":s,"peer":s|null,"rounds":n}]}`,
//! times in seconds a round. Ratios are whoever asked's business.

use std::{error::Error, time::Duration};

use holdfast_peers::{Effort, Scale, contests, cpu_paths, measure, pin, proofs};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut scale, mut only) = (Scale { quick: false }, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => scale.quick = true,
            "--only" => only = Some(words.next().ok_or("expected a row's key behind --only")?),
            other => return Err(format!("expected --quick, --only KEY or nothing, got {other:?}").into()),
        }
    }
    let effort = if scale.quick {
        Effort { rounds: 2, at_least: Duration::from_millis(150) }
    } else {
        Effort { rounds: 15, at_least: Duration::from_secs(5) }
    };
    if only.is_none() {
        proofs::prepare();
    }
    let cpu = pin()?;
    let mut rows = Vec::new();
    for (key, make) in contests() {
        if only.as_ref().is_some_and(|only| only != key) {
            continue;
        }
        let mut contest = make(scale);
        let found = measure(&mut *contest, effort);
        let number = |seconds: f64| seconds.is_finite().then_some(seconds);
        eprintln!(
            "{}: {:.3} ms, peer {:.3} ms, ratio {:.2}, {} rounds",
            contest.work(),
            found.ours * 1e3,
            found.peer * 1e3,
            found.peer / found.ours,
            found.rounds
        );
        rows.push(json!({
            "key": key,
            "work": contest.work(),
            "peer_name": contest.peer_name(),
            "bytes": contest.bytes(),
            "ours": found.ours,
            "peer": number(found.peer),
            "rounds": found.rounds,
        }));
    }
    let (proofs, coding) = cpu_paths();
    println!("{}", json!({ "paths": { "proofs": proofs, "coding": coding }, "cpu": cpu, "rows": rows }));
    Ok(())
}
