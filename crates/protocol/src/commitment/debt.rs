//! What nodes owe in commitments. A node above its bound takes no new shards from puts until it has caught up: otherwise
//! what is only sampled would grow without end. Repairs go on, a shard at risk is worth more than its commitments.

use std::collections::BTreeSet;

use holdfast_types::{Millis, Mono, NodeId};

use crate::{
    context::Context,
    effect::Token,
    model::Debt,
    store::{StoreOp, StoreReply},
};

/// Between two countings.
const COUNT_EVERY: Millis = Millis::from_secs(5);

/// Debts as last counted.
#[derive(Default)]
pub(crate) struct Debts {
    counting: Option<Token>,
    next: Mono,
    over: BTreeSet<NodeId>,
}

impl Debts {
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        if self.counting.is_none() && ctx.now.mono >= self.next {
            self.counting = Some(ctx.out.store(StoreOp::CommitmentDebts));
        }
    }

    pub(crate) fn owns(&self, token: Token) -> bool {
        self.counting == Some(token)
    }

    pub(crate) fn on_stored(&mut self, reply: StoreReply, ctx: &mut Context<'_>) {
        self.counting = None;
        self.next = ctx.now.mono + COUNT_EVERY;
        if let StoreReply::Debts(debts) = reply {
            let over = |debt: &&Debt| debt.bytes > ctx.profile.commit_debt_max;
            self.over = debts.iter().filter(over).map(|debt| debt.node).collect();
        }
    }

    pub(crate) fn busy(&mut self, token: Token) {
        if self.counting == Some(token) {
            self.counting = None;
        }
    }

    /// Nodes that owe more than they may.
    pub(crate) fn over(&self) -> &BTreeSet<NodeId> {
        &self.over
    }
}
