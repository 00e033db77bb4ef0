//! Vector kernels: eight numbers of 64 bits at a time, for processors with AVX-512.
//!
//! [`lanes`] says what eight lanes can do; [`ifma`] does it with 52-bit multiply-add, [`fma`] with doubles where that is
//! missing ([`avx512`] is what they share; these three hold the only `unsafe`), [`emulated`] with plain integers. Over them:
//! [`field`], the base field in 52-bit limbs; [`adder`], batches of point additions; [`fold`], sums of products of a blob's
//! elements; [`evaluate`], their value at a point. Each has a plain twin outside of this module, and tests that hold it to that twin in emulation and, where the
//! processor can, on its instructions. See docs/adr/0011.

#![allow(
    clippy::needless_range_loop,
    reason = "registers go by index: an iterator over them is library code, which may not be inlined where they are enabled"
)]

pub(crate) mod adder;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(test, feature = "test-setup"))]
pub(crate) mod emulated;
mod evaluate;
pub(crate) mod field;
#[cfg(target_arch = "x86_64")]
pub(crate) mod fma;
pub(crate) mod fold;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
pub(crate) mod lanes;

#[cfg(test)]
mod tests;
