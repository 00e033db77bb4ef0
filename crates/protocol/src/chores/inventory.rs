//! What each node holds, against what the catalog knows. A shard that nobody knows is queued for
//! deletion after a grace, and only when the node's list was read to its end.

use std::collections::BTreeMap;

use holdfast_types::{Millis, Mono, NodeId, Sequence, Transcript, Wall};

use crate::{
    backoff::Backoff,
    context::Context,
    effect::Token,
    grants::OWNER_UNKNOWN,
    message::{LIST_ENTRIES_MAX, NodeReply, NodeRequest, NodeStat, SendFailure, SetEntry},
    model::DeletionRow,
    store::{StoreOp, StoreReply},
};

/// Nodes listed at the same time.
const LISTINGS_MAX: usize = 4;
/// Orphans of one node in one inventory: 3 MiB of entries; the next inventory finds the rest.
const ORPHANS_MAX: usize = 64 << 10;
/// The share of `list_every` after which a node seen for the first time is listed: a process that restarts more often than
/// it lists must come to it, too.
const FIRST_SHARE: u64 = 4;

enum Step {
    Stat,
    List(Sequence),
    Unknown(Vec<SetEntry>, Option<Sequence>),
    Queue,
}

struct Listing {
    step: Step,
    waiting: Option<Token>,
    orphans: Vec<SetEntry>,
}

enum Progress {
    On,
    /// Read to its end; what was to be queued is.
    Done,
    /// Broken off: nothing that was found counts.
    Broken(Millis),
}

/// Inventories under way, and when the next are due.
pub(super) struct Inventory {
    no_orphans_before: Wall,
    due: BTreeMap<NodeId, Mono>,
    listings: BTreeMap<NodeId, Listing>,
    backoff: Backoff,
}

impl Inventory {
    pub(super) fn new(no_orphans_before: Wall, backoff: Backoff) -> Self {
        Self { no_orphans_before, due: BTreeMap::new(), listings: BTreeMap::new(), backoff }
    }

    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        self.due.retain(|node, _| ctx.nodes.contains_key(node));
        for row in ctx.nodes.values() {
            self.due.entry(row.id).or_insert_with(|| ctx.now.mono + first_wait(&row.id, ctx));
            let due = self.due.get(&row.id).is_some_and(|due| *due <= ctx.now.mono);
            let free = self.listings.len() < LISTINGS_MAX && self.backoff.is_free(&row.id, ctx.now.mono);
            if due && free && row.life.is_audited() && !self.listings.contains_key(&row.id) {
                let listing = Listing { step: Step::Stat, waiting: None, orphans: Vec::new() };
                self.listings.insert(row.id, listing);
            }
        }
        for (node, listing) in &mut self.listings {
            listing.wish(*node, ctx);
        }
    }

    pub(super) fn node_of(&self, token: Token) -> Option<NodeId> {
        self.listings.iter().find(|(_, listing)| listing.waiting == Some(token)).map(|(node, _)| *node)
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.node_of(token).is_some()
    }

    pub(super) fn busy(&mut self, token: Token) {
        for listing in self.listings.values_mut().filter(|listing| listing.waiting == Some(token)) {
            listing.waiting = None;
        }
    }

    pub(super) fn on_answered(&mut self, token: Token, reply: Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        let Some(node) = self.node_of(token) else { return };
        let Some(listing) = self.listings.get_mut(&node) else { return };
        listing.waiting = None;
        let progress = match (&listing.step, reply) {
            (Step::Stat, Ok(NodeReply::Stat(stat))) => listing.met(node, &stat, ctx),
            (Step::List(from), Ok(NodeReply::Entries { entries, next })) => {
                let from = *from;
                listing.listed(from, entries, next)
            }
            (_, Err(SendFailure::Refused { retry_after })) => Progress::Broken(retry_after),
            (Step::Stat | Step::List(_) | Step::Unknown(..) | Step::Queue, _) => Progress::Broken(Millis(0)),
        };
        self.settle(node, progress, ctx);
    }

    pub(super) fn on_stored(&mut self, token: Token, reply: StoreReply, ctx: &mut Context<'_>) {
        let Some(node) = self.node_of(token) else { return };
        let Some(listing) = self.listings.get_mut(&node) else { return };
        listing.waiting = None;
        let progress = match (&listing.step, reply) {
            (Step::Unknown(_, next), StoreReply::Entries(unknown)) => {
                let next = *next;
                listing.orphans.extend(unknown);
                listing.go_on(next)
            }
            (Step::Queue, StoreReply::Done) => Progress::Done,
            (Step::Stat | Step::List(_) | Step::Unknown(..) | Step::Queue, _) => Progress::Broken(Millis(0)),
        };
        self.settle(node, progress, ctx);
    }

    fn settle(&mut self, node: NodeId, progress: Progress, ctx: &mut Context<'_>) {
        match progress {
            Progress::On => {
                let wait = ctx.now.wall < self.no_orphans_before;
                let Some(listing) = self.listings.get_mut(&node) else { return };
                if matches!(listing.step, Step::Queue) && (wait || listing.orphans.is_empty()) {
                    return self.settle(node, Progress::Done, ctx);
                }
                listing.wish(node, ctx);
            }
            Progress::Done => {
                self.listings.remove(&node);
                self.backoff.succeeded(&node);
                self.due.insert(node, ctx.now.mono + ctx.profile.list_every);
            }
            Progress::Broken(least) => {
                self.listings.remove(&node);
                self.backoff.failed(node, least, ctx.now.mono);
            }
        }
    }
}

/// Spread over the interval, or a restart would list all nodes at once.
pub(super) fn first_wait(node: &NodeId, ctx: &Context<'_>) -> Millis {
    let digest = Transcript::new("holdfast 2026 inventory spread v1")
        .absorb("chance", &ctx.chance.0)
        .absorb("node", node.as_bytes())
        .digest();
    let drawn = digest.iter().take(4).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    Millis((ctx.profile.list_every.0 / FIRST_SHARE).saturating_mul(drawn) >> 32)
}

impl Listing {
    fn wish(&mut self, node: NodeId, ctx: &mut Context<'_>) {
        if self.waiting.is_some() {
            return;
        }
        let within = ctx.profile.answer_within;
        let token = match &self.step {
            Step::Stat => ctx.out.send(node, NodeRequest::Stat, within),
            Step::List(from) => {
                let request = NodeRequest::List { from: *from, limit: LIST_ENTRIES_MAX as u32 };
                ctx.out.send(node, request, within)
            }
            Step::Unknown(entries, _) => ctx.out.store(StoreOp::Unknown { node, entries: entries.clone() }),
            Step::Queue => {
                let due = ctx.now.wall + ctx.profile.orphan_grace;
                let row = |entry: &SetEntry| DeletionRow { node, shard: entry.shard, owner: OWNER_UNKNOWN, due };
                ctx.out.store(StoreOp::QueueDeletions(self.orphans.iter().map(row).collect()))
            }
        };
        self.waiting = Some(token);
    }

    fn met(&mut self, node: NodeId, stat: &NodeStat, ctx: &Context<'_>) -> Progress {
        // Another life than the catalog knows: it registers first, and what it has is judged after that.
        let known = ctx.nodes.get(&node).is_some_and(|row| row.incarnation == stat.incarnation);
        if !known || stat.node != node {
            return Progress::Broken(ctx.profile.answer_within);
        }
        self.step = Step::List(Sequence(0));
        Progress::On
    }

    fn listed(&mut self, from: Sequence, entries: Vec<SetEntry>, next: Option<Sequence>) -> Progress {
        let forward = next.is_none_or(|next| next > from);
        // Attack: a list that runs in a circle would keep us reading for ever.
        if !forward || entries.len() > LIST_ENTRIES_MAX {
            return Progress::Broken(Millis(0));
        }
        if entries.is_empty() {
            return self.go_on(next);
        }
        self.step = Step::Unknown(entries, next);
        Progress::On
    }

    fn go_on(&mut self, next: Option<Sequence>) -> Progress {
        self.step = match next {
            Some(next) if self.orphans.len() < ORPHANS_MAX => Step::List(next),
            Some(_) | None => Step::Queue,
        };
        Progress::On
    }
}
