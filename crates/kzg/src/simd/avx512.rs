//! What both kinds of AVX-512 lanes do with the same instructions: F, BW, DQ and VL.
//!
//! The bodies are spelled once, as a macro, and stand in two `impl`s, each of a type that is the proof that the processor
//! has these sets: that is the whole argument for each `unsafe` here, unless more is said beside it. An `#[inline(always)]`
//! function cannot enable instructions itself; it is inlined into the type's `enabled`, which does.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm_bslli_si128, _mm_loadu_si128, _mm256_loadu_si256, _mm256_set_m128i, _mm512_and_si512,
    _mm512_castsi256_si512, _mm512_inserti64x4, _mm512_load_si512, _mm512_set1_epi64, _mm512_shuffle_epi8,
    _mm512_shuffle_i64x2, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

use super::lanes::{ELEMENT_LIMBS, GROUP_LEN, Row};
use crate::ELEMENT_LEN;

/// Bytes of each 16 in the opposite order, and a zero for the one that stands before an element's first.
static OPPOSITE: Row = {
    let mut out = Row::ZERO;
    let mut at = 0;
    while at < 64 {
        let from = if at % 32 == 15 { 0x80 } else { 15 - at % 16 };
        out.0[at / 8] |= (from as u64) << (8 * (at % 8));
        at += 1;
    }
    out
};

/// The 32 bytes that end with element `AT`, which is not the first.
#[inline(always)]
unsafe fn ending<const AT: usize>(from: &[u8; GROUP_LEN]) -> __m256i {
    const { assert!(AT > 0 && (AT + 1) * ELEMENT_LEN <= GROUP_LEN) }
    // SAFETY: see the module; 32 readable bytes, as was just asserted, and this load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().add(AT * ELEMENT_LEN - 1).cast()) }
}

/// As [`ending`] for the first, before which nothing may be read: a zero instead.
#[inline(always)]
unsafe fn ending_first(from: &[u8; GROUP_LEN]) -> __m256i {
    // SAFETY: see the module; the bytes 0..16 and 15..31 are readable, and these loads need no alignment.
    unsafe {
        let end = _mm_loadu_si128(from.as_ptr().add(15).cast());
        _mm256_set_m128i(end, _mm_bslli_si128::<1>(_mm_loadu_si128(from.as_ptr().cast())))
    }
}

/// Two elements as words: each its words 2, 3, 0 and 1, counted from the least significant.
#[inline(always)]
unsafe fn words(low: __m256i, high: __m256i) -> __m512i {
    // SAFETY: see the module; the table is a row, aligned.
    unsafe {
        let opposite = _mm512_load_si512((&raw const OPPOSITE).cast());
        _mm512_shuffle_epi8(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high), opposite)
    }
}

/// (a shifted right, b shifted left), 52 bits.
#[inline(always)]
unsafe fn across<const RIGHT: u32, const LEFT: u32>(a: __m512i, b: __m512i, low_52: __m512i) -> __m512i {
    // SAFETY: see the module. (a or b) and c.
    unsafe { _mm512_ternarylogic_epi64::<0xA8>(_mm512_srli_epi64::<RIGHT>(a), _mm512_slli_epi64::<LEFT>(b), low_52) }
}

/// Eight elements of 31 big-endian bytes, in limbs of 52 bits.
///
/// # Safety
/// The processor has AVX-512 F, BW, DQ and VL, and the caller is inlined where they are enabled.
#[inline(always)]
pub(super) unsafe fn elements(from: &[u8; GROUP_LEN]) -> [__m512i; ELEMENT_LIMBS] {
    // SAFETY: as for this function.
    unsafe {
        let near = [words(ending_first(from), ending::<2>(from)), words(ending::<1>(from), ending::<3>(from))];
        let far = [words(ending::<4>(from), ending::<6>(from)), words(ending::<5>(from), ending::<7>(from))];
        let (near_even, near_odd) = (_mm512_unpacklo_epi64(near[0], near[1]), _mm512_unpackhi_epi64(near[0], near[1]));
        let (far_even, far_odd) = (_mm512_unpacklo_epi64(far[0], far[1]), _mm512_unpackhi_epi64(far[0], far[1]));
        let word0 = _mm512_shuffle_i64x2::<0b11_01_11_01>(near_even, far_even);
        let word1 = _mm512_shuffle_i64x2::<0b11_01_11_01>(near_odd, far_odd);
        let word2 = _mm512_shuffle_i64x2::<0b10_00_10_00>(near_even, far_even);
        let word3 = _mm512_shuffle_i64x2::<0b10_00_10_00>(near_odd, far_odd);
        let low_52 = _mm512_set1_epi64((1 << 52) - 1);
        [
            _mm512_and_si512(word0, low_52),
            across::<52, 12>(word0, word1, low_52),
            across::<40, 24>(word1, word2, low_52),
            across::<28, 36>(word2, word3, low_52),
            _mm512_srli_epi64::<16>(word3),
        ]
    }
}

/// The operations of [`Lanes`](super::lanes::Lanes) that need nothing but these sets. Whoever expands it has a type that
/// exists only where they are.
macro_rules! common_operations {
    () => {
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
        fn carry_of(self, a: __m512i) -> __m512i {
            // SAFETY: see the module.
            unsafe { _mm512_srai_epi64::<52>(a) }
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

        #[inline(always)]
        fn prefetch_behind(self, bytes: &[u8; GROUP_LEN], ahead: usize) {
            let first = bytes.as_ptr().wrapping_add(ahead);
            for line in 0..GROUP_LEN.div_ceil(64) {
                // SAFETY: a hint, which reads nothing and faults nowhere, wherever it points.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(64 * line).cast()) }
            }
        }

        #[inline(always)]
        fn elements(self, from: &[u8; GROUP_LEN]) -> [__m512i; ELEMENT_LIMBS] {
            // SAFETY: see the module.
            unsafe { avx512::elements(from) }
        }
    };
}

pub(super) use common_operations;
