//! The verdict: once more against the catalog, then durable, then told.

use holdfast_types::{AuditId, Sequence, VerdictId};

use crate::{
    audit::{
        findings::regained,
        task::{Ctx, Ending, Progress, Purpose},
    },
    model::{Fault, Lane, Outcome, Placement, Standing, Verdict},
    store::{ROWS_MAX, StandingChange},
};

use super::{Audit, Step};

impl Audit {
    pub(super) fn conclude(&mut self, outcome: Outcome, ending: Ending, ctx: &mut Ctx<'_>) -> Progress {
        if self.row.is_none() {
            return Progress::End(ending);
        }
        (self.outcome, self.ending) = (outcome, ending);
        match self.findings.span() {
            Some((first, _)) => self.go(Step::Recheck(first), ctx),
            None => self.go(Step::Void(0), ctx),
        }
    }

    pub(super) fn rechecked(&mut self, page: Vec<Placement>, ctx: &mut Ctx<'_>) -> Progress {
        let full = page.len() >= ROWS_MAX as usize;
        let after = page.last().map(|last| Sequence(last.sequence.0 + 1)).filter(|_| full);
        self.still.extend(page.into_iter().map(|placement| (placement.sequence, placement)));
        let last = self.findings.span().map_or(Sequence(0), |(_, last)| last);
        if let Some(after) = after.filter(|after| *after <= last) {
            return self.go(Step::Recheck(after), ctx);
        }
        self.findings.keep(&self.still);
        if self.findings.is_empty() && self.outcome == Outcome::Corrupt {
            // All that was wrong is no longer ours to ask for.
            self.outcome = Outcome::Inconclusive(Fault::Cancelled);
            self.ending = Ending::Inconclusive;
        }
        self.go(Step::Void(0), ctx)
    }

    pub(super) fn verdict(&self, outcome: Outcome, ctx: &Ctx<'_>) -> Verdict {
        let opened = self.row.as_ref().map_or(ctx.now.wall, |row| row.opened);
        Verdict {
            id: VerdictId(0),
            audit: self.row.as_ref().map_or(AuditId([0; 32]), |row| row.id),
            node: self.node,
            lane: self.lane,
            outcome,
            at: ctx.now.wall,
            took: ctx.now.wall.since(opened),
            shards: self.set.members().len() as u32,
            bytes: self.set.bytes(),
            exceptions: self.findings.exceptions(),
            evidence: self.evidence.clone(),
        }
    }

    pub(super) fn changes(&self) -> Vec<StandingChange> {
        let mut changes = self.findings.changes();
        if self.outcome == Outcome::Held && self.purpose == Purpose::Probe {
            // A sample does not speak for every byte; a fold does.
            let lost = self.set.members().iter().map(|member| &member.placement).filter(|placement| {
                self.lane == Lane::Fold && placement.standing == Standing::Lost && !self.findings.has(&placement.shard)
            });
            changes.extend(lost.map(regained));
        }
        changes
    }
}
