//! The fold's inner loop in 52-bit limbs: eight elements at a time, no carry on the way.
//! The plain twin is [`crate::accumulate`].
//!
//! An element is five limbs, γ three; a product's eight weights (multiples of 52 bits) are summed each on its
//! own, lows and highs of the limbs' products as the processor's multiply-add gives them. A weight grows by less
//! than 6 · 2^52 a blob, so carries are due only every [`BLOBS_BETWEEN_CARRIES`].

use ark_bls12_381::Fr;

use super::{
    evaluate,
    lanes::{ELEMENT_LIMBS, GROUP_LEN, Kernel, LANES, Lanes, Row},
};
use crate::{ELEMENT_LEN, ELEMENTS_PER_BLOB, accumulate::Accumulator};

const LIMB_BITS: usize = 52;
const LOW_52: u64 = (1 << LIMB_BITS) - 1;
const GAMMA_LIMBS: usize = 3;
/// So far ahead, in bytes, the elements are asked for: a processor foresees none past the end of a page.
const AHEAD: usize = 2048;
pub(super) const WEIGHTS: usize = 8;

/// A weight stays below 2^63 so, a positive number also where carries are signed, with room for another reduction's.
const BLOBS_BETWEEN_CARRIES: u32 = 256;
/// The largest that a weight becomes: below 2^52 after a carry, and six products' halves a blob.
#[cfg(test)]
pub(super) const WEIGHT_MAX: u64 = (1 + 6 * BLOBS_BETWEEN_CARRIES as u64) << LIMB_BITS;

/// Eight sums: row w holds their limbs of weight 2^(52 w).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Group(pub(super) [Row; WEIGHTS]);

/// The sums of a blob's elements, in groups of eight.
#[derive(Clone)]
pub(crate) struct LaneSums<L> {
    lanes: L,
    groups: Vec<Group>,
    /// Products added to any one element since the last carry, at most.
    uncarried: u32,
}

impl<L: Lanes> LaneSums<L> {
    pub(crate) fn new(lanes: L) -> Self {
        Self { lanes, groups: vec![Group([Row::ZERO; WEIGHTS]); ELEMENTS_PER_BLOB / LANES], uncarried: 0 }
    }

    /// Adds gamma · (element i of `bytes`) to sum `first` + i; the last element may be short. The caller has seen
    /// to it that they all are of the blob.
    pub(crate) fn add_products(&mut self, first: usize, bytes: &[u8], gamma: u128) {
        if self.uncarried == BLOBS_BETWEEN_CARRIES {
            self.carry();
        }
        self.uncarried += 1;
        let (lead, rest) = (first % LANES, &mut self.groups[first / LANES..]);
        // Up to the next group, if it begins within one.
        let led = if lead == 0 { 0 } else { bytes.len().min((LANES - lead) * ELEMENT_LEN) };
        let (begin, bytes) = bytes.split_at(led);
        let (partial, rest) = rest.split_at_mut(usize::from(led > 0));
        let (whole, end) = bytes.as_chunks::<GROUP_LEN>();
        let (groups, last) = rest.split_at_mut(whole.len());
        let gamma = [0, 1, 2].map(|limb| (gamma >> (limb * LIMB_BITS)) as u64 & LOW_52);
        if led > 0 {
            self.lanes.run(AddProducts { groups: partial, bytes: &[padded(begin, lead)], gamma });
        }
        self.lanes.run(AddProducts { groups, bytes: whole, gamma });
        if !end.is_empty() {
            self.lanes.run(AddProducts { groups: &mut last[..1], bytes: &[padded(end, 0)], gamma });
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (sums, others) in self.groups.iter_mut().zip(&other.groups) {
            for (sums, others) in sums.0.iter_mut().zip(&others.0) {
                sums.0.iter_mut().zip(&others.0).for_each(|(sum, other)| *sum += other);
            }
        }
        self.uncarried = 1;
    }

    /// Limbs of 52 bits again; the last weight keeps what is above.
    fn carry(&mut self) {
        for group in &mut self.groups {
            for weight in 0..WEIGHTS - 1 {
                for lane in 0..LANES {
                    let limb = group.0[weight].0[lane];
                    group.0[weight].0[lane] = limb & LOW_52;
                    group.0[weight + 1].0[lane] += limb >> LIMB_BITS;
                }
            }
        }
        self.uncarried = 0;
    }

    #[cfg(test)]
    pub(super) fn of(lanes: L, groups: Vec<Group>) -> Self {
        Self { lanes, groups, uncarried: BLOBS_BETWEEN_CARRIES }
    }

    /// The value at `z` of the polynomial whose values the sums are.
    pub(crate) fn evaluate(&self, z: Fr) -> Fr {
        evaluate::evaluate(self.lanes, &self.groups, z)
    }

    /// The same sums in the plain path's form.
    pub(crate) fn accumulators(&self) -> Vec<Accumulator> {
        let mut carried = self.clone();
        carried.carry();
        let lane = |group: &Group, lane: usize| joined(&group.0.map(|row| row.0[lane]));
        carried.groups.iter().flat_map(|group| [0, 1, 2, 3, 4, 5, 6, 7].map(|at| lane(group, at))).collect()
    }
}

/// Eight elements of which `bytes` are those from `lead` on, the others zero.
fn padded(bytes: &[u8], lead: usize) -> [u8; GROUP_LEN] {
    let mut out = [0; GROUP_LEN];
    out[lead * ELEMENT_LEN..][..bytes.len()].copy_from_slice(bytes);
    out
}

/// Σ limb · 2^(52 w) in limbs of 64 bits.
fn joined(limbs: &[u64; WEIGHTS]) -> Accumulator {
    let mut out = [0; 7];
    for (weight, limb) in limbs.iter().enumerate() {
        let (word, shift) = (weight * LIMB_BITS / 64, weight * LIMB_BITS % 64);
        // All but the last have 52 bits, so no two overlap and nothing but the last can leave the array.
        out[word] |= limb << shift;
        if shift > 64 - LIMB_BITS && word + 1 < out.len() {
            out[word + 1] |= limb >> (64 - shift);
        }
    }
    out
}

/// groups[i] += gamma · elements of bytes[i].
struct AddProducts<'a> {
    groups: &'a mut [Group],
    bytes: &'a [[u8; GROUP_LEN]],
    gamma: [u64; GAMMA_LIMBS],
}

impl Kernel for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let gamma = [l.splat(self.gamma[0]), l.splat(self.gamma[1]), l.splat(self.gamma[2])];
        for (group, bytes) in self.groups.iter_mut().zip(self.bytes) {
            l.prefetch_behind(bytes, AHEAD);
            let elements = l.elements(bytes);
            let mut sums = [l.zero(); WEIGHTS];
            for weight in 0..WEIGHTS {
                sums[weight] = l.load(&group.0[weight]);
            }
            for limb in 0..ELEMENT_LIMBS {
                for part in 0..GAMMA_LIMBS {
                    let weight = limb + part;
                    sums[weight] = l.multiply_add_low(sums[weight], elements[limb], gamma[part]);
                    sums[weight + 1] = l.multiply_add_high(sums[weight + 1], elements[limb], gamma[part]);
                }
            }
            for weight in 0..WEIGHTS {
                l.store(&mut group.0[weight], sums[weight]);
            }
        }
    }
}
