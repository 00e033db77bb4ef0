//! Shards that their nodes prove and do not give. An auditor's read of a whole shard that came to nothing is made again,
//! at the delays that a silent node has; if it never comes, the shard counts as lost there, and is made anew elsewhere.
//!
//! ```text
//! a repair or a commitment could not read it ─► wait ─► still placed there? ─► read ─► came: forgotten
//!                                                ▲                              │ not: again, as often as a silent node
//!                                                └──────────────────────────────┤ is asked
//!                                                                               └► still placed? ─► verdict: lost
//! ```
//!
//! What cannot be read is not there for whoever needs it, whatever is proven of it. A node that is contained is not read
//! from: why it is silent is for its challenges to find out, and the reads go on after that.

use std::collections::BTreeMap;

use holdfast_types::{Millis, Mono, NodeId, ShardId, VerdictId, Wall};

use crate::{
    challenge,
    context::Context,
    effect::{CommitJob, CommitOutcome, Notice, ReadJob, Token, job_within, read_within},
    message::{SendFailure, SetEntry},
    model::{AuditRow, CommitmentState, Exception, Lane, NodeLife, Outcome, Placement, Standing, Verdict},
    set,
    store::{StandingChange, StoreOp, StoreReply},
    witness::Expected,
};

/// Reads that failed and are remembered, in all and of one node; the others are found again when they fail again.
const CASES_MAX: usize = 1024;
const CASES_PER_NODE: usize = 64;
/// Shards read again at once, each from another node.
const READS_MAX: usize = 2;
/// After trouble of our own.
const PAUSE: Millis = Millis::from_secs(5);

type Key = (NodeId, ShardId);

enum Step {
    /// Until its time.
    Wait,
    /// Whether it is still placed there.
    Look,
    Read,
    Open(Box<AuditRow>),
    Close(Box<Verdict>),
}

struct Case {
    placement: Placement,
    since: Wall,
    /// Reads that failed since, after the first.
    failed: u32,
    /// What the last one was.
    outcome: Outcome,
    next: Mono,
    step: Step,
    waiting: Option<Token>,
    /// When what is waited for was wished for.
    wished: Mono,
}

/// Reads that failed, and what became of them.
#[derive(Default)]
pub(crate) struct Retrievals {
    cases: BTreeMap<Key, Case>,
    lost: Vec<Placement>,
    audits: u64,
}

enum Progress {
    On,
    Over,
}

impl Retrievals {
    /// Reads of these shards came to nothing.
    pub(crate) fn failed(&mut self, placements: Vec<Placement>, ctx: &Context<'_>) {
        for placement in placements {
            let key = (placement.node, placement.shard);
            let of_node = self.cases.range((placement.node, ShardId::from_bytes([0; 32]))..);
            let of_node = of_node.take_while(|((node, _), _)| *node == placement.node).count();
            if self.cases.contains_key(&key) || of_node >= CASES_PER_NODE || self.cases.len() >= CASES_MAX {
                continue;
            }
            let next = ctx.now.mono + delay(0, ctx);
            let case = Case {
                placement,
                since: ctx.now.wall,
                failed: 0,
                outcome: Outcome::Late,
                next,
                step: Step::Wait,
                waiting: None,
                wished: next,
            };
            self.cases.insert(key, case);
        }
    }

    /// Shards that count as lost since this was asked last: not to be written to these nodes again.
    pub(crate) fn take_lost(&mut self) -> Vec<Placement> {
        std::mem::take(&mut self.lost)
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        let reads_from = |case: &Case| matches!(case.step, Step::Look | Step::Read).then_some(case.placement.node);
        let mut reading: Vec<NodeId> = self.cases.values().filter_map(reads_from).collect();
        let mut over = Vec::new();
        for (key, case) in &mut self.cases {
            let life = ctx.nodes.get(&case.placement.node).map(|row| row.life);
            match life {
                None | Some(NodeLife::Evicted | NodeLife::Left) if matches!(case.step, Step::Wait) => over.push(*key),
                Some(NodeLife::Joining | NodeLife::Active | NodeLife::Draining)
                    if matches!(case.step, Step::Wait)
                        && case.next <= ctx.now.mono
                        && reading.len() < READS_MAX
                        && !reading.contains(&key.0) =>
                {
                    reading.push(key.0);
                    case.step = Step::Look;
                }
                _ => {}
            }
            case.hurry(ctx);
            case.wish(ctx);
        }
        over.iter().for_each(|key| drop(self.cases.remove(key)));
    }

    fn key_of(&self, token: Token) -> Option<Key> {
        self.cases.iter().find(|(_, case)| case.waiting == Some(token)).map(|(key, _)| *key)
    }

    pub(crate) fn owns(&self, token: Token) -> bool {
        self.key_of(token).is_some()
    }

    /// The pool was full: wished for again at the next tick.
    pub(crate) fn busy(&mut self, token: Token) {
        if let Some(case) = self.key_of(token).and_then(|key| self.cases.get_mut(&key)) {
            case.waiting = None;
        }
    }

    /// The catalog answered.
    pub(crate) fn on_stored(&mut self, token: Token, reply: StoreReply, ctx: &mut Context<'_>) {
        let Some(key) = self.key_of(token) else { return };
        let Some(case) = self.cases.get_mut(&key) else { return };
        case.waiting = None;
        // Nobody knows what the store did; all of it can be asked again.
        if matches!(reply, StoreReply::Failed(_)) {
            return;
        }
        let progress = match (&case.step, reply) {
            (Step::Look, StoreReply::Segment(view)) => {
                let found = view.placements.into_iter().find(|placement| placement.index == case.placement.index);
                self.audits += 1;
                case.looked(found, self.audits, ctx)
            }
            (Step::Open(row), StoreReply::Done) => {
                case.step = Step::Close(Box::new(case.verdict(row, ctx.now.wall)));
                Progress::On
            }
            (Step::Close(verdict), StoreReply::Verdict(id)) => {
                ctx.out.publish(Notice::Verdict(Box::new(Verdict { id, ..(**verdict).clone() })));
                self.lost.push(case.placement.clone());
                Progress::Over
            }
            // The segment is gone, or this very verdict is there already.
            (Step::Wait | Step::Look | Step::Read | Step::Open(_) | Step::Close(_), _) => Progress::Over,
        };
        match progress {
            Progress::On => case.wish(ctx),
            Progress::Over => drop(self.cases.remove(&key)),
        }
    }

    /// A reading ended.
    pub(crate) fn on_read(&mut self, token: Token, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        let Some(key) = self.key_of(token) else { return };
        let Some(case) = self.cases.get_mut(&key) else { return };
        case.waiting = None;
        let failure = match outcome {
            // The bytes came, and are the shard's.
            CommitOutcome::Committed { .. } | CommitOutcome::WrongList => {
                self.cases.remove(&key);
                return;
            }
            CommitOutcome::Failed(SendFailure::Unreachable) => Outcome::Unreachable,
            CommitOutcome::Failed(SendFailure::Refused { .. } | SendFailure::Denied(_))
            | CommitOutcome::TooBusy { .. } => Outcome::Refused,
            CommitOutcome::Failed(SendFailure::Timeout | SendFailure::Malformed(_))
            | CommitOutcome::BadBytes { .. } => Outcome::Late,
            // Our own trouble: it does not count.
            _ => {
                (case.step, case.next) = (Step::Wait, ctx.now.mono + PAUSE);
                return;
            }
        };
        case.not_read(failure, ctx);
        case.wish(ctx);
    }
}

/// Before read number `failed` again, counted from the first failure: what a silent node has.
fn delay(failed: u32, ctx: &Context<'_>) -> Millis {
    ctx.profile.containment.get(failed as usize).copied().unwrap_or_default()
}

impl Case {
    fn is_last(&self, ctx: &Context<'_>) -> bool {
        self.failed as usize >= ctx.profile.containment.len().max(1)
    }

    fn not_read(&mut self, outcome: Outcome, ctx: &Context<'_>) {
        self.failed += 1;
        self.outcome = outcome;
        let between = Millis(delay(self.failed, ctx).0.saturating_sub(delay(self.failed - 1, ctx).0));
        self.next = ctx.now.mono + between;
        // Once more a look at the catalog, whose deletion may be why it was not there.
        self.step = if self.is_last(ctx) { Step::Look } else { Step::Wait };
    }

    fn looked(&mut self, found: Option<Placement>, number: u64, ctx: &Context<'_>) -> Progress {
        let Placement { node, shard, sequence, .. } = self.placement;
        let stands =
            |now: &Placement| (now.node, now.shard, now.sequence) == (node, shard, sequence) && now.standing.is_good();
        let Some(now) = found.filter(stands) else { return Progress::Over };
        self.placement = now;
        self.step = if self.is_last(ctx) { Step::Open(Box::new(self.row(number, ctx))) } else { Step::Read };
        Progress::On
    }

    fn row(&self, number: u64, ctx: &Context<'_>) -> AuditRow {
        let Placement { node, shard, sequence, len, .. } = self.placement;
        let set = set::reference(&[SetEntry { sequence, shard, len }]);
        let seed = challenge::seed(&ctx.chance, &node, number);
        let id = challenge::audit_id(ctx.cluster, &seed, &node, &set.digest);
        AuditRow { id, node, lane: Lane::Retrieve, seed, runs: set.runs, set_digest: set.digest, opened: self.since }
    }

    fn verdict(&self, row: &AuditRow, at: Wall) -> Verdict {
        let Placement { segment, index, shard, node, len, .. } = self.placement;
        let outcome = self.outcome;
        Verdict {
            id: VerdictId(0),
            audit: row.id,
            node,
            lane: Lane::Retrieve,
            outcome,
            at,
            took: at.since(self.since),
            shards: 1,
            bytes: len,
            exceptions: vec![Exception { shard, segment, index, outcome, cause: None, range: None }],
            evidence: Vec::new(),
        }
    }

    /// A driver that forgot a reading: as good as a node that did not answer.
    fn hurry(&mut self, ctx: &mut Context<'_>) {
        let late = ctx.now.mono.since(self.wished) > job_within(read_within(self.placement.len));
        if let Some(token) = self.waiting.filter(|_| matches!(self.step, Step::Read) && late) {
            ctx.out.cancel(token);
            self.waiting = None;
            self.not_read(Outcome::Late, ctx);
        }
    }

    fn wish(&mut self, ctx: &mut Context<'_>) {
        if self.waiting.is_some() {
            return;
        }
        let Placement { segment, index, node, sequence, .. } = self.placement;
        let token = match &self.step {
            Step::Wait => return,
            Step::Look => ctx.out.store(StoreOp::Segment(segment)),
            Step::Read => match self.read_job(ctx) {
                Some(job) => ctx.out.commit(CommitJob::Read(job)),
                None => return self.step = Step::Wait,
            },
            Step::Open(row) => ctx.out.store(StoreOp::OpenAudit(row.clone())),
            Step::Close(verdict) => {
                let change = StandingChange { segment, index, node, sequence, standing: Standing::Lost };
                ctx.out.store(StoreOp::CloseAudit { verdict: verdict.clone(), changes: vec![change] })
            }
        };
        (self.waiting, self.wished) = (Some(token), ctx.now.mono);
    }

    fn read_job(&self, ctx: &Context<'_>) -> Option<ReadJob> {
        let Placement { node, shard, len, .. } = self.placement;
        let row = ctx.nodes.get(&node)?;
        let of = Expected { node, key: row.key, incarnation: row.incarnation, shard, len };
        let claimed = match self.placement.commitment {
            CommitmentState::Pending => None,
            CommitmentState::Accepted { digest, .. } => Some(digest),
        };
        Some(ReadJob { of, claimed })
    }
}
