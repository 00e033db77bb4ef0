//! Records that are owed to nodes, until they keep them; or their absence, until nothing is there.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Millis, Mono, NodeId};

use crate::{
    backoff::Backoff,
    context::Context,
    effect::Token,
    grants,
    message::{NodeReply, NodeRequest, RecordKind, SendFailure},
    store::{OwedRecord, StoreOp, StoreReply},
};

/// Between two rounds over what is owed.
const ROUND_EVERY: Millis = Millis::from_secs(1);
/// Records read together: at most 2 MiB of them.
const PAGE: u32 = 32;
/// Records under way, in all and at one node.
const IN_FLIGHT_MAX: usize = 64;
const IN_FLIGHT_PER_NODE_MAX: usize = 8;

type Key = (NodeId, RecordKind, [u8; 32]);

/// Records under way.
#[derive(Default)]
pub(super) struct Records {
    looking: Option<Token>,
    after: Option<Key>,
    next_look: Mono,
    /// What was sent, and the digest of its bytes.
    sent: BTreeMap<Token, (Key, [u8; 32])>,
    noting: BTreeSet<Token>,
    backoff: Backoff,
}

impl Records {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        let room = self.sent.len() < IN_FLIGHT_MAX;
        if self.looking.is_none() && room && ctx.now.mono >= self.next_look {
            self.looking = Some(ctx.out.store(StoreOp::OwedRecords { after: self.after, limit: PAGE }));
        }
    }

    pub(super) fn look_soon(&mut self) {
        self.next_look = Mono(0);
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

    pub(super) fn on_stored(&mut self, token: Token, reply: StoreReply, ctx: &mut Context<'_>) {
        if self.looking != Some(token) {
            self.noting.remove(&token);
            return;
        }
        self.looking = None;
        let StoreReply::Owed(records) = reply else {
            self.next_look = ctx.now.mono + ROUND_EVERY;
            return;
        };
        let full = records.len() as u32 == PAGE;
        for record in records {
            if self.sent.len() >= IN_FLIGHT_MAX {
                return;
            }
            self.after = Some((record.node, record.kind, record.key));
            self.send(record, ctx);
        }
        if !full {
            self.after = None;
            self.next_look = ctx.now.mono + ROUND_EVERY;
        }
    }

    fn send(&mut self, record: OwedRecord, ctx: &mut Context<'_>) {
        let OwedRecord { node, kind, key, bytes } = record;
        let audited = ctx.nodes.get(&node).is_some_and(|row| row.life.is_audited());
        let here = self.sent.values().filter(|((to, ..), _)| *to == node);
        // Two versions of one record under way could arrive in the wrong order.
        let twice = self.sent.values().any(|(sent, _)| *sent == (node, kind, key));
        let full = here.count() >= IN_FLIGHT_PER_NODE_MAX;
        if !audited || twice || full || !self.backoff.is_free(&node, ctx.now.mono) {
            return;
        }
        let digest = *blake3::hash(&bytes).as_bytes();
        let request = if bytes.is_empty() {
            NodeRequest::Delete(Box::new(grants::delete_record(node, kind, key, ctx.fence, ctx.now.wall, ctx.key)))
        } else {
            NodeRequest::PutRecord { kind, key, bytes, fence: ctx.fence }
        };
        let token = ctx.out.send(node, request, ctx.profile.answer_within);
        self.sent.insert(token, ((node, kind, key), digest));
    }

    pub(super) fn on_answered(&mut self, token: Token, reply: &Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        let Some(((node, kind, key), digest)) = self.sent.remove(&token) else { return };
        match reply {
            Ok(NodeReply::Recorded | NodeReply::Deleted) => {
                self.backoff.succeeded(&node);
                self.noting.insert(ctx.out.store(StoreOp::RecordKept { node, kind, key, digest }));
            }
            Err(SendFailure::Refused { retry_after }) => self.backoff.failed(node, *retry_after, ctx.now.mono),
            Ok(_)
            | Err(
                SendFailure::Unreachable | SendFailure::Timeout | SendFailure::Malformed(_) | SendFailure::Denied(_),
            ) => self.backoff.failed(node, Millis(0), ctx.now.mono),
        }
    }
}
