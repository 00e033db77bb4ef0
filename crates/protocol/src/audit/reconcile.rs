//! Finds out where a node's list and the catalog differ, after a challenge whose set digest did not
//! match. Drift convicts nobody; only the node's own signed word does.
//!
//! ```text
//! List… ─► Load… ─┬─ same number ─────────► nothing
//!  the      the   ├─ another number ──────► SetSequence
//!  node's   cata- └─ not in the list ─────► Open ─► Ask each by name ─► Recheck ─► Close ─► published
//!  pages    log's                                    signed "missing" → Missing
//! ```
//!
//! The list itself is only a hint: a shard that it does not name is asked for by name, with a leaf
//! that the seed draws, and the answer is signed.

use std::collections::BTreeMap;

use holdfast_types::{AuditId, Millis, Mono, NodeId, Seed, Sequence, ShardId, VerdictId};
use merkle_cid::tree::leaf_count;

use crate::{
    challenge,
    effect::{LeavesJob, Notice, Verification, VerifyJob},
    message::{Ask, Challenge, LIST_ENTRIES_MAX, NodeReply, NodeRequest, SendFailure},
    model::{AuditRow, Cause, Fault, Lane, Outcome, Placement, Verdict},
    set::{self, AuditSet},
    store::{ROWS_MAX, StoreOp, StoreReply},
};

use super::{
    classify::{Gap, Heard, hear},
    findings::Findings,
    task::{Ctx, Ending, Input, Progress, Silence},
};

/// Pages of a node's list that are read at most: 16 million shards. A list without an end is a lie.
const PAGES_MAX: u32 = 4096;

enum Step {
    List(Sequence),
    Load(Sequence),
    Move(usize),
    Open,
    Ask(usize),
    Verify(usize, VerifyJob),
    Recheck(Sequence),
    Close,
}

/// One reconciliation.
pub(super) struct Reconcile {
    pub(super) node: NodeId,
    seed: Seed,
    wanted: AuditSet,
    pages: u32,
    listed: BTreeMap<ShardId, (Sequence, u64)>,
    now_there: BTreeMap<Sequence, Placement>,
    still: BTreeMap<Sequence, Placement>,
    moved: Vec<(Placement, Sequence)>,
    set: AuditSet,
    row: Option<AuditRow>,
    challenge: Option<Challenge>,
    sent: Mono,
    refusals: u32,
    gaps: Vec<Gap>,
    findings: Findings,
    evidence: Vec<u8>,
    outcome: Outcome,
    step: Step,
}

impl Reconcile {
    /// Compares the shards of `wanted` with what the node lists.
    pub(super) fn begin(node: NodeId, wanted: AuditSet, seed: Seed, ctx: &mut Ctx<'_>) -> (Self, Progress) {
        let mut task = Self {
            node,
            seed,
            wanted,
            pages: 0,
            listed: BTreeMap::new(),
            now_there: BTreeMap::new(),
            still: BTreeMap::new(),
            moved: Vec::new(),
            set: AuditSet::default(),
            row: None,
            challenge: None,
            sent: ctx.now.mono,
            refusals: 0,
            gaps: Vec::new(),
            findings: Findings::default(),
            evidence: Vec::new(),
            outcome: Outcome::Held,
            step: Step::List(Sequence(0)),
        };
        let progress = task.wish(ctx);
        (task, progress)
    }

    /// Wishes for what the step waits for.
    pub(super) fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let node = self.node;
        Progress::Wait(match &self.step {
            Step::List(from) => {
                self.sent = ctx.now.mono;
                let request = NodeRequest::List { from: *from, limit: LIST_ENTRIES_MAX as u32 };
                ctx.out.send(node, request, ctx.profile.answer_within)
            }
            Step::Load(from) | Step::Recheck(from) => {
                ctx.out.store(StoreOp::PlacementsOfNode { node, from: *from, limit: ROWS_MAX })
            }
            Step::Move(at) => match self.moved.get(*at) {
                Some((Placement { segment, index, .. }, sequence)) => {
                    let (segment, index, sequence) = (*segment, *index, *sequence);
                    ctx.out.store(StoreOp::SetSequence { segment, index, node, sequence })
                }
                None => return self.ask_for_absent(ctx),
            },
            Step::Open => match &self.row {
                Some(row) => ctx.out.store(StoreOp::OpenAudit(Box::new(row.clone()))),
                None => return Progress::End(Ending::Inconclusive),
            },
            Step::Ask(_) => match &self.challenge {
                Some(challenge) => {
                    self.sent = ctx.now.mono;
                    ctx.out.send(node, NodeRequest::Challenge(Box::new(challenge.clone())), challenge.deadline)
                }
                None => return Progress::End(Ending::Inconclusive),
            },
            Step::Verify(_, job) => ctx.out.verify(job.clone()),
            Step::Close => {
                let verdict = Box::new(self.verdict(ctx));
                ctx.out.store(StoreOp::CloseAudit { verdict, changes: self.findings.changes() })
            }
        })
    }

    fn go(&mut self, step: Step, ctx: &mut Ctx<'_>) -> Progress {
        self.step = step;
        self.wish(ctx)
    }

    /// What came for the step's wish.
    pub(super) fn on(&mut self, input: Input, ctx: &mut Ctx<'_>) -> Progress {
        match (&self.step, input) {
            (Step::List(from), Input::Answered(reply)) => self.listed(*from, reply, ctx),
            (Step::Load(_), Input::Stored(StoreReply::Placements(rows))) => self.compared(rows, ctx),
            (Step::Move(at), Input::Stored(_)) => {
                let next = at + 1;
                self.go(Step::Move(next), ctx)
            }
            (Step::Open, Input::Stored(StoreReply::Done)) => self.ask(0, ctx),
            (Step::Ask(at), Input::Answered(reply)) => self.answered(*at, reply, ctx),
            (Step::Verify(at, _), Input::Verified(found)) => {
                let at = *at;
                self.found(at, found == Verification::Valid, ctx)
            }
            (Step::Recheck(_), Input::Stored(StoreReply::Placements(rows))) => self.rechecked(rows, ctx),
            (Step::Close, Input::Stored(StoreReply::Verdict(id))) => {
                let verdict = Verdict { id, ..self.verdict(ctx) };
                ctx.out.publish(Notice::Verdict(Box::new(verdict)));
                Progress::End(self.ending())
            }
            (Step::Close, Input::Stored(StoreReply::Failed(_))) => Progress::Sleep(ctx.now.mono),
            (Step::Close, _) => Progress::End(self.ending()),
            (Step::Ask(_) | Step::Verify(..) | Step::Recheck(_), _) => self.fail(Fault::Internal, ctx),
            (Step::List(_) | Step::Load(_) | Step::Open, _) | (Step::Move(_), _) => Progress::End(Ending::Inconclusive),
        }
    }

    /// Shards that the node signed not to have.
    pub(super) fn absent(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.findings.absent()
    }

    /// Whether everything that was asked for by name is there: then nothing explains why the sets differ.
    pub(super) fn explains_nothing(&self) -> bool {
        self.findings.is_empty()
    }

    /// Our clock jumped while a question was under way.
    pub(super) fn interrupt(&mut self, ctx: &mut Ctx<'_>) -> Option<Progress> {
        match self.step {
            Step::List(_) => Some(Progress::End(Ending::Inconclusive)),
            Step::Ask(_) => Some(self.fail(Fault::Restarted, ctx)),
            _ => None,
        }
    }

    /// Until when an answer may come, while one is waited for.
    pub(super) fn answer_due(&self, within: Millis) -> Option<Mono> {
        matches!(self.step, Step::List(_) | Step::Ask(_)).then(|| self.sent + within)
    }

    fn fail(&mut self, fault: Fault, ctx: &mut Ctx<'_>) -> Progress {
        self.findings = Findings::default();
        self.outcome = Outcome::Inconclusive(fault);
        self.go(Step::Close, ctx)
    }

    fn ending(&self) -> Ending {
        match self.outcome {
            Outcome::Inconclusive(_) => Ending::Inconclusive,
            _ => Ending::Judged { more: None, false_answer: None },
        }
    }
}

impl Reconcile {
    fn listed(&mut self, from: Sequence, reply: Result<NodeReply, SendFailure>, ctx: &mut Ctx<'_>) -> Progress {
        let Ok(NodeReply::Entries { entries, next }) = reply else {
            // The next challenge finds out what this silence is.
            return Progress::End(Ending::Inconclusive);
        };
        self.pages += 1;
        for entry in entries.iter().take(LIST_ENTRIES_MAX) {
            // A number that no catalog keeps is no place of a shard: it is asked for by name.
            if self.wanted.member(&entry.shard).is_some() && entry.sequence <= Sequence::MAX {
                self.listed.insert(entry.shard, (entry.sequence, entry.len));
            }
        }
        // A next page that does not move on would be asked for without end.
        match next.filter(|next| *next > from && self.pages < PAGES_MAX) {
            Some(next) => self.go(Step::List(next), ctx),
            None => {
                let first = self.wanted.members().first().map_or(Sequence(0), |member| member.placement.sequence);
                self.go(Step::Load(first), ctx)
            }
        }
    }

    fn compared(&mut self, page: Vec<Placement>, ctx: &mut Ctx<'_>) -> Progress {
        let full = page.len() >= ROWS_MAX as usize;
        let after = page.last().map(|last| Sequence(last.sequence.0 + 1)).filter(|_| full);
        self.now_there.extend(page.into_iter().map(|placement| (placement.sequence, placement)));
        let last = self.wanted.members().last().map_or(Sequence(0), |member| member.placement.sequence);
        if let Some(after) = after.filter(|after| *after <= last) {
            return self.go(Step::Load(after), ctx);
        }
        let mut absent = Vec::new();
        for member in self.wanted.members() {
            // What the catalog has dropped or moved since then explains itself.
            let still = self.now_there.get(&member.placement.sequence);
            let Some(placement) = still.filter(|now| now.shard == member.placement.shard) else { continue };
            match self.listed.get(&placement.shard) {
                Some((sequence, len)) if *len == placement.len && *sequence == placement.sequence => {}
                Some((sequence, len)) if *len == placement.len => self.moved.push((placement.clone(), *sequence)),
                Some(_) | None => absent.push(placement.clone()),
            }
        }
        (self.set, _) = AuditSet::first_of(absent);
        self.go(Step::Move(0), ctx)
    }

    fn ask_for_absent(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        if self.set.is_empty() {
            return Progress::End(Ending::Inconclusive);
        }
        let reference = set::reference(&self.set.entries());
        let id = challenge::audit_id(ctx.cluster, &self.seed, &self.node, &reference.digest);
        self.row = Some(AuditRow {
            id,
            node: self.node,
            lane: Lane::Sample,
            seed: self.seed,
            runs: reference.runs,
            set_digest: reference.digest,
            opened: ctx.now.wall,
        });
        self.go(Step::Open, ctx)
    }

    fn ask(&mut self, at: usize, ctx: &mut Ctx<'_>) -> Progress {
        let (Some(row), Some(member)) = (&self.row, self.set.members().get(at)) else {
            return match self.findings.span() {
                Some((first, _)) => self.go(Step::Recheck(first), ctx),
                None => self.go(Step::Close, ctx),
            };
        };
        let (shard, leaves) = (member.placement.shard, leaf_count(member.placement.len));
        // A leaf that could be foreseen could be kept alone.
        let drawn = challenge::seed(&row.seed, &self.node, at as u64).0;
        let leaf = drawn[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)) % leaves;
        self.challenge = Some(Challenge {
            audit: row.id,
            node: self.node,
            set: set::reference(&self.set.entries()),
            commitments: [0; 32],
            seed: row.seed,
            ask: Ask::Leaves { shard, from: leaf, to: leaf + 1 },
            deadline: ctx.profile.answer_within,
        });
        self.go(Step::Ask(at), ctx)
    }

    fn answered(&mut self, at: usize, reply: Result<NodeReply, SendFailure>, ctx: &mut Ctx<'_>) -> Progress {
        let (Some(challenge), Some(node)) = (&self.challenge, ctx.nodes.get(&self.node)) else {
            return self.fail(Fault::Cancelled, ctx);
        };
        let (heard, evidence) = hear(challenge, &self.set, node, reply);
        if !evidence.is_empty() {
            self.evidence = evidence;
        }
        match heard {
            Heard::Leaves(said) => {
                self.gaps = said.gaps;
                if said.claims.is_empty() {
                    return self.found(at, true, ctx);
                }
                self.go(Step::Verify(at, VerifyJob::Leaves(LeavesJob { claims: said.claims })), ctx)
            }
            Heard::Silent(outcome) => self.silent(outcome),
            Heard::Refused(after) => {
                self.refusals += 1;
                match self.refusals > ctx.profile.refusals_max {
                    true => self.silent(Outcome::Refused),
                    false => Progress::Sleep(ctx.now.mono + ctx.profile.refusal_wait(after)),
                }
            }
            Heard::Nonsense | Heard::Fold(_) | Heard::Mismatch => self.found(at, false, ctx),
        }
    }

    fn silent(&self, outcome: Outcome) -> Progress {
        let audit: Option<AuditId> = self.row.as_ref().map(|row| row.id);
        let (shards, bytes) = (self.set.members().len() as u32, self.set.bytes());
        Progress::End(Ending::Silent(Silence { audit, lane: Lane::Sample, outcome, shards, bytes }))
    }

    fn found(&mut self, at: usize, valid: bool, ctx: &mut Ctx<'_>) -> Progress {
        let gaps = std::mem::take(&mut self.gaps);
        if let Some(member) = self.set.members().get(at) {
            for gap in &gaps {
                self.findings.reported(&member.placement, gap);
            }
            if !valid {
                self.findings.corrupt(&member.placement, Cause::Proven, None);
            }
        }
        self.ask(at + 1, ctx)
    }

    fn rechecked(&mut self, page: Vec<Placement>, ctx: &mut Ctx<'_>) -> Progress {
        let full = page.len() >= ROWS_MAX as usize;
        let after = page.last().map(|last| Sequence(last.sequence.0 + 1)).filter(|_| full);
        self.still.extend(page.into_iter().map(|placement| (placement.sequence, placement)));
        let last = self.findings.span().map_or(Sequence(0), |(_, last)| last);
        if let Some(after) = after.filter(|after| *after <= last) {
            return self.go(Step::Recheck(after), ctx);
        }
        self.findings.keep(&self.still);
        self.outcome = match (self.findings.is_empty(), self.findings.any_proven()) {
            (true, _) => Outcome::Inconclusive(Fault::Cancelled),
            (false, true) => Outcome::Corrupt,
            (false, false) => Outcome::Missing,
        };
        self.go(Step::Close, ctx)
    }

    fn verdict(&self, ctx: &Ctx<'_>) -> Verdict {
        let opened = self.row.as_ref().map_or(ctx.now.wall, |row| row.opened);
        Verdict {
            id: VerdictId(0),
            audit: self.row.as_ref().map_or(AuditId([0; 32]), |row| row.id),
            node: self.node,
            lane: Lane::Sample,
            outcome: self.outcome,
            at: ctx.now.wall,
            took: ctx.now.wall.since(opened),
            shards: self.set.members().len() as u32,
            bytes: self.set.bytes(),
            exceptions: self.findings.exceptions(),
            evidence: self.evidence.clone(),
        }
    }
}
