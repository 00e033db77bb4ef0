//! Eight 64-bit lanes: what the kernels are written in.
//!
//! A kernel is written once, over [`Lanes`], and runs on the processor's own instructions or on
//! [`Emulated`](super::emulated::Emulated) lanes of plain integers, so every line of its logic is tested on any machine; what is
//! left to trust are the short bodies of [`Ifma`](super::ifma::Ifma) and [`Fma`](super::fma::Fma).
//!
//! Everything here is inlined into [`Lanes::run`], the one place where the instructions are enabled. So a
//! [`Kernel::run`] must be `#[inline(always)]` and must pass no closures to library code: what is not inlined
//! is compiled for the baseline and costs a hundred times as much (and stays right).

use super::field::{self, Octet};
use crate::ELEMENT_LEN;

/// Lanes of a register.
pub(crate) const LANES: usize = 8;
/// Bytes of eight elements of a blob.
pub(crate) const GROUP_LEN: usize = LANES * ELEMENT_LEN;
/// Limbs of 52 bits that an element has.
pub(crate) const ELEMENT_LIMBS: usize = 5;

/// A register in memory: aligned, so that no load touches two cache lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Row(pub(crate) [u64; LANES]);

impl Row {
    pub(crate) const ZERO: Self = Self([0; LANES]);
}

/// Work to be done in lanes.
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`: see the module.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Eight lanes and what can be done with them. A value of this type is the proof that the processor can.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// Eight 64-bit numbers.
    type V: Copy;

    /// Runs a kernel with the instructions enabled. Never inlined: a kernel's caller is ordinary code.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    fn zero(self) -> Self::V;
    fn splat(self, value: u64) -> Self::V;
    fn load(self, from: &Row) -> Self::V;
    fn store(self, to: &mut Row, value: Self::V);
    /// Eight elements of a blob, 31 big-endian bytes each, limb by limb.
    fn elements(self, from: &[u8; GROUP_LEN]) -> [Self::V; ELEMENT_LIMBS];

    /// a + b modulo 2^64.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a − b modulo 2^64.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn or(self, a: Self::V, b: Self::V) -> Self::V;
    /// Shifted right by 52 bits as a signed number.
    fn carry_of(self, a: Self::V) -> Self::V;
    /// sum + the low 52 bits of the product of the low 52 bits of a and b.
    fn multiply_add_low(self, sum: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// sum + the product of the low 52 bits of a and b, shifted right by 52.
    fn multiply_add_high(self, sum: Self::V, a: Self::V, b: Self::V) -> Self::V;

    /// a = a · b / 2^416 modulo p, two times eight products: see [`field::MultiplyTwo`].
    #[inline(always)]
    fn multiply_two(self, a: [&mut Octet; 2], b: [&Octet; 2]) {
        field::multiply_two(self, a, b);
    }

    /// Lane by lane: `yes` where the mask has a bit.
    fn select(self, mask: u8, yes: Self::V, no: Self::V) -> Self::V;
    /// A bit for each lane that is zero.
    fn zeros(self, a: Self::V) -> u8;
    /// Lane i of the result is lane `index[i] % 8` of the table.
    fn look_up(self, table: Self::V, index: Self::V) -> Self::V;
    /// Lanes 0 2 4 6 of both, alternating: a0 b0 a2 b2 a4 b4 a6 b6.
    fn even_lanes(self, a: Self::V, b: Self::V) -> Self::V;
    /// Lanes 1 3 5 7 of both, alternating.
    fn odd_lanes(self, a: Self::V, b: Self::V) -> Self::V;
    /// Pairs of lanes 0 and 2 of a, then of b: a0 a1 a4 a5 b0 b1 b4 b5.
    fn even_pairs(self, a: Self::V, b: Self::V) -> Self::V;
    /// Pairs of lanes 1 and 3 of a, then of b: a2 a3 a6 a7 b2 b3 b6 b7.
    fn odd_pairs(self, a: Self::V, b: Self::V) -> Self::V;

    /// Says that this row will be read soon.
    fn prefetch(self, row: &Row);
    /// Says that as many bytes as these, `ahead` behind them, will be read soon, whatever is there.
    fn prefetch_behind(self, bytes: &[u8; GROUP_LEN], ahead: usize);
}

/// Rows to columns: lane i of register j becomes lane j of register i. Its own inverse.
#[inline(always)]
pub(crate) fn transpose<L: Lanes>(l: L, rows: [L::V; LANES]) -> [L::V; LANES] {
    let mut even = rows;
    let mut odd = rows;
    for at in 0..4 {
        // Columns 2k of rows 2·at and 2·at + 1 as pair k; columns 2k + 1 likewise.
        even[at] = l.even_lanes(rows[2 * at], rows[2 * at + 1]);
        odd[at] = l.odd_lanes(rows[2 * at], rows[2 * at + 1]);
    }
    let mut columns = rows;
    for first in 0..2 {
        let half = if first == 0 { &even } else { &odd };
        // A square of 4 × 4 pairs.
        let (upper, lower) = (l.even_pairs(half[0], half[1]), l.even_pairs(half[2], half[3]));
        columns[first] = l.even_pairs(upper, lower);
        columns[first + 4] = l.odd_pairs(upper, lower);
        let (upper, lower) = (l.odd_pairs(half[0], half[1]), l.odd_pairs(half[2], half[3]));
        columns[first + 2] = l.even_pairs(upper, lower);
        columns[first + 6] = l.odd_pairs(upper, lower);
    }
    columns
}
