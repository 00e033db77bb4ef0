//! What a job's end means for its shard, and who is blamed for what.

use holdfast_types::{Millis, Mono};

use super::{Commitments, PAUSE, Step, Work, shard::Shard};
use crate::{
    context::Context,
    effect::{CommitOutcome, Notice, Opening, Token},
    message::SendFailure,
    model::{CommitmentState, Provenance, WitnessState},
    witness::Claim,
};

/// A node that says "not yet" is asked again no sooner.
const AGAIN_MIN: Millis = Millis(100);
/// And no later: a list that is there is not left lying.
const AGAIN_MAX: Millis = Millis::from_secs(60);

impl Commitments {
    /// A job ended.
    pub(crate) fn on_committed(&mut self, token: Token, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        let Some(Work { shard, step, .. }) = self.work.remove(&token) else { return };
        match step {
            Step::Hand => self.handed(shard, outcome, ctx),
            Step::Claim => self.claimed(shard, outcome, ctx),
            Step::Reveal => self.revealed(shard, outcome, ctx),
            Step::Read => self.read(shard, outcome, ctx),
            // Their answers come from the store.
            Step::Burn | Step::Set(_) => {}
        }
        self.launch(ctx);
    }

    fn claimed(&mut self, mut shard: Shard, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        match outcome {
            CommitOutcome::Claimed(claim) => {
                self.backoff.succeeded(&shard.placement.node);
                shard.claim = Some(*claim);
                self.go_on(shard, ctx);
            }
            CommitOutcome::FalseClaim { claim, why } => {
                self.false_list(&shard, &claim, &why, ctx);
                shard.without = true;
                self.go_on(shard, ctx);
            }
            CommitOutcome::NotYet { retry_after } => self.wait(shard, retry_after, ctx.now.mono),
            // A node from before, or words that are none: the shard is read without its help.
            CommitOutcome::NoClaim { .. } => {
                shard.without = true;
                self.go_on(shard, ctx);
            }
            other => self.otherwise(&shard, other, ctx),
        }
    }

    fn wait(&mut self, shard: Shard, retry_after: Millis, now: Mono) {
        self.backoff.succeeded(&shard.placement.node);
        let again = Millis(retry_after.0.clamp(AGAIN_MIN.0, AGAIN_MAX.0));
        self.waiting.insert(now + again, shard);
    }

    fn revealed(&mut self, mut shard: Shard, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        let opening = match outcome {
            CommitOutcome::TooBusy { retry_after } => {
                // The secret is out and bound to the one list: telling it again for that list tells nobody more.
                shard.reveals += 1;
                return self.wait(shard, retry_after, ctx.now.mono);
            }
            CommitOutcome::BadBytes { .. } => return self.otherwise(&shard, outcome, ctx),
            CommitOutcome::Opened(opening) => opening,
            // Silence, or trouble of our own such as a sealing key that is lost: the witness is spent all the same.
            _ => Opening::NotGiven,
        };
        let digest = shard.claim.as_ref().map(|claim| claim.digest);
        if let (Opening::Holds, Some(digest)) = (opening, digest) {
            let to = CommitmentState::Accepted { digest, provenance: Provenance::ClientWitness };
            return self.set(shard, CommitmentState::Pending, to, ctx);
        }
        shard.false_value = opening == Opening::OtherValue;
        shard.spent();
        self.go_on(shard, ctx);
    }

    fn read(&mut self, mut shard: Shard, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        match outcome {
            CommitOutcome::Committed { digest, provenance } => {
                self.backoff.succeeded(&shard.placement.node);
                self.progress.shards_read += 1;
                self.settle_blame(&shard, digest, ctx);
                let to = CommitmentState::Accepted { digest, provenance };
                self.set(shard, CommitmentState::Pending, to, ctx);
            }
            CommitOutcome::WrongList => {
                self.progress.shards_read += 1;
                if let Some(claim) = shard.claim {
                    self.false_list(&shard, &claim, "the shard's bytes give other commitments", ctx);
                }
                shard.claim = None;
                shard.without = true;
                self.go_on(shard, ctx);
            }
            other => {
                if matches!(other, CommitOutcome::BadBytes { .. } | CommitOutcome::Failed(_)) {
                    self.unserved.push(shard.placement.clone());
                }
                self.otherwise(&shard, other, ctx);
            }
        }
    }

    /// The right list is known. Who had said what?
    fn settle_blame(&mut self, shard: &Shard, digest: [u8; 32], ctx: &mut Context<'_>) {
        let Some(claim) = &shard.claim else { return };
        if claim.digest != digest {
            // Judged by computing, because the driver had lost the claimed list.
            return self.false_list(shard, claim, "the shard's bytes give other commitments", ctx);
        }
        let opened = matches!(&shard.witness, Some(row) if row.state == WitnessState::Burnt(digest));
        if opened && shard.false_value {
            // The list is right, the opening of it is true, and the client's value is another: the client lied.
            self.progress.false_witnesses += 1;
            let (segment, index) = shard.key();
            ctx.out.publish(Notice::FalseWitness { segment, index, shard: shard.placement.shard });
        }
    }

    fn false_list(&mut self, shard: &Shard, claim: &Claim, why: &str, ctx: &mut Context<'_>) {
        self.progress.false_lists += 1;
        let (node, of) = (shard.placement.node, shard.placement.shard);
        self.records.open(shard, claim, ctx);
        ctx.out.publish(Notice::FalseList { node, shard: of, digest: claim.digest, why: why.to_owned() });
    }

    fn handed(&mut self, shard: Shard, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        let CommitOutcome::NotAdopted { .. } = outcome else { return };
        // Either its bytes are not what it says, and an audit shows it; or the list is not theirs.
        self.suspects.push((shard.placement.node, shard.placement.shard));
        match shard.placement.commitment {
            CommitmentState::Accepted { provenance: Provenance::AuditorRead, .. } | CommitmentState::Pending => {}
            // On a client's word alone: its node and it may have been in league. The bytes will tell.
            expected @ CommitmentState::Accepted { .. } => self.set(shard, expected, CommitmentState::Pending, ctx),
        }
    }

    /// Ends that mean the same for every step.
    fn otherwise(&mut self, shard: &Shard, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        let node = shard.placement.node;
        match outcome {
            CommitOutcome::BadBytes { .. } => {
                // No verdict: whether the node or the road changed the bytes, a challenge will tell.
                self.suspects.push((node, shard.placement.shard));
                self.bad.insert(shard.key(), now + ctx.profile.repair_retry);
            }
            CommitOutcome::Failed(failure) => {
                let least = match failure {
                    SendFailure::Refused { retry_after } => retry_after,
                    SendFailure::Unreachable
                    | SendFailure::Timeout
                    | SendFailure::Malformed(_)
                    | SendFailure::Denied(_) => Millis(0),
                };
                self.backoff.failed(node, least, now);
            }
            CommitOutcome::TooBusy { retry_after } => self.backoff.failed(node, retry_after, now),
            // Our own trouble, or an answer to another question.
            _ => {
                self.queue.clear();
                self.next_look = now + PAUSE;
            }
        }
    }
}
