//! Asks the emulated processor, before any test runs on it, whether the instructions our kernels use are there and do
//! what the manual says. Bochs 2.7, for one, has `vgf2p8affineqb` give the complement; a test would blame the kernel.

use std::arch::x86_64::{
    _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_shuffle_epi8, _mm512_storeu_si512,
};

const ROUNDS: u64 = 200;
const LIMB: u64 = (1 << 52) - 1;

/// A constant for `vgf2p8affineqb` with bits both set and clear.
const AFFINE_CONSTANT: u8 = 0x63;

/// Compares each instruction with plain code over many operands.
pub(super) fn verify() -> Result<(), String> {
    let there = [
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512ifma", is_x86_feature_detected!("avx512ifma")),
        ("gfni", is_x86_feature_detected!("gfni")),
    ];
    if let Some((name, _)) = there.iter().find(|(_, there)| !there) {
        return Err(format!("expected a processor with {name}, the emulated one has none"));
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        let [a, b, c] = [numbers.eight(), numbers.eight(), numbers.eight()];
        // SAFETY: both instruction sets were found above.
        let (low, high) = unsafe { multiply_add(&a, &b, &c) };
        for lane in 0..8 {
            let product = u128::from(b[lane] & LIMB) * u128::from(c[lane] & LIMB);
            told("vpmadd52luq", a[lane].wrapping_add(product as u64 & LIMB), low[lane])?;
            told("vpmadd52huq", a[lane].wrapping_add((product >> 52) as u64), high[lane])?;
        }
        let [bytes, others] = [a, b].map(bytes_of);
        // SAFETY: both instruction sets were found above.
        let (affine, shuffled) = unsafe { (affine(&bytes, &b), shuffle(&bytes, &others)) };
        for at in 0..64 {
            told("vgf2p8affineqb", affine_plain(b[at / 8], bytes[at]).into(), affine[at].into())?;
            let from = (at & !15) + usize::from(others[at] & 15);
            let expected = if others[at] >= 0x80 { 0 } else { bytes[from] };
            told("vpshufb", expected.into(), shuffled[at].into())?;
        }
    }
    Ok(())
}

fn told(instruction: &str, expected: u64, came: u64) -> Result<(), String> {
    if expected == came {
        return Ok(());
    }
    Err(format!("{instruction} should give {expected:#x}, this emulator gives {came:#x}: use bochs 3.0 or newer"))
}

/// # Safety
/// The processor has AVX-512F and AVX-512 IFMA.
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn multiply_add(a: &[u64; 8], b: &[u64; 8], c: &[u64; 8]) -> ([u64; 8], [u64; 8]) {
    let (mut low, mut high) = ([0; 8], [0; 8]);
    // SAFETY: each array is a register long; these loads and stores need no alignment.
    unsafe {
        let [a, b, c] = [a, b, c].map(|octet| _mm512_loadu_si512(octet.as_ptr().cast()));
        _mm512_storeu_si512(low.as_mut_ptr().cast(), _mm512_madd52lo_epu64(a, b, c));
        _mm512_storeu_si512(high.as_mut_ptr().cast(), _mm512_madd52hi_epu64(a, b, c));
    }
    (low, high)
}

/// # Safety
/// The processor has AVX-512F, AVX-512BW and GFNI.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
unsafe fn affine(bytes: &[u8; 64], matrices: &[u64; 8]) -> [u8; 64] {
    let mut out = [0; 64];
    // SAFETY: each array is a register long; these loads and stores need no alignment.
    unsafe {
        let (x, a) = (_mm512_loadu_si512(bytes.as_ptr().cast()), _mm512_loadu_si512(matrices.as_ptr().cast()));
        let y = _mm512_gf2p8affine_epi64_epi8::<{ AFFINE_CONSTANT as i32 }>(x, a);
        _mm512_storeu_si512(out.as_mut_ptr().cast(), y);
    }
    out
}

/// # Safety
/// The processor has AVX-512F and AVX-512BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn shuffle(bytes: &[u8; 64], indices: &[u8; 64]) -> [u8; 64] {
    let mut out = [0; 64];
    // SAFETY: each array is a register long; these loads and stores need no alignment.
    unsafe {
        let (x, i) = (_mm512_loadu_si512(bytes.as_ptr().cast()), _mm512_loadu_si512(indices.as_ptr().cast()));
        _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_shuffle_epi8(x, i));
    }
    out
}

/// Intel's manual, `GF2P8AFFINEQB`: bit i is the parity of row 7-i and the byte, plus bit i of the constant.
fn affine_plain(matrix: u64, byte: u8) -> u8 {
    let rows = matrix.to_be_bytes();
    (0..8).fold(AFFINE_CONSTANT, |sum, bit| sum ^ ((((rows[bit] & byte).count_ones() & 1) as u8) << bit))
}

fn bytes_of(octet: [u64; 8]) -> [u8; 64] {
    std::array::from_fn(|at| octet[at / 8].to_le_bytes()[at % 8])
}

/// SplitMix64: operands that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn eight(&mut self) -> [u64; 8] {
        std::array::from_fn(|_| {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }
}
