//! Deletions that are due, each with a grant of its own, until the node confirms. A row is sent as
//! soon as it was read and never kept for later: it may be withdrawn at any time, because the shard
//! was put there again.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Millis, Mono, NodeId, ShardId};

use crate::{
    backoff::Backoff,
    context::Context,
    effect::Token,
    grants::{self, DELETION_OUTSTANDING},
    message::{NodeReply, NodeRequest, SendFailure},
    model::{DeletionRow, NodeLife},
    repair::Repairs,
    store::{StoreOp, StoreReply},
};

/// Between two rounds over the queue.
const ROUND_EVERY: Millis = Millis::from_secs(1);
/// Rows read together.
const PAGE: u32 = 256;
/// Deletions under way, in all and at one node: they share the nodes with reads and audits.
const IN_FLIGHT_MAX: usize = 64;
const IN_FLIGHT_PER_NODE_MAX: usize = 8;

/// Deletions under way.
#[derive(Default)]
pub(super) struct Deletions {
    looking: Option<Token>,
    after: Option<(NodeId, ShardId)>,
    next_look: Mono,
    sent: BTreeMap<Token, DeletionRow>,
    noting: BTreeSet<Token>,
    /// Until when a grant that was sent may still be used; past its confirmation, never.
    grants: BTreeMap<(NodeId, ShardId), Mono>,
    backoff: Backoff,
}

impl Deletions {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        self.grants.retain(|_, until| *until > ctx.now.mono);
        let room = self.sent.len() < IN_FLIGHT_MAX;
        if self.looking.is_none() && room && ctx.now.mono >= self.next_look {
            let op = StoreOp::DueDeletions { now: ctx.now.wall, after: self.after, limit: PAGE };
            self.looking = Some(ctx.out.store(op));
        }
    }

    pub(super) fn look_soon(&mut self) {
        self.next_look = Mono(0);
    }

    pub(super) fn under_way(&self) -> BTreeSet<(NodeId, ShardId)> {
        self.grants.keys().copied().collect()
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.looking == Some(token) || self.sent.contains_key(&token) || self.noting.contains(&token)
    }

    pub(super) fn busy(&mut self, token: Token) {
        if self.looking == Some(token) {
            self.looking = None;
        }
        self.sent.remove(&token);
        self.noting.remove(&token);
    }

    pub(super) fn on_stored(&mut self, token: Token, reply: StoreReply, repairs: &Repairs, ctx: &mut Context<'_>) {
        if self.looking != Some(token) {
            // A confirmation that did not get through is made again: the row stays and the node says once more that it is gone.
            self.noting.remove(&token);
            return;
        }
        self.looking = None;
        let StoreReply::Deletions(rows) = reply else {
            self.next_look = ctx.now.mono + ROUND_EVERY;
            return;
        };
        let full = rows.len() as u32 == PAGE;
        for row in &rows {
            if self.sent.len() >= IN_FLIGHT_MAX {
                return;
            }
            self.after = Some((row.node, row.shard));
            // A repair is putting the very shard there.
            if self.is_possible(row, ctx) && !repairs.targets(row.node, row.shard) {
                self.send(*row, ctx);
            }
        }
        if !full {
            self.after = None;
            self.next_look = ctx.now.mono + ROUND_EVERY;
        }
    }

    fn is_possible(&self, row: &DeletionRow, ctx: &Context<'_>) -> bool {
        let life = ctx.nodes.get(&row.node).map(|node| node.life);
        let there = match life {
            Some(
                NodeLife::Joining | NodeLife::Active | NodeLife::Contained | NodeLife::Suspended | NodeLife::Draining,
            ) => true,
            Some(NodeLife::Evicted | NodeLife::Left) | None => false,
        };
        let here = self.sent.values().filter(|sent| sent.node == row.node);
        there
            && self.backoff.is_free(&row.node, ctx.now.mono)
            && here.clone().count() < IN_FLIGHT_PER_NODE_MAX
            && !here.clone().any(|sent| sent.shard == row.shard)
    }

    fn send(&mut self, row: DeletionRow, ctx: &mut Context<'_>) {
        let grant = grants::delete(&row, ctx.fence, ctx.now.wall, ctx.key);
        let token = ctx.out.send(row.node, NodeRequest::Delete(Box::new(grant)), ctx.profile.answer_within);
        self.grants.insert((row.node, row.shard), ctx.now.mono + DELETION_OUTSTANDING);
        self.sent.insert(token, row);
    }

    pub(super) fn on_answered(&mut self, token: Token, reply: &Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        let Some(row) = self.sent.remove(&token) else { return };
        match reply {
            Ok(NodeReply::Deleted) => {
                self.backoff.succeeded(&row.node);
                self.grants.remove(&(row.node, row.shard));
                let done = StoreOp::DeletionDone { node: row.node, shard: row.shard };
                self.noting.insert(ctx.out.store(done));
            }
            Err(SendFailure::Refused { retry_after }) => self.backoff.failed(row.node, *retry_after, ctx.now.mono),
            Ok(_)
            | Err(
                SendFailure::Unreachable | SendFailure::Timeout | SendFailure::Malformed(_) | SendFailure::Denied(_),
            ) => self.backoff.failed(row.node, Millis(0), ctx.now.mono),
        }
    }
}
