//! The fold's inner loop: sums of 128-bit × 248-bit products, with no reduction on the way.
//!
//! A product has 376 bits, an accumulator 448: 2^72 products fit, more than any machine will ever add.
//! So an element costs eight wide multiplications and their additions, and the field's order matters once,
//! at the end. Plain 64-bit code; [`crate::simd::fold`] does the same in lanes.

use std::sync::LazyLock;

use ark_bls12_381::Fr;
use ark_ff::{BigInt, Field, PrimeField};

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

/// 2^256, 2^448 and 2^640: what undoes Montgomery's division by 2^256, and shifts by no, three and six words.
static SHIFTS: LazyLock<[Fr; 3]> = LazyLock::new(|| {
    let word = Fr::from(BigInt::new([0, 1, 0, 0]));
    [4u64, 7, 10].map(|words| word.pow([words]))
});

/// The sum modulo the field's order.
pub(crate) fn reduce(sum: &Accumulator) -> Fr {
    // 192 bits at a time, each part below the order, and taken for a Montgomery form as it is: one product puts that right
    // and the part in its place.
    let part = |low, middle, high| Fr::new_unchecked(BigInt::new([low, middle, high, 0]));
    let [first, second, third] = &*SHIFTS;
    part(sum[0], sum[1], sum[2]) * first + part(sum[3], sum[4], sum[5]) * second + part(sum[6], 0, 0) * third
}

/// The limbs of a field element, below the order.
pub(crate) fn limbs(value: &Fr) -> [u64; 4] {
    value.into_bigint().0
}
