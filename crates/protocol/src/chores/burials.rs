//! When the records of what was deleted go, and the tombstones with them.
//!
//! A tombstone that a node keeps takes the place of manifest and envelope there, and keeps them out: a copy that was on its way when the
//! object was deleted, or that lies on a node that was away, brings nothing back. So it stays until *every* node that may have had
//! the object's records keeps it, and for a grace on top, after which nothing sent before the deletion can still arrive.
//! Then there is nothing left to outrank: tombstones, pages and descriptors are taken off the nodes, and what
//! the catalog knows of the burial goes with its last confirmation. A node that never comes back has to be evicted for that.

use holdfast_types::{Millis, Mono, NodeId, Wall};

use crate::{
    context::Context,
    effect::Token,
    grants::DELETION_OUTSTANDING,
    message::RecordKind,
    profile::Profile,
    store::{ROWS_MAX, StoreOp, StoreReply},
};

/// Looks in one grace: so much longer than the grace a burial may take.
const LOOKS_PER_GRACE: u64 = 8;
/// Between two rounds over all burials at most.
const LOOK_EVERY_MAX: Millis = Millis::from_secs(60);
/// Between two looks of a round, so that others can write, too: ten million go round within the hour.
const NEXT_PAGE: Millis = Millis::from_secs(1);

/// Burials that are to end.
#[derive(Default)]
pub(super) struct Burials {
    looking: Option<Token>,
    next_look: Mono,
    /// Where this round is.
    after: Option<(RecordKind, [u8; 32], NodeId)>,
}

/// How long burials last at least. Whoever cleans orphans up within seconds (a demonstration, a simulation) waits for these as long.
fn grace(profile: &Profile) -> Millis {
    profile.orphan_grace.min(DELETION_OUTSTANDING)
}

impl Burials {
    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        if self.looking.is_some() || ctx.now.mono < self.next_look {
            return;
        }
        let grace = grace(ctx.profile);
        self.next_look = ctx.now.mono + Millis(grace.0 / LOOKS_PER_GRACE).min(LOOK_EVERY_MAX);
        let before = Wall(ctx.now.wall.0.saturating_sub(grace.0));
        let after = self.after.take();
        self.looking = Some(ctx.out.store(StoreOp::EndBurials { before, after, limit: ROWS_MAX }));
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.looking == Some(token)
    }

    /// After a failure the next look begins a round.
    pub(super) fn on_stored(&mut self, reply: &StoreReply, ctx: &Context<'_>) {
        self.looking = None;
        if let StoreReply::Burials(Some(last)) = reply {
            self.after = Some(*last);
            self.next_look = self.next_look.min(ctx.now.mono + NEXT_PAGE);
        }
    }

    pub(super) fn busy(&mut self, token: Token) {
        if self.looking == Some(token) {
            self.looking = None;
        }
    }
}
