//! `holdfast audit run|ls|watch`: what the nodes were asked, and what was judged.

use std::{collections::BTreeSet, time::Duration};

use clap::{Args, Subcommand};
use holdfast_protocol::model::{Exception, Lane, Outcome};
use holdfast_types::{NodeId, VerdictId};
use holdfast_wire::convert::{ListVerdicts, VERDICTS_PAGE_MAX, VerdictView, WatchVerdicts};
use serde_json::{Value, json};

use crate::{
    connect::{self, ClientArgs},
    failure::Failure,
    output, show,
    words::{cause, fault, lane, outcome},
};

/// Audit nodes now, list and watch verdicts.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Challenge one node, or all, now, and wait for the verdicts
    ///
    /// Exits 0 only when every node that was asked has proven what it holds, by a fold: 1 when one was found not to hold what it
    /// should, did not answer, or has no verdict yet when the waiting ends, and when a node was asked for too short a time
    /// ago (once in ten minutes with the profile production).
    Run(Run),
    /// List the newest verdicts, newest first
    Ls(List),
    /// Print verdicts as they come, until interrupted
    Watch(Watch),
}

#[derive(Debug, Args)]
struct Run {
    /// The node, n-…; all when absent
    node: Option<NodeId>,
    /// Seconds to wait for the verdicts
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct List {
    /// Of this node only, n-…
    #[arg(long)]
    node: Option<NodeId>,
    /// How many
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=i64::from(VERDICTS_PAGE_MAX)))]
    limit: u32,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct Watch {
    /// Of this node only, n-…
    #[arg(long)]
    node: Option<NodeId>,
    /// After this verdict; from now on when absent
    #[arg(long, value_name = "VERDICT")]
    after: Option<i64>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Audit {
    pub(crate) fn wants_json(&self) -> bool {
        match &self.what {
            What::Run(it) => it.client.json,
            What::Ls(it) => it.client.json,
            What::Watch(it) => it.client.json,
        }
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Run(it) => it.run(),
            What::Ls(it) => it.run(),
            What::Watch(it) => it.run(),
        }
    }
}

impl Run {
    fn run(self) -> Result<(), Failure> {
        let (node, wait, json) = (self.node, Duration::from_secs(self.wait), self.client.json);
        let ended = self.client.ask(|auditor| async move {
            let run = auditor.run_audit(node).await?;
            let mut open: BTreeSet<NodeId> = run.nodes.into_iter().collect();
            let too_soon: BTreeSet<NodeId> = run.too_soon.into_iter().collect();
            let known = auditor.nodes().await?.into_iter().map(|known| known.contact.id);
            let idle: BTreeSet<NodeId> = known.filter(|id| node.is_none_or(|node| *id == node)).collect();
            let idle: BTreeSet<NodeId> = &(&idle - &open) - &too_soon;
            if !json && !idle.is_empty() {
                let what = "of these nodes the catalog knows no whole shard: they have nothing to prove";
                output::note(&format!("{what}: {}", names(&idle)));
            }
            if !json && !too_soon.is_empty() {
                let wait = show::span(run.wait);
                output::note(&format!("asked for too short a time ago, again in {wait}: {}", names(&too_soon)));
            }
            let mut watch = auditor.watch_verdicts(WatchVerdicts { after: run.after, node });
            let mut verdicts = Vec::new();
            let all = async {
                while !open.is_empty() {
                    let view = watch.next().await?;
                    // A node is done with its fold, or with a verdict against it: a sample that held says nothing of the
                    // bytes that were not in it.
                    if view.verdict.lane == Lane::Fold || view.verdict.outcome != Outcome::Held {
                        open.remove(&view.verdict.node);
                    }
                    if !json {
                        output::line(&told(&view))?;
                    }
                    verdicts.push(view);
                }
                Ok::<(), Failure>(())
            };
            if let Ok(ended) = tokio::time::timeout(wait, all).await {
                ended?;
            }
            Ok(Ended { verdicts, open, idle, too_soon })
        })?;
        ended.tell(json)
    }
}

fn names(nodes: &BTreeSet<NodeId>) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

/// What came of it in the time there was.
struct Ended {
    verdicts: Vec<VerdictView>,
    /// Nodes that were asked, and have not proven all that they hold nor failed to.
    open: BTreeSet<NodeId>,
    /// Nodes that have nothing to prove.
    idle: BTreeSet<NodeId>,
    /// Nodes that were not asked this time.
    too_soon: BTreeSet<NodeId>,
}

impl Ended {
    fn tell(&self, json: bool) -> Result<(), Failure> {
        let Self { verdicts, open, idle, too_soon } = self;
        let why = self.why();
        if json {
            let verdicts: Vec<_> = verdicts.iter().map(described).collect();
            let mut object = json!({
                "ok": why.is_none(), "verdicts": verdicts, "without_verdict": open, "nothing_to_prove": idle,
                "asked_too_soon": too_soon,
            });
            if let Some(why) = &why {
                object["error"] = json!(why);
            }
            output::object(&object)?;
        } else {
            let nodes: BTreeSet<NodeId> = verdicts.iter().map(|view| view.verdict.node).collect();
            let bad = verdicts.iter().filter(|view| !is_held(view)).count();
            output::line(&format!("{} verdicts on {} nodes, {bad} of them not held", verdicts.len(), nodes.len()))?;
        }
        why.map_or(Ok(()), |why| Err(Failure::Told(why)))
    }

    /// Why this is no success.
    fn why(&self) -> Option<String> {
        let bad = self.verdicts.iter().filter(|view| !is_held(view)).count();
        if bad > 0 {
            return Some(format!("{bad} verdicts are not `held`; `holdfast repair ls` shows what is done about it"));
        }
        if !self.open.is_empty() {
            let (number, names) = (self.open.len(), names(&self.open));
            return Some(format!(
                "{number} nodes without a verdict over every byte in that time: {names}; ask for more with --wait, and see `holdfast status`: shards whose commitments are pending can only be sampled"
            ));
        }
        (!self.too_soon.is_empty())
            .then(|| format!("not asked, because they were too short a time ago: {}", names(&self.too_soon)))
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let list = ListVerdicts { after: VerdictId(0), node: self.node, limit: self.limit, latest: true };
        let verdicts = self.client.ask(|auditor| async move { Ok(auditor.verdicts(list).await?) })?;
        if self.client.json {
            return output::done(json!({ "verdicts": verdicts.iter().map(described).collect::<Vec<_>>() }));
        }
        verdicts.iter().try_for_each(|view| output::line(&told(view)))
    }
}

impl Watch {
    fn run(self) -> Result<(), Failure> {
        let (node, after, json) = (self.node, self.after, self.client.json);
        self.client.ask(|auditor| async move {
            let after = match after {
                Some(after) => VerdictId(after),
                None => connect::newest(&auditor).await?,
            };
            let mut watch = auditor.watch_verdicts(WatchVerdicts { after, node });
            loop {
                let view = watch.next().await?;
                if json { output::object(&described(&view))? } else { output::line(&told(&view))? }
            }
        })
    }
}

/// Whether a verdict says that all asked for is there.
pub(crate) fn is_held(view: &VerdictView) -> bool {
    view.verdict.outcome == Outcome::Held && view.exceptions_total == 0
}

fn told(view: &VerdictView) -> String {
    let verdict = &view.verdict;
    let why = match verdict.outcome {
        Outcome::Inconclusive(why) => format!(" ({})", fault(why)),
        _ => String::new(),
    };
    let mut text = format!(
        "{}  #{}  {}  {:<6}  {}{why}  {} shards, {}, {:.1} s",
        show::time(verdict.at),
        verdict.id,
        verdict.node,
        lane(verdict.lane),
        outcome(verdict.outcome),
        verdict.shards,
        show::bytes(verdict.bytes),
        verdict.took.as_secs_f64()
    );
    for exception in &verdict.exceptions {
        text.push_str(&format!("\n    {}", told_exception(exception)));
    }
    let cut = view.exceptions_total - verdict.exceptions.len() as u64;
    if cut > 0 {
        text.push_str(&format!("\n    and {cut} more shards"));
    }
    text
}

fn told_exception(exception: &Exception) -> String {
    let cause = exception.cause.map(|it| format!(" ({})", cause(it))).unwrap_or_default();
    let range = exception.range.map(|range| format!(", bytes {range}")).unwrap_or_default();
    format!("{}{cause}: shard {}{range}", outcome(exception.outcome), exception.shard)
}

fn described(view: &VerdictView) -> Value {
    let verdict = &view.verdict;
    let exceptions: Vec<Value> = verdict
        .exceptions
        .iter()
        .map(|it| {
            json!({
                "shard": it.shard,
                "segment": it.segment,
                "index": it.index,
                "outcome": outcome(it.outcome),
                "cause": it.cause.map(cause),
                "range": it.range.map(show::pair),
            })
        })
        .collect();
    json!({
        "verdict": verdict.id,
        "audit": verdict.audit,
        "node": verdict.node,
        "lane": lane(verdict.lane),
        "outcome": outcome(verdict.outcome),
        "fault": match verdict.outcome { Outcome::Inconclusive(why) => Some(fault(why)), _ => None },
        "at_unix_ms": verdict.at.0,
        "took_ms": verdict.took.0,
        "shards": verdict.shards,
        "bytes": verdict.bytes,
        "exceptions": exceptions,
        "exceptions_total": view.exceptions_total,
        "evidence_blake3": view.evidence.map(|root| root.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::model::Verdict;
    use holdfast_types::{AuditId, Millis, Wall};

    use super::*;

    fn verdict(outcome: Outcome) -> VerdictView {
        let verdict = Verdict {
            id: VerdictId(1),
            audit: AuditId([1; 32]),
            node: NodeId([1; 32]),
            lane: Lane::Fold,
            outcome,
            at: Wall(0),
            took: Millis(1),
            shards: 1,
            bytes: 1,
            exceptions: vec![],
            evidence: vec![],
        };
        VerdictView { verdict, exceptions_total: 0, evidence: None }
    }

    #[test]
    fn only_nodes_that_proved_everything_are_a_success() {
        let one: BTreeSet<NodeId> = [NodeId([1; 32])].into();
        let none = BTreeSet::new;
        let ended = |verdicts, open, too_soon| Ended { verdicts, open, idle: none(), too_soon }.why();
        assert_eq!(ended(vec![verdict(Outcome::Held)], none(), none()), None);
        assert!(ended(vec![verdict(Outcome::Late)], none(), none()).is_some());
        assert!(ended(vec![], one.clone(), none()).is_some(), "nobody was judged");
        assert!(ended(vec![verdict(Outcome::Held)], one.clone(), none()).is_some(), "by a sample, say");
        assert!(ended(vec![], none(), one).is_some());
    }
}
