//! The catalog is lost, and a backup from right before a burning takes its place: the witness is fresh in it, and its node was told.
//! The node claims a list made from the secret. Another node knows better, by the grant of a repair since.

use ark_bls12_381::{Fr, G1Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, PrimeField};
use ark_serialize::CanonicalSerialize;
use holdfast_kzg::{Commitment, CommitmentList};
use holdfast_protocol::{
    effect::{Command, Event as CoreEvent},
    store::{MapStore, StoreOp},
    witness::WitnessSeed,
};
use holdfast_types::{BLOB_LEN, Fence, ShardId};

use crate::{
    liar::Lie,
    world::{Event, World},
};

/// Between two looks whether it is time.
const LOOK: u64 = 100;
/// The node that was told lies for so many ms.
const SPAN: u64 = 10_000;

/// A backup, and what was done since.
pub(crate) struct OldCopy {
    catalog: MapStore,
    fence: Fence,
    /// Whose witness is burnt right after it.
    shard: ShardId,
    /// Another node has lost a shard since.
    repairs: bool,
    pub(crate) restored: bool,
}

impl World {
    /// Right before the first burning.
    pub(crate) fn back_up(&mut self, op: &StoreOp) {
        let StoreOp::BurnWitness { shard, .. } = op else { return };
        if !self.plan.old_copy || self.old_copy.is_some() {
            return;
        }
        let summary = self.catalog.summary();
        let fence = Fence { epoch: summary.epoch, counter: summary.counter };
        let catalog = self.catalog.copy();
        self.old_copy = Some(OldCopy { catalog, fence, shard: *shard, repairs: false, restored: false });
        self.queue_in(LOOK, Event::OldCopy);
    }

    /// First a repair, so that some node has a grant that the backup knows nothing of; then the backup comes back.
    pub(crate) fn age_the_copy(&mut self) {
        let Some(old) = self.old_copy.take_if(|old| !old.restored) else { return };
        let holder = self.catalog.places().find(|place| place.shard == old.shard).map(|place| self.names[&place.node]);
        let Some(holder) = holder.filter(|_| !self.quiet) else { return };
        let repairs = old.repairs || self.lose_one_elsewhere(holder);
        let told = self.nodes[holder].told.contains_key(&old.shard);
        let proves = |at: usize| self.nodes[at].proof().is_some_and(|proof| proof.grant.fence > old.fence);
        let restored = told && (0..self.nodes.len()).any(|at| at != holder && self.nodes[at].is_up() && proves(at));
        if restored {
            self.kill_auditor(300);
            self.catalog.restore(old.catalog.clone());
            *self.report.kinds.entry("catalog restored from an old copy").or_default() += 1;
            self.marks[holder].lied = true;
            self.nodes[holder].liar.begin(Lie::Told);
            if self.nodes[holder].drop_shard(&old.shard) {
                self.harm(holder, &[old.shard].into());
            }
            self.queue_in(SPAN, Event::Repent { node: holder });
        } else {
            self.queue_in(LOOK, Event::OldCopy);
        }
        self.old_copy = Some(OldCopy { repairs, restored, ..old });
    }

    /// Another node loses a shard, admits it, and gets it back under a lease.
    fn lose_one_elsewhere(&mut self, holder: usize) -> bool {
        let places: Vec<_> = self.catalog.believed().map(|place| (self.names[&place.node], place.shard)).collect();
        let there = places.into_iter().find(|(at, _)| *at != holder && self.nodes[*at].is_up());
        let Some((at, shard)) = there.filter(|(at, shard)| self.nodes[*at].drop_shard(shard)) else { return false };
        self.nodes[at].liar.repent();
        self.harm(at, &[shard].into());
        let node = self.nodes[at].id;
        self.auditor_step(CoreEvent::Command(Command::AuditNow(Some(node))));
        true
    }

    /// The faults are over: an old copy knows by now that it is one.
    pub(crate) fn look_at_old_copy(&mut self) {
        let epoch = self.catalog.summary().epoch;
        if let Some(old) = self.old_copy.as_ref().filter(|old| old.restored && epoch <= old.fence.epoch) {
            let what = format!("epoch {epoch}, that of the backup with fence {}", old.fence);
            self.break_promise("a catalog that a node can contradict learns that it is old", what);
        }
    }
}

/// A list of a constant that opens to y wherever it is asked, and the proof of that: who knows γ and y needs no bytes.
pub(crate) fn constants(seed: &WitnessSeed, y: &[u8; 32], len: u64) -> Option<(CommitmentList, [u8; 48])> {
    let constant = Fr::from_be_bytes_mod_order(y) * Fr::from(seed.gammas().at(0).0).inverse()?;
    let bytes = |point: G1Affine| {
        let mut out = [0; 48];
        point.serialize_compressed(out.as_mut_slice()).ok().map(|()| out)
    };
    let nothing = bytes(G1Affine::identity())?;
    let mut list = vec![Commitment(nothing); len.div_ceil(BLOB_LEN) as usize];
    *list.first_mut()? = Commitment(bytes((G1Affine::generator() * constant).into_affine())?);
    Some((CommitmentList::new(list).ok()?, nothing))
}
