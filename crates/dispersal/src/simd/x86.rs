//! Registers of x86-64. Each public function enables its instructions and nothing else; what it calls is inlined into it.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi8, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::{
    lane::{HalfTables, Lane, Matrix},
    sweep::{Job, sweep},
};

/// 16 sums, 4 sources and a product: 21 of 32 registers; matrices are operands in memory.
pub(super) const GFNI512_WIDTH: usize = 8;

/// 16 sums, 4 halves of sources, 2 tables, 2 products, a mask: 25 of 32 registers.
pub(super) const SHUFFLE512_WIDTH: usize = 8;

/// 8 sums, 2 halves of a source, 2 tables, 2 products, a mask: 15 of 16 registers.
pub(super) const SHUFFLE256_WIDTH: usize = 4;

/// The truth table of a ^ b ^ c for `vpternlog`.
const XOR3: i32 = 0x96;

/// Runs `$lane` for a group of any width up to 4 or 8.
macro_rules! by_width {
    ($lane:ty, $job:expr, $width:expr, [$($w:literal)*]) => {
        match $width {
            // SAFETY: the caller's promises are those of `sweep`.
            $($w => unsafe { sweep::<$lane, $w>($job) },)*
            other => unreachable!("groups were made at most {} wide, this is {other}", [$($w),*].len()),
        }
    };
}

/// # Safety
/// The processor has AVX-512F and GFNI; the job is as [`sweep`] wants it.
#[target_feature(enable = "avx512f,gfni")]
pub(super) unsafe fn gfni512(job: &Job<'_, Matrix>, width: usize) {
    by_width!(Gfni512, job, width, [1 2 3 4 5 6 7 8]);
}

/// # Safety
/// The processor has AVX-512F and AVX-512BW; the job is as [`sweep`] wants it.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn shuffle512(job: &Job<'_, HalfTables>, width: usize) {
    by_width!(Shuffle512, job, width, [1 2 3 4 5 6 7 8]);
}

/// # Safety
/// The processor has AVX2; the job is as [`sweep`] wants it.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn shuffle256(job: &Job<'_, HalfTables>, width: usize) {
    by_width!(Shuffle256, job, width, [1 2 3 4]);
}

#[derive(Clone, Copy)]
struct Gfni512(__m512i);

// SAFETY, for every block below: the instructions exist and pointers are valid for a register, or for a factor, because
// the caller of each `Lane` function promises just that.
impl Lane for Gfni512 {
    const LEN: usize = 64;
    type Factor = Matrix;
    type Source = __m512i;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see above; the load needs no alignment.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: see above; the store needs no alignment.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a hint that no address makes fault; part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn prepare(self) -> __m512i {
        self.0
    }

    #[inline(always)]
    unsafe fn add_product(self, source: __m512i, factor: *const Matrix) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_xor_si512(self.0, affine(source, factor))) }
    }

    #[inline(always)]
    unsafe fn add_two(self, sources: [__m512i; 2], factors: [*const Matrix; 2]) -> Self {
        // SAFETY: see above.
        unsafe {
            let (one, other) = (affine(sources[0], factors[0]), affine(sources[1], factors[1]));
            Self(_mm512_ternarylogic_epi64::<XOR3>(self.0, one, other))
        }
    }
}

/// # Safety
/// As for [`Lane::add_product`].
#[inline(always)]
unsafe fn affine(source: __m512i, factor: *const Matrix) -> __m512i {
    // SAFETY: the caller's promises.
    unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(source, _mm512_set1_epi64((*factor).cast_signed())) }
}

/// Both kinds of tables of a factor, one in each 128-bit part of a register.
///
/// # Safety
/// The factor can be read; the processor has AVX.
#[inline(always)]
unsafe fn tables(factor: *const HalfTables) -> [__m128i; 2] {
    // SAFETY: the caller's promises; `HalfTables` is two times 16 bytes, and the loads need no alignment.
    unsafe { [_mm_loadu_si128(factor.cast()), _mm_loadu_si128(factor.cast::<__m128i>().add(1))] }
}

#[derive(Clone, Copy)]
struct Shuffle512(__m512i);

// SAFETY, for every block below: as for `Gfni512`.
impl Lane for Shuffle512 {
    const LEN: usize = 64;
    type Factor = HalfTables;
    type Source = [__m512i; 2];

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see above; the load needs no alignment.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: see above; the store needs no alignment.
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a hint that no address makes fault; part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn prepare(self) -> [__m512i; 2] {
        // SAFETY: see above.
        unsafe {
            let low = _mm512_set1_epi8(15);
            [_mm512_and_si512(self.0, low), _mm512_and_si512(_mm512_srli_epi64::<4>(self.0), low)]
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, [low, high]: [__m512i; 2], factor: *const HalfTables) -> Self {
        // SAFETY: see above.
        unsafe {
            let [of_low, of_high] = tables(factor);
            let low = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(of_low), low);
            let high = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(of_high), high);
            Self(_mm512_ternarylogic_epi64::<XOR3>(self.0, low, high))
        }
    }
}

#[derive(Clone, Copy)]
struct Shuffle256(__m256i);

// SAFETY, for every block below: as for `Gfni512`.
impl Lane for Shuffle256 {
    const LEN: usize = 32;
    type Factor = HalfTables;
    type Source = [__m256i; 2];

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_setzero_si256() })
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: see above; the load needs no alignment.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: see above; the store needs no alignment.
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a hint that no address makes fault; part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn prepare(self) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let low = _mm256_set1_epi8(15);
            [_mm256_and_si256(self.0, low), _mm256_and_si256(_mm256_srli_epi64::<4>(self.0), low)]
        }
    }

    #[inline(always)]
    unsafe fn add_product(self, [low, high]: [__m256i; 2], factor: *const HalfTables) -> Self {
        // SAFETY: see above.
        unsafe {
            let [of_low, of_high] = tables(factor);
            let low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(of_low), low);
            let high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(of_high), high);
            Self(_mm256_xor_si256(self.0, _mm256_xor_si256(low, high)))
        }
    }
}
