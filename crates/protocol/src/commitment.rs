//! Commitments of shards that have none: read from the node, computed by the driver, accepted in the
//! catalog by compare-and-swap. Until then the sample lane audits the shard.
//!
//! ```text
//! pending shards, page by page ─► read and commit (driver) ─► set, if still pending ─► told
//!                                        │ bad bytes: audit it now   │ no answer: the node waits
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use holdfast_types::{Millis, Mono, NodeId, SegmentId, ShardId, ShardIndex};

use crate::{
    backoff::Backoff,
    context::Context,
    effect::{CommitJob, CommitOutcome, Notice, Token},
    message::SendFailure,
    model::{CommitmentState, Placement},
    store::{StoreOp, StoreReply},
};

/// Between two looks when nothing is pending.
const LOOK_EVERY: Millis = Millis::from_secs(1);
/// Placements looked at together.
const PAGE: u32 = 128;
/// After trouble of our own.
const PAUSE: Millis = Millis::from_secs(5);

enum Work {
    Commit(Placement),
    Set(Placement),
}

/// Commitments under way.
#[derive(Default)]
pub(crate) struct Commitments {
    queue: VecDeque<Placement>,
    after: Option<(SegmentId, ShardIndex)>,
    looking: Option<Token>,
    next_look: Mono,
    work: BTreeMap<Token, Work>,
    /// Set since the last look was asked for: its page may still call them pending.
    set: BTreeSet<(SegmentId, ShardIndex)>,
    backoff: Backoff,
    /// Shards whose bytes were bad, left to audit and repair until then.
    bad: BTreeMap<(SegmentId, ShardIndex), Mono>,
    suspects: Vec<(NodeId, ShardId)>,
}

impl Commitments {
    /// Time went by.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        self.bad.retain(|_, until| *until > ctx.now.mono);
        self.launch(ctx);
        if self.queue.is_empty() && self.looking.is_none() && ctx.now.mono >= self.next_look {
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

    pub(crate) fn owns(&self, token: Token) -> bool {
        self.looking == Some(token) || self.work.contains_key(&token)
    }

    fn is_under_way(&self, placement: &Placement) -> bool {
        let key = (placement.segment, placement.index);
        self.work.values().any(|work| match work {
            Work::Commit(other) | Work::Set(other) => (other.segment, other.index) == key,
        })
    }

    fn launch(&mut self, ctx: &mut Context<'_>) {
        let mut running = self.work.values().filter(|work| matches!(work, Work::Commit(_))).count();
        while running < ctx.profile.commits as usize {
            let Some(placement) = self.queue.pop_front() else { return };
            let audited = ctx.nodes.get(&placement.node).is_some_and(|row| row.life.is_audited());
            let key = (placement.segment, placement.index);
            let bad = self.bad.contains_key(&key) || self.set.contains(&key);
            let free = self.backoff.is_free(&placement.node, ctx.now.mono);
            if !audited || bad || !free || self.is_under_way(&placement) {
                continue;
            }
            let job = CommitJob { node: placement.node, shard: placement.shard, len: placement.len };
            let token = ctx.out.commit(job);
            self.work.insert(token, Work::Commit(placement));
            running += 1;
        }
    }

    /// The catalog answered. Gives the reply back if it is not for these machines.
    pub(crate) fn on_stored(&mut self, token: Token, reply: StoreReply, ctx: &mut Context<'_>) -> Option<StoreReply> {
        if self.looking == Some(token) {
            self.looking = None;
            self.looked(reply, ctx);
            return None;
        }
        let Some(Work::Set(placement)) = self.work.remove(&token) else { return Some(reply) };
        // Anything but `Done`: it has another commitment by now, or is gone, or the store failed and it comes up again.
        if reply == StoreReply::Done {
            let Placement { segment, index, shard, node, sequence, .. } = placement;
            self.set.insert((segment, index));
            ctx.out.publish(Notice::Commitment { shard, node, sequence, accepted: true });
        }
        None
    }

    fn looked(&mut self, reply: StoreReply, ctx: &mut Context<'_>) {
        let StoreReply::Pending(found) = reply else {
            self.next_look = ctx.now.mono + PAUSE;
            return;
        };
        let found: Vec<Placement> = found.into_iter().map(|pending| pending.placement).collect();
        let full = found.len() as u32 == PAGE;
        self.after = found.last().filter(|_| full).map(|last| (last.segment, last.index));
        // At the end of a round there is no hurry: what is left was tried, or waits for its node.
        self.next_look = if full { Mono(0) } else { ctx.now.mono + LOOK_EVERY };
        self.queue = found.into();
        self.launch(ctx);
    }

    /// The driver committed to a shard, or could not.
    pub(crate) fn on_committed(&mut self, token: Token, outcome: CommitOutcome, ctx: &mut Context<'_>) {
        let Some(Work::Commit(placement)) = self.work.remove(&token) else { return };
        let now = ctx.now.mono;
        match outcome {
            CommitOutcome::Committed { digest, provenance } => {
                self.backoff.succeeded(&placement.node);
                let token = ctx.out.store(StoreOp::SetCommitment {
                    segment: placement.segment,
                    index: placement.index,
                    expected: CommitmentState::Pending,
                    to: CommitmentState::Accepted { digest, provenance },
                });
                self.work.insert(token, Work::Set(placement));
            }
            CommitOutcome::BadBytes { .. } => {
                // No verdict: whether the node or the road changed the bytes, a challenge will tell.
                self.suspects.push((placement.node, placement.shard));
                self.bad.insert((placement.segment, placement.index), now + ctx.profile.repair_retry);
            }
            CommitOutcome::Failed(failure) => {
                let least = match failure {
                    SendFailure::Refused { retry_after } => retry_after,
                    SendFailure::Unreachable
                    | SendFailure::Timeout
                    | SendFailure::Malformed(_)
                    | SendFailure::Denied(_) => Millis(0),
                };
                self.backoff.failed(placement.node, least, now);
            }
            CommitOutcome::Internal(_) => {
                self.queue.clear();
                self.next_look = now + PAUSE;
            }
        }
        self.launch(ctx);
    }

    /// The pool was full: it comes up again.
    pub(crate) fn busy(&mut self, token: Token, now: Mono) {
        if self.looking == Some(token) {
            self.looking = None;
        }
        if self.work.remove(&token).is_some() {
            self.queue.clear();
            self.next_look = now + LOOK_EVERY;
        }
    }
}
