//! Whether this catalog is an old copy, asked of every node right after the start. Before all were heard, or had their time,
//! no witness is burnt and no lease is taken.
//!
//! Attack: a witness is burnt and told to a node, and the catalog is then restored from a backup in which it is fresh. That
//! node claims a list made from the secret, the copy burns the witness a second time, and the list passes. What
//! contradicts a copy is a fence above its own under our own signature. Only grants under leases carry that, and each
//! lease's go to the few nodes it writes to or deletes from: one node in a thousand may be the only one that knows, so
//! that no number of answers is enough but all of them. A lease of the copy's own may have the number of one that its
//! later self gave out; so leases wait, too.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Fence, Millis, Mono, NodeId};

use crate::{
    backoff::Backoff,
    context::Context,
    effect::{Notice, Token},
    message::{NodeReply, NodeRequest, NodeStat, SendFailure},
};

/// Nodes asked at the same time, and begun with in one tick: as many as challenges are in flight in `production`. A thousand
/// nodes are through in seconds.
const AT_ONCE: usize = 64;

/// What became of the question to one node.
#[derive(Default)]
struct Stand {
    /// When it was asked first.
    since: Option<Mono>,
    waiting: bool,
    heard: bool,
}

/// The questions to all nodes.
pub(super) struct Hearing {
    nodes: BTreeMap<NodeId, Stand>,
    asked: BTreeMap<Token, NodeId>,
    /// Every node has answered, or had `answer_within` to.
    over: bool,
    /// The highest fence that proves this catalog old, until its epoch is above.
    foreign: Option<Fence>,
    /// Nodes that were told of once, for a fence above ours that nothing proves.
    unproven: BTreeSet<NodeId>,
    backoff: Backoff,
}

impl Hearing {
    pub(super) fn new(backoff: Backoff) -> Self {
        let (nodes, asked, unproven) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { nodes, asked, over: false, foreign: None, unproven, backoff }
    }

    /// Whether whoever could contradict this catalog had the chance to, and nobody does.
    pub(super) fn is_uncontested(&self) -> bool {
        self.over && self.foreign.is_none()
    }

    /// A fence of a later life of this catalog.
    pub(super) fn foreign_fence(&self) -> Option<Fence> {
        self.foreign
    }

    /// The catalog's fences are from `fence` on now.
    pub(super) fn raised(&mut self, fence: Fence) {
        self.foreign = self.foreign.filter(|foreign| *foreign > fence);
    }

    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        let audited = |node: &NodeId| ctx.nodes.get(node).is_some_and(|row| row.life.is_audited());
        self.nodes.retain(|node, _| audited(node));
        for node in ctx.nodes.keys().filter(|node| audited(node)) {
            self.nodes.entry(*node).or_default();
        }
        // A node that was silent is asked until it answers, but after all those that were never asked.
        self.ask(|stand| stand.since.is_none(), ctx);
        self.ask(|stand| stand.since.is_some(), ctx);
        let (now, within) = (ctx.now.mono, ctx.profile.answer_within);
        // A node that is away may hold up the cluster for as long as an honest one may take, and no longer.
        let late = |stand: &Stand| stand.since.is_some_and(|since| now.since(since) >= within);
        self.over |= self.nodes.values().all(|stand| stand.heard || late(stand));
    }

    fn ask(&mut self, which: impl Fn(&Stand) -> bool, ctx: &mut Context<'_>) {
        let (now, backoff, free) = (ctx.now.mono, &self.backoff, AT_ONCE.saturating_sub(self.asked.len()));
        let open = |node: &NodeId, stand: &Stand| !stand.heard && !stand.waiting && backoff.is_free(node, now);
        let due = self.nodes.iter_mut().filter(|(node, stand)| open(node, stand) && which(stand));
        for (node, stand) in due.take(free) {
            stand.since.get_or_insert(now);
            stand.waiting = true;
            self.asked.insert(ctx.out.send(*node, NodeRequest::Stat, ctx.profile.answer_within), *node);
        }
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.asked.contains_key(&token)
    }

    /// It was not asked after all.
    pub(super) fn busy(&mut self, token: Token) {
        if let Some(stand) = self.asked.remove(&token).and_then(|node| self.nodes.get_mut(&node)) {
            *stand = Stand { heard: stand.heard, ..Stand::default() };
        }
    }

    pub(super) fn on_answered(&mut self, token: Token, reply: &Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        let Some(node) = self.asked.remove(&token) else { return };
        if let Some(stand) = self.nodes.get_mut(&node) {
            stand.waiting = false;
        }
        let least = match reply {
            Ok(NodeReply::Stat(stat)) if stat.node == node => return self.hear(stat, ctx),
            Err(SendFailure::Refused { retry_after }) => *retry_after,
            Ok(_) | Err(_) => Millis(0),
        };
        self.backoff.failed(node, least, ctx.now.mono);
    }

    /// What a node says of the fences that it saw, whoever asked.
    pub(super) fn hear(&mut self, stat: &NodeStat, ctx: &mut Context<'_>) {
        if let Some(stand) = self.nodes.get_mut(&stat.node) {
            stand.heard = true;
        }
        self.backoff.succeeded(&stat.node);
        if stat.fence <= ctx.fence {
            return;
        }
        match proven(stat, ctx) {
            Some(fence) => self.foreign = self.foreign.max(Some(fence)),
            None if self.unproven.insert(stat.node) => ctx.out.publish(Notice::Trouble { what: doubt(stat.node) }),
            None => {}
        }
    }
}

/// A fence above ours that we gave out ourselves, by our own signature. Attack: every word of a higher fence raises the epoch,
/// and that burns every witness that is still fresh.
fn proven(stat: &NodeStat, ctx: &Context<'_>) -> Option<Fence> {
    let grant = stat.proof.as_ref().filter(|grant| grant.is_signed_by(&ctx.key.public()))?;
    Some(grant.grant.fence).filter(|fence| *fence > ctx.fence)
}

fn doubt(node: NodeId) -> String {
    format!(
        "node {node} claims to have seen a fence above this catalog's and shows no grant of ours: it is not believed"
    )
}
