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

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{AuditId, BLOB_LEN, Millis, Mono, NodeId, Seed, Sequence, ShardId, VerdictId};
use merkle_cid::tree::leaf_count;

use crate::{
    challenge,
    effect::{FoldJob, JudgeJob, LeafClaim, LeavesJob, Notice, Verification, VerifyJob},
    message::{Ask, Challenge, NodeReply, NodeRequest, SendFailure, SetRef},
    model::{AuditRow, Cause, CommitmentState, Fault, Lane, Outcome, Placement, Standing, Verdict},
    profile::Profile,
    set::{self, AuditSet, Member},
    store::{ROWS_MAX, StandingChange, StoreOp, StoreReply},
};

use super::{
    classify::{FoldSaid, Gap, Heard, LeavesSaid, hear},
    findings::{Findings, regained},
    localise::Localise,
    task::{Ctx, Ending, Input, Progress, Purpose, Silence},
};

/// A refusal is not asked again sooner: a node that says "now" is still busy.
const REFUSAL_WAIT_MIN: Millis = Millis(100);
/// Leaves of a blob, exactly.
const LEAVES_PER_BLOB: u64 = BLOB_LEN / holdfast_types::LEAF_LEN;

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
                    expected: placement.commitment,
                    to: CommitmentState::Pending,
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

/// The set.
impl Audit {
    fn row_found(&mut self, reply: StoreReply, ctx: &mut Ctx<'_>) -> Progress {
        let StoreReply::Audits(mut rows) = reply else { return self.load_afresh(ctx) };
        let Some(row) = rows.pop().filter(|row| row.node == self.node) else { return self.load_afresh(ctx) };
        let from = row.runs.first().map_or(Sequence(0), |run| run.from);
        self.lane = row.lane;
        self.row = Some(row);
        self.recalled = true;
        self.go(Step::Load(from), ctx)
    }

    /// The contained challenge cannot be put again: another one takes its place, over what is there now.
    fn load_afresh(&mut self, ctx: &mut Ctx<'_>) -> Progress {
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

    fn rows_found(&mut self, page: Vec<Placement>, ctx: &mut Ctx<'_>) -> Progress {
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

/// The questions.
impl Audit {
    fn whole(&self, profile: &Profile) -> Ask {
        match self.lane {
            Lane::Fold => Ask::Fold { from: 0, to: self.set.blobs() },
            Lane::Sample | Lane::Retrieve => Ask::Sample { count: profile.sample_leaves },
        }
    }

    fn ask(&mut self, ask: Ask, ctx: &mut Ctx<'_>) -> Progress {
        let Some(row) = &self.row else { return Progress::End(Ending::Inconclusive) };
        let commitments = if self.lane == Lane::Fold { self.set.commitments() } else { [0; 32] };
        let deadline = deadline(&ask, ctx.profile);
        self.challenge = Some(Challenge {
            audit: row.id,
            node: self.node,
            set: set::reference(&self.set.entries()),
            commitments,
            seed: row.seed,
            ask,
            deadline,
        });
        self.go(Step::Ask, ctx)
    }

    fn send(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let Some(challenge) = &self.challenge else { return Progress::End(Ending::Inconclusive) };
        self.sent = ctx.now.mono;
        let request = NodeRequest::Challenge(Box::new(challenge.clone()));
        Progress::Wait(ctx.out.send(self.node, request, challenge.deadline))
    }

    fn answered(&mut self, reply: Result<NodeReply, SendFailure>, ctx: &mut Ctx<'_>) -> Progress {
        let (Some(challenge), Some(node)) = (&self.challenge, ctx.nodes.get(&self.node)) else {
            return self.conclude(Outcome::Inconclusive(Fault::Cancelled), Ending::Inconclusive, ctx);
        };
        let (heard, evidence) = hear(challenge, &self.set, node, reply);
        if matches!(self.phase, Phase::Whole) && !evidence.is_empty() {
            self.evidence = evidence;
        }
        match heard {
            Heard::Silent(outcome) => self.silent(outcome, ctx),
            Heard::Refused(after) => self.refused(after, ctx),
            Heard::Fault => self.conclude(Outcome::Inconclusive(Fault::Internal), Ending::Inconclusive, ctx),
            Heard::Mismatch => {
                let ending = Ending::Drift(self.set.clone(), self.silence(Outcome::Refused));
                self.conclude(Outcome::Inconclusive(Fault::SetDrift), ending, ctx)
            }
            Heard::Nonsense => self.nonsense(ctx),
            Heard::Fold(said) => self.fold_said(said, ctx),
            Heard::Leaves(said) => self.leaves_said(said, ctx),
        }
    }

    fn refused(&mut self, after: Millis, ctx: &mut Ctx<'_>) -> Progress {
        self.refusals += 1;
        // Attack: refusing what it cannot answer. It is the same question that waits, and not for ever.
        if self.refusals > ctx.profile.refusals_max {
            return self.silent(Outcome::Refused, ctx);
        }
        let most = ctx.profile.containment.first().copied().unwrap_or(ctx.profile.answer_within);
        Progress::Sleep(ctx.now.mono + after.max(REFUSAL_WAIT_MIN).min(most.max(REFUSAL_WAIT_MIN)))
    }

    fn silent(&mut self, outcome: Outcome, ctx: &mut Ctx<'_>) -> Progress {
        if self.purpose == Purpose::Probe {
            // It is suspended already: nothing is left to take, and the record is closed.
            return self.conclude(outcome, Ending::Inconclusive, ctx);
        }
        Progress::End(Ending::Silent(self.silence(outcome)))
    }

    fn silence(&self, outcome: Outcome) -> Silence {
        let audit = self.row.as_ref().map(|row| row.id);
        Silence { audit, outcome, shards: self.set.members().len() as u32, bytes: self.set.bytes() }
    }

    fn nonsense(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let Some(challenge) = &self.challenge else { return Progress::End(Ending::Inconclusive) };
        if let Ask::Fold { .. } = challenge.ask {
            let (y, proof) = ([0; 32], [0; 48]);
            self.said = Some(FoldSaid { y, proof, terms: Vec::new(), gaps: Vec::new(), excluded: Vec::new() });
            return self.verified(Verification::Invalid { shards: Vec::new() }, ctx);
        }
        let asked = super::classify::asked_leaves(challenge, &self.set);
        let claim = |(shard, len, leaves)| LeafClaim { shard, len, leaves, proof: Vec::new() };
        self.leaves_said(LeavesSaid { claims: asked.into_iter().map(claim).collect(), gaps: Vec::new() }, ctx)
    }

    fn fold_said(&mut self, said: FoldSaid, ctx: &mut Ctx<'_>) -> Progress {
        let Some(challenge) = &self.challenge else { return Progress::End(Ending::Inconclusive) };
        let job =
            FoldJob { challenge: Box::new(challenge.clone()), terms: said.terms.clone(), y: said.y, proof: said.proof };
        let nothing_claimed = said.terms.is_empty();
        self.said = Some(said);
        if nothing_claimed {
            return self.verified(Verification::Valid, ctx);
        }
        self.go(Step::Verify(VerifyJob::Fold(job)), ctx)
    }

    fn leaves_said(&mut self, said: LeavesSaid, ctx: &mut Ctx<'_>) -> Progress {
        self.gaps = said.gaps;
        let judged = match &self.phase {
            Phase::Judge { blobs, .. } => blobs.last().and_then(|blob| Some((*blob, self.set.at_blob(*blob)?))),
            Phase::Whole | Phase::Localise(_) => None,
        };
        let job = match (judged, said.claims.into_iter()) {
            (Some((blob, member)), mut claims) => match (claims.next(), member.list()) {
                (Some(claim), Some(list)) => {
                    VerifyJob::Judge(JudgeJob { claim, list, blob: (blob - member.base) as u32 })
                }
                _ => return self.verified(Verification::Valid, ctx),
            },
            (None, claims) if claims.len() > 0 => VerifyJob::Leaves(LeavesJob { claims: claims.collect() }),
            (None, _) => return self.verified(Verification::Valid, ctx),
        };
        self.go(Step::Verify(job), ctx)
    }
}

/// What was found.
impl Audit {
    fn verified(&mut self, found: Verification, ctx: &mut Ctx<'_>) -> Progress {
        if let Verification::NoList { shard } = found {
            // Our own list is gone or rotten: its shard is committed to anew, and nobody is accused.
            self.void(&shard, Fault::Internal);
            return self.conclude(Outcome::Inconclusive(Fault::Internal), Ending::Inconclusive, ctx);
        }
        match &self.phase {
            Phase::Whole if self.lane == Lane::Fold => self.fold_verified(found == Verification::Valid, ctx),
            Phase::Whole => self.sample_verified(found, ctx),
            Phase::Localise(_) => self.part_verified(found == Verification::Valid, ctx),
            Phase::Judge { .. } => self.judged(found, ctx),
        }
    }

    /// Notes what the node itself listed as gone.
    fn note(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            if let Some(member) = self.set.member(&gap.shard) {
                self.findings.reported(&member.placement, gap);
            }
        }
    }

    fn fold_verified(&mut self, valid: bool, ctx: &mut Ctx<'_>) -> Progress {
        let Some(said) = self.said.take() else { return Progress::End(Ending::Inconclusive) };
        self.note(&said.gaps);
        if valid {
            return self.held(ctx);
        }
        let localise = Localise::new(0, self.set.blobs(), said.excluded, ctx.profile.localise_max);
        self.phase = Phase::Localise(localise);
        self.next_question(ctx)
    }

    fn part_verified(&mut self, valid: bool, ctx: &mut Ctx<'_>) -> Progress {
        if let (Some(said), Phase::Localise(localise)) = (self.said.take(), &mut self.phase) {
            localise.learn(valid, &said.excluded);
            self.note(&said.gaps);
        }
        self.next_question(ctx)
    }

    fn sample_verified(&mut self, found: Verification, ctx: &mut Ctx<'_>) -> Progress {
        let gaps = std::mem::take(&mut self.gaps);
        self.note(&gaps);
        let Verification::Invalid { shards } = found else { return self.held(ctx) };
        let Step::Verify(VerifyJob::Leaves(job)) = &self.step else { return self.held(ctx) };
        for claim in job.claims.iter().filter(|claim| shards.contains(&claim.shard)) {
            let (Some(member), Some(first), Some(last)) =
                (self.set.member(&claim.shard), claim.leaves.first(), claim.leaves.last())
            else {
                continue;
            };
            let (from, to) = (first / LEAVES_PER_BLOB, last / LEAVES_PER_BLOB + 1);
            let range = set::blob_bytes(claim.len, from, to);
            self.findings.corrupt(&member.placement, Cause::Proven, Some(range));
        }
        self.spoken(ctx)
    }

    fn next_question(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        if let Phase::Localise(localise) = &mut self.phase {
            if let Some((from, to)) = localise.next() {
                return self.ask(Ask::Fold { from, to }, ctx);
            }
            let (blobs, unresolved) = (localise.found().to_vec(), localise.unresolved().to_vec());
            self.phase = Phase::Judge { blobs, unresolved };
        }
        let Phase::Judge { blobs, .. } = &self.phase else { return self.spoken(ctx) };
        let Some(blob) = blobs.last() else { return self.all_judged(ctx) };
        let Some(member) = self.set.at_blob(*blob) else { return self.all_judged(ctx) };
        let from = (blob - member.base) * LEAVES_PER_BLOB;
        let to = (from + LEAVES_PER_BLOB).min(leaf_count(member.placement.len));
        self.ask(Ask::Leaves { shard: member.placement.shard, from, to }, ctx)
    }

    /// Merkle has spoken on a blob whose fold is false.
    fn judged(&mut self, found: Verification, ctx: &mut Ctx<'_>) -> Progress {
        let gaps = std::mem::take(&mut self.gaps);
        let Phase::Judge { blobs, .. } = &mut self.phase else { return self.spoken(ctx) };
        let Some(blob) = blobs.pop() else { return self.all_judged(ctx) };
        let Some(Member { placement, base }) = self.set.at_blob(blob).cloned() else { return self.next_question(ctx) };
        let range = set::blob_bytes(placement.len, blob - base, blob - base + 1);
        match found {
            _ if gaps.iter().any(|gap| gap.range.is_none()) => self.findings.missing(&placement),
            // It folded this blob as if it had it.
            _ if !gaps.is_empty() => self.findings.corrupt(&placement, Cause::Proven, Some(range)),
            Verification::Invalid { .. } => self.findings.corrupt(&placement, Cause::Proven, Some(range)),
            Verification::WrongCommitment { .. } => self.void(&placement.shard, Fault::Commitments),
            // The bytes are there and the list is right: the answer was false all the same.
            Verification::Valid | Verification::NoList { .. } => {}
        }
        self.next_question(ctx)
    }

    fn all_judged(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let unresolved = match &mut self.phase {
            Phase::Judge { unresolved, .. } => std::mem::take(unresolved),
            Phase::Whole | Phase::Localise(_) => Vec::new(),
        };
        // Where commitments were wrong, they may be wrong there too: the next fold goes without them and tells.
        if self.findings.any_proven() && self.void.is_empty() {
            let touched = |member: &&Member| {
                unresolved.iter().any(|(from, to)| *from < member.base + member.blobs() && member.base < *to)
            };
            for member in self.set.members().iter().filter(touched) {
                self.findings.corrupt(&member.placement, Cause::Proven, None);
            }
        }
        self.spoken(ctx)
    }

    fn void(&mut self, shard: &ShardId, fault: Fault) {
        let known = self.void.iter().any(|(placement, _)| placement.shard == *shard);
        if let Some(member) = self.set.member(shard).filter(|_| !known) {
            self.void.push((member.placement.clone(), fault));
        }
    }

    fn held(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let ending = Ending::Judged { more: self.more, false_answer: None };
        self.conclude(Outcome::Held, ending, ctx)
    }

    /// The answer did not hold as a whole: what does that come to?
    fn spoken(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        if self.findings.any_proven() || self.lane != Lane::Fold {
            let ending = Ending::Judged { more: self.more, false_answer: None };
            return self.conclude(Outcome::Corrupt, ending, ctx);
        }
        if let Some((_, fault)) = self.void.first() {
            let outcome = Outcome::Inconclusive(*fault);
            return self.conclude(outcome, Ending::Inconclusive, ctx);
        }
        // Every part held, the whole did not: a false answer, on record, and the same is asked once more.
        let ending = Ending::Judged { more: self.more, false_answer: Some(self.silence(Outcome::Late)) };
        self.conclude(Outcome::Late, ending, ctx)
    }
}

/// The verdict.
impl Audit {
    fn conclude(&mut self, outcome: Outcome, ending: Ending, ctx: &mut Ctx<'_>) -> Progress {
        if self.row.is_none() {
            return Progress::End(ending);
        }
        (self.outcome, self.ending) = (outcome, ending);
        match self.findings.span() {
            Some((first, _)) => self.go(Step::Recheck(first), ctx),
            None => self.go(Step::Void(0), ctx),
        }
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
        if self.findings.is_empty() && self.outcome == Outcome::Corrupt {
            // All that was wrong is no longer ours to ask for.
            self.outcome = Outcome::Inconclusive(Fault::Cancelled);
            self.ending = Ending::Inconclusive;
        }
        self.go(Step::Void(0), ctx)
    }

    fn verdict(&self, outcome: Outcome, ctx: &Ctx<'_>) -> Verdict {
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

    fn changes(&self) -> Vec<StandingChange> {
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

/// How long the node has: a fold reads its blobs, leaves are there at once.
fn deadline(ask: &Ask, profile: &Profile) -> Millis {
    let read = match ask {
        Ask::Fold { from, to } => to.saturating_sub(*from).saturating_mul(BLOB_LEN),
        Ask::Sample { .. } | Ask::Leaves { .. } => 0,
    };
    Millis(profile.answer_within.0 + (profile.fold_per_gib.0.saturating_mul(read) >> 30))
}
