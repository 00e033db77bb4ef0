//! What a process finds when it starts: audits that another one had under way, and when each node
//! was judged last. The former end `Inconclusive`: who was slow, the node or the auditor that died,
//! nobody knows. Only a containment's own challenge stays open, to be put again.

use holdfast_types::{Millis, VerdictId};

use crate::{
    effect::Notice,
    model::{AuditRow, Fault, Outcome, Verdict},
    store::{StoreOp, StoreReply},
};

use super::{
    containment,
    task::{Ctx, Ending, Input, Progress},
};

/// Verdicts looked at, each with its evidence; a node that is in none of them is due at once.
const LATEST: u32 = 1024;

/// The steps of a start.
pub(super) struct Start {
    latest: Option<Vec<Verdict>>,
    open: Option<Vec<AuditRow>>,
    closing: Option<Verdict>,
}

impl Start {
    /// Begins with the verdicts.
    pub(super) fn begin(ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let mut task = Self { latest: None, open: None, closing: None };
        let progress = task.wish(ctx);
        (task, progress)
    }

    /// Wishes for what is still unknown, or closes the next audit.
    pub(super) fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        if self.latest.is_none() {
            return Progress::Wait(ctx.out.store(StoreOp::LatestVerdicts { node: None, limit: LATEST }));
        }
        let Some(open) = &mut self.open else { return Progress::Wait(ctx.out.store(StoreOp::OpenAudits)) };
        if self.closing.is_none() {
            open.retain(|row| !containment::keeps(ctx.nodes, row.node, row.id));
            self.closing = open.pop().map(|row| restarted(&row, ctx));
        }
        match &self.closing {
            None => Progress::End(Ending::Changed),
            Some(verdict) => {
                let verdict = Box::new(verdict.clone());
                Progress::Wait(ctx.out.store(StoreOp::CloseAudit { verdict, changes: Vec::new() }))
            }
        }
    }

    /// What came.
    pub(super) fn on(&mut self, input: Input, ctx: &mut Ctx<'_>) -> Progress {
        match input {
            Input::Stored(StoreReply::Verdicts(latest)) => self.latest = Some(latest),
            Input::Stored(StoreReply::Audits(open)) => self.open = Some(open),
            Input::Stored(StoreReply::Verdict(id)) => {
                if let Some(verdict) = self.closing.take() {
                    ctx.out.publish(Notice::Verdict(Box::new(Verdict { id, ..verdict })));
                }
            }
            Input::Stored(StoreReply::Conflict(_)) => self.closing = None,
            Input::Stored(_) | Input::Answered(_) | Input::Verified(_) => return Progress::Sleep(ctx.now.mono),
        }
        self.wish(ctx)
    }

    /// The verdicts found, newest first.
    pub(super) fn latest(&self) -> &[Verdict] {
        self.latest.as_deref().unwrap_or_default()
    }
}

fn restarted(row: &AuditRow, ctx: &Ctx<'_>) -> Verdict {
    Verdict {
        id: VerdictId(0),
        audit: row.id,
        node: row.node,
        lane: row.lane,
        outcome: Outcome::Inconclusive(Fault::Restarted),
        at: ctx.now.wall,
        took: Millis(ctx.now.wall.since(row.opened).0),
        shards: 0,
        bytes: 0,
        exceptions: Vec::new(),
        evidence: Vec::new(),
    }
}
