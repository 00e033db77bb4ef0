//! Σ scalar · point for points that come with the question: Pippenger's buckets, filled by batched affine
//! additions ([`crate::sums`]), over scalars cut in half by the curve's endomorphism.
//!
//! φ(x, y) = (βx, y) is multiplication by λ = u² − 1, where u is the curve's parameter, and λ is half as long
//! as the order (Gallant, Lambert, Vanstone 2001). So k · P = (k mod λ) · P + ⌊k / λ⌋ · φ(P): twice the points, half the
//! windows, half of the work that every window costs whatever the number of points. Points must be of the subgroup.

use crate::{
    blst::{self, Affine, Fp, Point},
    buckets::{sort_into_groups, weigh},
    engine::{Engine, WithAdder},
    fixed_base::Limbs,
    sums::{Adder, Summand, Sums},
};

/// u² − 1 for the curve's u = −0xd201000000010000; the order is λ² + λ + 1.
const LAMBDA: u128 = 0xac45_a401_0001_a402_0000_0000_ffff_ffff;
/// ⌊2^255 / λ⌋.
const RECIPROCAL: u128 = 0xbe35_f678_f00f_d56e_b1fb_7291_7b67_f718;
/// The cube root of one that goes with λ, in Montgomery form.
const BETA: Fp = Fp::from_words([
    0xcd03_c9e4_8671_f071,
    0x5dab_2246_1fcd_a5d2,
    0x5870_42af_d385_1b95,
    0x8eb6_0ebe_01ba_cb9e,
    0x03f9_7d6e_83d0_50d2,
    0x18f0_2065_5463_8741,
]);

/// Points and windows summed together: enough for full batches, and their intermediates bounded to some megabytes.
const TERMS_AT_ONCE: usize = 32_768;

/// Points with scalars, to be summed at once.
#[derive(Default)]
pub(crate) struct Terms {
    points: Vec<Affine>,
    scalars: Vec<u128>,
}

impl Terms {
    /// Adds scalar · point to the sum.
    pub(crate) fn push_short(&mut self, point: Affine, scalar: u128) {
        self.points.push(point);
        self.scalars.push(scalar);
    }

    /// The same for a scalar below the order and a point of the subgroup.
    pub(crate) fn push(&mut self, point: Affine, scalar: &Limbs) {
        let (low, high) = split(scalar);
        let mut image = point;
        image.x.multiply_by(&BETA);
        self.push_short(point, low);
        self.push_short(image, high);
    }

    /// The sum, on this thread alone.
    pub(crate) fn sum(&self, engine: Engine) -> Point {
        engine.with_adder(self)
    }

    fn sum_by_blst(&self) -> Point {
        let bytes: Vec<u8> = self.scalars.iter().flat_map(|scalar| scalar.to_le_bytes()).collect();
        blst::sum_of_products(&self.points, &bytes, 128)
    }

    /// By buckets, over however few points.
    fn sum_by<A: Adder>(&self, engine: A::Engine) -> Point {
        let bits = window_bits(self.points.len());
        let list: Vec<A::Point> = self.points.iter().map(A::from_affine).collect();
        let mut sums = Sums::<A>::new(engine);
        let digits = self.digits(bits);
        let windows: Vec<&[i16]> = digits.chunks(list.len()).collect();
        let at_once = (TERMS_AT_ONCE / list.len()).max(1);
        let mut window_sums = Vec::with_capacity(windows.len());
        for some in windows.chunks(at_once) {
            let groups = some.len() << (bits - 1);
            let (summands, ends) = sort_into_groups(groups, &bucket_terms(some, bits));
            let mut buckets = Vec::with_capacity(groups);
            sums.sum_groups(&list, &summands, &ends, &mut buckets);
            window_sums.extend(weigh(&mut sums, &buckets, bits - 1));
        }
        let mut total = Point::infinity();
        for sum in window_sums.iter().rev() {
            for _ in 0..bits {
                total = total.double();
            }
            total = total.add(sum);
        }
        total
    }
}

/// (k mod λ, ⌊k / λ⌋) of a k below the order: each below 2^128.
fn split(scalar: &Limbs) -> (u128, u128) {
    let low = u128::from(scalar[0]) | u128::from(scalar[1]) << 64;
    let high = u128::from(scalar[2]) | u128::from(scalar[3]) << 64;
    // Below the true quotient by two at most.
    let (_, mut quotient) = (high << 1 | low >> 127).carrying_mul(RECIPROCAL, 0);
    let (taken_low, taken_high) = quotient.carrying_mul(LAMBDA, 0);
    let (mut rest, borrow) = low.overflowing_sub(taken_low);
    let mut above = high - taken_high - u128::from(borrow);
    while above > 0 || rest >= LAMBDA {
        let borrow;
        (rest, borrow) = rest.overflowing_sub(LAMBDA);
        above -= u128::from(borrow);
        quotient += 1;
    }
    (rest, quotient)
}

/// Bits of a window that make the fewest additions: one a point, two a bucket, for each window.
fn window_bits(points: usize) -> u32 {
    let cost = |bits: &u32| (128 / bits + 1) as usize * (points + (2 << (bits - 1)));
    (4..=15).min_by_key(cost).unwrap_or(4)
}

impl WithAdder for &Terms {
    type Output = Point;

    fn with<A: Adder + 'static>(self, engine: A::Engine) -> Point {
        if self.points.len() < A::POINTS_MIN { self.sum_by_blst() } else { self.sum_by::<A>(engine) }
    }
}

impl Terms {
    /// The signed digits, −2^(bits − 1) < d ≤ 2^(bits − 1), window by window: entry `window · points + i`.
    fn digits(&self, bits: u32) -> Vec<i16> {
        let windows = 128 / bits + 1;
        let mut digits = vec![0; windows as usize * self.scalars.len()];
        for (index, scalar) in self.scalars.iter().enumerate() {
            let (mut rest, mut carry) = (*scalar, 0);
            for digit in digits[index..].iter_mut().step_by(self.scalars.len()) {
                let mut own = (rest & ((1 << bits) - 1)) as i32 + carry;
                rest >>= bits;
                carry = i32::from(own > 1 << (bits - 1));
                own -= carry << bits;
                *digit = own as i16;
            }
            // The last window has at least a bit more than the scalar has left.
            debug_assert_eq!((rest, carry), (0, 0));
        }
        digits
    }
}

/// Which points go into which bucket of some windows: bucket b of a window holds its digits ±(b + 1).
fn bucket_terms(windows: &[&[i16]], bits: u32) -> Vec<(u32, Summand)> {
    let mut terms = Vec::with_capacity(windows.iter().map(|digits| digits.len()).sum());
    for (window, digits) in (0..).zip(windows) {
        for (index, digit) in (0..).zip(*digits) {
            if *digit != 0 {
                let bucket = (window << (bits - 1)) + u32::from(digit.unsigned_abs()) - 1;
                terms.push((bucket, Summand::entry(index, *digit < 0)));
            }
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Fr, G1Affine};
    use ark_ec::AffineRepr;
    use ark_ff::{BigInt, Field, One, PrimeField, Zero};
    use proptest::prelude::*;

    use super::*;
    use crate::slow;

    fn wide(value: u128) -> Fr {
        Fr::from(value)
    }

    fn edges() -> Vec<Fr> {
        let lambda = wide(LAMBDA);
        let mut edges = vec![Fr::zero(), Fr::one(), -Fr::one(), lambda, -lambda, lambda - Fr::one(), lambda.square()];
        edges.extend([u128::MAX, 1 << 127, (1 << 127) - 1, LAMBDA / 2].map(wide));
        edges.extend((0..255).map(|bit| Fr::from(2u64).pow([bit])));
        edges
    }

    #[test]
    fn a_scalar_is_its_halves_and_both_are_short() {
        for scalar in edges() {
            let (low, high) = split(&scalar.into_bigint().0);
            assert!(low < LAMBDA && high <= LAMBDA + 1);
            assert_eq!(wide(low) + wide(high) * wide(LAMBDA), scalar);
        }
    }

    #[test]
    fn the_endomorphism_is_multiplication_by_lambda() {
        let mut image = Affine::generator();
        image.x.multiply_by(&BETA);
        assert_eq!(image.compress(), slow::compress(G1Affine::generator() * wide(LAMBDA)));
        assert!(wide(LAMBDA).square() + wide(LAMBDA) + Fr::one() == Fr::zero());
    }

    struct ByBuckets<'a>(&'a Terms);

    impl WithAdder for ByBuckets<'_> {
        type Output = Point;

        fn with<A: Adder + 'static>(self, engine: A::Engine) -> Point {
            self.0.sum_by::<A>(engine)
        }
    }

    /// Every engine gives ark's sum, also where blst would have been asked.
    fn agree(terms: &[(Fr, Fr)]) {
        let (mut ours, mut points, mut scalars) = (Terms::default(), vec![], vec![]);
        for (multiple, scalar) in terms {
            points.push(slow::compress(G1Affine::generator() * *multiple));
            scalars.push(*scalar);
            ours.push(Affine::uncompress(points.last().unwrap()).unwrap(), &scalar.into_bigint().0);
        }
        let expected = slow::sum_of_products(&points, &scalars);
        assert_eq!(ours.sum(Engine::Plain).to_affine().compress(), expected);
        for engine in Engine::all() {
            let sum = engine.with_adder(ByBuckets(&ours)).to_affine().compress();
            assert_eq!(sum, expected, "{} of {} terms", engine.path(), terms.len());
        }
    }

    #[test]
    fn edge_scalars_infinity_and_colliding_points_are_summed_right() {
        let scalars = edges();
        agree(&scalars.iter().zip(1..).map(|(scalar, at)| (Fr::from(at as u64), *scalar)).collect::<Vec<_>>());
        // One point many times, its opposite, and infinity.
        let multiples = [Fr::one(), -Fr::one(), Fr::zero(), Fr::one()];
        agree(&scalars.iter().zip(multiples.iter().cycle()).map(|(s, m)| (*m, *s)).collect::<Vec<_>>());
        agree(&[(Fr::one(), Fr::from(77u64)), (-Fr::one(), Fr::from(77u64))]);
        agree(&[(Fr::one(), Fr::zero()), (Fr::zero(), -Fr::one())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn random_sums_are_arks(seeds in prop::collection::vec((1u64.., any::<[u64; 4]>()), 1..300)) {
            agree(&seeds.iter().map(|(m, s)| (Fr::from(*m), Fr::from(BigInt::new([s[0], s[1], s[2], s[3] >> 3])))).collect::<Vec<_>>());
        }

        #[test]
        fn digits_add_up_to_the_scalar_for_every_width(scalar: u128, bits in 4u32..=15) {
            for scalar in [scalar, scalar | 1 << 127, u128::MAX, 0] {
                let terms = Terms { points: vec![Affine::INFINITY], scalars: vec![scalar] };
                let sum = terms.digits(bits).iter().rev().fold(Fr::zero(), |sum, digit| {
                    assert!(i32::from(*digit).abs() <= 1 << (bits - 1));
                    let size = Fr::from(digit.unsigned_abs());
                    sum * Fr::from(1u64 << bits) + if *digit < 0 { -size } else { size }
                });
                prop_assert_eq!(sum, wide(scalar));
            }
        }
    }
}
