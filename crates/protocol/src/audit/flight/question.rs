//! What is asked, and what came back before anything is verified.

use holdfast_types::{BLOB_LEN, Millis};

use crate::{
    audit::{
        classify::{FoldSaid, Heard, LeavesSaid, asked_leaves, hear},
        task::{Ctx, Ending, Progress, Purpose, Silence},
    },
    effect::{FoldJob, JudgeJob, LeafClaim, LeavesJob, Verification, VerifyJob},
    message::{Ask, Challenge, NodeReply, NodeRequest, SendFailure},
    model::{Fault, Lane, Outcome},
    profile::Profile,
    set,
};

use super::{Audit, Phase, Step};

impl Audit {
    pub(super) fn whole(&self, profile: &Profile) -> Ask {
        match self.lane {
            Lane::Fold => Ask::Fold { from: 0, to: self.set.blobs() },
            Lane::Sample | Lane::Retrieve => Ask::Sample { count: profile.sample_leaves },
        }
    }

    pub(super) fn ask(&mut self, ask: Ask, ctx: &mut Ctx<'_>) -> Progress {
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

    pub(super) fn send(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let Some(challenge) = &self.challenge else { return Progress::End(Ending::Inconclusive) };
        self.sent = ctx.now.mono;
        let request = NodeRequest::Challenge(Box::new(challenge.clone()));
        Progress::Wait(ctx.out.send(self.node, request, challenge.deadline))
    }

    pub(super) fn answered(&mut self, reply: Result<NodeReply, SendFailure>, ctx: &mut Ctx<'_>) -> Progress {
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
        Progress::Sleep(ctx.now.mono + ctx.profile.refusal_wait(after))
    }

    pub(super) fn silent(&mut self, outcome: Outcome, ctx: &mut Ctx<'_>) -> Progress {
        if self.purpose == Purpose::Probe {
            // It is suspended already: nothing is left to take, and the record is closed.
            return self.conclude(outcome, Ending::Inconclusive, ctx);
        }
        Progress::End(Ending::Silent(self.silence(outcome)))
    }

    pub(super) fn silence(&self, outcome: Outcome) -> Silence {
        let audit = self.row.as_ref().map(|row| row.id);
        let (shards, bytes) = (self.set.members().len() as u32, self.set.bytes());
        Silence { audit, lane: self.lane, outcome, shards, bytes }
    }

    fn nonsense(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let Some(challenge) = &self.challenge else { return Progress::End(Ending::Inconclusive) };
        if let Ask::Fold { .. } = challenge.ask {
            let (y, proof) = ([0; 32], [0; 48]);
            self.said = Some(FoldSaid { y, proof, terms: Vec::new(), gaps: Vec::new(), excluded: Vec::new() });
            return self.verified(Verification::Invalid { shards: Vec::new() }, ctx);
        }
        let asked = asked_leaves(challenge, &self.set);
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

/// How long the node has: a fold reads its blobs, leaves are there at once.
fn deadline(ask: &Ask, profile: &Profile) -> Millis {
    let read = match ask {
        Ask::Fold { from, to } => to.saturating_sub(*from).saturating_mul(BLOB_LEN),
        Ask::Sample { .. } | Ask::Leaves { .. } => 0,
    };
    Millis(profile.answer_within.0 + (profile.fold_per_gib.0.saturating_mul(read) >> 30))
}
