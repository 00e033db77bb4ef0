//! Commitments of shards that have none. The node computes them; its client's witness judges them, once; where there is
//! none, or it cannot, the auditor judges by the bytes.
//!
//! ```text
//! pending ─► Claim ─► kept list ─┬─ fresh witness ─► Burn, durably ─► Reveal ─┬─ opens to y ─► Set client-witness
//!   ▲  not yet: wait             │                                            │ anything else
//!   └──────┘                     └─ none, or burnt before ────────────────────┴─► Read, judge by the bytes ─► Set auditor-read
//! ```
//!
//! The order is what the secret is worth: the list is claimed and kept, *then* the witness is burnt with its digest, durably
//! and by compare-and-swap, *then* the secret goes out. Nobody who knows the secret can still choose the list, not even after
//! a crash at any of these points: a witness found burnt judges nothing any more.
//! Until a list is accepted the sample lane audits the shard.

mod answered;
mod debt;
mod record;
mod shard;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_types::{Millis, Mono, NodeId, ShardId};

pub(crate) use self::debt::Debts;
use self::{
    record::Records,
    shard::{Key, Next, Shard},
    waiting::Waiting,
};
use crate::{
    backoff::Backoff,
    context::Context,
    effect::{CommitJob, CommitOutcome, HandJob, Notice, Token, job_within, read_within},
    message::SendFailure,
    model::{CommitmentState, Placement, Provenance},
    store::{StoreOp, StoreReply},
};

/// Between two looks when nothing is pending.
const LOOK_EVERY: Millis = Millis::from_secs(1);
/// Placements looked at together.
const PAGE: u32 = 128;
/// After trouble of our own.
const PAUSE: Millis = Millis::from_secs(5);
/// Claims asked for at once: each is a list of at most 25 kB.
const CLAIMS_MAX: usize = 32;
/// Of them at one node: it answers from what it has.
const CLAIMS_PER_NODE: usize = 4;
/// Shards of one node that are asked for again when it said "not yet": it computes what it was asked for first, so this many
/// keep it busy, and memory does not grow with its backlog.
const WAITING_PER_NODE: usize = 16;
/// Witnesses revealed at once, and lists handed over.
const REVEALS_AT_ONCE: usize = 16;
/// Shards of one node that wait for a reveal or a reading; no more of it are claimed meanwhile. Attack: one line for all
/// nodes would be full of the shards of whoever lets itself be read drop by drop.
const READY_PER_NODE: usize = 16;
/// Shards of one node read at once, so that one slow node never has all the readings there are.
const READS_PER_NODE: usize = 1;
/// Accepted lists that wait to be handed over after repairs; more are left for the nodes to compute.
const HANDS_MAX: usize = 1024;

/// Who counts against which bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Claim,
    Burn,
    Reveal,
    Read,
    Set(CommitmentState),
    Hand,
}

struct Work {
    shard: Shard,
    step: Step,
    /// A driver that has not come back by then has forgotten it. `None`: the store's to answer.
    until: Option<Mono>,
}

/// Counts since the process began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CommitProgress {
    /// Lists accepted on a client's witness.
    pub witnessed: u64,
    /// Whole shards that were read to judge or compute their commitments.
    pub shards_read: u64,
    /// Witnesses that gave another value than the bytes.
    pub false_witnesses: u64,
    /// Lists that were not those of their shards' bytes.
    pub false_lists: u64,
}

/// Commitments under way.
#[derive(Default)]
pub(crate) struct Commitments {
    queue: VecDeque<Shard>,
    after: Option<Key>,
    looking: Option<Token>,
    next_look: Mono,
    work: BTreeMap<Token, Work>,
    /// "Not yet", or too busy for an opening.
    waiting: Waiting,
    /// What comes next needs a place that is taken.
    ready: VecDeque<Shard>,
    hands: VecDeque<Placement>,
    /// Set since the last look was asked for: its page may still call them pending.
    set: BTreeSet<Key>,
    backoff: Backoff,
    /// Shards whose bytes were bad, left to audit and repair until then.
    bad: BTreeMap<Key, Mono>,
    suspects: Vec<(NodeId, ShardId)>,
    unserved: Vec<Placement>,
    records: Records,
    progress: CommitProgress,
}

impl Commitments {
    /// Time went by.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        self.bad.retain(|_, until| *until > ctx.now.mono);
        self.give_up_forgotten(ctx);
        self.launch(ctx);
        let idle = self.queue.is_empty() && self.looking.is_none();
        if idle && ctx.now.mono >= self.next_look {
            let op = StoreOp::PendingCommitments { after: self.after, limit: PAGE };
            self.set.clear();
            self.looking = Some(ctx.out.store(op));
        }
    }

    /// Something was put: look at once.
    pub(crate) fn look_soon(&mut self) {
        self.next_look = Mono(0);
    }

    /// Shards whose bytes were not what their nodes say: to be audited now.
    pub(crate) fn take_suspects(&mut self) -> Vec<(NodeId, ShardId)> {
        std::mem::take(&mut self.suspects)
    }

    /// Shards that did not come when they were read.
    pub(crate) fn take_unserved(&mut self) -> Vec<Placement> {
        std::mem::take(&mut self.unserved)
    }

    /// What came of it so far.
    pub(crate) fn progress(&self) -> CommitProgress {
        self.progress
    }

    /// Repairs placed these: their nodes need not compute what is known.
    pub(crate) fn placed(&mut self, placed: Vec<Placement>) {
        let known = placed.into_iter().filter(|p| matches!(p.commitment, CommitmentState::Accepted { .. }));
        self.hands.extend(known);
        self.hands.truncate(HANDS_MAX);
    }

    pub(crate) fn owns(&self, token: Token) -> bool {
        self.looking == Some(token) || self.work.contains_key(&token) || self.records.owns(token)
    }

    fn is_under_way(&self, key: &Key) -> bool {
        let at_work = self.work.values().any(|work| work.step != Step::Hand && work.shard.key() == *key);
        at_work || self.waiting.contains(key) || self.ready.iter().any(|shard| shard.key() == *key)
    }

    fn at_work(&self, node: Option<&NodeId>, of: impl Fn(Step) -> bool) -> usize {
        let counts = |work: &&Work| of(work.step) && node.is_none_or(|node| work.shard.placement.node == *node);
        self.work.values().filter(counts).count()
    }

    fn start(&mut self, job: Option<CommitJob>, shard: Shard, step: Step, ctx: &mut Context<'_>) {
        // Without a row there is no such node any more: it comes up again, or goes with its placements.
        let Some(job) = job else { return };
        let within = match &job {
            CommitJob::Claim(job) => job.timeout,
            CommitJob::Reveal(job) => job.timeout,
            CommitJob::Read(job) => read_within(job.of.len),
            CommitJob::Hand(job) => job.timeout,
        };
        let until = Some(ctx.now.mono + job_within(within));
        let token = ctx.out.commit(job);
        self.work.insert(token, Work { shard, step, until });
    }

    fn store(&mut self, op: StoreOp, shard: Shard, step: Step, ctx: &mut Context<'_>) {
        let token = ctx.out.store(op);
        self.work.insert(token, Work { shard, step, until: None });
    }

    fn give_up_forgotten(&mut self, ctx: &mut Context<'_>) {
        let late = |work: &Work| work.until.is_some_and(|until| until < ctx.now.mono);
        let late: Vec<Token> = self.work.iter().filter(|(_, work)| late(work)).map(|(token, _)| *token).collect();
        for token in late {
            ctx.out.cancel(token);
            self.on_committed(token, CommitOutcome::Failed(SendFailure::Timeout), ctx);
        }
    }

    /// Begins what there is room for.
    fn launch(&mut self, ctx: &mut Context<'_>) {
        for _ in 0..self.ready.len() {
            let Some(shard) = self.ready.pop_front() else { break };
            self.go_on(shard, ctx);
        }
        while let Some(shard) = self.waiting.take_due(ctx.now.mono) {
            self.go_on(shard, ctx);
        }
        while self.at_work(None, |step| step == Step::Claim) < CLAIMS_MAX {
            let Some(shard) = self.queue.pop_front() else { break };
            if self.may_begin(&shard, ctx) {
                self.go_on(shard, ctx);
            }
        }
        self.hand_over(ctx);
    }

    fn may_begin(&self, shard: &Shard, ctx: &Context<'_>) -> bool {
        let (key, node) = (shard.key(), &shard.placement.node);
        let audited = ctx.nodes.get(node).is_some_and(|row| row.life.is_audited());
        let bad = self.bad.contains_key(&key) || self.set.contains(&key);
        let asked = self.at_work(Some(node), |step| step == Step::Claim);
        let room = self.waiting.of(node) + asked < WAITING_PER_NODE || shard.is_overdue(ctx.now, ctx.profile);
        let ready = self.ready.iter().filter(|other| other.placement.node == *node).count();
        let room = room && ready + asked < READY_PER_NODE;
        audited && !bad && room && self.backoff.is_free(node, ctx.now.mono) && !self.is_under_way(&key)
    }

    /// The next step of one shard, if its place is free; otherwise it waits in line.
    fn go_on(&mut self, shard: Shard, ctx: &mut Context<'_>) {
        let node = shard.placement.node;
        match shard.next(ctx.now, ctx.profile) {
            Next::Claim if self.at_work(Some(&node), |step| step == Step::Claim) < CLAIMS_PER_NODE => {
                self.start(shard.claim_job(ctx), shard, Step::Claim, ctx);
            }
            // A catalog that is an old copy may take for fresh what its later self has told.
            Next::Burn if ctx.uncontested => {
                let Some(op) = shard.burn_op() else { return };
                self.store(op, shard, Step::Burn, ctx);
            }
            Next::Reveal if self.may_fold(&node, ctx) => {
                self.start(shard.reveal_job(ctx), shard, Step::Reveal, ctx);
            }
            Next::Read if self.may_read(&node, ctx) => {
                self.start(shard.read_job(ctx), shard, Step::Read, ctx);
            }
            Next::Claim | Next::Burn | Next::Reveal | Next::Read => self.ready.push_back(shard),
        }
    }

    /// Not while it is left alone after a failure: its other shards would take the readings of everybody else.
    fn may_read(&self, node: &NodeId, ctx: &Context<'_>) -> bool {
        let reads = |step| step == Step::Read;
        self.at_work(Some(node), reads) < READS_PER_NODE
            && self.at_work(None, reads) < ctx.profile.commits as usize
            && self.backoff.is_free(node, ctx.now.mono)
    }

    /// A node folds for one witness or list at a time: it has challenges to answer, too.
    fn may_fold(&self, node: &NodeId, ctx: &Context<'_>) -> bool {
        let folds = |step| step == Step::Reveal || step == Step::Hand;
        self.at_work(Some(node), folds) < ctx.profile.in_flight_per_node as usize
            && self.at_work(None, folds) < REVEALS_AT_ONCE
    }

    fn hand_over(&mut self, ctx: &mut Context<'_>) {
        for _ in 0..self.hands.len() {
            let Some(placement) = self.hands.pop_front() else { break };
            if !self.may_fold(&placement.node, ctx) {
                self.hands.push_back(placement);
                continue;
            }
            let CommitmentState::Accepted { digest, .. } = placement.commitment else { continue };
            let shard = Shard::new(crate::model::PendingShard { placement, witness: None, since: ctx.now.wall });
            let timeout = shard.fold_within(ctx);
            let job = shard.expected(ctx).map(|of| CommitJob::Hand(HandJob { of, digest, timeout }));
            self.start(job, shard, Step::Hand, ctx);
        }
    }

    /// The catalog answered. Gives the reply back if it is not for these machines.
    pub(crate) fn on_stored(&mut self, token: Token, reply: StoreReply, ctx: &mut Context<'_>) -> Option<StoreReply> {
        if self.looking == Some(token) {
            self.looking = None;
            self.looked(reply, ctx);
            return None;
        }
        if self.records.owns(token) {
            self.records.on_stored(token, reply, ctx);
            return None;
        }
        let Some(Work { mut shard, step, .. }) = self.work.remove(&token) else { return Some(reply) };
        match (step, reply) {
            (Step::Burn, StoreReply::Done) => {
                if let Some(claim) = &shard.claim {
                    let digest = claim.digest;
                    shard.burnt(digest);
                }
                self.go_on(shard, ctx);
            }
            // Somebody else burnt it, and who knows what they told whom: it judges nothing any more.
            (Step::Burn, StoreReply::Conflict(_)) => {
                shard.witness = None;
                self.go_on(shard, ctx);
            }
            (Step::Set(to), StoreReply::Done) => self.was_set(&shard.placement, to, ctx),
            // It has another commitment by now, or is gone, or the store failed: it comes up again as it stands.
            (Step::Set(_) | Step::Burn | Step::Claim | Step::Reveal | Step::Read | Step::Hand, _) => {}
        }
        None
    }

    fn was_set(&mut self, placement: &Placement, to: CommitmentState, ctx: &mut Context<'_>) {
        let Placement { segment, index, shard, node, sequence, .. } = *placement;
        let accepted = match to {
            CommitmentState::Pending => false,
            CommitmentState::Accepted { provenance, .. } => {
                self.set.insert((segment, index));
                self.progress.witnessed += u64::from(provenance == Provenance::ClientWitness);
                true
            }
        };
        ctx.out.publish(Notice::Commitment { shard, node, sequence, accepted });
    }

    fn looked(&mut self, reply: StoreReply, ctx: &mut Context<'_>) {
        let StoreReply::Pending(found) = reply else {
            self.next_look = ctx.now.mono + PAUSE;
            return;
        };
        let full = found.len() as u32 == PAGE;
        let last = found.last().map(|last| (last.placement.segment, last.placement.index));
        self.after = last.filter(|_| full);
        let now = ctx.now.mono;
        let fresh = found.into_iter().map(Shard::new);
        self.queue = fresh.filter(|shard| self.may_begin(shard, ctx)).collect();
        // At the end of a round, or where every node has enough to do, there is no hurry.
        self.next_look = if full && !self.queue.is_empty() { Mono(0) } else { now + LOOK_EVERY };
        self.launch(ctx);
    }

    fn set(&mut self, shard: Shard, expected: CommitmentState, to: CommitmentState, ctx: &mut Context<'_>) {
        let (segment, index) = shard.key();
        let (name, at) = (shard.placement.shard, ctx.now.wall);
        let op = StoreOp::SetCommitment { segment, index, shard: name, expected, to, at };
        self.store(op, shard, Step::Set(to), ctx);
    }

    /// The pool was full: it comes up again.
    pub(crate) fn busy(&mut self, token: Token, now: Mono) {
        if self.looking == Some(token) {
            self.looking = None;
        }
        self.records.busy(token);
        if self.work.remove(&token).is_some() {
            self.queue.clear();
            self.next_look = now + LOOK_EVERY;
        }
    }
}
