//! Many sums of points at once, six field multiplications an addition: additions in affine form need a
//! division each, and one inversion serves a whole batch of them (Montgomery's trick).
//!
//! The points to add lie in a read-only list; each group names some of them, plain or negated. Rounds pair
//! neighbours within every group until one is left. How a batch of pairs is added is an [`Adder`]'s:
//! [`crate::chord`] in plain code, [`crate::simd::adder`] in lanes.

use crate::blst::Affine;

/// A point to add: an entry of the list or an intermediate sum, maybe negated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Summand(u32);

impl Summand {
    const NEGATED: u32 = 1 << 31;
    const INTERMEDIATE: u32 = 1 << 30;

    /// Entry `index` of the list, below 2^30.
    pub(crate) fn entry(index: u32, negated: bool) -> Self {
        debug_assert!(index < Self::INTERMEDIATE);
        Self(index | if negated { Self::NEGATED } else { 0 })
    }

    fn intermediate(index: usize) -> Self {
        debug_assert!(index < Self::INTERMEDIATE as usize);
        Self(index as u32 | Self::INTERMEDIATE)
    }

    #[inline(always)]
    pub(crate) fn is_negated(self) -> bool {
        self.0 & Self::NEGATED != 0
    }

    /// The point itself, not negated.
    #[inline(always)]
    pub(crate) fn stored<'a, P>(self, list: &'a [P], intermediates: &'a [P]) -> &'a P {
        let index = (self.0 & (Self::INTERMEDIATE - 1)) as usize;
        if self.0 & Self::INTERMEDIATE == 0 { &list[index] } else { &intermediates[index] }
    }
}

/// Sums are written so many at a time.
pub(crate) const SLACK: usize = 16;

/// A way to add batches of points.
pub(crate) trait Adder: Sized {
    /// What it takes to make one: the proof that the processor can.
    type Engine: Copy + Send + Sync + 'static;
    /// A point in this adder's form.
    type Point: Copy + Send + Sync + 'static;
    /// Additions that share an inversion.
    const BATCH: usize;
    /// Buckets of a fixed base summed together.
    const GROUPS_AT_ONCE: usize;
    /// From so many points on, a sum of products is faster by this adder than by blst's Pippenger.
    const POINTS_MIN: usize;
    const INFINITY: Self::Point;

    fn new(engine: Self::Engine) -> Self;
    fn from_affine(point: &Affine) -> Self::Point;
    fn to_affine(point: &Self::Point) -> Affine;
    fn is_infinity(point: &Self::Point) -> bool;
    fn negated(point: &Self::Point) -> Self::Point;

    /// Writes the sum of every pair (at most [`Adder::BATCH`]) of entries of the list and intermediates to `sums`, which
    /// has a place for each and is then filled up to a multiple of [`SLACK`]; what stands in the surplus means nothing.
    fn add(
        &mut self,
        list: &[Self::Point],
        intermediates: &[Self::Point],
        pairs: &[[Summand; 2]],
        sums: &mut [Self::Point],
    );
}

/// The workshop: buffers that all rounds share.
pub(crate) struct Sums<A: Adder> {
    adder: A,
    /// Only ever grows: to write megabytes twice would take longer than some additions.
    intermediates: Vec<A::Point>,
    /// Intermediates of the sums under way.
    used: usize,
}

impl<A: Adder> Sums<A> {
    pub(crate) fn new(engine: A::Engine) -> Self {
        Self { adder: A::new(engine), intermediates: Vec::new(), used: 0 }
    }

    /// The sum of each group: group `g` is `summands[ends[g − 1]..ends[g]]`. Pushes one point a group to `out`.
    pub(crate) fn sum_groups(
        &mut self,
        list: &[A::Point],
        summands: &[Summand],
        ends: &[u32],
        out: &mut Vec<A::Point>,
    ) {
        self.used = 0;
        let (mut summands, mut ends) = (summands.to_vec(), ends.to_vec());
        let mut pairs = Vec::with_capacity(summands.len() / 2);
        loop {
            pairs.clear();
            self.pair_up(&mut summands, &mut ends, &mut pairs);
            if pairs.is_empty() {
                break;
            }
            for batch in pairs.chunks(A::BATCH) {
                let end = self.used + batch.len().next_multiple_of(SLACK);
                if self.intermediates.len() < end {
                    self.intermediates.resize(end, A::INFINITY);
                }
                let (intermediates, rest) = self.intermediates.split_at_mut(self.used);
                self.adder.add(list, intermediates, batch, &mut rest[..end - self.used]);
                self.used += batch.len();
            }
        }
        let mut begin = 0;
        for end in ends {
            out.push(match summands[begin as usize..end as usize].first() {
                Some(summand) => {
                    let point = summand.stored(list, &self.intermediates);
                    if summand.is_negated() { A::negated(point) } else { *point }
                }
                None => A::INFINITY,
            });
            begin = end;
        }
    }

    /// Replaces neighbours in each group by the intermediate that will be their sum.
    fn pair_up(&self, summands: &mut Vec<Summand>, ends: &mut [u32], pairs: &mut Vec<[Summand; 2]>) {
        let (mut begin, mut written) = (0, 0);
        for end in ends {
            let mut read = begin;
            begin = *end as usize;
            while read + 1 < begin {
                let sum = Summand::intermediate(self.used + pairs.len());
                pairs.push([summands[read], summands[read + 1]]);
                summands[written] = sum;
                read += 2;
                written += 1;
            }
            if read < begin {
                summands[written] = summands[read];
                written += 1;
            }
            *end = written as u32;
        }
        summands.truncate(written);
    }
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Fr, G1Affine, G1Projective};
    use ark_ec::AffineRepr;
    use ark_ff::{Field, Zero};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        chord::Chords,
        simd::{adder::LaneAdder, emulated::Emulated},
        slow,
    };

    /// Small multiples of the generator, of both signs and zero: collisions of every kind are common.
    fn small(multiple: i64) -> (Affine, G1Projective) {
        let scalar = if multiple < 0 { -Fr::from(multiple.unsigned_abs()) } else { Fr::from(multiple as u64) };
        let point = G1Affine::generator() * scalar;
        (Affine::uncompress(&slow::compress(point)).unwrap(), point)
    }

    fn sums<A: Adder>(engine: A::Engine, list: &[Affine], summands: &[Summand], ends: &[u32]) -> Vec<Affine> {
        // To their exact length on the heap, so that a read past an end is one past an allocation.
        let list: Box<[A::Point]> = list.iter().map(A::from_affine).collect();
        let mut out = vec![];
        Sums::<A>::new(engine).sum_groups(&list, summands, ends, &mut out);
        out.iter().map(A::to_affine).collect()
    }

    /// The sums by each adder that this machine has.
    fn every_way(list: &[Affine], summands: &[Summand], ends: &[u32]) -> Vec<Vec<Affine>> {
        let mut out =
            vec![sums::<Chords>((), list, summands, ends), sums::<LaneAdder<Emulated>>(Emulated, list, summands, ends)];
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = crate::simd::fma::Fma::detected() {
            out.push(sums::<LaneAdder<crate::simd::fma::Fma>>(lanes, list, summands, ends));
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = crate::simd::ifma::Ifma::detected() {
            out.push(sums::<LaneAdder<crate::simd::ifma::Ifma>>(lanes, list, summands, ends));
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sums_of_colliding_points_are_arks(
            list in prop::collection::vec(-3i64..=3, 1..12),
            groups in prop::collection::vec(prop::collection::vec((0usize..12, any::<bool>()), 0..20), 1..12),
        ) {
            let (ours, arks): (Vec<_>, Vec<_>) = list.iter().map(|m| small(*m)).unzip();
            let (mut summands, mut ends, mut expected) = (vec![], vec![], vec![]);
            for group in &groups {
                let mut sum = G1Projective::zero();
                for (index, negated) in group {
                    let index = index % list.len();
                    summands.push(Summand::entry(index as u32, *negated));
                    sum += if *negated { -arks[index] } else { arks[index] };
                }
                ends.push(summands.len() as u32);
                expected.push(slow::compress(sum));
            }
            for out in every_way(&ours, &summands, &ends) {
                prop_assert_eq!(&out.iter().map(Affine::compress).collect::<Vec<_>>(), &expected);
            }
        }
    }

    /// Adds pairs of multiples, one group a pair, in one batch after `before` ordinary pairs.
    fn pairs_come_to(before: usize, cases: &[(i64, i64, i64)]) {
        let (mut list, mut ends, mut expected) = (vec![], vec![], vec![]);
        let ordinary = (0..before as i64).map(|at| (2 * at + 5, 2 * at + 6, 4 * at + 11));
        for (a, b, sum) in ordinary.chain(cases.iter().copied()) {
            list.extend([small(a).0, small(b).0]);
            expected.push(small(sum).0);
            ends.push(list.len() as u32);
        }
        let summands: Vec<Summand> = (0..list.len() as u32).map(|at| Summand::entry(at, false)).collect();
        for out in every_way(&list, &summands, &ends) {
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_point_and_itself_are_its_double_wherever_they_stand() {
        for before in [0, 1, 7, 8, 15, 16, 40] {
            pairs_come_to(before, &[(1, 1, 2)]);
            pairs_come_to(before, &[(-3, -3, -6), (1, 2, 3)]);
        }
    }

    #[test]
    fn opposite_points_are_infinity_wherever_they_stand() {
        for before in [0, 1, 7, 8, 15, 16, 40] {
            pairs_come_to(before, &[(2, -2, 0)]);
            pairs_come_to(before, &[(-1, 1, 0), (3, 4, 7)]);
        }
    }

    #[test]
    fn infinity_changes_nothing_on_either_side_or_both() {
        for before in [0, 1, 7, 8, 15, 16, 40] {
            pairs_come_to(before, &[(0, 3, 3)]);
            pairs_come_to(before, &[(-3, 0, -3)]);
            pairs_come_to(before, &[(0, 0, 0), (1, 2, 3)]);
        }
    }

    #[test]
    fn a_sum_that_came_to_infinity_is_added_on() {
        let list: Vec<Affine> = (1..=9).map(|m| small(m).0).collect();
        // (1 − 1) + (2 − 2), (1 − 1) + (4 + 5), ((1 + 1) + (3 − 1)) + 5.
        let groups = [
            vec![(1, false), (1, true), (2, false), (2, true)],
            vec![(1, false), (1, true), (4, false), (5, false)],
            vec![(1, false), (1, false), (3, false), (1, true), (5, false)],
        ];
        let summands: Vec<Summand> =
            groups.iter().flatten().map(|(multiple, negated)| Summand::entry(multiple - 1, *negated)).collect();
        for out in every_way(&list, &summands, &[4, 8, 13]) {
            assert_eq!(out, [0, 9, 9].map(|multiple| small(multiple).0));
        }
    }

    #[test]
    fn points_that_do_not_collide_go_the_fast_way_and_one_collision_leaves_it() {
        let list: Vec<_> = (0..4000).map(|at| LaneAdder::<Emulated>::from_affine(&small(1 << (at % 50)).0)).collect();
        let summands: Vec<Summand> = (0..50).map(|at| Summand::entry(at, at % 3 == 0)).collect();
        let mut sums = Sums::<LaneAdder<Emulated>>::new(Emulated);
        sums.sum_groups(&list, &summands, &[20, 20, 21, 50], &mut vec![]);
        assert_eq!(sums.adder.plain, 0);
        sums.sum_groups(&list, &[summands[0], summands[2], summands[1], summands[1]], &[2, 4], &mut vec![]);
        assert_eq!(sums.adder.plain, 2);
    }

    #[test]
    fn a_collision_costs_its_neighbours_their_speed_and_nobody_else() {
        let count = LaneAdder::<Emulated>::BATCH;
        for at in [0, 500, count - 1] {
            // 2 i + 5 and 2 i + 6, but for one point that comes with itself.
            let multiple = |i: usize| if i / 2 == at { 3 } else { i as i64 + 5 };
            let list: Vec<_> =
                (0..2 * count).map(|i| LaneAdder::<Emulated>::from_affine(&small(multiple(i)).0)).collect();
            let summands: Vec<Summand> = (0..2 * count as u32).map(|at| Summand::entry(at, false)).collect();
            let ends: Vec<u32> = (1..=count as u32).map(|end| 2 * end).collect();
            let (mut sums, mut out) = (Sums::<LaneAdder<Emulated>>::new(Emulated), vec![]);
            sums.sum_groups(&list, &summands, &ends, &mut out);
            assert!((1..=64).contains(&sums.adder.plain), "{} pairs went the plain way", sums.adder.plain);
            for (i, sum) in out.iter().enumerate() {
                let expected = small(multiple(2 * i) + multiple(2 * i + 1)).0;
                assert!(LaneAdder::<Emulated>::to_affine(sum) == expected, "pair {i}");
            }
        }
    }

    #[test]
    fn a_sum_of_many_batches_without_collisions_is_right() {
        // Powers of three: no two partial sums are equal or opposite.
        let multiples: Vec<Fr> = (0..2200u64).map(|at| Fr::from(3u64).pow([at])).collect();
        let points: Vec<[u8; 48]> = multiples.iter().map(|m| slow::compress(G1Affine::generator() * *m)).collect();
        let list: Vec<Affine> = points.iter().map(|bytes| Affine::uncompress(bytes).unwrap()).collect();
        let summands: Vec<Summand> = (0..2200).map(|at| Summand::entry(at, at % 5 == 0)).collect();
        let sum: Fr = multiples.iter().enumerate().map(|(at, m)| if at % 5 == 0 { -*m } else { *m }).sum();
        let expected = slow::compress(G1Affine::generator() * sum);
        for out in every_way(&list, &summands, &[2200]) {
            assert_eq!(out[0].compress(), expected);
        }
    }

    #[test]
    fn a_sum_longer_than_a_batch_is_right() {
        let count = 3 * 1024 + 5;
        let list: Vec<Affine> = (1..=3).map(|m| small(m).0).collect();
        let summands: Vec<Summand> = (0..count).map(|i| Summand::entry((i % 3) as u32, i % 7 == 0)).collect();
        let expected: i64 = (0..count).map(|i| (i % 3 + 1) * if i % 7 == 0 { -1 } else { 1 }).sum();
        for out in every_way(&list, &summands, &[count as u32]) {
            assert_eq!(out, [small(expected).0]);
        }
    }
}
