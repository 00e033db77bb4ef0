//! Which shards a challenge is about. A set is a list of shards in the order of the node's own
//! sequence numbers. Both sides derive the same digest from it, so that an answer speaks for exactly
//! these bytes; where the digests differ, nobody is convicted: the two lists have drifted apart.
//!
//! Runs name only sequences that the catalog knows. A shard on its way in (stored, not yet
//! committed) lies in a gap between two runs, and cannot make an honest node's digest another.

use holdfast_types::{BLOB_LEN, ByteRange, SHARD_LEN_MAX, Sequence, ShardId, Transcript};

use crate::{
    message::{RUNS_MAX, SET_BYTES_MAX, SET_SHARDS_MAX, SeqRun, SetEntry, SetRef},
    model::{CommitmentState, Placement},
};

/// Blobs of a shard of `len` bytes; the last one may be short.
pub const fn blobs_of(len: u64) -> u64 {
    len.div_ceil(BLOB_LEN)
}

/// The bytes of blobs `from..to` in a shard of `len` bytes; empty past its end.
pub fn blob_bytes(len: u64, from: u64, to: u64) -> ByteRange {
    let cut = |blob: u64| blob.saturating_mul(BLOB_LEN).min(len);
    ByteRange::new(cut(from), cut(to)).unwrap_or(ByteRange::first(0))
}

/// The digest of a set: every (sequence, CID, length) in order, and how many.
pub fn digest(entries: &[SetEntry]) -> [u8; 32] {
    let mut transcript = Transcript::new("holdfast 2026 audit set v1").absorb_u64("count", entries.len() as u64);
    for entry in entries {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(&entry.sequence.0.to_be_bytes());
        bytes[8..40].copy_from_slice(entry.shard.as_bytes());
        bytes[40..].copy_from_slice(&entry.len.to_be_bytes());
        transcript.push("entry", &bytes);
    }
    transcript.digest()
}

/// The fewest runs that name exactly these sequences, which must ascend.
pub fn runs(sequences: impl IntoIterator<Item = Sequence>) -> Vec<SeqRun> {
    let mut runs: Vec<SeqRun> = Vec::new();
    for sequence in sequences {
        let after = Sequence(sequence.0.saturating_add(1));
        match runs.last_mut() {
            Some(last) if last.to == sequence => last.to = after,
            _ => runs.push(SeqRun { from: sequence, to: after }),
        }
    }
    runs
}

/// Whether runs that came from outside are sorted, disjoint, not touching, not empty and few enough.
pub fn are_runs(runs: &[SeqRun]) -> bool {
    runs.len() <= RUNS_MAX
        && runs.iter().all(|run| run.from < run.to)
        && runs.windows(2).all(|pair| pair[0].to < pair[1].from)
}

/// Whether a run holds this sequence. `runs` as [`are_runs`] wants them.
pub fn holds(runs: &[SeqRun], sequence: Sequence) -> bool {
    let after = runs.partition_point(|run| run.from <= sequence);
    after.checked_sub(1).is_some_and(|at| sequence < runs[at].to)
}

/// What a challenge says of a set.
pub fn reference(entries: &[SetEntry]) -> SetRef {
    SetRef {
        runs: runs(entries.iter().map(|entry| entry.sequence)),
        count: entries.len() as u32,
        digest: digest(entries),
    }
}

/// A set as the auditor asks about it: placements of one node in order of sequence, each with the
/// number of its first blob in the whole set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditSet {
    members: Vec<Member>,
    blobs: u64,
    bytes: u64,
}

/// A shard of a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// As the catalog had it when the set was made.
    pub placement: Placement,
    /// The number of its blob 0 among the set's.
    pub base: u64,
}

impl Member {
    /// Blobs of the shard.
    pub fn blobs(&self) -> u64 {
        blobs_of(self.placement.len)
    }

    /// As both sides know it.
    pub fn entry(&self) -> SetEntry {
        let Placement { sequence, shard, len, .. } = self.placement;
        SetEntry { sequence, shard, len }
    }

    /// The list its fold is verified against.
    pub fn list(&self) -> Option<[u8; 32]> {
        match self.placement.commitment {
            CommitmentState::Accepted { digest, .. } => Some(digest),
            CommitmentState::Pending => None,
        }
    }
}

impl AuditSet {
    /// The longest beginning of `placements` (ascending by sequence) that is one set, and the
    /// sequence to go on from when some are left.
    pub fn first_of(placements: Vec<Placement>) -> (Self, Option<Sequence>) {
        let mut set = Self::default();
        let mut runs = 0;
        for placement in placements {
            let follows = set.members.last().is_some_and(|last| last.placement.sequence.0 + 1 == placement.sequence.0);
            let same = set.members.last().is_some_and(|last| last.placement.sequence == placement.sequence);
            runs += usize::from(!follows);
            let full = set.members.len() == SET_SHARDS_MAX || runs > RUNS_MAX;
            if full || (!set.is_empty() && set.bytes + placement.len > SET_BYTES_MAX) {
                return (set, Some(placement.sequence));
            }
            // Two placements under one number are a catalog's error, a shard of that size no shard: asking about
            // them would make an honest node look wrong.
            if !same && placement.len <= SHARD_LEN_MAX {
                set.push(placement);
            }
        }
        (set, None)
    }

    fn push(&mut self, placement: Placement) {
        let base = self.blobs;
        self.blobs += blobs_of(placement.len);
        self.bytes += placement.len;
        self.members.push(Member { placement, base });
    }

    /// Its shards, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Blobs of all its shards.
    pub fn blobs(&self) -> u64 {
        self.blobs
    }

    /// Bytes of all its shards.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its entries, in order.
    pub fn entries(&self) -> Vec<SetEntry> {
        self.members.iter().map(Member::entry).collect()
    }

    /// The member that is this shard.
    pub fn member(&self, shard: &ShardId) -> Option<&Member> {
        self.members.iter().find(|member| member.placement.shard == *shard)
    }

    /// The member that holds this blob of the set.
    pub fn at_blob(&self, blob: u64) -> Option<&Member> {
        let after = self.members.partition_point(|member| member.base <= blob);
        self.members[..after].iter().rev().find(|member| member.blobs() > 0 && blob < member.base + member.blobs())
    }

    /// The digest of the commitment lists' digests, in order: what a fold's γ are bound to.
    pub fn commitments(&self) -> [u8; 32] {
        let mut transcript = Transcript::new("holdfast 2026 set commitments v1");
        for member in &self.members {
            transcript.push("list", &member.list().unwrap_or([0; 32]));
        }
        transcript.digest()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Fence, NodeId, SegmentId, ShardIndex};
    use proptest::prelude::*;

    use super::*;
    use crate::model::Standing;

    fn placement(sequence: u64, len: u64) -> Placement {
        Placement {
            segment: SegmentId([1; 16]),
            index: ShardIndex(0),
            shard: ShardId::from_bytes([sequence as u8; 32]),
            len,
            node: NodeId([2; 32]),
            sequence: Sequence(sequence),
            commitment: CommitmentState::Pending,
            standing: Standing::Good,
            version: 1,
            fence: Fence::default(),
        }
    }

    #[test]
    fn a_gap_splits_a_run() {
        let found = runs([3, 4, 5, 9, 11].map(Sequence));
        let run = |from, to| SeqRun { from: Sequence(from), to: Sequence(to) };
        assert_eq!(found, [run(3, 6), run(9, 10), run(11, 12)]);
        assert!(are_runs(&found));
        assert!(!are_runs(&[run(3, 6), run(6, 7)]), "touching runs are one run");
        assert!(!are_runs(&[run(3, 3)]));
        assert!(!are_runs(&[run(9, 10), run(3, 6)]));
    }

    #[test]
    fn a_set_ends_before_its_bytes_do() {
        let len = SHARD_LEN_MAX;
        let many = (0..300).map(|n| placement(n, len)).collect();
        let (set, rest) = AuditSet::first_of(many);
        assert_eq!(set.members().len() as u64, SET_BYTES_MAX / len);
        assert_eq!(rest, Some(Sequence(SET_BYTES_MAX / len)));
    }

    #[test]
    fn every_part_of_an_entry_is_in_the_digest() {
        let entry = placement(7, 1000);
        let entry = Member { placement: entry, base: 0 }.entry();
        let other_len = SetEntry { len: 1001, ..entry };
        let other_place = SetEntry { sequence: Sequence(8), ..entry };
        let other_name = SetEntry { shard: ShardId::from_bytes([9; 32]), ..entry };
        for other in [other_len, other_place, other_name] {
            assert_ne!(digest(&[entry]), digest(&[other]));
        }
        assert_ne!(digest(&[entry]), digest(&[entry, entry]));
    }

    proptest! {
        #[test]
        fn runs_hold_exactly_their_sequences(mut some in proptest::collection::btree_set(0u64..60, 0..40)) {
            let runs = runs(some.iter().map(|n| Sequence(*n)));
            prop_assert!(are_runs(&runs));
            for n in 0..60 {
                prop_assert_eq!(holds(&runs, Sequence(n)), some.remove(&n));
            }
        }

        #[test]
        fn every_blob_of_a_set_has_its_member(lens in proptest::collection::vec(0u64..400_000, 1..12)) {
            let placements = lens.iter().enumerate().map(|(n, len)| placement(n as u64, *len)).collect();
            let (set, rest) = AuditSet::first_of(placements);
            prop_assert_eq!(rest, None);
            let mut number = 0;
            for member in set.members() {
                for blob in 0..member.blobs() {
                    let found = set.at_blob(number).expect("a member");
                    prop_assert_eq!(found, member);
                    prop_assert_eq!(number - found.base, blob);
                    number += 1;
                }
            }
            prop_assert_eq!(number, set.blobs());
            prop_assert_eq!(set.at_blob(number), None);
        }
    }
}
