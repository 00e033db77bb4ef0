//! Σ scalar · base for bases that never change (the setup's), faster than any general method:
//! multiples 2^(13 w) · base lie ready in a table, so that every 13-bit digit of every scalar falls into
//! one common set of buckets (Brickell, Gordon, McCurley, Wilson 1992; Yao 1976).
//!
//! Digits are signed, −4096 < d ≤ 4096, so there are 4096 buckets; bucket d collects ±2^(13 w) · base for
//! every digit ±d, and the result is Σ d · bucket(d). 20 windows cover 260 bits: 255 of a scalar and its carry.
//! A blob costs about 20.5 affine additions an element; see [`crate::sums`] for what one costs.

use crate::{
    blst::{Affine, Point, to_affine_all},
    buckets::{sort_into_groups, weigh},
    engine::{Engine, WithAdder},
    sums::{Adder, Summand, Sums},
};

const WINDOW_BITS: u32 = 13;
const WINDOWS: usize = 20;
const BUCKETS: usize = 1 << (WINDOW_BITS - 1);

const _: () = assert!(WINDOWS as u32 * WINDOW_BITS > 255);

/// A scalar as four little-endian limbs, below 2^255.
pub(crate) type Limbs = [u64; 4];

/// A table in the form that an engine adds fastest: 96 or 128 bytes × 20 a base.
pub(crate) struct FixedBase(Box<dyn SumOfProducts>);

trait SumOfProducts: Send + Sync {
    fn sum_of_products(&self, scalars: &[Limbs]) -> Affine;
}

impl FixedBase {
    /// Computes the table: 247 doublings a base, about a third of a second for 4096.
    pub(crate) fn new(engine: Engine, bases: &[Affine]) -> Self {
        Self(engine.with_adder(Tabulate { bases }))
    }

    /// Σ scalar · base; missing scalars count as zero.
    pub(crate) fn sum_of_products(&self, scalars: &[Limbs]) -> Affine {
        self.0.sum_of_products(scalars)
    }
}

struct Table<A: Adder> {
    engine: A::Engine,
    bases: usize,
    /// Window by window: entry `w · bases + i` is 2^(13 w) · base i.
    entries: Vec<A::Point>,
}

struct Tabulate<'a> {
    bases: &'a [Affine],
}

impl WithAdder for Tabulate<'_> {
    type Output = Box<dyn SumOfProducts>;

    fn with<A: Adder + 'static>(self, engine: A::Engine) -> Self::Output {
        let mut entries = Vec::with_capacity(WINDOWS * self.bases.len());
        entries.extend(self.bases.iter().map(A::from_affine));
        let mut current: Vec<Point> = self.bases.iter().map(Point::from).collect();
        for _ in 1..WINDOWS {
            for point in &mut current {
                for _ in 0..WINDOW_BITS {
                    *point = point.double();
                }
            }
            entries.extend(to_affine_all(&current).iter().map(A::from_affine));
        }
        Box::new(Table::<A> { engine, bases: self.bases.len(), entries })
    }
}

impl<A: Adder> SumOfProducts for Table<A> {
    fn sum_of_products(&self, scalars: &[Limbs]) -> Affine {
        assert!(scalars.len() <= self.bases, "{} scalars for {} bases", scalars.len(), self.bases);
        let (summands, ends) = sort_into_groups(BUCKETS, &self.terms(scalars));
        let mut sums = Sums::<A>::new(self.engine);
        let mut buckets = Vec::with_capacity(BUCKETS);
        let mut begin = 0;
        for ends in ends.chunks(A::GROUPS_AT_ONCE) {
            let last = ends[ends.len() - 1];
            let relative: Vec<u32> = ends.iter().map(|end| end - begin).collect();
            sums.sum_groups(&self.entries, &summands[begin as usize..last as usize], &relative, &mut buckets);
            begin = last;
        }
        let [sum] = weigh(&mut sums, &buckets, WINDOW_BITS - 1)[..] else { unreachable!("one set of buckets") };
        sum.to_affine()
    }
}

impl<A: Adder> Table<A> {
    /// Which table entries go into which bucket. Bucket `b` holds the digits ±(b + 1).
    fn terms(&self, scalars: &[Limbs]) -> Vec<(u32, Summand)> {
        let mut terms = Vec::with_capacity(scalars.len() * WINDOWS);
        for (index, scalar) in scalars.iter().enumerate() {
            for (window, digit) in digits(scalar).into_iter().enumerate() {
                if digit != 0 {
                    let entry = Summand::entry((window * self.bases + index) as u32, digit < 0);
                    terms.push((u32::from(digit.unsigned_abs()) - 1, entry));
                }
            }
        }
        terms
    }
}

/// The signed digits, least significant first: Σ digit · 2^(13 w) is the scalar.
fn digits(scalar: &Limbs) -> [i16; WINDOWS] {
    const MASK: u64 = (1 << WINDOW_BITS) - 1;
    let mut out = [0; WINDOWS];
    let mut carry = 0;
    for (window, out) in out.iter_mut().enumerate() {
        let bit = window as u32 * WINDOW_BITS;
        let (limb, shift) = ((bit / 64) as usize, bit % 64);
        let mut bits = if limb < 4 { scalar[limb] >> shift } else { 0 };
        if shift > 64 - WINDOW_BITS && limb + 1 < 4 {
            bits |= scalar[limb + 1] << (64 - shift);
        }
        let mut digit = (bits & MASK) as i32 + carry;
        carry = 0;
        if digit > BUCKETS as i32 {
            digit -= 1 << WINDOW_BITS;
            carry = 1;
        }
        *out = digit as i16;
    }
    debug_assert_eq!(carry, 0, "a scalar of 255 bits leaves no carry");
    out
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Fr, G1Affine};
    use ark_ec::AffineRepr;
    use ark_ff::{BigInt, Field, One, PrimeField, Zero};
    use proptest::prelude::*;

    use super::*;
    use crate::slow;

    /// Every engine of this machine gives ark's sum.
    fn agree(multiples: &[Fr], scalars: &[Fr]) {
        let bytes: Vec<[u8; 48]> = multiples.iter().map(|m| slow::compress(G1Affine::generator() * *m)).collect();
        let points: Box<[Affine]> = bytes.iter().map(|b| Affine::uncompress(b).unwrap()).collect();
        let limbs: Box<[Limbs]> = scalars.iter().map(|s| s.into_bigint().0).collect();
        let expected = slow::sum_of_products(&bytes[..scalars.len()], scalars);
        for engine in Engine::all() {
            let sum = FixedBase::new(engine, &points).sum_of_products(&limbs);
            assert_eq!(sum.compress(), expected, "{}", engine.path());
        }
    }

    #[test]
    fn edge_scalars_in_every_window_are_summed_right() {
        let mut scalars = vec![Fr::zero(), Fr::one(), -Fr::one(), Fr::from(2u64).pow([254u64])];
        for window in 0..WINDOWS as u64 {
            let unit = Fr::from(2u64).pow([u64::from(WINDOW_BITS) * window]);
            // The largest positive digit, the first that turns negative, and minus one with its carry.
            scalars.extend([4096u64, 4097, 8191].map(|digit| unit * Fr::from(digit)));
        }
        let multiples: Vec<Fr> = (0..scalars.len() as u64).map(|i| Fr::from(i * i + 1)).collect();
        agree(&multiples, &scalars);
        for scalar in scalars {
            agree(&[Fr::from(3u64)], &[scalar]);
        }
    }

    #[test]
    fn the_top_window_and_the_carry_into_it_count() {
        let top = Fr::from(2u64).pow([u64::from(WINDOW_BITS) * (WINDOWS as u64 - 1)]);
        let below = Fr::from(2u64).pow([u64::from(WINDOW_BITS) * (WINDOWS as u64 - 2)]);
        // The order itself has 8 bits in the top window.
        let scalars = [top, top * Fr::from(115u64), top - Fr::one(), below * Fr::from(4097u64), -Fr::one()];
        assert!(scalars.iter().all(|scalar| *digits(&scalar.into_bigint().0).last().unwrap() > 0));
        for scalar in scalars {
            agree(&[Fr::from(3u64), Fr::from(10u64)], &[scalar, scalar]);
            agree(&[Fr::from(3u64), -Fr::from(3u64)], &[scalar, scalar]);
        }
    }

    #[test]
    fn zero_scalars_among_others_count_for_nothing() {
        agree(&[1u64, 2, 3].map(Fr::from), &[Fr::zero(), Fr::from(5u64), Fr::zero()]);
        agree(&[Fr::zero(), Fr::one()], &[Fr::from(7u64), Fr::from(9u64)]);
    }

    #[test]
    fn equal_opposite_and_chained_bases_collide_without_harm() {
        let shift = Fr::from(2u64).pow([u64::from(WINDOW_BITS)]);
        // One base's window 1 is the other's window 0, so a bucket meets the same point twice.
        let multiples = [Fr::one(), Fr::one(), -Fr::one(), shift, -shift, shift * shift];
        for digit in [1u64, 2, 4096, 4097, 8191, 8192, 8193] {
            let scalar = Fr::from(digit) * (Fr::one() + shift + shift * shift);
            agree(&multiples, &[scalar; 6]);
            agree(&multiples, &[scalar, -scalar, scalar, scalar, -scalar, Fr::one()]);
        }
    }

    #[test]
    fn no_scalars_and_all_zero_are_infinity() {
        agree(&[Fr::one(), Fr::from(5u64)], &[]);
        agree(&[Fr::one(), Fr::from(5u64)], &[Fr::zero(); 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn digits_add_up_to_the_scalar(mut limbs in any::<[u64; 4]>()) {
            limbs[3] >>= 1;
            let shift = Fr::from(1u64 << WINDOW_BITS);
            let sum = digits(&limbs).iter().rev().fold(Fr::zero(), |sum, digit| {
                assert!((-4096..=4096).contains(digit));
                let size = Fr::from(digit.unsigned_abs());
                sum * shift + if *digit < 0 { -size } else { size }
            });
            let (low, high) = (BigInt::new([limbs[0], limbs[1], limbs[2], 0]), Fr::from(limbs[3]));
            prop_assert_eq!(sum, Fr::from(low) + high * Fr::from(2u64).pow([192u64]));
        }

        #[test]
        fn random_sums_are_arks(seeds in prop::collection::vec((any::<u64>(), any::<[u64; 4]>()), 1..40)) {
            let multiples: Vec<Fr> = seeds.iter().map(|(m, _)| Fr::from(*m) + Fr::one()).collect();
            let scalars: Vec<Fr> = seeds.iter().map(|(_, s)| Fr::from(BigInt::new([s[0], s[1], s[2], s[3] >> 3]))).collect();
            agree(&multiples, &scalars);
        }
    }
}
