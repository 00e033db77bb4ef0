//! Changes of a node's place in life, as [`super::containment`] decides them: each is one
//! compare-and-swap on the node's row, tried again on the row as it is when somebody was faster. And
//! the knock: whether a node that has nothing to prove is there at all.

use std::collections::BTreeMap;

use holdfast_types::{AuditId, Millis, Mono, NodeId, VerdictId};

use crate::{
    effect::Notice,
    message::{NodeReply, NodeRequest},
    model::{Lane, NodeLife, NodeRow, Outcome, Verdict},
    store::{StoreOp, StoreReply},
};

use super::{
    containment::{self, Change},
    task::{Ctx, Ending, Input, Progress, Silence},
};

enum Step {
    /// The silence changes nothing any more: it goes on record, and its audit is over.
    Record,
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
    /// The node was silent: contained, contained further, or given up. A second `routine` challenge that stayed
    /// unanswered beside the one that contained it is no further attempt.
    pub(super) fn silent(node: NodeId, silence: Silence, routine: bool, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let change = Change::Silent { audit: silence.audit, outcome: silence.outcome };
        let (change, step) = match ctx.nodes.get(&node) {
            Some(row) if row.life == NodeLife::Contained && routine => (change, Step::Record),
            Some(row) if containment::apply(row, change, ctx.now.wall, ctx.profile).is_none() => (change, Step::Record),
            Some(row) if containment::is_last(row, ctx.profile) => (Change::Suspend, Step::Lose),
            Some(_) => (change, Step::Put),
            None => (change, Step::Record),
        };
        Self::start(node, change, silence, step, ctx)
    }

    /// The node spoke, and has its place back.
    pub(super) fn back(node: NodeId, change: Change, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let silence = Silence { audit: None, lane: Lane::Sample, outcome: Outcome::Held, shards: 0, bytes: 0 };
        Self::start(node, change, silence, Step::Put, ctx)
    }

    fn start(node: NodeId, change: Change, silence: Silence, step: Step, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let mut task = Self { node, change, silence, step };
        let progress = task.wish(ctx);
        (task, progress)
    }

    /// Wishes for what the step waits for.
    pub(super) fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let row = ctx.nodes.get(&self.node);
        Progress::Wait(match self.step {
            Step::Record if self.silence.audit.is_none() => return Progress::End(Ending::Changed),
            Step::Record => {
                let verdict = Box::new(self.verdict(None, ctx));
                ctx.out.store(StoreOp::CloseAudit { verdict, changes: Vec::new() })
            }
            Step::Lose => ctx.out.store(StoreOp::LoseNode { verdict: Box::new(self.verdict(row, ctx)) }),
            Step::Read(id) => {
                ctx.out.store(StoreOp::Verdicts { after: VerdictId(id.0 - 1), node: Some(self.node), limit: 1 })
            }
            Step::Put => match row.and_then(|row| containment::apply(row, self.change, ctx.now.wall, ctx.profile)) {
                Some((row, _)) => ctx.out.store(StoreOp::PutNode(Box::new(row))),
                None => {
                    self.step = Step::Record;
                    return self.wish(ctx);
                }
            },
            Step::Reread => ctx.out.store(StoreOp::Nodes),
        })
    }

    /// What came for the step's wish. New rows go into `nodes` before this is called.
    pub(super) fn on(&mut self, input: Input, before: Option<NodeRow>, ctx: &mut Ctx<'_>) -> Progress {
        let Input::Stored(reply) = input else { return Progress::End(Ending::Changed) };
        self.step = match (&self.step, reply) {
            (Step::Record, StoreReply::Verdict(id)) => {
                let verdict = Verdict { id, ..self.verdict(None, ctx) };
                ctx.out.publish(Notice::Verdict(Box::new(verdict)));
                return Progress::End(Ending::Changed);
            }
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

    /// On the silence; on the whole containment where `row` has one.
    fn verdict(&self, row: Option<&NodeRow>, ctx: &Ctx<'_>) -> Verdict {
        let now = ctx.now.wall;
        let containment = row.and_then(|row| row.containment.as_ref());
        let kept = containment.map(|containment| containment.audit);
        Verdict {
            id: VerdictId(0),
            // The one that is open: what was answered before is closed.
            audit: self.silence.audit.or(kept).unwrap_or(AuditId([0; 32])),
            node: self.node,
            lane: self.silence.lane,
            outcome: containment.map_or(self.silence.outcome, |containment| containment.outcome),
            at: now,
            took: containment.map_or(Millis(0), |containment| now.since(containment.since)),
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
        let lane = Lane::Sample;
        Progress::End(Ending::Silent(Silence { audit: None, lane, outcome, shards: 0, bytes: 0 }))
    }

    /// Until when an answer may come.
    pub(super) fn answer_due(&self, within: Millis) -> Mono {
        self.sent + within
    }
}
