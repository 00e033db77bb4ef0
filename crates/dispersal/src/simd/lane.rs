//! What the loops need of a register, and how a coefficient is written down for it.

use reed_solomon_erasure::galois_8::mul;

/// The product by a constant as an 8 × 8 matrix over bits, laid out as `gf2p8affineqb` reads it: byte 7 − i holds the
/// row of result bit i, bit j of it stands for source bit j.
pub(super) type Matrix = u64;

/// Products of the 16 low halves (`0x00` to `0x0f`), then of the 16 high halves (`0x00` to `0xf0`) of a byte.
pub(super) type HalfTables = [u8; 32];

pub(super) fn matrix(factor: u8) -> Matrix {
    let mut rows = [0u8; 8];
    for source_bit in 0..8 {
        let product = mul(factor, 1 << source_bit);
        for (result_bit, row) in rows.iter_mut().rev().enumerate() {
            *row |= (product >> result_bit & 1) << source_bit;
        }
    }
    u64::from_le_bytes(rows)
}

pub(super) fn half_tables(factor: u8) -> HalfTables {
    let mut tables = [0; 32];
    for half in 0..16 {
        tables[usize::from(half)] = mul(factor, half);
        tables[usize::from(half) + 16] = mul(factor, half << 4);
    }
    tables
}

/// A register of some processor.
///
/// Every operation is `unsafe` for one reason: its instructions must exist. `load` and `store` also need `LEN` bytes,
/// aligned or not. They are `#[inline(always)]` so that they end up inside a function that enables the instructions.
pub(super) trait Lane: Copy {
    /// Bytes of the register.
    const LEN: usize;

    /// How a coefficient is written down.
    type Factor: Copy;

    /// Bytes of a source, prepared once for all targets.
    type Source: Copy;

    /// All zeros.
    ///
    /// # Safety
    /// The processor has the instructions.
    unsafe fn zero() -> Self;

    /// # Safety
    /// The processor has the instructions; `LEN` bytes can be read.
    unsafe fn load(from: *const u8) -> Self;

    /// # Safety
    /// The processor has the instructions; `LEN` bytes can be written.
    unsafe fn store(self, to: *mut u8);

    /// Asks for what will be loaded soon. Never touches it: any address will do.
    ///
    /// # Safety
    /// The processor has the instructions.
    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}

    /// # Safety
    /// The processor has the instructions.
    unsafe fn prepare(self) -> Self::Source;

    /// `self` + `factor` · `source`.
    ///
    /// # Safety
    /// The processor has the instructions; `factor` can be read.
    unsafe fn add_product(self, source: Self::Source, factor: *const Self::Factor) -> Self;

    /// `self` + Σ `factors[i]` · `sources[i]`, where two additions can be one instruction.
    ///
    /// # Safety
    /// As for [`Lane::add_product`].
    #[inline(always)]
    unsafe fn add_two(self, sources: [Self::Source; 2], factors: [*const Self::Factor; 2]) -> Self {
        // SAFETY: the caller's promises are the same.
        unsafe { self.add_product(sources[0], factors[0]).add_product(sources[1], factors[1]) }
    }
}
