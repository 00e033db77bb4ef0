//! What the auditor owes the nodes, and does when there is time: deletions that are due, records to
//! lie beside the shards, uploads that nobody came back for, shards that nobody knows.
//!
//! | file | does |
//! |---|---|
//! | [`deletions`] | due deletions, until the node confirms |
//! | [`describe`] | descriptors, manifests, envelopes and pages, owed to the nodes of a changed segment |
//! | [`records`] | owed records, until the node keeps them, or keeps none |
//! | [`strays`] | what records each node keeps, against the catalog: those that nothing needs are buried |
//! | [`burials`] | records and tombstones of what was deleted: when they may go |
//! | [`inventory`] | what each node holds, against the catalog: orphans |
//! | [`hearing`] | whether any node knows fences from a later life of this catalog |
//!
//! All of it is a durable intent in the catalog and idempotent at the node: a process that dies at it
//! repeats some of it, and nothing goes wrong.

mod burials;
mod deletions;
mod describe;
mod hearing;
mod inventory;
mod records;
mod strays;

use std::collections::BTreeSet;

use holdfast_types::{Fence, Millis, Mono, NodeId, ShardId, Wall};

use crate::{
    backoff::Backoff,
    context::Context,
    effect::Token,
    message::{NodeReply, SendFailure},
    profile::Profile,
    repair::Repairs,
    store::{StoreOp, StoreReply},
};

use burials::Burials;
use deletions::Deletions;
use describe::Describe;
use hearing::Hearing;
use inventory::Inventory;
use records::Records;
use strays::Strays;

/// Between two looks for uploads that have expired.
const EXPIRE_EVERY: Millis = Millis::from_secs(5);

/// The chores of a cluster.
pub(crate) struct Chores {
    deletions: Deletions,
    describe: Describe,
    records: Records,
    inventory: Inventory,
    hearing: Hearing,
    burials: Burials,
    strays: Strays,
    expiring: Option<Token>,
    next_expiry: Mono,
}

impl Chores {
    /// `no_orphans_before`: after a catalog was recovered from the nodes, what it does not know may be what it has not
    /// found yet.
    pub(crate) fn new(no_orphans_before: Wall, profile: &Profile) -> Self {
        let backoff = Backoff::up_to(profile.backoff_max);
        Self {
            deletions: Deletions::new(backoff.clone()),
            describe: Describe::default(),
            records: Records::new(backoff.clone()),
            inventory: Inventory::new(no_orphans_before, backoff.clone()),
            hearing: Hearing::new(backoff.clone()),
            strays: Strays::new(no_orphans_before, backoff),
            burials: Burials::default(),
            expiring: None,
            next_expiry: Mono(0),
        }
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        self.hearing.tick(ctx);
        self.deletions.tick(ctx);
        self.describe.tick(ctx);
        self.records.tick(ctx);
        self.inventory.tick(ctx);
        self.burials.tick(ctx);
        self.strays.tick(ctx);
        if self.expiring.is_none() && ctx.now.mono >= self.next_expiry {
            self.expiring = Some(ctx.out.store(StoreOp::ExpireUploads { now: ctx.now.wall }));
            self.next_expiry = ctx.now.mono + EXPIRE_EVERY;
        }
    }

    /// The catalog changed: there is something to describe or to delete.
    pub(crate) fn look_soon(&mut self) {
        self.deletions.look_soon();
        self.describe.look_soon();
        self.records.look_soon();
    }

    /// Deletions that nodes may be carrying out at this moment.
    pub(crate) fn deleting(&self) -> BTreeSet<(NodeId, ShardId)> {
        self.deletions.under_way()
    }

    /// Whether every node had the chance to contradict this catalog, and none does.
    pub(crate) fn is_uncontested(&self) -> bool {
        self.hearing.is_uncontested()
    }

    /// A fence that a node has seen and this catalog has not given out: it was restored from an old copy.
    pub(crate) fn foreign_fence(&self) -> Option<Fence> {
        self.hearing.foreign_fence()
    }

    /// The catalog's epoch was raised.
    pub(crate) fn raised(&mut self, fence: Fence) {
        self.hearing.raised(fence);
    }

    /// The catalog answered. Gives the reply back if it is not for these machines.
    pub(crate) fn on_stored(
        &mut self,
        token: Token,
        reply: StoreReply,
        repairs: &Repairs,
        ctx: &mut Context<'_>,
    ) -> Option<StoreReply> {
        if self.expiring == Some(token) {
            self.expiring = None;
            if reply == StoreReply::More {
                self.next_expiry = ctx.now.mono;
            }
            return None;
        }
        if self.deletions.owns(token) {
            self.deletions.on_stored(token, reply, repairs, ctx);
        } else if self.describe.owns(token) {
            self.describe.on_stored(reply, ctx);
            self.records.look_soon();
        } else if self.records.owns(token) {
            self.records.on_stored(token, reply, ctx);
        } else if self.inventory.owns(token) {
            self.inventory.on_stored(token, reply, ctx);
        } else if self.strays.owns(token) {
            self.strays.on_stored(&reply, ctx);
        } else if self.burials.owns(token) {
            self.burials.on_stored(&reply, ctx);
            self.records.look_soon();
        } else {
            return Some(reply);
        }
        None
    }

    /// A node answered.
    pub(crate) fn on_answered(&mut self, token: Token, reply: Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        if self.deletions.owns(token) {
            self.deletions.on_answered(token, &reply, ctx);
        } else if self.records.owns(token) {
            self.records.on_answered(token, &reply, ctx);
        } else if self.hearing.owns(token) {
            self.hearing.on_answered(token, &reply, ctx);
        } else if let Some(node) = self.inventory.node_of(token) {
            if let Ok(NodeReply::Stat(stat)) = &reply
                && stat.node == node
            {
                self.hearing.hear(stat, ctx);
            }
            self.inventory.on_answered(token, reply, ctx);
        } else if self.strays.owns(token) {
            self.strays.on_answered(reply, ctx);
        }
    }

    /// A channel was full: it comes up again.
    pub(crate) fn busy(&mut self, token: Token) {
        if self.expiring == Some(token) {
            self.expiring = None;
        }
        self.deletions.busy(token);
        self.describe.busy(token);
        self.records.busy(token);
        self.inventory.busy(token);
        self.hearing.busy(token);
        self.burials.busy(token);
        self.strays.busy(token);
    }

    pub(crate) fn owns(&self, token: Token) -> bool {
        self.expiring == Some(token)
            || self.deletions.owns(token)
            || self.describe.owns(token)
            || self.records.owns(token)
            || self.inventory.owns(token)
            || self.hearing.owns(token)
            || self.burials.owns(token)
            || self.strays.owns(token)
    }
}
