//! Changes of a node's place in life, as [`super::containment`] decides them: each is one
//! compare-and-swap on the node's row, tried again on the row as it is when somebody was faster. And
//! the knock: whether a node that has nothing to prove is there at all.

use std::collections::BTreeMap;

use holdfast_types::{AuditId, Millis, Mono, NodeId, VerdictId};

use crate::{
    effect::Notice,
    message::{NodeReply, NodeRequest},
    model::{Lane, NodeRow, Outcome, Verdict},
    store::{StoreOp, StoreReply},
};

use super::{
    containment::{self, Change},
    task::{Ctx, Ending, Input, Progress, Silence},
};

enum Step {
    /// The node's placements are given up, with the verdict that says so.
    Lose,
    /// That verdict again, with the exceptions that the store filled in.
    Read(VerdictId),
    Put,
    Reread,
}

/// One change of one node's row.
pub(super) struct Life {
    pub(super) node: NodeId,
    change: Change,
    silence: Silence,
    step: Step,
}

impl Life {
    /// The node was silent: contained, contained further, or given up.
    pub(super) fn silent(node: NodeId, silence: Silence, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let last = ctx.nodes.get(&node).is_some_and(|row| containment::is_last(row, ctx.profile));
        let (change, step) = match last {
            true => (Change::Suspend, Step::Lose),
            false => (Change::Silent { audit: silence.audit, outcome: silence.outcome }, Step::Put),
        };
        Self::start(node, change, silence, step, ctx)
    }

    /// The node spoke, and has its place back.
    pub(super) fn back(node: NodeId, change: Change, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let silence = Silence { audit: None, outcome: Outcome::Held, shards: 0, bytes: 0 };
        Self::start(node, change, silence, Step::Put, ctx)
    }

    fn start(node: NodeId, change: Change, silence: Silence, step: Step, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let mut task = Self { node, change, silence, step };
        let progress = task.wish(ctx);
        (task, progress)
    }

    /// Wishes for what the step waits for.
    pub(super) fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let Some(row) = ctx.nodes.get(&self.node) else { return Progress::End(Ending::Changed) };
        Progress::Wait(match self.step {
            Step::Lose => ctx.out.store(StoreOp::LoseNode { verdict: Box::new(self.verdict(row, ctx)) }),
            Step::Read(id) => {
                ctx.out.store(StoreOp::Verdicts { after: VerdictId(id.0 - 1), node: Some(self.node), limit: 1 })
            }
            Step::Put => match containment::apply(row, self.change, ctx.now.wall, ctx.profile) {
                Some((row, _)) => ctx.out.store(StoreOp::PutNode(Box::new(row))),
                None => return Progress::End(Ending::Changed),
            },
            Step::Reread => ctx.out.store(StoreOp::Nodes),
        })
    }

    /// What came for the step's wish. New rows go into `nodes` before this is called.
    pub(super) fn on(&mut self, input: Input, before: Option<NodeRow>, ctx: &mut Ctx<'_>) -> Progress {
        let Input::Stored(reply) = input else { return Progress::End(Ending::Changed) };
        self.step = match (&self.step, reply) {
            (Step::Lose, StoreReply::Verdict(id)) => Step::Read(id),
            (Step::Read(id), StoreReply::Verdicts(found)) => {
                let verdict = found.into_iter().find(|verdict| verdict.id == *id);
                if let Some(verdict) = verdict {
                    ctx.out.publish(Notice::Verdict(Box::new(verdict)));
                }
                Step::Put
            }
            (Step::Put, StoreReply::Nodes(rows)) => {
                if let Some(row) = rows.iter().find(|row| row.id == self.node) {
                    let reason =
                        before.and_then(|old| containment::apply(&old, self.change, ctx.now.wall, ctx.profile));
                    let reason = reason.map(|(_, reason)| reason).unwrap_or_default();
                    ctx.out.publish(Notice::NodeLife { node: self.node, life: row.life, reason });
                }
                return Progress::End(Ending::Changed);
            }
            // Somebody was faster: the change is made to the row as it is.
            (Step::Put, StoreReply::Conflict(_)) => Step::Reread,
            (Step::Reread, StoreReply::Nodes(_)) => Step::Put,
            (_, StoreReply::Failed(_)) => return Progress::Sleep(ctx.now.mono),
            _ => return Progress::End(Ending::Changed),
        };
        self.wish(ctx)
    }

    fn verdict(&self, row: &NodeRow, ctx: &Ctx<'_>) -> Verdict {
        let now = ctx.now.wall;
        let (audit, outcome, since) = match &row.containment {
            Some(containment) => (containment.audit, containment.outcome, containment.since),
            None => (self.silence.audit.unwrap_or(AuditId([0; 32])), self.silence.outcome, now),
        };
        Verdict {
            id: VerdictId(0),
            audit,
            node: self.node,
            lane: Lane::Sample,
            outcome,
            at: now,
            took: now.since(since),
            shards: self.silence.shards,
            bytes: self.silence.bytes,
            exceptions: Vec::new(),
            evidence: Vec::new(),
        }
    }
}

/// Takes the rows of a reply into what the machines know of the nodes.
pub(super) fn learn(nodes: &mut BTreeMap<NodeId, NodeRow>, reply: &StoreReply) {
    if let StoreReply::Nodes(rows) = reply {
        for row in rows {
            let newer = nodes.get(&row.id).is_none_or(|known| known.version <= row.version);
            if newer {
                nodes.insert(row.id, row.clone());
            }
        }
    }
}

/// Asks a node how it is: proves nothing but that somebody answers.
pub(super) struct Knock {
    pub(super) node: NodeId,
    sent: Mono,
}

impl Knock {
    /// Sends it.
    pub(super) fn begin(node: NodeId, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let mut task = Self { node, sent: ctx.now.mono };
        let progress = task.wish(ctx);
        (task, progress)
    }

    /// Sends it again.
    pub(super) fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        self.sent = ctx.now.mono;
        Progress::Wait(ctx.out.send(self.node, NodeRequest::Stat, ctx.profile.answer_within))
    }

    /// What came.
    pub(super) fn on(&self, input: Input) -> Progress {
        let outcome = match input {
            Input::Answered(Ok(NodeReply::Stat(stat))) if stat.node == self.node => {
                return Progress::End(Ending::Alive);
            }
            Input::Answered(Err(crate::message::SendFailure::Unreachable)) => Outcome::Unreachable,
            Input::Answered(_) | Input::Stored(_) | Input::Verified(_) => Outcome::Late,
        };
        Progress::End(Ending::Silent(Silence { audit: None, outcome, shards: 0, bytes: 0 }))
    }

    /// Until when an answer may come.
    pub(super) fn answer_due(&self, within: Millis) -> Mono {
        self.sent + within
    }
}
