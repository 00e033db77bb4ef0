//! The lanes as AVX-512 registers: one instruction an operation.
//!
//! A value of [`Ifma`] exists only where [`Ifma::detected`] found every instruction set named in [`Ifma::run`], so that whoever
//! holds one may execute them. That is the whole argument for each `unsafe` below, unless more is said beside it.
//! An `#[inline(always)]` function cannot enable instructions itself; it is inlined into `enabled`, which does.

#![allow(unsafe_code)]

use std::{
    arch::x86_64::{
        __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi64, _mm512_and_si512, _mm512_load_si512, _mm512_loadu_si512,
        _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_blend_epi64, _mm512_or_si512,
        _mm512_permutex2var_epi8, _mm512_permutexvar_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
        _mm512_shuffle_i64x2, _mm512_srai_epi64, _mm512_srli_epi64, _mm512_store_si512, _mm512_sub_epi64,
        _mm512_testn_epi64_mask, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
    },
    ptr,
};

use super::lanes::{Kernel, Lanes, Row};

/// AVX-512 with 52-bit multiply-add and byte permutations: Ice Lake, Sapphire Rapids, Zen 4 and later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma(());

impl Ifma {
    /// The proof, if this processor and its operating system can.
    pub(crate) fn detected() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("avx512vbmi");
        all.then_some(Self(()))
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma,avx512vbmi")]
fn enabled<K: Kernel>(lanes: Ifma, kernel: K) -> K::Output {
    kernel.run(lanes)
}

impl Lanes for Ifma {
    type V = __m512i;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: see the module; `detected` asks for every set that `enabled` enables.
        unsafe { enabled(self, kernel) }
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn splat(self, value: u64) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_set1_epi64(value.cast_signed()) }
    }

    #[inline(always)]
    fn load(self, from: &Row) -> __m512i {
        // SAFETY: see the module; a row is 64 readable bytes, aligned to 64.
        unsafe { _mm512_load_si512(ptr::from_ref(from).cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut Row, value: __m512i) {
        // SAFETY: see the module; a row is 64 writable bytes, aligned to 64.
        unsafe { _mm512_store_si512(ptr::from_mut(to).cast(), value) }
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8; 64]) -> __m512i {
        // SAFETY: see the module; 64 readable bytes, and this load needs no alignment.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_add_epi64(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_sub_epi64(a, b) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn shift_right_4(self, a: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_srli_epi64::<4>(a) }
    }

    #[inline(always)]
    fn carry_of(self, a: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_srai_epi64::<52>(a) }
    }

    #[inline(always)]
    fn multiply_add_low(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_madd52lo_epu64(sum, a, b) }
    }

    #[inline(always)]
    fn multiply_add_high(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_madd52hi_epu64(sum, a, b) }
    }

    #[inline(always)]
    fn select(self, mask: u8, yes: __m512i, no: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_mask_blend_epi64(mask, no, yes) }
    }

    #[inline(always)]
    fn zeros(self, a: __m512i) -> u8 {
        // SAFETY: see the module.
        unsafe { _mm512_testn_epi64_mask(a, a) }
    }

    #[inline(always)]
    fn look_up(self, table: __m512i, index: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_permutexvar_epi64(index, table) }
    }

    #[inline(always)]
    fn pick_bytes(self, low: __m512i, high: __m512i, index: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_permutex2var_epi8(low, index, high) }
    }

    #[inline(always)]
    fn even_lanes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_unpacklo_epi64(a, b) }
    }

    #[inline(always)]
    fn odd_lanes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_unpackhi_epi64(a, b) }
    }

    #[inline(always)]
    fn even_pairs(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b) }
    }

    #[inline(always)]
    fn odd_pairs(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe { _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b) }
    }

    #[inline(always)]
    fn prefetch(self, row: &Row) {
        // SAFETY: a hint, which reads nothing; the address is a row's.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ptr::from_ref(row).cast()) }
    }
}
