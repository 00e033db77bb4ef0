//! The fold's inner loop: sums of 128-bit × 248-bit products, with no reduction on the way.
//!
//! A product has 376 bits, an accumulator 448: 2^72 products fit, more than any machine will ever add.
//! So an element costs eight wide multiplications and their additions, and the field's order matters once,
//! at the end. Plain 64-bit code; a vector version belongs beside [`add_products`], behind the same signature.

use ark_bls12_381::Fr;
use ark_ff::{BigInt, PrimeField};

use crate::ELEMENT_LEN;

/// Little-endian limbs of an unreduced sum.
pub(crate) type Accumulator = [u64; 7];

/// The 248-bit number that 31 big-endian bytes are, as little-endian limbs.
#[inline(always)]
pub(crate) fn element(bytes: &[u8; ELEMENT_LEN]) -> [u64; 4] {
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_be_bytes(word)
    };
    [word(23), word(15), word(7), word(0) >> 8]
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
        (sum[at], carry) = multiply_add(element[at], low, sum[at], carry);
    }
    let (limb, over) = sum[4].overflowing_add(carry);
    sum[4] = limb;
    carry = 0;
    for at in 0..4 {
        (sum[at + 1], carry) = multiply_add(element[at], high, sum[at + 1], carry);
    }
    let wide = u128::from(sum[5]) + u128::from(carry) + u128::from(over);
    sum[5] = wide as u64;
    sum[6] = sum[6].wrapping_add((wide >> 64) as u64);
}

/// a · b + c + d, which cannot overflow 128 bits: (low, high).
#[inline(always)]
fn multiply_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (wide as u64, (wide >> 64) as u64)
}

/// sum += other.
pub(crate) fn add(sum: &mut Accumulator, other: &Accumulator) {
    let mut carry = false;
    for (limb, other) in sum.iter_mut().zip(other) {
        let (partial, over) = limb.overflowing_add(*other);
        let (total, over_again) = partial.overflowing_add(u64::from(carry));
        *limb = total;
        carry = over || over_again;
    }
}

/// The sum modulo the field's order.
pub(crate) fn reduce(sum: &Accumulator) -> Fr {
    // 192 bits at a time, each part below the order.
    let low = Fr::from(BigInt::new([sum[0], sum[1], sum[2], 0]));
    let middle = Fr::from(BigInt::new([sum[3], sum[4], sum[5], 0]));
    let shift = Fr::from(BigInt::new([0, 0, 0, 1]));
    low + (middle + Fr::from(sum[6]) * shift) * shift
}

/// The limbs of a field element, below the order.
pub(crate) fn limbs(value: &Fr) -> [u64; 4] {
    value.into_bigint().0
}
