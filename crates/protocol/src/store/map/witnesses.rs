//! Witnesses: staged with their segment, burnt once, gone when they have spoken.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{SegmentId, ShardId, ShardIndex, Wall};

use crate::{
    model::{
        CommitmentCounts, CommitmentState, Debt, NO_LIST, PendingShard, Placement, Provenance, SealedWitness,
        WitnessRow, WitnessState,
    },
    store::{
        MapStore, StoreReply,
        map::{conflict, rows},
        rules,
    },
    witness::WitnessId,
};

/// Bytes of a blob, for counting them.
const BLOB_LEN: u64 = holdfast_types::BLOB_LEN;

impl MapStore {
    /// Of a segment that is only staged: of two for one shard the later counts, but a list stays.
    pub(super) fn stage_witnesses(&mut self, segment: SegmentId, witnesses: Vec<SealedWitness>) {
        let listed = self.witnessed(segment);
        for SealedWitness { index, id, sealed, list } in witnesses {
            if listed.iter().any(|(at, _)| *at == index) {
                continue;
            }
            let state = list.map_or(WitnessState::Fresh, WitnessState::Burnt);
            let row = WitnessRow { id, sealed, state, since: Wall(0) };
            self.witnesses.insert((segment, index), row);
        }
    }

    /// Digests that its witnesses are burnt with.
    pub(super) fn witnessed(&self, segment: SegmentId) -> Vec<(ShardIndex, [u8; 32])> {
        let of = self.witnesses.range((segment, ShardIndex(0))..=(segment, ShardIndex(u16::MAX)));
        let burnt = |((_, index), row): (&(SegmentId, ShardIndex), &WitnessRow)| match row.state {
            WitnessState::Burnt(digest) if digest != NO_LIST => Some((*index, digest)),
            WitnessState::Burnt(_) | WitnessState::Fresh => None,
        };
        of.filter_map(burnt).collect()
    }

    pub(super) fn named_lists(&self, asked: &[[u8; 32]]) -> StoreReply {
        let placed = self.segments.values().flat_map(|segment| segment.placements.values());
        let accepted = placed.filter_map(|placement| match placement.commitment {
            CommitmentState::Accepted { digest, .. } => Some(digest),
            CommitmentState::Pending => None,
        });
        let burnt = self.witnesses.values().filter_map(|row| match row.state {
            WitnessState::Burnt(digest) => Some(digest),
            WitnessState::Fresh => None,
        });
        let named: BTreeSet<[u8; 32]> = accepted.chain(burnt).collect();
        StoreReply::Named(asked.iter().filter(|digest| named.contains(*digest)).copied().collect())
    }

    /// The segment was committed.
    pub(super) fn enter_witnesses(&mut self, segment: SegmentId, at: Wall) {
        let (from, to) = ((segment, ShardIndex(0)), (segment, ShardIndex(u16::MAX)));
        self.witnesses.range_mut(from..=to).for_each(|(_, row)| row.since = at);
        let placed = self.segments.get(&segment).map(|segment| segment.placements.keys().copied().collect::<Vec<_>>());
        placed.unwrap_or_default().into_iter().for_each(|index| self.pends_since(segment, index, at));
    }

    /// From then on its deadline counts.
    pub(super) fn pends_since(&mut self, segment: SegmentId, index: ShardIndex, at: Wall) {
        self.since.insert((segment, index), at);
    }

    /// How a shard begins; what has spoken is gone.
    pub(super) fn first_commitment(&mut self, segment: SegmentId, index: ShardIndex) -> CommitmentState {
        let first = rules::first_commitment(self.witnesses.get(&(segment, index)));
        if first != CommitmentState::Pending {
            self.witnesses.remove(&(segment, index));
        }
        first
    }

    /// The segment is gone.
    pub(super) fn drop_witnesses(&mut self, segment: SegmentId) {
        self.witnesses.retain(|(of, _), _| *of != segment);
        self.since.retain(|(of, _), _| *of != segment);
    }

    /// Nobody knows any more whom their secrets were told.
    pub(super) fn burn_all(&mut self) {
        for row in self.witnesses.values_mut().filter(|row| row.state == WitnessState::Fresh) {
            row.state = WitnessState::Burnt(NO_LIST);
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Placement> {
        let all = self.segments.values().flat_map(|segment| segment.placements.values());
        all.filter(|p| p.standing.is_good() && p.commitment == CommitmentState::Pending)
    }

    pub(super) fn pending_commitments(&self, after: Option<(SegmentId, ShardIndex)>, limit: u32) -> StoreReply {
        let past = self.pending().filter(|p| after.is_none_or(|after| (p.segment, p.index) > after));
        let with_witness = |placement: &Placement| PendingShard {
            placement: placement.clone(),
            witness: self.witnesses.get(&(placement.segment, placement.index)).cloned(),
            since: self.since.get(&(placement.segment, placement.index)).copied().unwrap_or_default(),
        };
        StoreReply::Pending(past.take(rows(limit)).map(with_witness).collect())
    }

    pub(super) fn burn_witness(
        &mut self,
        (segment, index): (SegmentId, ShardIndex),
        shard: ShardId,
        id: WitnessId,
        digest: [u8; 32],
    ) -> StoreReply {
        let placement = self.segments.get(&segment).and_then(|segment| segment.placements.get(&index));
        let Some(placement) = placement else { return StoreReply::NotFound };
        let (commitment, held) = (placement.commitment, placement.shard);
        let Some(row) = self.witnesses.get_mut(&(segment, index)) else { return StoreReply::NotFound };
        if let Some(why) = rules::name_fault(index, held, shard) {
            return conflict(why);
        }
        if let Some(why) = rules::burn_fault(commitment, row, id) {
            return conflict(why);
        }
        row.state = WitnessState::Burnt(digest);
        StoreReply::Done
    }

    pub(super) fn set_commitment(
        &mut self,
        (segment, index): (SegmentId, ShardIndex),
        shard: ShardId,
        (expected, to): (CommitmentState, CommitmentState),
        at: Wall,
    ) -> StoreReply {
        let found = self.segments.get(&segment).and_then(|segment| segment.placements.get(&index)).cloned();
        let Some(found) = found else { return StoreReply::NotFound };
        if let Some(why) = rules::name_fault(index, found.shard, shard) {
            return conflict(why);
        }
        if found.commitment != expected {
            return conflict(format!("shard {index} of segment {segment} has another commitment by now"));
        }
        if let Some(why) = rules::acceptance_fault(to, self.witnesses.get(&(segment, index))) {
            return conflict(why);
        }
        match to {
            CommitmentState::Accepted { .. } => drop(self.witnesses.remove(&(segment, index))),
            CommitmentState::Pending => self.pends_since(segment, index, at),
        }
        self.set_placement(Placement { commitment: to, version: found.version + 1, ..found });
        StoreReply::Done
    }

    pub(super) fn commitment_debts(&self) -> StoreReply {
        let mut debts = BTreeMap::new();
        for placement in self.pending() {
            let fresh = Debt { node: placement.node, shards: 0, bytes: 0 };
            let debt: &mut Debt = debts.entry(placement.node).or_insert(fresh);
            debt.shards += 1;
            debt.bytes += placement.len;
        }
        StoreReply::Debts(debts.into_values().collect())
    }

    pub(super) fn commitment_counts(&self) -> StoreReply {
        let mut counts = CommitmentCounts::default();
        for placement in self.pending() {
            counts.pending += 1;
            counts.bytes += placement.len;
            counts.blobs += placement.len.div_ceil(BLOB_LEN);
            let key = (placement.segment, placement.index);
            let witness = self.witnesses.get(&key);
            let since = self.since.get(&key).copied().filter(|since| *since != Wall(0));
            let since = since.or(witness.map(|row| row.since));
            counts.oldest = counts.oldest.into_iter().chain(since).min();
            let Some(row) = witness else { continue };
            match row.state {
                WitnessState::Fresh => counts.fresh += 1,
                WitnessState::Burnt(_) => counts.burnt += 1,
            }
        }
        for placement in self.segments.values().flat_map(|segment| segment.placements.values()) {
            match placement.commitment {
                CommitmentState::Pending => {}
                CommitmentState::Accepted { provenance: Provenance::AuditorRead, .. } => counts.auditor_read += 1,
                CommitmentState::Accepted { provenance: Provenance::ClientWitness, .. } => counts.client_witness += 1,
                CommitmentState::Accepted { provenance: Provenance::LinkSampled, .. } => counts.link_sampled += 1,
            }
        }
        StoreReply::Counts(counts)
    }
}
