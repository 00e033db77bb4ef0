//! One repair of one segment, a straight line with one request under way, beside it the renewal of
//! the lease:
//!
//! ```text
//! lease ─► read ─► announce ─► recover ─► for each shard written: challenge ─► verify ─► place ─► record ─► release
//!                                                                                  ▲        │ changed
//!                                                                                  └─ reread ◄┘
//! ```
//!
//! Whatever the process dies at, the catalog is right: a lease that nobody holds runs out, a shard
//! written and not placed is an orphan, a shard placed and not recorded is found at the next start.

mod written;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_types::{Mono, NodeId, SegmentId, ShardId, ShardIndex};

use crate::{
    context::Context,
    effect::{LeafClaim, LeavesJob, Notice, RecoverJob, RecoverOutcome, Token, Verification, VerifyJob},
    message::{Challenge, NodeReply, NodeRequest, SendFailure},
    model::{Lease, Placement, RepairRow, RepairState, SegmentView},
    repair::{
        plan::{self, Limits, PlanError},
        probe, row,
    },
    store::{StoreOp, StoreReply},
};

use written::Written;

/// A repair that takes longer than this many leases is given up: its driver has forgotten it.
const LEASES_MAX: u64 = 12;

/// What a run is told.
pub(super) enum Input {
    Stored(StoreReply),
    Answered(Result<NodeReply, SendFailure>),
    Verified(Verification),
    Recovered(RecoverOutcome),
}

/// Where a run stands after a step.
pub(super) enum Progress {
    /// Its request is under way, or will be wished for again at the next tick.
    On,
    /// Over.
    End(Ended),
}

/// What became of the segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Outcome {
    /// What was planned is done, or there was nothing to do.
    #[default]
    Complete,
    /// Some of it failed.
    Failed,
    /// There was no plan.
    Stuck(PlanError),
    /// Somebody else has the lease, or this auditor had in its last life: it has to run out.
    Leased,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ended {
    /// What became of the segment.
    pub(super) outcome: Outcome,
    /// Nodes that failed as targets.
    pub(super) failed: BTreeSet<NodeId>,
    /// Shards that were not what their nodes said.
    pub(super) suspects: Vec<(NodeId, ShardId)>,
    /// Shards that did not come when they were read, whatever the reason.
    pub(super) unserved: Vec<Placement>,
    /// Shards that stand where they were written.
    pub(super) placed: Vec<Placement>,
}

enum Step {
    Lease,
    Read,
    Announce(VecDeque<ShardIndex>),
    Recover,
    Challenge(Written, Box<Challenge>),
    Verify(Written, LeafClaim),
    Place(Written),
    Reread(Written),
    Record(Box<RepairRow>),
    Release,
}

/// One repair of one segment.
pub(super) struct Run {
    segment: SegmentId,
    step: Step,
    /// The request under way; `None`: wish again.
    waiting: Option<Token>,
    renewing: Option<Token>,
    renew_at: Mono,
    began: Mono,
    lease: Option<Lease>,
    view: Option<SegmentView>,
    job: Option<RecoverJob>,
    /// Rows that have not ended.
    rows: BTreeMap<ShardIndex, RepairRow>,
    written: VecDeque<Written>,
    ended: Ended,
    shunned: Shunned,
    probes: u64,
}

/// What a plan leaves out, as of the run's beginning.
pub(super) struct Shunned {
    /// Nodes that failed this segment as targets.
    pub(super) avoid: BTreeSet<NodeId>,
    /// Deletions that a node may be carrying out.
    pub(super) deleting: BTreeSet<(NodeId, ShardId)>,
    /// Shards that were read and are not there.
    pub(super) gone: BTreeSet<(NodeId, ShardId)>,
    /// Shards that were read and did not come.
    pub(super) unserved: BTreeSet<(NodeId, ShardId)>,
    /// Shards that their nodes withhold.
    pub(super) withheld: BTreeSet<(NodeId, ShardId)>,
}

impl Run {
    /// A run whose first wish is the lease.
    pub(super) fn new(segment: SegmentId, shunned: Shunned, now: Mono) -> Self {
        Self {
            segment,
            step: Step::Lease,
            waiting: None,
            renewing: None,
            renew_at: now,
            began: now,
            lease: None,
            view: None,
            job: None,
            rows: BTreeMap::new(),
            written: VecDeque::new(),
            ended: Ended::default(),
            shunned,
            probes: 0,
        }
    }

    /// Whether this run is about to write, or has written, this shard there.
    pub(super) fn targets(&self, node: NodeId, shard: ShardId) -> bool {
        self.rows.values().any(|row| row.to == node && row.shard == shard)
    }

    /// Whether the reply with this token is for this run.
    pub(super) fn owns(&self, token: Token) -> bool {
        self.waiting == Some(token) || self.renewing == Some(token)
    }

    /// The pool or a channel was full.
    pub(super) fn busy(&mut self, token: Token) {
        if self.waiting == Some(token) {
            self.waiting = None;
        }
        if self.renewing == Some(token) {
            self.renewing = None;
        }
    }

    /// Time went by: renews the lease, wishes again for what got lost.
    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        if ctx.now.mono.since(self.began).0 > LEASES_MAX * ctx.profile.lease.0 {
            self.began = ctx.now.mono;
            self.abandon("it took longer than its leases allow", ctx);
        }
        let writes = matches!(self.step, Step::Record(_) | Step::Release | Step::Lease);
        if let Some(lease) = self.lease.filter(|_| !writes && self.renewing.is_none() && ctx.now.mono >= self.renew_at)
        {
            let expires = ctx.now.wall + ctx.profile.lease;
            self.renewing = Some(ctx.out.store(StoreOp::RenewLease { lease, expires }));
        }
        self.wish(ctx);
    }

    /// Wishes for what the step waits for, unless that is under way.
    fn wish(&mut self, ctx: &mut Context<'_>) {
        if self.waiting.is_some() {
            return;
        }
        let token = match &self.step {
            // Its number might be one that a later life of this catalog gave out, and would hide that there was one.
            Step::Lease if !ctx.uncontested => return,
            Step::Lease => {
                let (segment, now, ttl) = (self.segment, ctx.now.wall, ctx.profile.lease);
                ctx.out.store(StoreOp::AcquireLease { segment, now, ttl })
            }
            Step::Read | Step::Reread(_) => ctx.out.store(StoreOp::Segment(self.segment)),
            Step::Announce(left) => match left.front().and_then(|index| self.rows.get(index)) {
                Some(row) => ctx.out.store(StoreOp::PutRepair(Box::new(row.clone()))),
                None => return self.go(Step::Recover, ctx),
            },
            Step::Recover => match &self.job {
                Some(job) => ctx.out.recover(job.clone()),
                None => return self.abandon("there is no plan", ctx),
            },
            Step::Challenge(written, _) if ctx.now.mono < written.rests_until => return,
            Step::Challenge(written, challenge) => {
                let request = NodeRequest::Challenge(challenge.clone());
                ctx.out.send(written.receipt.node, request, ctx.profile.answer_within)
            }
            Step::Verify(_, claim) => ctx.out.verify(VerifyJob::Leaves(LeavesJob { claims: vec![claim.clone()] })),
            Step::Place(written) => match self.placement(written) {
                Some(placement) => {
                    let expected = placement.version;
                    ctx.out.store(StoreOp::Place { placement: Box::new(placement), expected, at: ctx.now.wall })
                }
                None => return self.next_written(ctx),
            },
            Step::Record(row) => ctx.out.store(StoreOp::PutRepair(row.clone())),
            Step::Release => match self.lease {
                Some(lease) => ctx.out.store(StoreOp::ReleaseLease(lease)),
                None => return,
            },
        };
        self.waiting = Some(token);
    }

    fn go(&mut self, step: Step, ctx: &mut Context<'_>) {
        self.step = step;
        self.waiting = None;
        self.wish(ctx);
    }

    /// What came for `token`.
    pub(super) fn on(&mut self, token: Token, input: Input, ctx: &mut Context<'_>) -> Progress {
        if self.renewing == Some(token) {
            self.renewing = None;
            self.renewed(input, ctx);
            return Progress::On;
        }
        self.waiting = None;
        if matches!(input, Input::Stored(StoreReply::Failed(_))) {
            self.store_failed();
            return Progress::On;
        }
        let step = std::mem::replace(&mut self.step, Step::Release);
        match (step, input) {
            (Step::Lease, Input::Stored(reply)) => return self.leased(reply, ctx),
            (Step::Read, Input::Stored(StoreReply::Segment(view))) => self.planned(*view, ctx),
            (Step::Announce(mut left), Input::Stored(StoreReply::Done)) => {
                if let Some(row) = left.pop_front().and_then(|index| self.rows.get(&index)) {
                    ctx.out.publish(Notice::Repair(Box::new(row.clone())));
                }
                self.go(Step::Announce(left), ctx);
            }
            (Step::Recover, Input::Recovered(outcome)) => self.recovered(outcome, ctx),
            (Step::Challenge(written, asked), Input::Answered(reply)) => self.answered(written, asked, reply, ctx),
            (Step::Verify(written, _), Input::Verified(found)) => match found {
                Verification::Valid => self.go(Step::Place(written), ctx),
                Verification::Invalid { .. } | Verification::WrongCommitment { .. } | Verification::NoList { .. } => {
                    self.blame(written.index, "the node could not prove the shard that it has just signed for", ctx);
                }
            },
            (Step::Place(written), Input::Stored(reply)) => match reply {
                StoreReply::Done => self.succeed(&written, ctx),
                StoreReply::Conflict(_) => self.go(Step::Reread(written), ctx),
                _ => self.fail(written.index, "the segment was deleted meanwhile", ctx),
            },
            (Step::Reread(written), Input::Stored(reply)) => self.reread(written, reply, ctx),
            (Step::Record(row), Input::Stored(_)) => {
                ctx.out.publish(Notice::Repair(row));
                self.next_written(ctx);
            }
            (Step::Release, _) => return Progress::End(std::mem::take(&mut self.ended)),
            (Step::Read | Step::Announce(_) | Step::Recover | Step::Challenge(..) | Step::Verify(..), _)
            | (Step::Lease | Step::Place(_) | Step::Reread(_) | Step::Record(_), _) => {
                self.abandon("the segment was deleted meanwhile", ctx);
            }
        }
        Progress::On
    }

    fn leased(&mut self, reply: StoreReply, ctx: &mut Context<'_>) -> Progress {
        let StoreReply::Lease(lease) = reply else {
            let outcome = if reply == StoreReply::NotFound { Outcome::Complete } else { Outcome::Leased };
            return Progress::End(Ended { outcome, ..Ended::default() });
        };
        self.lease = Some(lease);
        self.renew_at = ctx.now.mono + holdfast_types::Millis(ctx.profile.lease.0 / 2);
        self.go(Step::Read, ctx);
        Progress::On
    }

    fn renewed(&mut self, input: Input, ctx: &mut Context<'_>) {
        match input {
            Input::Stored(StoreReply::Lease(lease)) => {
                self.lease = Some(lease);
                self.renew_at = ctx.now.mono + holdfast_types::Millis(ctx.profile.lease.0 / 2);
            }
            // Asked again at the next tick, while the lease lasts.
            Input::Stored(StoreReply::Failed(_)) => {}
            _ => {
                self.lease = None;
                self.abandon("its lease is gone: the segment was deleted, or somebody else repairs it", ctx);
            }
        }
    }

    fn planned(&mut self, view: SegmentView, ctx: &mut Context<'_>) {
        let Some(lease) = self.lease else { return self.abandon("its lease is gone", ctx) };
        let limits = Limits {
            nodes: ctx.nodes,
            avoid: &self.shunned.avoid,
            deleting: &self.shunned.deleting,
            gone: &self.shunned.gone,
            unserved: &self.shunned.unserved,
            withheld: &self.shunned.withheld,
            seed: probe::seed(&ctx.chance, &NodeId([0; 32]), lease.fence.counter),
        };
        match plan::plan(&view, limits, lease.fence) {
            Ok(job) => {
                self.rows = row::begun(&view, &job, ctx.now.wall);
                let order = self.rows.keys().copied().collect();
                self.view = Some(view);
                self.job = Some(job);
                self.go(Step::Announce(order), ctx);
            }
            Err(error) => {
                self.ended.outcome = if error == PlanError::Whole { Outcome::Complete } else { Outcome::Stuck(error) };
                self.go(Step::Release, ctx);
            }
        }
    }

    fn recovered(&mut self, outcome: RecoverOutcome, ctx: &mut Context<'_>) {
        let Some(job) = &self.job else { return self.abandon("there is no plan", ctx) };
        let bad = job.sources.iter().filter(|source| outcome.bad_sources.contains(&source.index));
        self.ended.suspects.extend(bad.map(|source| (source.node, source.shard)));
        let unserved: BTreeSet<ShardIndex> =
            outcome.bad_sources.iter().chain(&outcome.silent_sources).copied().collect();
        let placements = self.view.iter().flat_map(|view| &view.placements);
        self.ended.unserved.extend(placements.filter(|placement| unserved.contains(&placement.index)).cloned());
        let placed = outcome.placed.into_iter().filter(|(index, _)| self.rows.contains_key(index));
        self.written = placed.map(|(index, receipt)| Written::new(index, receipt)).collect();
        let mut reasons: BTreeMap<ShardIndex, String> = outcome.failed_targets.into_iter().collect();
        let held: BTreeSet<ShardIndex> = self.written.iter().map(|written| written.index).collect();
        let absent: Vec<ShardIndex> = self.rows.keys().filter(|index| !held.contains(index)).copied().collect();
        for index in absent {
            // A target is to blame only where it is named: where nothing could be decoded, no target failed.
            if let (true, Some(row)) = (reasons.contains_key(&index), self.rows.get(&index)) {
                self.ended.failed.insert(row.to);
            }
            let reason = reasons.remove(&index).filter(|reason| !reason.is_empty());
            if let Some(row) = self.rows.get_mut(&index) {
                row.reason = reason.unwrap_or_else(|| outcome.reason.clone());
                row.state = RepairState::Failed;
            }
        }
        self.next_written(ctx);
    }

    /// Gives up: every row that has not ended fails for this reason. A write to the catalog that is under way is waited
    /// for: whether a shard was placed is for the catalog to say.
    fn abandon(&mut self, reason: &str, ctx: &mut Context<'_>) {
        self.written.clear();
        let writing = match &self.step {
            Step::Place(written) | Step::Reread(written) => Some(Some(written.index)),
            Step::Record(_) | Step::Release => Some(None),
            Step::Lease | Step::Read | Step::Announce(_) | Step::Recover | Step::Challenge(..) | Step::Verify(..) => {
                None
            }
        };
        let kept = writing.flatten().filter(|_| self.waiting.is_some());
        for row in self.rows.values_mut().filter(|row| kept != Some(row.index)) {
            row.state = RepairState::Failed;
            row.reason = reason.to_owned();
        }
        if writing.is_some() && self.waiting.is_some() {
            return;
        }
        if let Some(token) = self.waiting.take() {
            ctx.out.cancel(token);
        }
        self.next_written(ctx);
    }

    /// Over without a lease to give back.
    pub(super) fn is_over(&mut self) -> Option<Ended> {
        let over = matches!(self.step, Step::Release) && self.lease.is_none() && self.waiting.is_none();
        over.then(|| std::mem::take(&mut self.ended))
    }
}
