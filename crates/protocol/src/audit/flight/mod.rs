//! One audit, from the catalog's rows to the verdict.
//!
//! ```text
//! Load ─► Open ─► Ask ─► Verify ─┬─────────────────────────────────► (Recheck) ─► (Void) ─► Close ─► published
//!  the     the    the     the    │ false                              still the   commit-    the
//!  set     row    node    pool   └► Ask halves ─► Ask the judge's ─►  catalog's?  ments      verdict
//!          first                    (localise)    blobs (judge)
//! ```
//!
//! The row is durable before the challenge goes out, the verdict before it is told to anybody. A
//! silence ends the task and leaves the row open: containment puts the same challenge again
//! ([`Audit::recall`]). Nobody is called corrupt here unless Merkle says so: by a leaf that does not
//! verify under the shard's own name, or by the node's own signed word.

mod found;
mod load;
mod question;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{AuditId, Mono, NodeId, Seed, Sequence};

use crate::{
    effect::{Notice, VerifyJob},
    message::Challenge,
    model::{AuditRow, CommitmentState, Fault, Lane, Outcome, Placement, Verdict},
    set::AuditSet,
    store::{ROWS_MAX, StoreOp, StoreReply},
};

use super::{
    classify::{FoldSaid, Gap},
    findings::Findings,
    localise::Localise,
    task::{Ctx, Ending, Input, Progress, Purpose},
};

/// What is being waited for.
enum Step {
    Recall(AuditId),
    Load(Sequence),
    Drop,
    Open,
    Ask,
    Verify(VerifyJob),
    Recheck(Sequence),
    Void(usize),
    Close,
}

/// What the question is for.
enum Phase {
    Whole,
    Localise(Localise),
    /// Blobs of the set whose own fold is false, and what was false beyond the last question.
    Judge {
        blobs: Vec<u64>,
        unresolved: Vec<(u64, u64)>,
    },
}

/// One audit under way.
pub(super) struct Audit {
    pub(super) node: NodeId,
    pub(super) purpose: Purpose,
    pub(super) lane: Lane,
    seed: Seed,
    absent: BTreeSet<Sequence>,
    row: Option<AuditRow>,
    recalled: bool,
    set: AuditSet,
    more: Option<Sequence>,
    rows: Vec<Placement>,
    still: BTreeMap<Sequence, Placement>,
    step: Step,
    phase: Phase,
    challenge: Option<Challenge>,
    sent: Mono,
    said: Option<FoldSaid>,
    gaps: Vec<Gap>,
    refusals: u32,
    evidence: Vec<u8>,
    findings: Findings,
    /// Members whose commitments are void, and whether the node is acquitted by that.
    void: Vec<(Placement, Fault)>,
    outcome: Outcome,
    ending: Ending,
}

impl Audit {
    /// Challenges a node over its next set, from sequence `from` on.
    pub(super) fn begin(
        node: NodeId,
        (purpose, lane, from): (Purpose, Lane, Sequence),
        seed: Seed,
        absent: BTreeSet<Sequence>,
        ctx: &mut Ctx<'_>,
    ) -> (Self, Progress) {
        Self::start(node, purpose, lane, seed, absent, Step::Load(from), ctx)
    }

    /// Puts a contained node's challenge again.
    pub(super) fn recall(node: NodeId, audit: AuditId, seed: Seed, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        Self::start(node, Purpose::Contained, Lane::Sample, seed, BTreeSet::new(), Step::Recall(audit), ctx)
    }

    fn start(
        node: NodeId,
        purpose: Purpose,
        lane: Lane,
        seed: Seed,
        absent: BTreeSet<Sequence>,
        step: Step,
        ctx: &mut Ctx<'_>,
    ) -> (Self, Progress) {
        let mut audit = Self {
            node,
            purpose,
            lane,
            seed,
            absent,
            row: None,
            recalled: false,
            set: AuditSet::default(),
            more: None,
            rows: Vec::new(),
            still: BTreeMap::new(),
            step,
            phase: Phase::Whole,
            challenge: None,
            sent: ctx.now.mono,
            said: None,
            gaps: Vec::new(),
            refusals: 0,
            evidence: Vec::new(),
            findings: Findings::default(),
            void: Vec::new(),
            outcome: Outcome::Held,
            ending: Ending::Inconclusive,
        };
        let progress = audit.wish(ctx);
        (audit, progress)
    }

    /// Wishes for what the step waits for; again, when the first wish came to nothing.
    pub(super) fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let token = match &self.step {
            Step::Recall(audit) => ctx.out.store(StoreOp::Audit(*audit)),
            Step::Load(from) | Step::Recheck(from) => {
                ctx.out.store(StoreOp::PlacementsOfNode { node: self.node, from: *from, limit: ROWS_MAX })
            }
            Step::Open => match &self.row {
                Some(row) => ctx.out.store(StoreOp::OpenAudit(Box::new(row.clone()))),
                None => return Progress::End(Ending::Inconclusive),
            },
            Step::Ask => return self.send(ctx),
            Step::Verify(job) => ctx.out.verify(job.clone()),
            Step::Void(at) => match self.void.get(*at) {
                Some((placement, _)) => ctx.out.store(StoreOp::SetCommitment {
                    segment: placement.segment,
                    index: placement.index,
                    shard: placement.shard,
                    expected: placement.commitment,
                    to: CommitmentState::Pending,
                    at: ctx.now.wall,
                }),
                None => return self.go(Step::Close, ctx),
            },
            Step::Drop => {
                let outcome = Outcome::Inconclusive(Fault::Cancelled);
                let verdict = Box::new(Verdict { exceptions: Vec::new(), ..self.verdict(outcome, ctx) });
                ctx.out.store(StoreOp::CloseAudit { verdict, changes: Vec::new() })
            }
            Step::Close => {
                let verdict = Box::new(self.verdict(self.outcome, ctx));
                ctx.out.store(StoreOp::CloseAudit { verdict, changes: self.changes() })
            }
        };
        Progress::Wait(token)
    }

    fn go(&mut self, step: Step, ctx: &mut Ctx<'_>) -> Progress {
        self.step = step;
        self.wish(ctx)
    }

    /// What came for the step's wish.
    pub(super) fn on(&mut self, input: Input, ctx: &mut Ctx<'_>) -> Progress {
        match (&self.step, input) {
            (Step::Recall(_), Input::Stored(reply)) => self.row_found(reply, ctx),
            (Step::Load(_), Input::Stored(StoreReply::Placements(rows))) => self.rows_found(rows, ctx),
            (Step::Drop, Input::Stored(_)) => self.load_afresh(ctx),
            (Step::Open, Input::Stored(StoreReply::Done)) => {
                let ask = self.whole(ctx.profile);
                self.ask(ask, ctx)
            }
            // Nothing was asked yet: nothing needs an end.
            (Step::Load(_) | Step::Open, Input::Stored(_)) => Progress::End(Ending::Inconclusive),
            (Step::Ask, Input::Answered(reply)) => self.answered(reply, ctx),
            (Step::Verify(_), Input::Verified(found)) => self.verified(found, ctx),
            (Step::Recheck(_), Input::Stored(StoreReply::Placements(rows))) => self.rechecked(rows, ctx),
            (Step::Recheck(_), Input::Stored(_)) => {
                // Not knowing what the catalog says now, nobody is accused.
                self.findings = Findings::default();
                self.outcome = Outcome::Inconclusive(Fault::Internal);
                self.ending = Ending::Inconclusive;
                self.go(Step::Void(0), ctx)
            }
            (Step::Void(at), Input::Stored(reply)) => {
                let next = Step::Void(at + 1);
                if let (StoreReply::Done, Some((placement, _))) = (reply, self.void.get(*at)) {
                    let Placement { shard, node, sequence, .. } = *placement;
                    ctx.out.publish(Notice::Commitment { shard, node, sequence, accepted: false });
                }
                self.go(next, ctx)
            }
            (Step::Close, Input::Stored(StoreReply::Verdict(id))) => {
                let verdict = Verdict { id, ..self.verdict(self.outcome, ctx) };
                ctx.out.publish(Notice::Verdict(Box::new(verdict)));
                Progress::End(self.ending.clone())
            }
            (Step::Close, Input::Stored(StoreReply::Failed(_))) => Progress::Sleep(ctx.now.mono),
            // It is closed already: by this very operation, whose answer was lost.
            (Step::Close, Input::Stored(_)) => Progress::End(self.ending.clone()),
            _ => self.conclude(Outcome::Inconclusive(Fault::Internal), Ending::Inconclusive, ctx),
        }
    }

    /// Shards that the node signed not to have.
    pub(super) fn absent(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.findings.absent()
    }

    /// Whether the verdict has nothing against any shard.
    pub(super) fn held_all(&self) -> bool {
        self.outcome == Outcome::Held && self.findings.is_empty()
    }

    /// Our clock jumped, or we slept: how long the node took is not known any more.
    pub(super) fn interrupt(&mut self, ctx: &mut Ctx<'_>) -> Option<Progress> {
        if !matches!(self.step, Step::Ask) {
            return None;
        }
        if self.recalled {
            // The containment's own challenge stays open, and is put again.
            return Some(Progress::End(Ending::Inconclusive));
        }
        Some(self.conclude(Outcome::Inconclusive(Fault::Restarted), Ending::Inconclusive, ctx))
    }

    /// Until when an answer may come, while one is waited for.
    pub(super) fn answer_due(&self) -> Option<Mono> {
        let challenge = self.challenge.as_ref().filter(|_| matches!(self.step, Step::Ask))?;
        Some(self.sent + challenge.deadline)
    }
}
