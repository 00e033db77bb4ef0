//! Records that each node keeps, against what the catalog needs. A record that nothing needs is buried like those of a deleted
//! object, after the grace of orphans: it was sent before its object was deleted and came after, or a rotten journal has brought it back.
//! What this catalog has not found yet, after it was rebuilt from the nodes, may look like that, too: then nothing is listed.

use std::collections::BTreeMap;

use holdfast_types::{Mono, NodeId, Wall};

use super::inventory::first_wait;
use crate::{
    backoff::Backoff,
    context::Context,
    effect::Token,
    message::{LIST_ENTRIES_MAX, NodeReply, NodeRequest, RecordKind, SendFailure},
    store::{StoreOp, StoreReply},
};

/// Kinds that are listed, in this order. A page alone brings nothing back, and is found through what names it.
const KINDS: [RecordKind; 4] =
    [RecordKind::Descriptor, RecordKind::Manifest, RecordKind::Envelope, RecordKind::Tombstone];

/// One node's list under way: there is no hurry, so there is one at a time.
struct Listing {
    node: NodeId,
    /// Which of [`KINDS`].
    kind: usize,
    after: Option<[u8; 32]>,
    /// A page that came, for the catalog.
    keys: Option<Vec<[u8; 32]>>,
    waiting: Option<Token>,
}

/// When each node's records are listed next, and the list under way.
pub(super) struct Strays {
    not_before: Wall,
    due: BTreeMap<NodeId, Mono>,
    listing: Option<Listing>,
    backoff: Backoff,
}

impl Strays {
    pub(super) fn new(not_before: Wall, backoff: Backoff) -> Self {
        Self { not_before, due: BTreeMap::new(), listing: None, backoff }
    }

    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        self.due.retain(|node, _| ctx.nodes.contains_key(node));
        for row in ctx.nodes.values() {
            self.due.entry(row.id).or_insert_with(|| ctx.now.mono + first_wait(&row.id, ctx));
        }
        if self.listing.is_none() && ctx.now.wall >= self.not_before {
            let is_due = |(node, due): &(&NodeId, &Mono)| {
                let audited = ctx.nodes.get(node).is_some_and(|row| row.life.is_audited());
                **due <= ctx.now.mono && audited && self.backoff.is_free(node, ctx.now.mono)
            };
            let first = self.due.iter().filter(is_due).min_by_key(|(_, due)| **due);
            let begin = |node| Listing { node, kind: 0, after: None, keys: None, waiting: None };
            self.listing = first.map(|(node, _)| begin(*node));
        }
        self.wish(ctx);
    }

    fn wish(&mut self, ctx: &mut Context<'_>) {
        let Some(listing) = self.listing.as_mut().filter(|listing| listing.waiting.is_none()) else { return };
        let (node, kind) = (listing.node, KINDS[listing.kind]);
        listing.waiting = Some(match &listing.keys {
            Some(keys) => {
                let at = ctx.now.wall + ctx.profile.orphan_grace;
                ctx.out.store(StoreOp::BuryStrays { node, kind, keys: keys.clone(), at })
            }
            None => {
                let request = NodeRequest::ListRecords { kind, after: listing.after, limit: LIST_ENTRIES_MAX as u32 };
                ctx.out.send(node, request, ctx.profile.answer_within)
            }
        });
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.listing.as_ref().is_some_and(|listing| listing.waiting == Some(token))
    }

    pub(super) fn busy(&mut self, token: Token) {
        if let Some(listing) = self.listing.as_mut().filter(|listing| listing.waiting == Some(token)) {
            listing.waiting = None;
        }
    }

    pub(super) fn on_answered(&mut self, reply: Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        let Some(listing) = &mut self.listing else { return };
        listing.waiting = None;
        let in_order = |keys: &[[u8; 32]]| {
            let behind = keys.first().is_none_or(|first| listing.after.is_none_or(|after| *first > after));
            behind && keys.len() <= LIST_ENTRIES_MAX && keys.windows(2).all(|pair| pair[0] < pair[1])
        };
        match reply {
            // Attack: a list that runs in a circle would keep us reading for ever.
            Ok(NodeReply::Keys(keys)) if in_order(&keys) => listing.keys = Some(keys),
            Err(SendFailure::Refused { retry_after }) => {
                self.backoff.failed(listing.node, retry_after, ctx.now.mono);
                self.listing = None;
            }
            Ok(_) | Err(_) => {
                self.backoff.failed(listing.node, holdfast_types::Millis(0), ctx.now.mono);
                self.listing = None;
            }
        }
        self.wish(ctx);
    }

    pub(super) fn on_stored(&mut self, reply: &StoreReply, ctx: &mut Context<'_>) {
        let Some(listing) = &mut self.listing else { return };
        listing.waiting = None;
        let Some(keys) = listing.keys.take().filter(|_| *reply == StoreReply::Done) else {
            // Our own trouble: this node comes again, from the beginning.
            self.listing = None;
            return;
        };
        listing.after = keys.last().copied().filter(|_| keys.len() == LIST_ENTRIES_MAX);
        listing.kind += usize::from(listing.after.is_none());
        if listing.kind == KINDS.len() {
            self.backoff.succeeded(&listing.node);
            self.due.insert(listing.node, ctx.now.mono + ctx.profile.list_every);
            self.listing = None;
        }
        self.wish(ctx);
    }
}
