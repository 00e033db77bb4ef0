//! What `benches/audit_round` found: processor seconds of each step at each size, and how they grow.

use std::process::Command;

use serde_json::Value;

use super::{
    build::{self, Built},
    number,
};

/// One size.
pub(super) struct Round {
    pub(super) nodes: u64,
    pub(super) shards: u64,
    /// (step, processor seconds).
    pub(super) steps: Vec<(String, f64)>,
    pub(super) auditor_seconds: f64,
    pub(super) batched_seconds: f64,
    pub(super) nodes_seconds: f64,
    pub(super) wire_bytes: u64,
    pub(super) verdicts: u64,
}

/// All sizes, and each step's exponent over n log n; `None` where it was too quick to tell.
pub(super) struct Rounds {
    pub(super) rounds: Vec<Round>,
    pub(super) growth: Vec<(String, Option<f64>)>,
    pub(super) exponent_max: f64,
}

/// Runs them. The bench itself fails when something grows too fast, so it is asked for its figures first and judged by us.
pub(super) fn run(built: &Built, quick: bool) -> Result<Rounds, String> {
    let mut command = Command::new(&built.rounds);
    command.args(quick.then_some("--quick")).args(["--json", "--no-judge"]);
    let object = build::answer(&mut command, "audit_round")?;
    let list = |key: &str| object.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let whose = "audit_round";
    let step = |step: &Value| Some((step.get("step")?.as_str()?.to_owned(), step.get("seconds")?.as_f64()?));
    let round = |round: &Value| {
        Ok(Round {
            nodes: number(round, "nodes", whose)? as u64,
            shards: number(round, "shards", whose)? as u64,
            steps: round.get("steps").and_then(Value::as_array).into_iter().flatten().filter_map(step).collect(),
            auditor_seconds: number(round, "auditor_seconds", whose)?,
            batched_seconds: number(round, "folds_batched_seconds", whose)?,
            nodes_seconds: number(round, "nodes_seconds", whose)?,
            wire_bytes: number(round, "wire_bytes", whose)? as u64,
            verdicts: number(round, "verdicts", whose)? as u64,
        })
    };
    let growth = |growth: &Value| Some((growth.get("step")?.as_str()?.to_owned(), growth.get("exponent")?.as_f64()));
    let rounds: Vec<Round> = list("rounds").iter().map(round).collect::<Result<_, String>>()?;
    if rounds.is_empty() {
        return Err("expected rounds from audit_round, got none".into());
    }
    let growth = list("growth").iter().filter_map(growth).collect();
    Ok(Rounds { rounds, growth, exponent_max: number(&object, "exponent_max", whose)? })
}

impl Rounds {
    /// No step worse than n log n.
    pub(super) fn judge(&self) -> Result<(), String> {
        let steep: Vec<String> = self
            .growth
            .iter()
            .filter_map(|(step, exponent)| Some((step, exponent.filter(|exponent| *exponent > self.exponent_max)?)))
            .map(|(step, exponent)| format!("{step} grows as (n log n)^{exponent:.2}"))
            .collect();
        if steep.is_empty() { Ok(()) } else { Err(format!("a round of audits grows too fast: {}", steep.join("; "))) }
    }
}
