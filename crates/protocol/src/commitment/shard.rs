//! One shard on its way to accepted commitments: what is known of it, and what comes next.

use holdfast_types::{Millis, Now, SegmentId, ShardIndex, Wall};

use crate::{
    context::Context,
    effect::{ClaimJob, CommitJob, ReadJob, RevealJob},
    model::{PendingShard, Placement, WitnessRow, WitnessState},
    profile::Profile,
    store::StoreOp,
    witness::{Claim, Expected},
};

/// Reveals of one witness at most, all for the same list: a node that is too busy three times is read instead.
const REVEALS_MAX: u32 = 3;

/// A shard's place in the catalog.
pub(super) type Key = (SegmentId, ShardIndex);

/// A pending shard under way.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) placement: Placement,
    pub(super) witness: Option<WitnessRow>,
    /// Its deadline counts from there.
    since: Wall,
    /// The node's word for a list, kept by the driver.
    pub(super) claim: Option<Claim>,
    /// What was claimed is not that of the bytes, or there is no claim to be had: the auditor computes.
    pub(super) without: bool,
    pub(super) reveals: u32,
    /// The opening that the witness's secret got, if it was one and not what it should be.
    pub(super) false_value: bool,
}

/// What a shard waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// The node's list.
    Claim,
    /// That its witness is durably spent.
    Burn,
    /// The opening.
    Reveal,
    /// Its bytes.
    Read,
}

impl Shard {
    pub(super) fn new(pending: PendingShard) -> Self {
        let PendingShard { placement, witness, since } = pending;
        Self { placement, witness, since, claim: None, without: false, reveals: 0, false_value: false }
    }

    pub(super) fn key(&self) -> Key {
        (self.placement.segment, self.placement.index)
    }

    /// Whether it has waited for its node long enough.
    pub(super) fn is_overdue(&self, now: Now, profile: &Profile) -> bool {
        now.wall.since(self.since) >= profile.commit_deadline
    }

    /// What comes next. A witness is revealed only for the list that it was burnt with by *this* process, which knows
    /// that the claim came before: one found burnt after a restart may have been told to anybody.
    pub(super) fn next(&self, now: Now, profile: &Profile) -> Next {
        let Some(claim) = &self.claim else {
            return if self.without || self.is_overdue(now, profile) { Next::Read } else { Next::Claim };
        };
        match self.witness.as_ref().map(|witness| witness.state) {
            Some(WitnessState::Fresh) => Next::Burn,
            Some(WitnessState::Burnt(digest)) if digest == claim.digest && self.may_reveal() => Next::Reveal,
            Some(WitnessState::Burnt(_)) | None => Next::Read,
        }
    }

    fn may_reveal(&self) -> bool {
        (1..=REVEALS_MAX).contains(&self.reveals)
    }

    /// The witness is durably burnt with the claimed list, by us.
    pub(super) fn burnt(&mut self, digest: [u8; 32]) {
        if let Some(witness) = &mut self.witness {
            witness.state = WitnessState::Burnt(digest);
        }
        self.reveals = 1;
    }

    /// The secret was told and the answer is in: it is not told again.
    pub(super) fn spent(&mut self) {
        self.reveals = 0;
    }

    /// What the node's words must be of.
    pub(super) fn expected(&self, ctx: &Context<'_>) -> Option<Expected> {
        let Placement { node, shard, len, .. } = self.placement;
        let row = ctx.nodes.get(&node)?;
        Some(Expected { node, key: row.key, incarnation: row.incarnation, shard, len })
    }

    /// How long the node has to fold all of it: as in a challenge.
    pub(super) fn fold_within(&self, ctx: &Context<'_>) -> Millis {
        let reading = ctx.profile.fold_per_gib.0.saturating_mul(self.placement.len) >> 30;
        Millis(ctx.profile.answer_within.0 + reading)
    }

    pub(super) fn claim_job(&self, ctx: &Context<'_>) -> Option<CommitJob> {
        let witness = self.witness.as_ref().map(|witness| witness.id);
        Some(CommitJob::Claim(ClaimJob { of: self.expected(ctx)?, witness, timeout: ctx.profile.answer_within }))
    }

    pub(super) fn burn_op(&self) -> Option<StoreOp> {
        let (segment, index) = self.key();
        let (id, digest) = (self.witness.as_ref()?.id, self.claim.as_ref()?.digest);
        Some(StoreOp::BurnWitness { segment, index, shard: self.placement.shard, id, digest })
    }

    pub(super) fn reveal_job(&self, ctx: &Context<'_>) -> Option<CommitJob> {
        let (segment, index) = self.key();
        let (witness, digest) = (self.witness.as_ref()?, self.claim.as_ref()?.digest);
        let (of, timeout, sealed) = (self.expected(ctx)?, self.fold_within(ctx), witness.sealed.clone());
        let job = RevealJob { of, segment, index, witness: witness.id, sealed, digest, timeout };
        Some(CommitJob::Reveal(Box::new(job)))
    }

    pub(super) fn read_job(&self, ctx: &Context<'_>) -> Option<CommitJob> {
        let claimed = self.claim.as_ref().filter(|_| !self.without).map(|claim| claim.digest);
        Some(CommitJob::Read(ReadJob { of: self.expected(ctx)?, claimed }))
    }
}
