//! The fold's inner loop in 52-bit limbs: eight elements at a time, no carry on the way.
//! The plain twin is [`crate::accumulate`].
//!
//! An element is five limbs, γ three; a product's eight weights (multiples of 52 bits) are summed each on its
//! own, lows and highs of the limbs' products as the processor's multiply-add gives them. A weight grows by less
//! than 6 · 2^52 a blob, so carries are due only every [`BLOBS_BETWEEN_CARRIES`].

use super::lanes::{Kernel, LANES, Lanes, Row};
use crate::{ELEMENT_LEN, ELEMENTS_PER_BLOB, accumulate::Accumulator};

const LIMB_BITS: usize = 52;
const LOW_52: u64 = (1 << LIMB_BITS) - 1;
const ELEMENT_LIMBS: usize = 5;
const GAMMA_LIMBS: usize = 3;
const WEIGHTS: usize = 8;
/// Bytes of eight elements.
const GROUP_LEN: usize = LANES * ELEMENT_LEN;

/// 1 + 6 · 512 < 2^12, so that a weight stays below 2^64.
const BLOBS_BETWEEN_CARRIES: u32 = 512;

/// Eight sums: row w holds their limbs of weight 2^(52 w).
#[derive(Clone, Copy)]
#[repr(C)]
struct Group([Row; WEIGHTS]);

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

/// Where the four loads of 64 bytes begin in a group's 248: each covers two elements whole, none reads past the end.
const LOADS: [usize; 4] = [0, 2 * ELEMENT_LEN, 4 * ELEMENT_LEN, GROUP_LEN - 64];

/// For each limb, the bytes of the first two loads that make it for elements 0 to 3, and of the last two for
/// elements 4 to 7. A limb begins at a whole or at a half byte; eight bytes are more than it needs.
static PICKS: [[Row; ELEMENT_LIMBS]; 2] = picks();

const fn picks() -> [[Row; ELEMENT_LIMBS]; 2] {
    let mut out = [[Row::ZERO; ELEMENT_LIMBS]; 2];
    let mut at = 0;
    while at < ELEMENT_LIMBS * LANES * 8 {
        let (limb, element, byte) = (at / (LANES * 8), at / 8 % LANES, at % 8);
        // Counted from the least significant, which is the element's last.
        let significance = limb * LIMB_BITS / 8 + byte;
        if significance < ELEMENT_LEN {
            let load = element / 2;
            let place = element * ELEMENT_LEN + ELEMENT_LEN - 1 - significance - LOADS[load];
            let index = place + 64 * (load % 2);
            out[element / 4][limb].0[element] |= (index as u64) << (8 * byte);
        }
        at += 1;
    }
    out
}

#[inline(always)]
fn load<L: Lanes, const AT: usize>(l: L, bytes: &[u8; GROUP_LEN]) -> L::V {
    let Some(bytes) = bytes[AT..].first_chunk() else { unreachable!("a load ends within its group") };
    l.load_bytes(bytes)
}

impl Kernel for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let gamma = [l.splat(self.gamma[0]), l.splat(self.gamma[1]), l.splat(self.gamma[2])];
        // The highest limb has 40 bits; what was picked above them belongs to nobody.
        let highest = l.splat((1 << (8 * ELEMENT_LEN - 4 * LIMB_BITS)) - 1);
        for (group, bytes) in self.groups.iter_mut().zip(self.bytes) {
            let near = [load::<L, { LOADS[0] }>(l, bytes), load::<L, { LOADS[1] }>(l, bytes)];
            let far = [load::<L, { LOADS[2] }>(l, bytes), load::<L, { LOADS[3] }>(l, bytes)];
            let mut sums = [l.zero(); WEIGHTS];
            for weight in 0..WEIGHTS {
                sums[weight] = l.load(&group.0[weight]);
            }
            for limb in 0..ELEMENT_LIMBS {
                let first = l.pick_bytes(near[0], near[1], l.load(&PICKS[0][limb]));
                let second = l.pick_bytes(far[0], far[1], l.load(&PICKS[1][limb]));
                let mut value = l.select(0xf0, second, first);
                if limb % 2 == 1 {
                    value = l.shift_right_4(value);
                }
                if limb == ELEMENT_LIMBS - 1 {
                    value = l.and(value, highest);
                }
                for part in 0..GAMMA_LIMBS {
                    let weight = limb + part;
                    sums[weight] = l.multiply_add_low(sums[weight], value, gamma[part]);
                    sums[weight + 1] = l.multiply_add_high(sums[weight + 1], value, gamma[part]);
                }
            }
            for weight in 0..WEIGHTS {
                l.store(&mut group.0[weight], sums[weight]);
            }
        }
    }
}
