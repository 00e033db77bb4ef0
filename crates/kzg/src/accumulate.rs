//! The fold's inner loop: sums of 128-bit × 248-bit products, with no reduction on the way.
//!
//! A product has 376 bits, an accumulator 448: 2^72 products fit, more than any machine will ever add.
//! So an element costs eight wide multiplications and their additions, and the field's order matters once,
//! at the end. Plain 64-bit code; [`crate::simd::fold`] does the same in lanes.

use std::sync::LazyLock;

use ark_bls12_381::Fr;
use ark_ff::{BigInt, BigInteger, Field, PrimeField};

use crate::ELEMENT_LEN;

/// Little-endian limbs of an unreduced sum.
pub(crate) type Accumulator = [u64; 7];

/// The 248-bit number that 31 big-endian bytes are, as little-endian limbs.
#[inline(always)]
pub(crate) fn element(bytes: &[u8; ELEMENT_LEN]) -> [u64; 4] {
    let [high, middle, low] = *bytes[7..].as_chunks().0 else { unreachable!("24 bytes are three words") };
    let [highest] = *bytes[..8].as_chunks().0 else { unreachable!("8 bytes are one word") };
    // The highest limb has 7 bytes; the eighth read with it belongs to the next.
    [u64::from_be_bytes(low), u64::from_be_bytes(middle), u64::from_be_bytes(high), u64::from_be_bytes(highest) >> 8]
}

/// The elements of `bytes`; the last one may be short and is padded with zeros.
pub(crate) fn elements(bytes: &[u8]) -> impl Iterator<Item = [u64; 4]> {
    let (whole, rest) = bytes.as_chunks::<ELEMENT_LEN>();
    whole.iter().map(element).chain((!rest.is_empty()).then(|| padded(rest)))
}

fn padded(rest: &[u8]) -> [u64; 4] {
    let mut last = [0; ELEMENT_LEN];
    last[..rest.len()].copy_from_slice(rest);
    element(&last)
}

/// accumulators[i] += gamma · (element i of `bytes`), for as many elements as `bytes` has.
pub(crate) fn add_products(accumulators: &mut [Accumulator], bytes: &[u8], gamma: u128) {
    let (whole, rest) = bytes.as_chunks::<ELEMENT_LEN>();
    let (low, high) = (gamma as u64, (gamma >> 64) as u64);
    let (first, others) = accumulators.split_at_mut(whole.len());
    for (accumulator, bytes) in first.iter_mut().zip(whole) {
        add_product(accumulator, &element(bytes), low, high);
    }
    if !rest.is_empty() {
        add_product(&mut others[0], &padded(rest), low, high);
    }
}

#[inline(always)]
fn add_product(sum: &mut Accumulator, element: &[u64; 4], low: u64, high: u64) {
    let mut carry = 0;
    for at in 0..4 {
        (sum[at], carry) = element[at].carrying_mul_add(low, sum[at], carry);
    }
    let over;
    (sum[4], over) = sum[4].overflowing_add(carry);
    carry = 0;
    for at in 0..4 {
        (sum[at + 1], carry) = element[at].carrying_mul_add(high, sum[at + 1], carry);
    }
    let out;
    (sum[5], out) = sum[5].carrying_add(carry, over);
    sum[6] = sum[6].wrapping_add(u64::from(out));
}

/// sum += other.
pub(crate) fn add(sum: &mut Accumulator, other: &Accumulator) {
    let mut carry = false;
    for (limb, other) in sum.iter_mut().zip(other) {
        (*limb, carry) = limb.carrying_add(*other, carry);
    }
}

/// −1/r modulo 2^64, r being the order.
const MINUS_INVERSE: u64 = {
    let r = Fr::MODULUS.0[0];
    let (mut inverse, mut round) = (1u64, 0);
    while round < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(r.wrapping_mul(inverse)));
        round += 1;
    }
    inverse.wrapping_neg()
};

/// 2^512.
static TWO_TO_512: LazyLock<Fr> = LazyLock::new(|| Fr::from(2u64).pow([512u64]));

/// The sum divided by 2^512, modulo the field's order: for whoever has many to reduce and multiplies what comes of them
/// by [`undivided`] once.
///
/// Montgomery's reduction of 448 bits to 256 divides by 2^256, and is taken for a Montgomery form as it is, which
/// divides by 2^256 again. A fifth of the multiplications that three field products would cost.
pub(crate) fn reduce_divided(sum: &Accumulator) -> Fr {
    let mut sum = *sum;
    let mut above = 0;
    for at in 0..4 {
        let factor = sum[at].wrapping_mul(MINUS_INVERSE);
        let mut carry = 0;
        for limb in 0..4 {
            (sum[at + limb], carry) = factor.carrying_mul_add(Fr::MODULUS.0[limb], sum[at + limb], carry);
        }
        // Into the limb above these four, and what that leaves: to the next round, which ends one limb higher.
        let (carried, over) = carry.overflowing_add(above);
        if at + 4 < sum.len() {
            let more;
            (sum[at + 4], more) = sum[at + 4].overflowing_add(carried);
            above = u64::from(over) + u64::from(more);
        } else {
            above = carried;
        }
    }
    // Below r + 2^192 < 2^256.
    let mut value = BigInt::new([sum[4], sum[5], sum[6], above]);
    if value >= Fr::MODULUS {
        value.sub_with_borrow(&Fr::MODULUS);
    }
    Fr::new_unchecked(value)
}

/// What [`reduce_divided`] values, and whatever is linear in them, really are.
pub(crate) fn undivided(value: Fr) -> Fr {
    value * *TWO_TO_512
}

/// The sum modulo the field's order.
pub(crate) fn reduce(sum: &Accumulator) -> Fr {
    undivided(reduce_divided(sum))
}

/// The limbs of a field element, below the order.
pub(crate) fn limbs(value: &Fr) -> [u64; 4] {
    value.into_bigint().0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limb() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()]
    }

    proptest! {
        #[test]
        fn every_sum_reduces_to_what_its_limbs_add_up_to(sum in prop::array::uniform7(limb())) {
            let word = Fr::from(BigInt::new([0, 1, 0, 0]));
            let expected = sum.iter().rev().fold(Fr::from(0u64), |value, limb| value * word + Fr::from(*limb));
            prop_assert_eq!(reduce(&sum), expected);
        }
    }

    #[test]
    fn multiples_of_the_order_reduce_to_zero() {
        let r = Fr::MODULUS.0;
        let shifted = [0, 0, r[0], r[1], r[2], r[3], 0];
        for sum in [[0; 7], [r[0], r[1], r[2], r[3], 0, 0, 0], shifted] {
            // Equal as bytes: a zero that is not below the order would print as another number.
            assert_eq!(limbs(&reduce(&sum)), [0; 4]);
        }
    }
}
