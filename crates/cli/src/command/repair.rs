//! `holdfast repair ls`: what was lost and where it stands again.

use clap::{Args, Subcommand};
use holdfast_protocol::model::{RepairRow, RepairState};
use holdfast_wire::convert::REPAIRS_PAGE_MAX;
use serde_json::{Value, json};

use crate::{connect::ClientArgs, failure::Failure, output, show};

/// Repairs, done and under way.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the newest repairs, newest first
    Ls(List),
}

#[derive(Debug, Args)]
struct List {
    /// How many
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(REPAIRS_PAGE_MAX)))]
    limit: u32,
    #[command(flatten)]
    client: ClientArgs,
}

impl Repair {
    pub(crate) fn wants_json(&self) -> bool {
        let What::Ls(it) = &self.what;
        it.client.json
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        let What::Ls(it) = self.what;
        let limit = it.limit;
        let repairs = it.client.ask(|auditor| async move { Ok(auditor.repairs(limit).await?) })?;
        if it.client.json {
            return output::done(json!({ "repairs": repairs.iter().map(described).collect::<Vec<_>>() }));
        }
        repairs.iter().try_for_each(|row| output::line(&told(row)))
    }
}

/// Seconds that a repair took, once it ended.
pub(crate) fn seconds(row: &RepairRow) -> Option<f64> {
    row.ended.map(|ended| ended.since(row.started).as_secs_f64())
}

fn state(row: &RepairRow) -> &'static str {
    match row.state {
        RepairState::Running => "running",
        RepairState::Done => "done",
        RepairState::Failed => "failed",
    }
}

fn told(row: &RepairRow) -> String {
    let way = match row.from {
        Some(from) if from == row.to => format!("in place on {from}"),
        Some(from) => format!("from {from} to {}", row.to),
        None => format!("to {}", row.to),
    };
    let took = seconds(row).map(|it| format!(" in {it:.1} s")).unwrap_or_default();
    let why = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
    format!(
        "{}  {:<7}  shard {} {way}, {}{took}{why}",
        show::time(row.started),
        state(row),
        row.shard,
        show::bytes(row.bytes)
    )
}

fn described(row: &RepairRow) -> Value {
    json!({
        "repair": row.id,
        "segment": row.segment,
        "index": row.index,
        "shard": row.shard,
        "from": row.from,
        "to": row.to,
        "state": state(row),
        "fence": { "epoch": row.fence.epoch, "counter": row.fence.counter },
        "started_unix_ms": row.started.0,
        "ended_unix_ms": row.ended.map(|at| at.0),
        "seconds": seconds(row),
        "bytes": row.bytes,
        "reason": row.reason,
    })
}
