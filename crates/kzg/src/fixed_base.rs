//! Σ scalar · base for bases that never change (the setup's), faster than any general method:
//! multiples 2^(13 w) · base lie ready in a table, so that every 13-bit digit of every scalar falls into
//! one common set of buckets (Brickell, Gordon, McCurley, Wilson 1992; Yao 1976).
//!
//! Digits are signed, −4096 < d ≤ 4096, so there are 4096 buckets; bucket d collects ±2^(13 w) · base for
//! every digit ±d, and the result is Σ d · bucket(d). 20 windows cover 260 bits: 255 of a scalar and its carry.
//! A blob costs about 20.5 affine additions an element; see [`crate::sums`] for what one costs.

use crate::{
    blst::{Affine, Point, to_affine_all},
    sums::{Summand, Sums},
};

const WINDOW_BITS: u32 = 13;
const WINDOWS: usize = 20;
const BUCKETS: usize = 1 << (WINDOW_BITS - 1);
/// The buckets as a square of this side: row and column sums weigh 2 · 4096 additions into 2 · 64.
const SIDE: usize = 64;
/// Buckets summed together: their intermediates (about 20 × 96 bytes a bucket) stay in the second-level cache.
const BUCKETS_AT_ONCE: usize = 256;

const _: () = assert!(SIDE * SIDE == BUCKETS && WINDOWS as u32 * WINDOW_BITS > 255);

/// A scalar as four little-endian limbs, below 2^255.
pub(crate) type Limbs = [u64; 4];

/// The table: 96 bytes × 20 a base.
pub(crate) struct FixedBase {
    bases: usize,
    /// Window by window: entry `w · bases + i` is 2^(13 w) · base i.
    table: Vec<Affine>,
}

impl FixedBase {
    /// Computes the table: 247 doublings a base, about a third of a second for 4096.
    pub(crate) fn new(bases: &[Affine]) -> Self {
        let mut table = Vec::with_capacity(WINDOWS * bases.len());
        table.extend_from_slice(bases);
        let mut current: Vec<Point> = bases.iter().map(Point::from).collect();
        for _ in 1..WINDOWS {
            for point in &mut current {
                for _ in 0..WINDOW_BITS {
                    *point = point.double();
                }
            }
            table.extend(to_affine_all(&current));
        }
        Self { bases: bases.len(), table }
    }

    /// Σ scalar · base; missing scalars count as zero.
    pub(crate) fn sum_of_products(&self, scalars: &[Limbs]) -> Affine {
        assert!(scalars.len() <= self.bases, "{} scalars for {} bases", scalars.len(), self.bases);
        let (summands, ends) = self.sort_into_buckets(scalars);
        let mut sums = Sums::over(&self.table);
        let mut buckets = Vec::with_capacity(BUCKETS);
        let mut begin = 0;
        for ends in ends.chunks(BUCKETS_AT_ONCE) {
            let last = ends[ends.len() - 1];
            let relative: Vec<u32> = ends.iter().map(|end| end - begin).collect();
            sums.sum_groups(&summands[begin as usize..last as usize], &relative, &mut buckets);
            begin = last;
        }
        weigh(&buckets)
    }

    /// A counting sort: which table entries go into which bucket. Bucket `b` holds the digits ±(b + 1).
    fn sort_into_buckets(&self, scalars: &[Limbs]) -> (Vec<Summand>, Vec<u32>) {
        let mut ends = vec![0u32; BUCKETS];
        for scalar in scalars {
            for digit in digits(scalar) {
                if digit != 0 {
                    ends[digit.unsigned_abs() as usize - 1] += 1;
                }
            }
        }
        let mut total = 0;
        let mut next: Vec<u32> = Vec::with_capacity(BUCKETS);
        for end in &mut ends {
            next.push(total);
            total += *end;
            *end = total;
        }
        let mut summands = vec![Summand::entry(0, false); total as usize];
        for (index, scalar) in scalars.iter().enumerate() {
            for (window, digit) in digits(scalar).into_iter().enumerate() {
                if digit != 0 {
                    let place = &mut next[digit.unsigned_abs() as usize - 1];
                    summands[*place as usize] = Summand::entry((window * self.bases + index) as u32, digit < 0);
                    *place += 1;
                }
            }
        }
        (summands, ends)
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

/// Σ (b + 1) · bucket(b). With b = 64 row + column: 64 · Σ row · (row's sum) + Σ (column + 1) · (column's sum).
fn weigh(buckets: &[Affine]) -> Affine {
    let (mut summands, mut ends) = (Vec::with_capacity(2 * BUCKETS), Vec::with_capacity(2 * SIDE));
    for line in 0..2 * SIDE {
        for at in 0..SIDE {
            let bucket = if line < SIDE { line * SIDE + at } else { at * SIDE + line - SIDE };
            summands.push(Summand::entry(bucket as u32, false));
        }
        ends.push(summands.len() as u32);
    }
    let mut lines = Vec::with_capacity(2 * SIDE);
    Sums::over(buckets).sum_groups(&summands, &ends, &mut lines);
    let (rows, columns) = lines.split_at(SIDE);
    let mut result = weighted(&rows[1..]);
    for _ in 0..SIDE.trailing_zeros() {
        result = result.double();
    }
    result.add(&weighted(columns)).to_affine()
}

/// Σ (i + 1) · points[i], as the sum of all suffixes.
fn weighted(points: &[Affine]) -> Point {
    let (mut suffix, mut sum) = (Point::infinity(), Point::infinity());
    for point in points.iter().rev() {
        suffix = suffix.add_affine(point);
        sum = sum.add(&suffix);
    }
    sum
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Fr, G1Affine};
    use ark_ec::AffineRepr;
    use ark_ff::{BigInt, Field, One, PrimeField, Zero};
    use proptest::prelude::*;

    use super::*;
    use crate::slow;

    fn bases(multiples: &[Fr]) -> (FixedBase, Vec<[u8; 48]>) {
        let bytes: Vec<[u8; 48]> = multiples.iter().map(|m| slow::compress(G1Affine::generator() * *m)).collect();
        let points: Vec<Affine> = bytes.iter().map(|b| Affine::uncompress(b).unwrap()).collect();
        (FixedBase::new(&points), bytes)
    }

    fn agree(multiples: &[Fr], scalars: &[Fr]) {
        let (fixed, points) = bases(multiples);
        let limbs: Vec<Limbs> = scalars.iter().map(|s| s.into_bigint().0).collect();
        let expected = slow::sum_of_products(&points[..scalars.len()], scalars);
        assert_eq!(fixed.sum_of_products(&limbs).compress(), expected);
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
        let (fixed, _) = bases(&[Fr::one(), Fr::from(5u64)]);
        assert_eq!(fixed.sum_of_products(&[]), Affine::INFINITY);
        assert_eq!(fixed.sum_of_products(&[[0; 4]; 2]), Affine::INFINITY);
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
