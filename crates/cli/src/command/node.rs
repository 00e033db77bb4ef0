//! `holdfast node`: the storage daemon; `holdfast node ls|show`: the cluster's nodes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_node::Checked;
use holdfast_types::NodeId;
use holdfast_wire::convert::{NodeBacklog, NodeHolding, NodeView};
use serde_json::{Value, json};

use crate::{connect::ClientArgs, daemon::DaemonArgs, failure::Failure, output, show};

/// Run a storage node, or look at the cluster's nodes.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "The daemon's configuration is described in deploy/config/node.toml.\n\
        SIGTERM or Ctrl-C drains for at most 5 s; a second signal ends at once. What was acknowledged is durable."
)]
pub(crate) struct Node {
    /// Run a node with this configuration (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End with this process, however it ends
    #[arg(long, value_name = "PID", hide = true)]
    die_with_parent: Option<i32>,
    #[command(subcommand)]
    look: Option<Look>,
}

#[derive(Debug, Subcommand)]
enum Look {
    /// List the nodes
    Ls(List),
    /// Show one node and what it holds
    Show(Show),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Show {
    /// The node's id, n-…
    node: NodeId,
    #[command(flatten)]
    client: ClientArgs,
}

impl Node {
    pub(crate) fn wants_json(&self) -> bool {
        match &self.look {
            Some(Look::Ls(it)) => it.client.json,
            Some(Look::Show(it)) => it.client.json,
            None => false,
        }
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        match (self.look, self.config) {
            (Some(Look::Ls(it)), _) => it.run(),
            (Some(Look::Show(it)), _) => it.run(),
            (None, Some(config)) => {
                let checked = Checked::load(&config).map_err(|error| Failure::Usage(error.to_string()))?;
                let daemon = DaemonArgs { config, die_with_parent: self.die_with_parent };
                daemon.run(|shutdown| async { Ok(holdfast_node::run(checked, shutdown).await?) })
            }
            (None, None) => Err(Failure::Usage("expected --config FILE to run a node, or ls, or show NODE".into())),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let nodes = self.client.ask(|auditor| async move { Ok(auditor.nodes().await?) })?;
        if self.client.json {
            return output::done(json!({ "nodes": nodes.iter().map(described).collect::<Vec<_>>() }));
        }
        let row = |node: &NodeView| {
            vec![
                node.contact.id.to_string(),
                node.zone.to_string(),
                life(node),
                show::bytes(node.used),
                show::bytes(node.capacity),
                node.backlog.map_or_else(String::new, |owes| if owes.shards == 0 { "-".into() } else { owed(&owes) }),
                node.judged.map_or_else(|| "never".into(), show::time),
                node.contact.addresses.join(" "),
            ]
        };
        let rows: Vec<_> = nodes.iter().map(row).collect();
        output::table(&["NODE", "ZONE", "LIFE", "USED", "OFFERS", "COMMITMENTS OWED", "JUDGED", "ADDRESS"], &rows)
    }
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let id = self.node;
        let (node, holding) = self.client.ask(|auditor| async move { Ok(auditor.node(id).await?) })?;
        let NodeHolding { shards, good, damaged, lost, pending_commitments, pending_bytes } = holding;
        if self.client.json {
            let mut object = described(&node);
            object["holding"] = json!({
                "shards": shards, "good": good, "damaged": damaged, "lost": lost,
                "pending_commitments": pending_commitments, "pending_bytes": pending_bytes,
            });
            return output::done(object);
        }
        let silence = node.containment.as_ref().map_or_else(String::new, |it| {
            format!(
                "silent since {}, asked again {} times, next at {}",
                show::time(it.since),
                it.attempts,
                show::time(it.next)
            )
        });
        let rows = [
            ("node", node.contact.id.to_string()),
            ("key", node.contact.key.to_string()),
            ("zone", node.zone.to_string()),
            ("operator", node.operator.clone()),
            ("addresses", node.contact.addresses.join(" ")),
            ("life", life(&node)),
            ("silence", silence),
            ("volume", format!("{}, incarnation {}", node.volume, node.incarnation)),
            ("space", format!("{} of {}", show::bytes(node.used), show::bytes(node.capacity))),
            ("shards", format!("{shards}: {good} good, {damaged} damaged, {lost} lost")),
            ("commitments", pending(node.backlog, pending_commitments)),
            ("joined", show::time(node.joined)),
            ("seen", show::time(node.seen)),
            ("judged", node.judged.map_or_else(|| "never".into(), show::time)),
        ];
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(key, text)| vec![key.to_owned(), text])
            .collect();
        output::table(&["", ""], &rows)
    }
}

/// What is not proven in full yet, and what that will cost.
fn pending(backlog: Option<NodeBacklog>, shards: u64) -> String {
    match backlog {
        _ if shards == 0 => "none pending".into(),
        Some(owes) => format!("{} pending", owed(&owes)),
        None => format!("{} pending", show::count(shards, "shard")),
    }
}

fn owed(owes: &NodeBacklog) -> String {
    let (shards, bytes) = (show::count(owes.shards, "shard"), show::bytes(owes.bytes));
    format!("{shards}, {bytes}, about {} of one core", show::span(owes.core_time))
}

fn life(node: &NodeView) -> String {
    format!("{:?}", node.life).to_lowercase()
}

fn described(node: &NodeView) -> Value {
    json!({
        "node": node.contact.id,
        "key": node.contact.key.to_string(),
        "addresses": node.contact.addresses,
        "zone": node.zone,
        "operator": node.operator,
        "life": life(node),
        "volume": node.volume,
        "incarnation": node.incarnation,
        "capacity": node.capacity,
        "used": node.used,
        "backlog": node.backlog.map(|owes| json!({
            "shards": owes.shards, "bytes": owes.bytes, "core_ms": owes.core_time.0,
        })),
        "joined_unix_ms": node.joined.0,
        "seen_unix_ms": node.seen.0,
        "judged_unix_ms": node.judged.map(|at| at.0),
        "containment": node.containment.as_ref().map(|it| json!({
            "audit": it.audit, "since_unix_ms": it.since.0, "attempts": it.attempts, "next_unix_ms": it.next.0,
        })),
    })
}
