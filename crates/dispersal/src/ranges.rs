//! A set of bytes as sorted, disjoint ranges that do not touch.

use holdfast_types::ByteRange;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RangeSet(Vec<ByteRange>);

impl RangeSet {
    pub(crate) fn insert(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start(), range.end());
        self.0.retain(|old| {
            let apart = old.end() < start || end < old.start();
            if !apart {
                (start, end) = (start.min(old.start()), end.max(old.end()));
            }
            apart
        });
        let at = self.0.partition_point(|old| old.start() < start);
        self.0.extend(ByteRange::new(start, end));
        self.0[at..].rotate_right(1);
    }

    pub(crate) fn contains(&self, range: ByteRange) -> bool {
        range.is_empty() || self.0.iter().any(|held| held.contains(range))
    }

    /// The parts of `range` that are not in the set, in order.
    pub(crate) fn missing_from(&self, range: ByteRange) -> Vec<ByteRange> {
        let (mut at, mut out) = (range.start(), Vec::new());
        for held in self.0.iter().filter(|held| held.overlaps(range)) {
            out.extend(ByteRange::new(at, held.start()).filter(|gap| !gap.is_empty()));
            at = held.end();
        }
        out.extend(ByteRange::new(at, range.end()).filter(|gap| !gap.is_empty()));
        out
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_set_is_a_set_of_bytes(ranges in proptest::collection::vec((0u64..40, 0u64..10), 0..12), asked in (0u64..40, 0u64..10)) {
            let (mut set, mut twin) = (RangeSet::default(), [false; 64]);
            for (start, len) in ranges {
                set.insert(ByteRange::at(start, len).unwrap());
                twin[start as usize..(start + len) as usize].fill(true);
            }
            let listed: Vec<ByteRange> = set.iter().collect();
            prop_assert!(listed.windows(2).all(|pair| pair[0].end() < pair[1].start()));
            let bytes = |ranges: &[ByteRange]| ranges.iter().flat_map(|range| range.start()..range.end()).collect::<Vec<_>>();
            prop_assert_eq!(bytes(&listed), (0..64).filter(|at| twin[*at as usize]).collect::<Vec<_>>());
            let asked = ByteRange::at(asked.0, asked.1).unwrap();
            let missing = bytes(&set.missing_from(asked));
            prop_assert_eq!(&missing, &(asked.start()..asked.end()).filter(|at| !twin[*at as usize]).collect::<Vec<_>>());
            prop_assert_eq!(set.contains(asked), missing.is_empty());
        }
    }
}
