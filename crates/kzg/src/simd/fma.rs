//! The lanes as AVX-512 registers of a processor that multiplies no 52-bit integers, but doubles: Skylake-X, Cascade Lake.
//!
//! A double has 53 bits of mantissa, and a fused multiply-add rounds once. With a, b < 2^52, rounding towards zero,
//!
//! ```text
//! high = fma(a, b, 2^104)                   = 2^104 + ⌊ab / 2^52⌋ · 2^52: the mantissa's 52 bits are the product's upper half
//! low  = fma(a, b, 2^104 + 2^52 − high)     = 2^52 + ab mod 2^52: no rounding at all, the mantissa is the lower half
//! ```
//!
//! so the bits of a double, less those of 2^104 or 2^52, are the half as an integer: both halves in three operations and
//! two additions, where IFMA takes two instructions in all. (N. Emmart, "Faster modular exponentiation using double
//! precision floating point arithmetic on the GPU", ARITH 2018.) Rounding is in the instruction; no mode of the processor
//! is relied on or changed, and 2^104 + 2^52 − high and the conversion of an integer below 2^52 are exact in every mode.
//!
//! A value of [`Fma`] exists only where [`Fma::detected`] found every instruction set named in `enabled`, so that whoever
//! holds one may execute them. That is the whole argument for each `unsafe` below, unless more is said beside it.

#![allow(unsafe_code)]

use std::{arch::x86_64::*, ptr};

use super::{
    avx512::{self, common_operations},
    field::{self, LIMBS, Octet},
    lanes::{ELEMENT_LIMBS, GROUP_LEN, Kernel, Lanes, Row},
};

/// AVX-512 with F, BW, DQ and VL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fma(());

impl Fma {
    /// The proof, if this processor and its operating system can.
    pub(crate) fn detected() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        all.then_some(Self(()))
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn enabled<K: Kernel>(lanes: Fma, kernel: K) -> K::Output {
    kernel.run(lanes)
}

const TWO_TO_52: f64 = (1u64 << 52) as f64;
const TWO_TO_104: f64 = TWO_TO_52 * TWO_TO_52;
const LOW_52: i64 = (1 << 52) - 1;
/// What a lower half has above its 52 bits, and an upper half.
const ABOVE_LOW: u64 = TWO_TO_52.to_bits();
const ABOVE_HIGH: u64 = TWO_TO_104.to_bits();
const TOWARDS_ZERO: i32 = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;

/// The low 52 bits, as a double.
#[inline(always)]
unsafe fn factor(value: __m512i) -> __m512d {
    // SAFETY: see the module. (a and b) or c: the mantissa of a number between 2^52 and 2^53.
    unsafe {
        let above = _mm512_set1_epi64(ABOVE_LOW.cast_signed());
        let shifted = _mm512_ternarylogic_epi64::<0xEA>(value, _mm512_set1_epi64(LOW_52), above);
        _mm512_sub_pd(_mm512_castsi512_pd(shifted), _mm512_set1_pd(TWO_TO_52))
    }
}

/// Both halves of the products, lower and upper, still with what is [above](ABOVE_LOW) them.
#[inline(always)]
unsafe fn halves(a: __m512d, b: __m512d) -> (__m512i, __m512i) {
    // SAFETY: see the module.
    unsafe {
        let high = _mm512_fmadd_round_pd::<TOWARDS_ZERO>(a, b, _mm512_set1_pd(TWO_TO_104));
        let rest = _mm512_sub_pd(_mm512_set1_pd(TWO_TO_104 + TWO_TO_52), high);
        let low = _mm512_fmadd_round_pd::<TOWARDS_ZERO>(a, b, rest);
        (_mm512_castpd_si512(low), _mm512_castpd_si512(high))
    }
}

/// Limbs that a product passes through on its way: eight leave, carried out, eight are the result.
const COLUMNS: usize = 2 * LIMBS;

/// What a column begins with, so that it is right when all that is added to it has brought what is above its half.
///
/// Of step s, column c takes the lower halves of limb c − s and the upper ones of limb c − s − 1, of both products.
const BEFORE: [u64; COLUMNS] = {
    let mut out = [0u64; COLUMNS];
    let mut step = 0;
    while step < LIMBS {
        let mut limb = 0;
        while limb < LIMBS {
            out[step + limb] = out[step + limb].wrapping_sub(2u64.wrapping_mul(ABOVE_LOW));
            out[step + limb + 1] = out[step + limb + 1].wrapping_sub(2u64.wrapping_mul(ABOVE_HIGH));
            limb += 1;
        }
        step += 1;
    }
    out
};

/// p's limbs.
const P: [f64; LIMBS] = {
    let mut out = [0.0; LIMBS];
    let mut at = 0;
    while at < LIMBS {
        out[at] = field::P[at] as f64;
        at += 1;
    }
    out
};

/// The columns that are open: those that a step adds to.
type Open = [__m512i; LIMBS + 1];

/// t = (t + a · b + q · p) / 2^52, with q such that the division leaves nothing. Step `AT` of eight.
#[inline(always)]
unsafe fn step<const AT: usize>(t: &mut Open, a: &[__m512d; LIMBS], b: __m512i) {
    // SAFETY: see the module.
    unsafe {
        let b = factor(b);
        for limb in 0..LIMBS {
            let (low, high) = halves(a[limb], b);
            t[limb] = _mm512_add_epi64(t[limb], low);
            t[limb + 1] = _mm512_add_epi64(t[limb + 1], high);
        }
        // What is above a half has nothing in the low 52 bits, and no others count here.
        let q = factor(_mm512_mullo_epi64(t[0], _mm512_set1_epi64(field::MINUS_INVERSE.cast_signed())));
        for limb in 0..LIMBS {
            let (low, high) = halves(_mm512_set1_pd(P[limb]), q);
            t[limb] = _mm512_add_epi64(t[limb], low);
            t[limb + 1] = _mm512_add_epi64(t[limb + 1], high);
        }
        let carry = _mm512_srai_epi64::<52>(t[0]);
        for at in 0..LIMBS {
            t[at] = t[at + 1];
        }
        t[0] = _mm512_add_epi64(t[0], carry);
        if AT + 1 < LIMBS {
            t[LIMBS] = _mm512_set1_epi64(BEFORE[LIMBS + 1 + AT].cast_signed());
        }
    }
}

#[inline(always)]
unsafe fn factors(a: &Octet) -> [__m512d; LIMBS] {
    // SAFETY: see the module; rows are aligned.
    unsafe {
        let mut out = [_mm512_setzero_pd(); LIMBS];
        for at in 0..LIMBS {
            out[at] = factor(_mm512_load_si512(ptr::from_ref(&a.0[at]).cast()));
        }
        out
    }
}

#[inline(always)]
unsafe fn begin() -> Open {
    // SAFETY: see the module.
    unsafe {
        let mut out = [_mm512_setzero_si512(); LIMBS + 1];
        for at in 0..=LIMBS {
            out[at] = _mm512_set1_epi64(BEFORE[at].cast_signed());
        }
        out
    }
}

impl Lanes for Fma {
    type V = __m512i;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: see the module; `detected` asks for every set that `enabled` enables.
        unsafe { enabled(self, kernel) }
    }

    common_operations!();

    #[inline(always)]
    fn multiply_add_low(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe {
            let (low, _) = halves(factor(a), factor(b));
            _mm512_add_epi64(sum, _mm512_sub_epi64(low, _mm512_set1_epi64(ABOVE_LOW.cast_signed())))
        }
    }

    #[inline(always)]
    fn multiply_add_high(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the module.
        unsafe {
            let (_, high) = halves(factor(a), factor(b));
            _mm512_add_epi64(sum, _mm512_sub_epi64(high, _mm512_set1_epi64(ABOVE_HIGH.cast_signed())))
        }
    }

    /// As [`field::multiply_two`], but each limb becomes a double once, both halves of a product come from one place, and
    /// what is above them is taken off a column once.
    #[inline(always)]
    fn multiply_two(self, a: [&mut Octet; 2], b: [&Octet; 2]) {
        // SAFETY: see the module.
        let (t, u) = unsafe {
            let (first, second) = (factors(a[0]), factors(a[1]));
            let (mut t, mut u) = (begin(), begin());
            // Written out: a loop would move all of t and u down a place, every time.
            macro_rules! steps {
                ($($at:literal)*) => {$(
                    step::<$at>(&mut t, &first, self.load(&b[0].0[$at]));
                    step::<$at>(&mut u, &second, self.load(&b[1].0[$at]));
                )*};
            }
            steps!(0 1 2 3 4 5 6 7);
            (t, u)
        };
        let [first, second] = a;
        first.store(self, &field::carried(self, &[t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]]));
        second.store(self, &field::carried(self, &[u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7]]));
    }
}
