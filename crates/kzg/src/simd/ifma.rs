//! The lanes as AVX-512 registers of a processor that multiplies 52-bit numbers: one instruction an operation.
//!
//! A value of [`Ifma`] exists only where [`Ifma::detected`] found every instruction set named in `enabled`, so that whoever
//! holds one may execute them. That is the whole argument for each `unsafe` below, unless more is said beside it.
//! An `#[inline(always)]` function cannot enable instructions itself; it is inlined into `enabled`, which does.

#![allow(unsafe_code)]

use std::{arch::x86_64::*, ptr};

use super::{
    avx512::{self, common_operations},
    lanes::{ELEMENT_LIMBS, GROUP_LEN, Kernel, Lanes, Row},
};

/// AVX-512 with 52-bit multiply-add: Ice Lake, Sapphire Rapids, Zen 4 and later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma(());

impl Ifma {
    /// The proof, if this processor and its operating system can.
    pub(crate) fn detected() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma");
        all.then_some(Self(()))
    }
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512ifma")]
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

    common_operations!();

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
}
