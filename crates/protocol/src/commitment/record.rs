//! A node's signed word for a list that is not its shard's goes on record like every other false answer: a verdict with
//! the word as its evidence. Its bytes may be whole, so it is `late`, no answer, and no shard of it counts as damaged.

use std::collections::BTreeMap;

use holdfast_types::{Millis, Seed, Sequence};

use super::shard::Shard;
use crate::{
    challenge,
    context::Context,
    effect::{Notice, Token},
    message::{SeqRun, SetEntry},
    model::{AuditRow, Lane, Outcome, Verdict},
    set,
    store::{StoreOp, StoreReply},
    witness::Claim,
};

enum Step {
    Open,
    Close,
}

/// Records under way.
#[derive(Default)]
pub(super) struct Records(BTreeMap<Token, (Step, Box<Verdict>)>);

impl Records {
    pub(super) fn owns(&self, token: Token) -> bool {
        self.0.contains_key(&token)
    }

    /// Begins a record. One that our own trouble ends is lost: the node's lists are judged with or without it.
    pub(super) fn open(&mut self, shard: &Shard, claim: &Claim, ctx: &mut Context<'_>) {
        let placement = &shard.placement;
        let entry = SetEntry { sequence: placement.sequence, shard: placement.shard, len: placement.len };
        let set = set::digest(&[entry]);
        // Its own audit, even where the same list is claimed again: the chance of this moment goes in.
        let number = u64::from_be_bytes(*claim.digest.first_chunk().unwrap_or(&[0; 8]));
        let seed = challenge::seed(&ctx.chance, &placement.node, number);
        let id = challenge::audit_id(ctx.cluster, &seed, &placement.node, &set);
        let end = Sequence(placement.sequence.0.saturating_add(1));
        let row = AuditRow {
            id,
            node: placement.node,
            lane: Lane::Fold,
            // No challenge was derived from it.
            seed: Seed([0; 32]),
            runs: vec![SeqRun { from: placement.sequence, to: end }],
            set_digest: set,
            opened: ctx.now.wall,
        };
        let verdict = Verdict {
            id: holdfast_types::VerdictId(0),
            audit: id,
            node: placement.node,
            lane: Lane::Fold,
            outcome: Outcome::Late,
            at: ctx.now.wall,
            took: Millis(0),
            shards: 1,
            bytes: placement.len,
            exceptions: Vec::new(),
            evidence: claim.to_bytes(),
        };
        let token = ctx.out.store(StoreOp::OpenAudit(Box::new(row)));
        self.0.insert(token, (Step::Open, Box::new(verdict)));
    }

    pub(super) fn on_stored(&mut self, token: Token, reply: StoreReply, ctx: &mut Context<'_>) {
        match (self.0.remove(&token), reply) {
            (Some((Step::Open, verdict)), StoreReply::Done) => {
                let token = ctx.out.store(StoreOp::CloseAudit { verdict: verdict.clone(), changes: Vec::new() });
                self.0.insert(token, (Step::Close, verdict));
            }
            (Some((Step::Close, verdict)), StoreReply::Verdict(id)) => {
                ctx.out.publish(Notice::Verdict(Box::new(Verdict { id, ..*verdict })));
            }
            _ => {}
        }
    }

    pub(super) fn busy(&mut self, token: Token) {
        self.0.remove(&token);
    }
}
