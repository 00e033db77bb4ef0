//! Registers in software, instruction by instruction after Intel's manual, so that the loops and the layout of
//! coefficients are tested on processors that lack the real ones.

use super::lane::{HalfTables, Lane, Matrix};

/// `gf2p8affineqb` on one byte ("Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2): result bit i
/// is the parity of row 7 − i of the matrix and the source.
pub(super) fn affine_byte(matrix: Matrix, source: u8) -> u8 {
    let rows = matrix.to_le_bytes();
    (0..8).fold(0, |result, bit| result | ((rows[7 - bit] & source).count_ones() as u8 & 1) << bit)
}

/// `pshufb` on one byte of a 16-byte table: the index's high bit gives zero, its low four bits choose.
fn shuffle_byte(table: &[u8], index: u8) -> u8 {
    if index & 0x80 != 0 { 0 } else { table[usize::from(index & 15)] }
}

/// What both kinds share: `N` bytes in memory.
macro_rules! in_memory {
    () => {
        unsafe fn zero() -> Self {
            Self([0; N])
        }

        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: the caller vouches for `LEN` bytes, which is `N`.
            Self(unsafe { from.cast::<[u8; N]>().read_unaligned() })
        }

        unsafe fn store(self, to: *mut u8) {
            // SAFETY: as above.
            unsafe { to.cast::<[u8; N]>().write_unaligned(self.0) }
        }
    };
}

/// A register with GFNI.
#[derive(Clone, Copy)]
pub(super) struct Affine<const N: usize>([u8; N]);

impl<const N: usize> Lane for Affine<N> {
    const LEN: usize = N;
    type Factor = Matrix;
    type Source = [u8; N];

    in_memory!();

    unsafe fn prepare(self) -> [u8; N] {
        self.0
    }

    unsafe fn add_product(self, source: [u8; N], factor: *const Matrix) -> Self {
        // SAFETY: the caller vouches for the factor.
        let factor = unsafe { *factor };
        Self(std::array::from_fn(|at| self.0[at] ^ affine_byte(factor, source[at])))
    }
}

/// A register with byte shuffles.
#[derive(Clone, Copy)]
pub(super) struct Shuffle<const N: usize>([u8; N]);

impl<const N: usize> Lane for Shuffle<N> {
    const LEN: usize = N;
    type Factor = HalfTables;
    type Source = [u8; N];

    in_memory!();

    unsafe fn prepare(self) -> [u8; N] {
        self.0
    }

    unsafe fn add_product(self, source: [u8; N], factor: *const HalfTables) -> Self {
        // SAFETY: the caller vouches for the factor.
        let (low, high) = unsafe { (*factor).split_at(16) };
        let product = |byte: u8| shuffle_byte(low, byte & 15) ^ shuffle_byte(high, byte >> 4);
        Self(std::array::from_fn(|at| self.0[at] ^ product(source[at])))
    }
}
