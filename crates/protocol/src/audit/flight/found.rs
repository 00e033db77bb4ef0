//! What the proofs say: the whole, the halves of a false whole, the judge's blobs.

use holdfast_types::{BLOB_LEN, ShardId};
use merkle_cid::tree::leaf_count;

use crate::{
    audit::{
        classify::Gap,
        localise::Localise,
        task::{Ctx, Ending, Progress},
    },
    effect::{Verification, VerifyJob},
    message::Ask,
    model::{Cause, Fault, Lane, Outcome},
    set::{self, Member},
};

use super::{Audit, Phase, Step};

/// Leaves of a blob, exactly.
const LEAVES_PER_BLOB: u64 = BLOB_LEN / holdfast_types::LEAF_LEN;

impl Audit {
    pub(super) fn verified(&mut self, found: Verification, ctx: &mut Ctx<'_>) -> Progress {
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

    pub(super) fn next_question(&mut self, ctx: &mut Ctx<'_>) -> Progress {
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

    pub(super) fn void(&mut self, shard: &ShardId, fault: Fault) {
        let known = self.void.iter().any(|(placement, _)| placement.shard == *shard);
        if let Some(member) = self.set.member(shard).filter(|_| !known) {
            self.void.push((member.placement.clone(), fault));
        }
    }

    pub(super) fn held(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        let ending = Ending::Judged { more: self.more, false_answer: None };
        self.conclude(Outcome::Held, ending, ctx)
    }

    /// The answer did not hold as a whole: what does that come to?
    pub(super) fn spoken(&mut self, ctx: &mut Ctx<'_>) -> Progress {
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
