//! What a challenge is derived from, and what is derived from it: its id, its digest, a fold's γ and
//! z, a sample's leaves. Everything is bound to audit, node and set under a domain of its own, so
//! that no answer fits a second question, and nobody who sees one value can tell another.

use std::collections::BTreeSet;

use blake3::OutputReader;
use holdfast_kzg::{Gamma, Scalar};
use holdfast_types::{AuditId, NodeId, Seed, Transcript};
use merkle_cid::tree::leaf_count;

use crate::message::{Ask, Challenge, SAMPLE_LEAVES_MAX, SetEntry};

/// Bytes of one γ.
const GAMMA_LEN: usize = 16;
/// γ derived at once: 2 KiB of output fill the widest vector unit that BLAKE3 uses.
const GAMMAS_AT_ONCE: usize = 128;

/// The id of an audit: H(cluster, chance, node, set digest).
pub fn audit_id(cluster: &[u8; 32], chance: &Seed, node: &NodeId, set: &[u8; 32]) -> AuditId {
    let transcript = Transcript::new("holdfast 2026 audit id v1")
        .absorb("cluster", cluster)
        .absorb("chance", &chance.0)
        .absorb("node", node.as_bytes())
        .absorb("set", set);
    AuditId(transcript.digest())
}

/// The seed of one challenge out of the chance of a tick. A challenge's seed becomes public; the
/// tick's chance, from which the next seeds come too, must not follow from it.
pub fn seed(entropy: &Seed, node: &NodeId, number: u64) -> Seed {
    let transcript = Transcript::new("holdfast 2026 challenge seed v1")
        .absorb("entropy", &entropy.0)
        .absorb("node", node.as_bytes())
        .absorb_u64("number", number);
    Seed(transcript.digest())
}

impl Challenge {
    /// What the node signs that it was asked: every field.
    pub fn digest(&self) -> [u8; 32] {
        let mut transcript = self.bound("holdfast 2026 challenge v1");
        for run in &self.set.runs {
            transcript.push("from", &run.from.0.to_be_bytes());
            transcript.push("to", &run.to.0.to_be_bytes());
        }
        let transcript =
            transcript.absorb_u64("count", u64::from(self.set.count)).absorb_u64("deadline", self.deadline.0);
        match &self.ask {
            Ask::Fold { from, to } => transcript.absorb_u64("fold from", *from).absorb_u64("fold to", *to),
            Ask::Sample { count } => transcript.absorb_u64("sample", u64::from(*count)),
            Ask::Leaves { shard, from, to } => transcript
                .absorb("leaves of", shard.as_bytes())
                .absorb_u64("leaves from", *from)
                .absorb_u64("leaves to", *to),
        }
        .digest()
    }

    /// The parts that everything derived is bound to. Not the question: the parts of a fold are asked
    /// one by one under the γ and z of the whole, so that valid parts add up.
    fn bound(&self, domain: &'static str) -> Transcript {
        // Bind the audit and the node, or an answer of last week or of a neighbour would do.
        Transcript::new(domain)
            .absorb("audit", self.audit.as_bytes())
            .absorb("node", self.node.as_bytes())
            .absorb("set", &self.set.digest)
            // Bind what verifies, or a list could be made up to suit γ and z.
            .absorb("commitments", &self.commitments)
            .absorb("seed", &self.seed.0)
    }

    /// The coefficients of the set's blobs.
    pub fn gammas(&self) -> Gammas {
        Gammas::of(&self.bound("holdfast 2026 fold gamma v1"))
    }

    /// Where the fold is opened: 64 uniform bytes, reduced.
    pub fn point(&self) -> Scalar {
        let mut wide = [0; 64];
        self.bound("holdfast 2026 fold point v1").stream().fill(&mut wide);
        Scalar::from_wide(&wide)
    }

    /// The leaves that the seed draws: for each shard that has some, its place among `entries` and
    /// its leaves, both ascending. Uniform over all leaves of the set, none twice; all of them where
    /// the set has no more than `count`.
    pub fn draw(&self, entries: &[SetEntry], count: u16) -> Vec<(usize, Vec<u64>)> {
        // The first leaf of each shard, counted through the set.
        let mut bases = Vec::with_capacity(entries.len());
        let mut total = 0u64;
        for entry in entries {
            bases.push(total);
            total += leaf_count(entry.len);
        }
        let wanted = u64::from(count).min(SAMPLE_LEAVES_MAX as u64).min(total);
        let mut uniform = Uniform(self.bound("holdfast 2026 sample leaves v1").stream());
        // Floyd's sampling (Bentley and Floyd, CACM 30(9), 1987): `wanted` draws, no repetition.
        let mut drawn = BTreeSet::new();
        for most in total - wanted..total {
            let leaf = uniform.up_to(most);
            drawn.insert(if drawn.contains(&leaf) { most } else { leaf });
        }
        let mut grouped: Vec<(usize, Vec<u64>)> = Vec::new();
        for leaf in drawn {
            let at = bases.partition_point(|base| *base <= leaf) - 1;
            match grouped.last_mut() {
                Some((last, leaves)) if *last == at => leaves.push(leaf - bases[at]),
                _ => grouped.push((at, vec![leaf - bases[at]])),
            }
        }
        grouped
    }
}

/// γ of each blob of a set: 128 bits each, independent, addressed by the blob's number in the set,
/// so that a node may read in the order of its disk.
pub struct Gammas {
    stream: OutputReader,
    first: u64,
    block: Option<Box<[u8; GAMMAS_AT_ONCE * GAMMA_LEN]>>,
}

impl Gammas {
    /// Those of one transcript, which nothing else is drawn from.
    pub(crate) fn of(transcript: &Transcript) -> Self {
        Self { stream: transcript.stream(), first: 0, block: None }
    }

    /// γ of the set's blob `number`. Neighbours come out of one derivation.
    pub fn at(&mut self, number: u64) -> Gamma {
        let within = (number % GAMMAS_AT_ONCE as u64) as usize;
        let first = number - within as u64;
        let block = match self.block.take() {
            Some(block) if self.first == first => block,
            old => {
                let mut block = old.unwrap_or_else(|| Box::new([0; GAMMAS_AT_ONCE * GAMMA_LEN]));
                self.stream.set_position(first.wrapping_mul(GAMMA_LEN as u64));
                self.stream.fill(&mut block[..]);
                self.first = first;
                block
            }
        };
        let mut bytes = [0; GAMMA_LEN];
        bytes.copy_from_slice(&block[within * GAMMA_LEN..][..GAMMA_LEN]);
        self.block = Some(block);
        Gamma(u128::from_be_bytes(bytes))
    }
}

/// Uniform numbers out of a stream.
struct Uniform(OutputReader);

impl Uniform {
    /// From 0 to `most`, both included.
    fn up_to(&mut self, most: u64) -> u64 {
        let Some(span) = most.checked_add(1) else { return self.next() };
        // Numbers above the last whole multiple of the span would favour small results.
        let last = u64::MAX - (u64::MAX % span + 1) % span;
        loop {
            let drawn = self.next();
            if drawn <= last {
                return drawn % span;
            }
        }
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Millis, Sequence, ShardId};
    use proptest::prelude::*;

    use super::*;
    use crate::set;

    fn entries(lens: &[u64]) -> Vec<SetEntry> {
        let entry = |(n, len): (usize, &u64)| SetEntry {
            sequence: Sequence(n as u64),
            shard: ShardId::from_bytes([n as u8; 32]),
            len: *len,
        };
        lens.iter().enumerate().map(entry).collect()
    }

    fn challenge() -> Challenge {
        Challenge {
            audit: AuditId([1; 32]),
            node: NodeId([2; 32]),
            set: set::reference(&entries(&[5000, 1, 70_000])),
            commitments: [3; 32],
            seed: Seed([4; 32]),
            ask: Ask::Fold { from: 0, to: 3 },
            deadline: Millis(1000),
        }
    }

    /// Attack: answering with the proof for another audit, node, set, list or seed.
    #[test]
    fn every_binding_changes_gamma_and_z() {
        let base = challenge();
        let mut others = vec![base.clone(); 5];
        others[0].audit = AuditId([9; 32]);
        others[1].node = NodeId([9; 32]);
        others[2].set.digest = [9; 32];
        others[3].commitments = [9; 32];
        others[4].seed = Seed([9; 32]);
        for other in others {
            assert_ne!(other.gammas().at(0), base.gammas().at(0));
            assert_ne!(other.point(), base.point());
            assert_ne!(other.digest(), base.digest());
        }
    }

    #[test]
    fn a_part_of_a_fold_has_the_coefficients_of_the_whole_and_another_digest() {
        let whole = challenge();
        let part = Challenge { ask: Ask::Fold { from: 1, to: 3 }, ..whole.clone() };
        assert_eq!(part.gammas().at(2), whole.gammas().at(2));
        assert_eq!(part.point(), whole.point());
        assert_ne!(part.digest(), whole.digest());
    }

    #[test]
    fn gammas_are_the_same_in_any_order() {
        let challenge = challenge();
        let mut forward = challenge.gammas();
        let straight: Vec<_> = (0..300).map(|n| forward.at(n)).collect();
        let mut backward = challenge.gammas();
        for n in (0..300).rev() {
            assert_eq!(backward.at(n), straight[n as usize]);
        }
        let distinct: BTreeSet<_> = straight.iter().map(|gamma| gamma.0).collect();
        assert_eq!(distinct.len(), straight.len());
    }

    #[test]
    fn a_sample_hits_shards_by_their_leaves_not_by_their_number() {
        // Attack: many tiny shards in front of a large one would hide the large one from a draw by shard.
        let mut lens = vec![10; 50];
        lens.push(50 * 9 * 1024);
        let entries = entries(&lens);
        let mut large = 0;
        for n in 0..200u8 {
            let challenge = Challenge { seed: Seed([n; 32]), ..challenge() };
            large +=
                challenge.draw(&entries, 10).iter().filter(|(at, _)| *at == 50).map(|(_, l)| l.len()).sum::<usize>();
        }
        // 2000 draws, 90 % of the leaves: 1800 expected, standard deviation below 14.
        assert!((1700..1900).contains(&large), "{large}");
    }

    proptest! {
        #[test]
        fn a_draw_is_of_distinct_leaves_that_exist(
            lens in proptest::collection::vec(0u64..20_000, 1..20), count in 1u16..600, seed: [u8; 32],
        ) {
            let entries = entries(&lens);
            let challenge = Challenge { seed: Seed(seed), ..challenge() };
            let drawn = challenge.draw(&entries, count);
            let total: u64 = lens.iter().map(|len| leaf_count(*len)).sum();
            let got: usize = drawn.iter().map(|(_, leaves)| leaves.len()).sum();
            prop_assert_eq!(got as u64, total.min(u64::from(count)).min(512));
            prop_assert!(drawn.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (at, leaves) in &drawn {
                prop_assert!(leaves.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(leaves.last().is_some_and(|leaf| *leaf < leaf_count(lens[*at])));
            }
            prop_assert_eq!(challenge.draw(&entries, count), drawn);
        }
    }
}
