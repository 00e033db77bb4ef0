//! The peer in proofs: the whole of a fold, an opening and a verification, written on blst's C functions as well as they
//! allow, on one thread (blst's own Rust wrappers would use every processor for a multi-scalar multiplication).
//!
//! The only `unsafe` of this package is here: each call hands blst pointers to values or slices that live past it.

use std::ptr;

use blst::{
    BLST_ERROR, blst_final_exp, blst_fp6, blst_fp12, blst_fp12_is_one, blst_fp12_mul, blst_fr, blst_fr_add,
    blst_fr_eucl_inverse, blst_fr_from_uint64, blst_fr_mul, blst_fr_sub, blst_miller_loop_lines, blst_p1,
    blst_p1_add_or_double, blst_p1_affine, blst_p1_affine_in_g1, blst_p1_cneg, blst_p1_compress, blst_p1_from_affine,
    blst_p1_generator, blst_p1_mult, blst_p1_to_affine, blst_p1_uncompress, blst_p1s_mult_pippenger,
    blst_p1s_mult_pippenger_scratch_sizeof, blst_p2_affine, blst_p2_uncompress, blst_precompute_lines,
    blst_uint64_from_fr,
};

/// Field elements of a blob.
pub const ELEMENTS: usize = 4096;
/// Bytes of one.
pub const ELEMENT_LEN: usize = 31;

/// The field's order less one, in 64-bit limbs, least first.
const ORDER_LESS_ONE: [u64; 4] =
    [0xffff_ffff_0000_0000, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];
/// A generator of the field's multiplicative group.
const GENERATOR: u64 = 7;

/// A field element in blst's (Montgomery) form.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fr(blst_fr);

impl Fr {
    /// From a canonical value, least limb first.
    pub fn from_limbs(limbs: [u64; 4]) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: four limbs in, one element out.
        unsafe { blst_fr_from_uint64(&mut out, limbs.as_ptr()) };
        Self(out)
    }

    /// From a canonical value, most significant byte first.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::from_limbs(std::array::from_fn(|limb| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[24 - 8 * limb..32 - 8 * limb]);
            u64::from_be_bytes(word)
        }))
    }

    /// From 128 bits.
    pub fn from_u128(value: u128) -> Self {
        Self::from_limbs([value as u64, (value >> 64) as u64, 0, 0])
    }

    /// The canonical value, least limb first.
    pub fn to_limbs(self) -> [u64; 4] {
        let mut out = [0; 4];
        // SAFETY: one element in, four limbs out.
        unsafe { blst_uint64_from_fr(out.as_mut_ptr(), &self.0) };
        out
    }

    /// The canonical value, most significant byte first.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        for (bytes, limb) in out.chunks_exact_mut(8).zip(self.to_limbs().iter().rev()) {
            bytes.copy_from_slice(&limb.to_be_bytes());
        }
        out
    }

    fn to_le_bytes(self) -> [u8; 32] {
        let mut out = self.to_bytes();
        out.reverse();
        out
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: three distinct elements.
        unsafe { blst_fr_mul(&mut out, &self.0, &other.0) };
        Self(out)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: three distinct elements.
        unsafe { blst_fr_add(&mut out, &self.0, &other.0) };
        Self(out)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: three distinct elements.
        unsafe { blst_fr_sub(&mut out, &self.0, &other.0) };
        Self(out)
    }

    fn inverse(self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: two distinct elements.
        unsafe { blst_fr_eucl_inverse(&mut out, &self.0) };
        Self(out)
    }

    fn to_the(self, exponent: [u64; 4]) -> Self {
        let mut power = Self::from_limbs([1, 0, 0, 0]);
        for bit in (0..256).rev() {
            power = power.times(power);
            if exponent[bit / 64] >> (bit % 64) & 1 == 1 {
                power = power.times(self);
            }
        }
        power
    }
}

/// Σ γ_i p_i, value by value, from packed bytes: one multiplication and one addition an element, the fewest there are
/// without lazy reduction. γ goes in in Montgomery form and the element as it is, so that no product needs converting.
pub fn fold(blobs: &[u8], gammas: &[u128]) -> Vec<Fr> {
    let mut sums = vec![Fr::default(); ELEMENTS];
    for (blob, gamma) in blobs.chunks(ELEMENTS * ELEMENT_LEN).zip(gammas) {
        let gamma = Fr::from_u128(*gamma);
        for (sum, element) in sums.iter_mut().zip(blob.chunks_exact(ELEMENT_LEN)) {
            let mut value = raw(element).0;
            // In place: a result that is returned by value is copied, in pieces that the processor has to wait for.
            // SAFETY: live elements; blst lets a result lie where an operand does.
            unsafe {
                blst_fr_mul(&mut value, &value, &gamma.0);
                blst_fr_add(&mut sum.0, &sum.0, &value);
            }
        }
    }
    sums.into_iter().map(|sum| Fr::from_limbs(sum.0.l)).collect()
}

/// 31 bytes, most significant first, as limbs.
#[inline(always)]
fn raw(element: &[u8]) -> Fr {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&element[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    // The top word overlaps the one below by one byte.
    Fr(blst_fr { l: [word(23), word(15), word(7), word(0) >> 8] })
}

/// The lines of a point's Miller loop.
type Lines = Box<[blst_fp6; LINES]>;
/// How many there are.
const LINES: usize = 68;

/// What openings and verifications need of the ceremony's setup.
pub struct Ceremony {
    lagrange: Vec<blst_p1_affine>,
    /// [1]₂ and [τ]₂, as their Miller loops take them.
    one_g2: Lines,
    tau_g2: Lines,
    roots: Vec<Fr>,
    scratch: Vec<u64>,
}

impl Ceremony {
    /// From the file that the product carries; its README says what is in it.
    pub fn load() -> Self {
        let file: &[u8] = include_bytes!("../../../crates/kzg/setup/ethereum.bin");
        let (points, twins) = file.split_at(ELEMENTS * 48);
        let lagrange: Vec<blst_p1_affine> =
            points.chunks_exact(48).map(|bytes| uncompressed(bytes).expect("a point of the setup")).collect();
        let twin = |bytes: &[u8]| {
            assert_eq!(bytes.len(), 96);
            let mut out = blst_p2_affine::default();
            // SAFETY: 96 bytes, as just asserted.
            let error = unsafe { blst_p2_uncompress(&mut out, bytes.as_ptr()) };
            assert_eq!(error, BLST_ERROR::BLST_SUCCESS, "a point of the setup");
            let mut lines: Lines = Box::new([blst_fp6::default(); LINES]);
            // SAFETY: room for the 68 lines that blst's header asks for.
            unsafe { blst_precompute_lines(lines.as_mut_ptr(), &out) };
            lines
        };
        // SAFETY: a function of a number.
        let bytes = unsafe { blst_p1s_mult_pippenger_scratch_sizeof(ELEMENTS) };
        let (one_g2, tau_g2) = (twin(&twins[..96]), twin(&twins[96..]));
        Self { lagrange, one_g2, tau_g2, roots: roots(), scratch: vec![0; bytes.div_ceil(8)] }
    }

    /// P(z) and its proof, compressed, for a polynomial by its values.
    pub fn open(&mut self, values: &[Fr], z: Fr) -> ([u8; 32], [u8; 48]) {
        let differences: Vec<Fr> = self.roots.iter().map(|root| root.minus(z)).collect();
        let inverses = inverted(&differences);
        // P(z) = (z^n - 1)/n · Σ p_i ω_i / (z - ω_i); the inverses here are of ω_i - z.
        let terms = values.iter().zip(&inverses).zip(&self.roots);
        let sum = terms.fold(Fr::default(), |sum, ((p, inverse), root)| sum.plus(p.times(*inverse).times(*root)));
        let power = (0..ELEMENTS.trailing_zeros()).fold(z, |power, _| power.times(power));
        let vanishing = Fr::from_limbs([1, 0, 0, 0]).minus(power);
        let y = sum.times(vanishing).times(Fr::from_u128(ELEMENTS as u128).inverse());
        let scalars: Vec<u8> =
            values.iter().zip(&inverses).flat_map(|(p, inverse)| p.minus(y).times(*inverse).to_le_bytes()).collect();
        (y.to_bytes(), compressed(&sum_of_products(&self.lagrange, &scalars, 255, &mut self.scratch)))
    }

    /// Polynomials of degree two, whose commitments cost a short multiplication each.
    pub fn quadratics(&mut self) -> Quadratics {
        let mut commit = |value: fn(Fr) -> Fr| {
            let scalars: Vec<u8> = self.roots.iter().flat_map(|root| value(*root).to_le_bytes()).collect();
            sum_of_products(&self.lagrange, &scalars, 255, &mut self.scratch)
        };
        Quadratics { linear: commit(|root| root), square: commit(|root| root.times(root)) }
    }

    /// Whether Σ γ_i p_i, of which only the commitments are known, is y at z: one multi-scalar multiplication of 128-bit
    /// scalars, two pairings. The proof is a point already: parsing it is on our side of the contest only.
    pub fn verify(&mut self, terms: &Terms, z: Fr, y: Fr, proof: &blst_p1_affine) -> bool {
        let folded = sum_of_products(&terms.commitments, &terms.gammas, 128, &mut self.scratch);
        // SAFETY: the generator is a constant of blst.
        let generator = unsafe { affine(&*blst_p1_generator()) };
        let own = [*proof, affine(&negated(projective(&generator)))];
        let own = sum_of_products(&own, &[z.to_le_bytes(), y.to_le_bytes()].concat(), 255, &mut self.scratch);
        let left = plus(&folded, &own);
        self.pairings_cancel(&affine(&left), &affine(&negated(projective(proof))))
    }

    /// e(left, [1]₂) · e(right, [τ]₂) = 1.
    fn pairings_cancel(&self, left: &blst_p1_affine, right: &blst_p1_affine) -> bool {
        let (mut first, mut second) = (blst_fp12::default(), blst_fp12::default());
        let (mut product, mut result) = (blst_fp12::default(), blst_fp12::default());
        // SAFETY: all are distinct live values of the types asked for.
        unsafe {
            blst_miller_loop_lines(&mut first, self.one_g2.as_ptr(), left);
            blst_miller_loop_lines(&mut second, self.tau_g2.as_ptr(), right);
            blst_fp12_mul(&mut product, &first, &second);
            blst_final_exp(&mut result, &product);
            blst_fp12_is_one(&result)
        }
    }
}

/// The polynomials X² + jX.
pub struct Quadratics {
    /// Commitments to X and X².
    linear: blst_p1,
    square: blst_p1,
}

impl Quadratics {
    /// The commitment for j, compressed.
    pub fn commitment(&self, j: u64) -> [u8; 48] {
        let mut multiple = blst_p1::default();
        // SAFETY: eight bytes hold 64 bits.
        unsafe { blst_p1_mult(&mut multiple, &self.linear, j.to_le_bytes().as_ptr(), 64) };
        compressed(&plus(&self.square, &multiple))
    }

    /// Σ γ (X² + jX) over (γ, j) at z, with its proof, compressed: of s X² + t X it is a commitment to s X + s z + t.
    pub fn open(&self, terms: impl Iterator<Item = (u128, u64)>, z: Fr) -> ([u8; 32], [u8; 48]) {
        let (s, t) = terms.fold((Fr::default(), Fr::default()), |(s, t), (gamma, j)| {
            let gamma = Fr::from_u128(gamma);
            (s.plus(gamma), t.plus(gamma.times(Fr::from_limbs([j, 0, 0, 0]))))
        });
        let constant = s.times(z).plus(t);
        // SAFETY: the generator is a constant of blst.
        let generator = unsafe { *blst_p1_generator() };
        let proof = plus(&times(&self.linear, s), &times(&generator, constant));
        (constant.times(z).to_bytes(), compressed(&proof))
    }
}

/// Commitments with their coefficients, as blst takes them.
pub struct Terms {
    commitments: Vec<blst_p1_affine>,
    gammas: Vec<u8>,
}

impl Terms {
    /// From compressed commitments, parsed once, as a cache of checked points would have them.
    pub fn new(terms: &[(u128, [u8; 48])]) -> Self {
        let commitments = terms.iter().map(|(_, bytes)| point(bytes).expect("a commitment")).collect();
        Self { commitments, gammas: terms.iter().flat_map(|(gamma, _)| gamma.to_le_bytes()).collect() }
    }
}

/// A compressed point of the subgroup; `None` for anything else.
pub fn point(bytes: &[u8]) -> Option<blst_p1_affine> {
    // SAFETY: a live point.
    uncompressed(bytes).filter(|point| unsafe { blst_p1_affine_in_g1(point) })
}

/// A compressed point of the curve.
fn uncompressed(bytes: &[u8]) -> Option<blst_p1_affine> {
    assert_eq!(bytes.len(), 48);
    let mut out = blst_p1_affine::default();
    // SAFETY: 48 bytes, as just asserted.
    let error = unsafe { blst_p1_uncompress(&mut out, bytes.as_ptr()) };
    (error == BLST_ERROR::BLST_SUCCESS).then_some(out)
}

/// Pippenger on this thread. `scalars`: `bits` / 8 bytes each, rounded up, least significant first.
fn sum_of_products(points: &[blst_p1_affine], scalars: &[u8], bits: usize, scratch: &mut [u64]) -> blst_p1 {
    assert_eq!(scalars.len(), points.len() * bits.div_ceil(8));
    // A null after the first pointer: the rest lies behind it.
    let point_list = [points.as_ptr(), ptr::null()];
    let scalar_list = [scalars.as_ptr(), ptr::null()];
    let mut out = blst_p1::default();
    // SAFETY: as many points and scalars as said, asserted above; the scratch is that of 4096 points or more.
    unsafe {
        assert!(scratch.len() * 8 >= blst_p1s_mult_pippenger_scratch_sizeof(points.len()));
        blst_p1s_mult_pippenger(
            &mut out,
            point_list.as_ptr(),
            points.len(),
            scalar_list.as_ptr(),
            bits,
            scratch.as_mut_ptr(),
        );
    }
    out
}

fn projective(point: &blst_p1_affine) -> blst_p1 {
    let mut out = blst_p1::default();
    // SAFETY: two distinct points.
    unsafe { blst_p1_from_affine(&mut out, point) };
    out
}

fn affine(point: &blst_p1) -> blst_p1_affine {
    let mut out = blst_p1_affine::default();
    // SAFETY: two distinct points.
    unsafe { blst_p1_to_affine(&mut out, point) };
    out
}

fn plus(a: &blst_p1, b: &blst_p1) -> blst_p1 {
    let mut out = blst_p1::default();
    // SAFETY: three points, the result a distinct one.
    unsafe { blst_p1_add_or_double(&mut out, a, b) };
    out
}

fn times(point: &blst_p1, scalar: Fr) -> blst_p1 {
    let mut out = blst_p1::default();
    // SAFETY: 32 bytes hold 255 bits.
    unsafe { blst_p1_mult(&mut out, point, scalar.to_le_bytes().as_ptr(), 255) };
    out
}

fn negated(mut point: blst_p1) -> blst_p1 {
    // SAFETY: one live point.
    unsafe { blst_p1_cneg(&mut point, true) };
    point
}

fn compressed(point: &blst_p1) -> [u8; 48] {
    let mut out = [0; 48];
    // SAFETY: 48 bytes of room.
    unsafe { blst_p1_compress(out.as_mut_ptr(), point) };
    out
}

/// The 4096 roots of unity in EIP-4844's order: root `i` is ω to the power of `i` with its 12 bits reversed.
fn roots() -> Vec<Fr> {
    let bits = ELEMENTS.trailing_zeros();
    let mut exponent = ORDER_LESS_ONE;
    for _ in 0..bits {
        for limb in 0..4 {
            let above = exponent.get(limb + 1).copied().unwrap_or(0);
            exponent[limb] = exponent[limb] >> 1 | above << 63;
        }
    }
    let omega = Fr::from_limbs([GENERATOR, 0, 0, 0]).to_the(exponent);
    let mut natural = vec![Fr::from_limbs([1, 0, 0, 0])];
    for at in 1..ELEMENTS {
        natural.push(natural[at - 1].times(omega));
    }
    (0..ELEMENTS).map(|at| natural[at.reverse_bits() >> (usize::BITS - bits)]).collect()
}

/// 1/x of each, by one inversion.
fn inverted(values: &[Fr]) -> Vec<Fr> {
    let mut product = Fr::from_limbs([1, 0, 0, 0]);
    let mut before = Vec::with_capacity(values.len());
    for value in values {
        before.push(product);
        product = product.times(*value);
    }
    let mut rest = product.inverse();
    let mut out = vec![Fr::default(); values.len()];
    for at in (0..values.len()).rev() {
        out[at] = rest.times(before[at]);
        rest = rest.times(values[at]);
    }
    out
}
