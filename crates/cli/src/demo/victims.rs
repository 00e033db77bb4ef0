//! Whom it hits. Decides, touches nothing: three shards of one segment, by index, so that the seed fixes them whatever
//! keys and places were drawn.

use std::collections::BTreeMap;

use holdfast_client::{SegmentStat, ShardStat};
use holdfast_types::{ByteRange, NodeId, ShardId};

use super::{content::Chance, report::Kind};
use crate::failure::Failure;

/// Bytes that are flipped.
pub(crate) const FLIP_LEN: u64 = 16;

/// Whom it hits, and where.
#[derive(Debug)]
pub(crate) struct Victims {
    /// The shard that is flipped, and who holds it.
    pub(crate) flip: (NodeId, ShardId),
    /// Bytes of a stored shard.
    pub(crate) shard_len: u64,
    /// Which bytes of the stored shard are flipped.
    pub(crate) range: ByteRange,
    /// With what: no byte of it is zero.
    pub(crate) mask: Vec<u8>,
    pub(crate) wipe: NodeId,
    pub(crate) kill: NodeId,
}

impl Victims {
    /// Draws a segment, three of its shards, and 16 bytes of the first.
    pub(crate) fn draw(segments: &[SegmentStat], chance: &mut Chance) -> Result<Self, Failure> {
        let nothing = || Failure::Usage("there is nothing to lose in an empty file; give one with bytes in it".into());
        let which = chance.below((segments.len() as u64).max(1)) as usize;
        let segment = segments.get(which).ok_or_else(nothing)?;
        let mut shards: Vec<&ShardStat> = segment.shards.iter().collect();
        let mut draw = || match shards.len() {
            0 => Err(Failure::Failed(format!("segment {} has fewer than 3 shards to lose", segment.id))),
            left => Ok(shards.swap_remove(chance.below(left as u64) as usize)),
        };
        let (flip, wipe, kill) = (draw()?, draw()?, draw()?);
        let len = FLIP_LEN.min(segment.shard_len);
        let start = chance.below(segment.shard_len - len + 1);
        let range = ByteRange::at(start, len).ok_or_else(nothing)?;
        Ok(Self {
            flip: (flip.node, flip.shard),
            shard_len: segment.shard_len,
            range,
            mask: chance.mask(len as usize),
            wipe: wipe.node,
            kill: kill.node,
        })
    }

    /// Every stored shard that one of the faults hits, and which.
    pub(crate) fn hit(&self, segments: &[SegmentStat]) -> BTreeMap<(NodeId, ShardId), Kind> {
        let all = segments.iter().flat_map(|segment| &segment.shards);
        let kind = |shard: &ShardStat| match shard.node {
            node if node == self.wipe => Some(Kind::Wipe),
            node if node == self.kill => Some(Kind::Kill),
            node if (node, shard.shard) == self.flip => Some(Kind::Flip),
            _ => None,
        };
        all.filter_map(|shard| Some(((shard.node, shard.shard), kind(shard)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::model::Standing;
    use holdfast_types::{Code, SegmentId, SegmentRoot, ShardIndex};

    use super::*;

    fn segment(number: u8, shift: u8, shard_len: u64) -> SegmentStat {
        let shard = |index: u8| ShardStat {
            index: ShardIndex(index.into()),
            shard: ShardId::from_bytes([16 * number + index; 32]),
            node: NodeId([(index + shift) % 16; 32]),
            standing: Standing::Good,
            silent: false,
            commitment: None,
        };
        SegmentStat {
            id: SegmentId([number; 16]),
            root: SegmentRoot::from_bytes([number; 32]),
            len: 8 * shard_len,
            object_len: 8 * shard_len,
            code: Code::new(8, 4).unwrap(),
            shard_len,
            shards: (0..12).map(shard).collect(),
        }
    }

    #[test]
    fn the_seed_fixes_shards_and_offsets_wherever_they_lie() {
        let index_of = |segments: &[SegmentStat], victims: &Victims| {
            let shard = segments.iter().flat_map(|it| &it.shards).find(|it| it.shard == victims.flip.1).unwrap();
            (shard.index, victims.range, victims.mask.clone())
        };
        let here = [segment(0, 0, 5000), segment(1, 3, 5000)];
        let there = [segment(0, 9, 5000), segment(1, 1, 5000)];
        for seed in 0..64 {
            let (a, b) = (Victims::draw(&here, &mut Chance::of(seed)), Victims::draw(&there, &mut Chance::of(seed)));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(index_of(&here, &a), index_of(&there, &b));
            assert!(a.flip.0 != a.wipe && a.wipe != a.kill && a.kill != a.flip.0);
            assert!(a.range.end() <= 5000 && a.range.len() == FLIP_LEN);
        }
    }

    #[test]
    fn every_shard_of_a_wiped_or_killed_node_is_hit_and_one_of_the_flipped() {
        let segments = [segment(0, 0, 8), segment(1, 0, 8)];
        let victims = Victims::draw(&segments, &mut Chance::of(3)).unwrap();
        assert_eq!(victims.range.len(), 8, "a shard shorter than 16 bytes is flipped whole");
        let hit = victims.hit(&segments);
        let count = |kind| hit.values().filter(|it| **it == kind).count();
        assert_eq!((count(Kind::Flip), count(Kind::Wipe), count(Kind::Kill)), (1, 2, 2));
    }

    #[test]
    fn nothing_to_lose_is_said() {
        assert!(matches!(Victims::draw(&[], &mut Chance::of(1)), Err(Failure::Usage(_))));
    }
}
