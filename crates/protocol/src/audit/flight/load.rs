//! From the catalog's rows to the set that is asked about: a new one, or a contained node's again.

use holdfast_types::Sequence;

use crate::{
    audit::task::{Ctx, Ending, Progress, Purpose},
    challenge,
    message::SetRef,
    model::{AuditRow, CommitmentState, Lane, Placement, Standing},
    set::{self, AuditSet},
    store::{ROWS_MAX, StoreReply},
};

use super::{Audit, Step};

impl Audit {
    pub(super) fn row_found(&mut self, reply: StoreReply, ctx: &mut Ctx<'_>) -> Progress {
        let StoreReply::Audits(mut rows) = reply else { return self.load_afresh(ctx) };
        let Some(row) = rows.pop().filter(|row| row.node == self.node) else { return self.load_afresh(ctx) };
        let from = row.runs.first().map_or(Sequence(0), |run| run.from);
        self.lane = row.lane;
        self.row = Some(row);
        self.recalled = true;
        self.go(Step::Load(from), ctx)
    }

    /// The contained challenge cannot be put again: another one takes its place, over what is there now.
    pub(super) fn load_afresh(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        (self.row, self.recalled, self.lane) = (None, false, Lane::Sample);
        self.rows.clear();
        self.go(Step::Load(Sequence(0)), ctx)
    }

    fn wants(&self, placement: &Placement) -> bool {
        let stands = match placement.standing {
            Standing::Good => true,
            // What was given up when the node fell silent may be there after all.
            Standing::Lost => self.purpose == Purpose::Probe && !self.absent.contains(&placement.sequence),
            // Until it is repaired, its loss is known.
            Standing::Damaged(_) => false,
        };
        let folds = matches!(placement.commitment, CommitmentState::Accepted { .. });
        stands && (self.lane != Lane::Fold || folds)
    }

    pub(super) fn rows_found(&mut self, page: Vec<Placement>, ctx: &mut Ctx<'_>) -> Progress {
        let full = page.len() >= ROWS_MAX as usize;
        let after = page.last().map(|last| Sequence(last.sequence.0 + 1)).filter(|_| full);
        if let Some(row) = self.row.clone() {
            let end = row.runs.last().map_or(Sequence(0), |run| run.to);
            self.rows.extend(page.into_iter().filter(|row_| set::holds(&row.runs, row_.sequence)));
            return match after.filter(|after| *after < end) {
                Some(after) => self.go(Step::Load(after), ctx),
                None => self.same_again(&row, ctx),
            };
        }
        let wanted = page.into_iter().filter(|placement| self.wants(placement)).collect();
        let (set, rest) = AuditSet::first_of(wanted);
        self.more = rest.or(after);
        match (set.is_empty(), self.more) {
            (true, Some(more)) => self.go(Step::Load(more), ctx),
            (true, None) => Progress::End(Ending::Empty),
            (false, _) => self.open(set, ctx),
        }
    }

    /// The same challenge, if the catalog still has the same set.
    fn same_again(&mut self, row: &AuditRow, ctx: &mut Ctx<'_>) -> Progress {
        let (set, rest) = AuditSet::first_of(std::mem::take(&mut self.rows));
        let folds = row.lane != Lane::Fold || set.members().iter().all(|member| member.list().is_some());
        self.set = set;
        if rest.is_some() || !folds || set::digest(&self.set.entries()) != row.set_digest {
            return self.go(Step::Drop, ctx);
        }
        let ask = self.whole(ctx.profile);
        self.ask(ask, ctx)
    }

    fn open(&mut self, set: AuditSet, ctx: &mut Ctx<'_>) -> Progress {
        let SetRef { runs, digest: set_digest, .. } = set::reference(&set.entries());
        let id = challenge::audit_id(ctx.cluster, &self.seed, &self.node, &set_digest);
        let (node, lane, seed, opened) = (self.node, self.lane, self.seed, ctx.now.wall);
        self.row = Some(AuditRow { id, node, lane, seed, runs, set_digest, opened });
        self.set = set;
        self.go(Step::Open, ctx)
    }
}
