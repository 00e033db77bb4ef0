//! Many sums of points at once, six field multiplications an addition: additions in affine form need a
//! division each, and one inversion serves a whole batch of them (Montgomery's trick).
//!
//! The points to add lie in a read-only list; each group names some of them, plain or negated. Rounds pair
//! neighbours within every group until one is left. Slow twin: ark's projective additions, in the tests.
//!
//! Equal points, opposite points and infinity divide by zero in the affine formula. None of them happens by
//! chance, all of them can be made on purpose, so each has its own branch.

use std::hint::black_box;

use crate::blst::{Affine, Fp};

/// Additions that share an inversion: enough to make its cost vanish, few enough that their operands,
/// denominators and prefix products (288 bytes a pair) stay in the second-level cache.
const BATCH: usize = 512;

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
}

/// What one pair comes to.
#[derive(Clone, Copy)]
enum Case {
    /// Different x: the chord.
    Chord,
    /// The same point twice: the tangent.
    Tangent,
    /// Opposite points.
    Infinity,
    /// The first is infinity.
    Second,
    /// The second is infinity.
    First,
}

/// The workshop: buffers that all rounds share.
pub(crate) struct Sums<'a> {
    list: &'a [Affine],
    intermediates: Vec<Affine>,
    operands: Vec<[Affine; 2]>,
    cases: Vec<Case>,
    denominators: Vec<Fp>,
    prefixes: Vec<Fp>,
}

impl<'a> Sums<'a> {
    pub(crate) fn over(list: &'a [Affine]) -> Self {
        Self {
            list,
            intermediates: Vec::new(),
            operands: Vec::with_capacity(BATCH),
            cases: Vec::with_capacity(BATCH),
            denominators: Vec::with_capacity(BATCH),
            prefixes: Vec::with_capacity(BATCH),
        }
    }

    /// The sum of each group: group `g` is `summands[ends[g − 1]..ends[g]]`. Pushes one point a group to `out`.
    pub(crate) fn sum_groups(&mut self, summands: &[Summand], ends: &[u32], out: &mut Vec<Affine>) {
        self.intermediates.clear();
        let (mut summands, mut ends) = (summands.to_vec(), ends.to_vec());
        let mut pairs = Vec::with_capacity(summands.len() / 2);
        loop {
            pairs.clear();
            self.pair_up(&mut summands, &mut ends, &mut pairs);
            if pairs.is_empty() {
                break;
            }
            for batch in pairs.chunks(BATCH) {
                self.add(batch);
            }
        }
        let mut begin = 0;
        for end in ends {
            let point = if end > begin { self.point(summands[begin as usize]) } else { Affine::INFINITY };
            out.push(point);
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
                let sum = Summand::intermediate(self.intermediates.len() + pairs.len());
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

    fn stored(&self, summand: Summand) -> &Affine {
        let index = (summand.0 & (Summand::INTERMEDIATE - 1)) as usize;
        if summand.0 & Summand::INTERMEDIATE == 0 { &self.list[index] } else { &self.intermediates[index] }
    }

    fn point(&self, summand: Summand) -> Affine {
        let point = self.stored(summand);
        Affine { x: point.x, y: point.y.negated_if(summand.0 & Summand::NEGATED != 0) }
    }

    /// Copies the points that a batch adds next to each other.
    fn gather(&mut self, pairs: &[[Summand; 2]]) {
        // The list is larger than the near caches and read at random. This loop does nothing but touch both
        // cache lines of each point, so that a dozen misses overlap; between multiplications none would.
        let mut touched = 0;
        for summand in pairs.as_flattened() {
            let point = self.stored(*summand);
            touched ^= point.x.0.l[0] ^ point.y.0.l[5];
        }
        black_box(touched);
        self.operands.clear();
        for [a, b] in pairs {
            let pair = [self.point(*a), self.point(*b)];
            self.operands.push(pair);
        }
    }

    /// Appends the sum of every pair to the intermediates.
    fn add(&mut self, pairs: &[[Summand; 2]]) {
        self.gather(pairs);
        self.cases.clear();
        self.denominators.clear();
        self.prefixes.clear();
        let mut product = Fp::ONE;
        for [a, b] in &self.operands {
            let (case, denominator) = classify(a, b);
            self.cases.push(case);
            self.denominators.push(denominator);
            self.prefixes.push(product);
            product.multiply_by(&denominator);
        }
        // From here on `inverse` is one over the product of the denominators not yet taken off.
        let mut inverse = product.inverse();
        let base = self.intermediates.len();
        self.intermediates.resize(base + pairs.len(), Affine::INFINITY);
        let pairs = self.operands.iter().zip(&self.cases).zip(self.denominators.iter().zip(&mut self.prefixes));
        for (sum, (([a, b], case), (denominator, reciprocal))) in self.intermediates[base..].iter_mut().zip(pairs).rev()
        {
            reciprocal.multiply_by(&inverse);
            inverse.multiply_by(denominator);
            match case {
                Case::Chord => {
                    let mut slope = b.y.minus(&a.y);
                    slope.multiply_by(reciprocal);
                    finish(sum, a, &b.x, &slope);
                }
                Case::Tangent => {
                    let mut square = Fp::ZERO;
                    square.set_square(&a.x);
                    let mut slope = square.plus(&square).plus(&square);
                    slope.multiply_by(reciprocal);
                    finish(sum, a, &a.x, &slope);
                }
                Case::Infinity => {}
                Case::First => *sum = *a,
                Case::Second => *sum = *b,
            }
        }
    }
}

/// How to add two points, and what to divide by; one where nothing is divided.
#[inline]
fn classify(a: &Affine, b: &Affine) -> (Case, Fp) {
    if a.is_infinity() {
        return (Case::Second, Fp::ONE);
    }
    if b.is_infinity() {
        return (Case::First, Fp::ONE);
    }
    let difference = b.x.minus(&a.x);
    if !difference.is_zero() {
        return (Case::Chord, difference);
    }
    // No point of odd order has y = 0, so equal y is the same point and the tangent is not vertical.
    if a.y == b.y && !a.y.is_zero() { (Case::Tangent, a.y.plus(&a.y)) } else { (Case::Infinity, Fp::ONE) }
}

/// `sum` becomes the point where the line through `a` and a point with `other_x` meets the curve again, reflected.
#[inline]
fn finish(sum: &mut Affine, a: &Affine, other_x: &Fp, slope: &Fp) {
    let mut square = Fp::ZERO;
    square.set_square(slope);
    sum.x = square.minus(&a.x).minus(other_x);
    let mut y = a.x.minus(&sum.x);
    y.multiply_by(slope);
    sum.y = y.minus(&a.y);
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Fr, G1Affine, G1Projective};
    use ark_ec::AffineRepr;
    use ark_ff::Zero;
    use proptest::prelude::*;

    use super::*;
    use crate::slow;

    /// Small multiples of the generator, of both signs and zero: collisions of every kind are common.
    fn small(multiple: i64) -> (Affine, G1Projective) {
        let scalar = if multiple < 0 { -Fr::from(multiple.unsigned_abs()) } else { Fr::from(multiple as u64) };
        let point = G1Affine::generator() * scalar;
        (Affine::uncompress(&slow::compress(point)).unwrap(), point)
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
            let mut out = vec![];
            Sums::over(&ours).sum_groups(&summands, &ends, &mut out);
            prop_assert_eq!(out.iter().map(Affine::compress).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_sum_longer_than_a_batch_is_right() {
        let count = 3 * BATCH as i64 + 5;
        let list: Vec<Affine> = (1..=3).map(|m| small(m).0).collect();
        let summands: Vec<Summand> = (0..count).map(|i| Summand::entry((i % 3) as u32, i % 7 == 0)).collect();
        let expected: i64 = (0..count).map(|i| (i % 3 + 1) * if i % 7 == 0 { -1 } else { 1 }).sum();
        let mut out = vec![];
        Sums::over(&list).sum_groups(&summands, &[count as u32], &mut out);
        assert_eq!(out, [small(expected).0]);
    }
}
