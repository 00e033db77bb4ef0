//! What becomes of a shard that was written to its target: challenged, placed by compare-and-swap,
//! recorded; or failed, and then whose fault it was.

use holdfast_types::{Mono, ShardIndex};

use crate::{
    context::Context,
    message::{Challenge, NodeReply, Receipt, SendFailure},
    model::{CommitmentState, Placement, RepairRow, RepairState, Standing},
    repair::probe::{self, Unproven},
    store::StoreReply,
    upload,
};

use super::{Outcome, Run, Step};

/// Times a placement is tried again because somebody changed the row in between (a commitment, a verdict).
const PLACE_TRIES_MAX: u32 = 4;
/// Times a placement is asked for again, tick after tick, that the catalog fails at: ten seconds.
const PLACE_FAILURES_MAX: u32 = 100;

/// A shard written to its target.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) index: ShardIndex,
    pub(super) receipt: Receipt,
    /// Times its placement was tried again.
    tries: u32,
    /// Times the catalog failed at it.
    failures: u32,
    /// Times its node was too busy to prove it.
    refusals: u32,
    /// Until then its node is left alone.
    pub(super) rests_until: Mono,
}

impl Written {
    pub(super) fn new(index: ShardIndex, receipt: Receipt) -> Self {
        Self { index, receipt, tries: 0, failures: 0, refusals: 0, rests_until: Mono(0) }
    }
}

impl Run {
    /// On to the next shard that was written, to the next row that has to be recorded, or to the end.
    pub(super) fn next_written(&mut self, ctx: &mut Context<'_>) {
        if let Some(index) = self.rows.values().find(|row| row.state == RepairState::Failed).map(|row| row.index) {
            return self.record(index, RepairState::Failed, ctx);
        }
        let Some(written) = self.written.pop_front() else {
            return self.go(Step::Release, ctx);
        };
        let (Some(view), Some(row)) = (&self.view, self.rows.get(&written.index)) else {
            return self.next_written(ctx);
        };
        let fault = upload::receipt_fault(&view.segment, row.shard, row.to, &written.receipt, ctx.nodes);
        if let Some(fault) = fault {
            return self.blame(written.index, &fault.to_string(), ctx);
        }
        self.probes += 1;
        let number = self.lease.map_or(0, |lease| lease.fence.counter) << 16 | self.probes;
        let seed = probe::seed(&ctx.chance, &row.to, number);
        let (leaves, within) = (ctx.profile.sample_leaves, ctx.profile.answer_within);
        let challenge = probe::question(ctx.cluster, &written.receipt, seed, leaves, within);
        self.go(Step::Challenge(written, Box::new(challenge)), ctx);
    }

    pub(super) fn answered(
        &mut self,
        written: Written,
        asked: Box<Challenge>,
        reply: Result<NodeReply, SendFailure>,
        ctx: &mut Context<'_>,
    ) {
        let row = ctx.nodes.get(&written.receipt.node);
        match probe::claim(&asked, &written.receipt, ctx.profile.sample_leaves, row, reply) {
            Ok(claim) => self.go(Step::Verify(written, claim), ctx),
            // An audit may have its places. Attack: refusing what it cannot answer; it is the same question that waits, not
            // for ever, and never so long that a few such nodes hold up every repair.
            Err(Unproven::Busy(after)) if written.refusals < ctx.profile.refusals_max => {
                let wait = ctx.profile.refusal_wait(after).min(ctx.profile.answer_within);
                let (refusals, rests_until) = (written.refusals + 1, ctx.now.mono + wait);
                self.step = Step::Challenge(Written { refusals, rests_until, ..written }, asked);
            }
            Err(Unproven::Busy(_)) => self.blame(written.index, "the node is too busy to prove its new shard", ctx),
            Err(Unproven::Failed(reason)) => self.blame(written.index, &reason, ctx),
        }
    }

    /// The store failed us, and nobody knows whether it did what it was asked: every operation here can be asked again, at
    /// the next tick. A placement not for ever: what the catalog fails at may be what the node said, and others wait.
    pub(super) fn store_failed(&mut self) {
        let Step::Place(written) = &mut self.step else { return };
        written.failures += 1;
        if written.failures > PLACE_FAILURES_MAX {
            let written = written.clone();
            self.step = Step::Reread(written);
        }
    }

    /// The placement that the catalog shall have, with the version that it has now.
    pub(super) fn placement(&self, written: &Written) -> Option<Placement> {
        let (view, row) = (self.view.as_ref()?, self.rows.get(&written.index)?);
        let old = view.placements.iter().find(|placement| placement.index == written.index);
        Some(Placement {
            segment: self.segment,
            index: written.index,
            shard: row.shard,
            len: view.segment.shard_len,
            node: row.to,
            sequence: written.receipt.sequence,
            // The same bytes have the same commitments.
            commitment: old.map_or(CommitmentState::Pending, |old| old.commitment),
            standing: Standing::Good,
            version: old.map_or(0, |old| old.version),
            fence: row.fence,
        })
    }

    /// The row changed under the placement: it may be our own write whose reply got lost, a commitment, or another's repair.
    pub(super) fn reread(&mut self, written: Written, reply: StoreReply, ctx: &mut Context<'_>) {
        let StoreReply::Segment(view) = reply else {
            return self.fail(written.index, "the segment was deleted meanwhile", ctx);
        };
        let found = view.placements.iter().find(|placement| placement.index == written.index);
        let fence = self.rows.get(&written.index).map(|row| row.fence);
        let is_ours = |placement: &Placement| {
            let receipt = &written.receipt;
            Some(placement.fence) == fence && placement.node == receipt.node && placement.sequence == receipt.sequence
        };
        if found.is_some_and(is_ours) {
            return self.succeed(&written, ctx);
        }
        let good = found.is_some_and(|placement| placement.standing.is_good());
        self.view = Some(*view);
        if good {
            return self.fail(written.index, "the shard was found good meanwhile", ctx);
        }
        if written.failures > PLACE_FAILURES_MAX {
            return self.blame(written.index, "the catalog fails at the placement", ctx);
        }
        if written.tries >= PLACE_TRIES_MAX {
            return self.fail(written.index, "the catalog refuses the placement", ctx);
        }
        self.go(Step::Place(Written { tries: written.tries + 1, ..written }), ctx);
    }

    pub(super) fn succeed(&mut self, written: &Written, ctx: &mut Context<'_>) {
        self.ended.placed.extend(self.placement(written));
        if let Some(row) = self.rows.get_mut(&written.index) {
            row.bytes = written.receipt.len;
        }
        self.record(written.index, RepairState::Done, ctx);
    }

    pub(super) fn fail(&mut self, index: ShardIndex, reason: &str, ctx: &mut Context<'_>) {
        if let Some(row) = self.rows.get_mut(&index) {
            row.reason = reason.to_owned();
        }
        self.record(index, RepairState::Failed, ctx);
    }

    /// The target failed: the next repair goes elsewhere.
    pub(super) fn blame(&mut self, index: ShardIndex, reason: &str, ctx: &mut Context<'_>) {
        if let Some(row) = self.rows.get(&index) {
            self.ended.failed.insert(row.to);
        }
        self.fail(index, reason, ctx);
    }

    pub(super) fn record(&mut self, index: ShardIndex, state: RepairState, ctx: &mut Context<'_>) {
        match self.rows.remove(&index) {
            Some(row) => {
                if state == RepairState::Failed {
                    self.ended.outcome = Outcome::Failed;
                }
                let row = RepairRow { state, ended: Some(ctx.now.wall), ..row };
                self.go(Step::Record(Box::new(row)), ctx);
            }
            None => self.next_written(ctx),
        }
    }
}
