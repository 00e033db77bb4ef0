//! Many sums of points at once, six field multiplications an addition: additions in affine form need a
//! division each, and one inversion serves a whole batch of them (Montgomery's trick).
//!
//! The points to add lie in a read-only list; each group names some of them, plain or negated. Rounds pair
//! neighbours within every group until one is left. Slow twin: ark's projective additions, in the tests.
//!
//! Equal points, opposite points and infinity divide by zero in the affine formula. None of them happens by
//! chance, all of them can be made on purpose, so each has its own branch.

use crate::ffi::{Affine, Fp};

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

    fn point(&self, summand: Summand) -> Affine {
        let index = (summand.0 & (Summand::INTERMEDIATE - 1)) as usize;
        let point = if summand.0 & Summand::INTERMEDIATE == 0 { &self.list[index] } else { &self.intermediates[index] };
        if summand.0 & Summand::NEGATED == 0 { *point } else { Affine { x: point.x, y: point.y.negate_if(true) } }
    }

    /// Appends the sum of every pair to the intermediates.
    fn add(&mut self, pairs: &[[Summand; 2]]) {
        // The list is larger than the caches and read at random: gathered in a loop that does nothing else,
        // many of its cache misses overlap; met one by one between multiplications, none would.
        self.operands.clear();
        for [a, b] in pairs {
            let pair = [self.point(*a), self.point(*b)];
            self.operands.push(pair);
        }
        self.cases.clear();
        self.denominators.clear();
        self.prefixes.clear();
        let mut product = Fp::ONE;
        for [a, b] in &self.operands {
            let (case, denominator) = classify(a, b);
            self.cases.push(case);
            self.denominators.push(denominator);
            self.prefixes.push(product);
            product = product.mul(&denominator);
        }
        // From here on `inverse` is one over the product of the denominators not yet taken off.
        let mut inverse = product.inverse();
        let base = self.intermediates.len();
        self.intermediates.resize(base + pairs.len(), Affine::INFINITY);
        let pairs = self.operands.iter().zip(&self.cases).zip(self.denominators.iter().zip(&self.prefixes));
        for (sum, (([a, b], case), (denominator, prefix))) in self.intermediates[base..].iter_mut().zip(pairs).rev() {
            let reciprocal = inverse.mul(prefix);
            inverse = inverse.mul(denominator);
            *sum = match case {
                Case::Chord => finish(a, &b.x, &b.y.sub(&a.y).mul(&reciprocal)),
                Case::Tangent => {
                    let square = a.x.square();
                    finish(a, &a.x, &square.add(&square).add(&square).mul(&reciprocal))
                }
                Case::Infinity => Affine::INFINITY,
                Case::First => *a,
                Case::Second => *b,
            };
        }
    }
}

/// How to add two points, and what to divide by; one where nothing is divided.
fn classify(a: &Affine, b: &Affine) -> (Case, Fp) {
    if a.is_infinity() {
        return (Case::Second, Fp::ONE);
    }
    if b.is_infinity() {
        return (Case::First, Fp::ONE);
    }
    let difference = b.x.sub(&a.x);
    if !difference.is_zero() {
        return (Case::Chord, difference);
    }
    // No point of odd order has y = 0, so equal y is the same point and the tangent is not vertical.
    if a.y == b.y && !a.y.is_zero() { (Case::Tangent, a.y.add(&a.y)) } else { (Case::Infinity, Fp::ONE) }
}

/// The third point of the line through `a` with this slope that meets the curve again at `other_x`, reflected.
#[inline]
fn finish(a: &Affine, other_x: &Fp, slope: &Fp) -> Affine {
    let x = slope.square().sub(&a.x).sub(other_x);
    let y = a.x.sub(&x).mul(slope).sub(&a.y);
    Affine { x, y }
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
