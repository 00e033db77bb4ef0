//! What the auditor is handed beside each shard, so that commitments can be believed that the client did not compute:
//! a secret point, and what the shard's polynomials sum up to there.
//!
//! One more pass over bytes that were just masked and hashed, at the speed of memory. The secret is drawn for this one
//! shard, goes to the auditor with the segment and nowhere else: not to the journal, not to the log, not to a node. A
//! segment that is coded again after a crash gets new ones, which replace the old while it is only staged.

use bytes::Bytes;
use holdfast_protocol::witness::{Witness, WitnessId, WitnessSeed};
use holdfast_types::ShardIndex;
use holdfast_wire::convert::ShardWitness;
use zeroize::Zeroizing;

use crate::{ClientError, chance};

/// One a shard, in order. Blocks.
pub(super) fn draw(shards: &[Bytes]) -> Result<Vec<ShardWitness>, ClientError> {
    let draw = |(index, shard): (u16, &Bytes)| {
        let seed = WitnessSeed::new(*Zeroizing::new(chance::draw()?));
        let witness = Witness::of(WitnessId(chance::draw()?), seed, shard);
        let witness = witness.map_err(|error| ClientError::Bug(error.to_string()))?;
        Ok(ShardWitness { index: ShardIndex(index), witness })
    };
    (0..).zip(shards).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_types::BLOB_LEN;

    use super::*;

    #[test]
    fn every_shard_has_a_secret_of_its_own_and_its_own_value() {
        let shards: Vec<Bytes> = (1..=3).map(|salt| Bytes::from(vec![salt; 2 * BLOB_LEN as usize + 9])).collect();
        let (one, again) = (draw(&shards).unwrap(), draw(&shards).unwrap());
        let all: Vec<&ShardWitness> = one.iter().chain(&again).collect();
        let distinct =
            |of: fn(&ShardWitness) -> Vec<u8>| all.iter().map(|witness| of(witness)).collect::<BTreeSet<_>>().len();
        // Also of the same bytes: a secret that was shown for one copy is of no use against another.
        assert_eq!(distinct(|of| of.witness.seed.expose().to_vec()), 6);
        assert_eq!(distinct(|of| of.witness.id.0.to_vec()), 6);
        assert_eq!(distinct(|of| of.witness.y.to_vec()), 6);
        for (place, of) in one.iter().enumerate() {
            assert_eq!(usize::from(of.index.0), place);
            let recomputed = Witness::of(of.witness.id, of.witness.seed.clone(), &shards[place]).unwrap();
            assert_eq!(recomputed.y, of.witness.y);
        }
    }
}
