//! The only module that talks to blst, and, beside the processor's instructions in `simd`, the one with `unsafe`: the base field, G1, the
//! multi-scalar multiplication and the pairing, behind functions that are safe for any argument.
//!
//! Why blst here and not ark: its assembly multiplies in 23 ns where ark takes 28, checks a subgroup in
//! 31 µs where ark takes 60, and pairs in 0.58 ms where ark takes 1.0. Tests hold it to ark's answers.
//!
//! Every unsafe call below passes references to initialised, correctly laid out values that live through
//! the call, and blst keeps no pointer after it returns. What a call needs beyond that is said beside it.

#![allow(unsafe_code)]

use std::ptr;

use blst::{BLST_ERROR, blst_fp, blst_fp6, blst_fp12, blst_p1, blst_p1_affine, blst_p2_affine};

use crate::{POINT_LEN, PointError};

/// An element of the base field, in Montgomery form, below p. Sums and differences: [`crate::field`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Fp(pub(crate) blst_fp);

/// Results go straight where they belong: a product returned by value is copied in 16-byte pieces right after
/// blst stored it in 8-byte ones, and the processor waits out each such copy.
impl Fp {
    /// self = self · b.
    #[inline]
    pub(crate) fn multiply_by(&mut self, b: &Self) {
        let this: *mut blst_fp = &mut self.0;
        // SAFETY: see the module; blst's field calls read two elements and write one. It reads its operands before it writes, so they may be the same.
        unsafe { blst::blst_fp_mul(this, this, &b.0) };
    }

    /// self = a².
    #[inline]
    pub(crate) fn set_square(&mut self, a: &Self) {
        // SAFETY: as above.
        unsafe { blst::blst_fp_sqr(&mut self.0, &a.0) };
    }

    /// 1/self, in variable time (all values here are public); zero for zero.
    pub(crate) fn inverse(&self) -> Self {
        let mut out = Self::default();
        // SAFETY: as above.
        unsafe { blst::blst_fp_eucl_inverse(&mut out.0, &self.0) };
        out
    }
}

/// A point of the curve as x and y; the point at infinity is (0, 0), which is not on the curve.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
///
/// Aligned so that its 96 bytes never touch three cache lines.
#[repr(C, align(32))]
pub(crate) struct Affine {
    pub(crate) x: Fp,
    pub(crate) y: Fp,
}

impl Affine {
    pub(crate) const INFINITY: Self = Self { x: Fp::ZERO, y: Fp::ZERO };
    pub(crate) const SERIALIZED_LEN: usize = 96;

    fn as_blst(&self) -> *const blst_p1_affine {
        // `Affine` has the layout of `blst_p1_affine`: two `blst_fp` in C's order, and is aligned better.
        const _: () = assert!(size_of::<Affine>() == size_of::<blst_p1_affine>());
        const _: () = assert!(align_of::<Affine>() >= align_of::<blst_p1_affine>());
        ptr::from_ref(self).cast()
    }

    fn as_blst_mut(&mut self) -> *mut blst_p1_affine {
        ptr::from_mut(self).cast()
    }

    #[inline]
    pub(crate) fn is_infinity(&self) -> bool {
        self.x.is_zero() && self.y.is_zero()
    }

    pub(crate) fn generator() -> Self {
        let mut out = Self::INFINITY;
        // SAFETY: blst returns the address of a constant of its own.
        unsafe { *out.as_blst_mut() = *blst::blst_p1_affine_generator() };
        out
    }

    /// Decodes a compressed point and finds it on the curve; the subgroup is another question.
    pub(crate) fn uncompress(bytes: &[u8; POINT_LEN]) -> Result<Self, PointError> {
        let mut out = Self::INFINITY;
        // SAFETY: blst reads exactly 48 bytes.
        let result = unsafe { blst::blst_p1_uncompress(out.as_blst_mut(), bytes.as_ptr()) };
        decoded(result).map(|()| out)
    }

    /// Decodes x ‖ y, or infinity, and finds it on the curve.
    pub(crate) fn deserialize(bytes: &[u8; Self::SERIALIZED_LEN]) -> Result<Self, PointError> {
        // blst would take a compressed point here and leave half of the bytes unread.
        if bytes[0] & 0xa0 != 0 {
            return Err(PointError::Encoding);
        }
        let mut out = Self::INFINITY;
        // SAFETY: blst reads exactly 96 bytes.
        let result = unsafe { blst::blst_p1_deserialize(out.as_blst_mut(), bytes.as_ptr()) };
        decoded(result).map(|()| out)
    }

    pub(crate) fn serialize(&self) -> [u8; Self::SERIALIZED_LEN] {
        let mut out = [0; Self::SERIALIZED_LEN];
        // SAFETY: blst writes exactly 96 bytes.
        unsafe { blst::blst_p1_affine_serialize(out.as_mut_ptr(), self.as_blst()) };
        out
    }

    pub(crate) fn compress(&self) -> [u8; POINT_LEN] {
        let mut out = [0; POINT_LEN];
        // SAFETY: blst writes exactly 48 bytes.
        unsafe { blst::blst_p1_affine_compress(out.as_mut_ptr(), self.as_blst()) };
        out
    }

    /// Whether a point of the curve is of the prime order; infinity is.
    pub(crate) fn in_subgroup(&self) -> bool {
        // SAFETY: see the module.
        self.is_infinity() || unsafe { blst::blst_p1_affine_in_g1(self.as_blst()) }
    }
}

fn decoded(result: BLST_ERROR) -> Result<(), PointError> {
    match result {
        BLST_ERROR::BLST_SUCCESS => Ok(()),
        BLST_ERROR::BLST_POINT_NOT_ON_CURVE => Err(PointError::NotOnCurve),
        BLST_ERROR::BLST_POINT_NOT_IN_GROUP => Err(PointError::NotInSubgroup),
        _ => Err(PointError::Encoding),
    }
}

/// A point in Jacobian form.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Point(blst_p1);

impl Point {
    pub(crate) fn infinity() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut out = Self::default();
        // SAFETY: see the module. This form doubles where both are equal.
        unsafe { blst::blst_p1_add_or_double(&mut out.0, &self.0, &other.0) };
        out
    }

    pub(crate) fn add_affine(&self, other: &Affine) -> Self {
        let mut out = Self::default();
        // SAFETY: as for `add`; infinity as (0, 0) is blst's own convention.
        unsafe { blst::blst_p1_add_or_double_affine(&mut out.0, &self.0, other.as_blst()) };
        out
    }

    pub(crate) fn double(&self) -> Self {
        let mut out = Self::default();
        // SAFETY: see the module.
        unsafe { blst::blst_p1_double(&mut out.0, &self.0) };
        out
    }

    #[cfg(any(test, feature = "test-setup"))]
    /// scalar · self; the scalar is 32 little-endian bytes below 2^255.
    pub(crate) fn times(&self, scalar: &[u8; 32]) -> Self {
        let mut out = Self::default();
        // SAFETY: blst reads the 32 bytes that 255 bits take.
        unsafe { blst::blst_p1_mult(&mut out.0, &self.0, scalar.as_ptr(), 255) };
        out
    }

    pub(crate) fn to_affine(self) -> Affine {
        let mut out = Affine::INFINITY;
        // SAFETY: see the module.
        unsafe { blst::blst_p1_to_affine(out.as_blst_mut(), &self.0) };
        out
    }
}

impl From<&Affine> for Point {
    fn from(affine: &Affine) -> Self {
        let mut out = Self::default();
        // SAFETY: see the module.
        unsafe { blst::blst_p1_from_affine(&mut out.0, affine.as_blst()) };
        out
    }
}

/// All points in affine form, for one inversion in all.
pub(crate) fn to_affine_all(points: &[Point]) -> Vec<Affine> {
    let mut out = vec![Affine::INFINITY; points.len()];
    if !points.is_empty() {
        // blst takes a null-terminated list of pointers; after the last it goes on to the next in memory.
        let list = [points.as_ptr().cast::<blst_p1>(), ptr::null()];
        // SAFETY: both slices hold `points.len()` contiguous values, and the pointers span them whole.
        unsafe { blst::blst_p1s_to_affine(out.as_mut_ptr().cast(), list.as_ptr(), points.len()) };
    }
    out
}

/// Σ scalar · point on this thread alone: blst's own Rust wrapper would take every core.
/// `scalars` holds ⌈bits/8⌉ little-endian bytes for each point.
pub(crate) fn sum_of_products(points: &[Affine], scalars: &[u8], bits: usize) -> Point {
    assert_eq!(scalars.len(), points.len() * bits.div_ceil(8), "one scalar of {bits} bits for each point");
    let mut out = Point::default();
    if points.is_empty() {
        return out;
    }
    let point_list = [points.as_ptr().cast::<blst_p1_affine>(), ptr::null()];
    let scalar_list = [scalars.as_ptr(), ptr::null()];
    // SAFETY: the size is a pure function of the count. The scratch is that many bytes, aligned as limbs are.
    // Both lists begin contiguous slices of `points.len()` entries, as asserted above.
    unsafe {
        let bytes = blst::blst_p1s_mult_pippenger_scratch_sizeof(points.len());
        let mut scratch = vec![0u64; bytes.div_ceil(8)];
        blst::blst_p1s_mult_pippenger(
            &mut out.0,
            point_list.as_ptr(),
            points.len(),
            scalar_list.as_ptr(),
            bits,
            scratch.as_mut_ptr(),
        );
    }
    out
}

/// A point of G2, prepared for pairings: the Miller loop's 68 lines.
pub(crate) struct PreparedG2(Vec<blst_fp6>);

impl PreparedG2 {
    fn new(point: &blst_p2_affine) -> Self {
        let mut lines = vec![blst_fp6::default(); 68];
        // SAFETY: blst writes exactly 68 lines.
        unsafe { blst::blst_precompute_lines(lines.as_mut_ptr(), point) };
        Self(lines)
    }

    #[cfg(any(test, feature = "test-setup"))]
    pub(crate) fn generator() -> Self {
        // SAFETY: blst returns the address of a constant of its own.
        Self::new(unsafe { &*blst::blst_p2_affine_generator() })
    }

    /// Decodes a compressed point of G2; `None` if it is none, or infinity.
    pub(crate) fn uncompress(bytes: &[u8; 96]) -> Option<Self> {
        let mut point = blst_p2_affine::default();
        // SAFETY: blst reads exactly 96 bytes; the checks read the point that it wrote.
        let good = unsafe {
            blst::blst_p2_uncompress(&mut point, bytes.as_ptr()) == BLST_ERROR::BLST_SUCCESS
                && !blst::blst_p2_affine_is_inf(&point)
                && blst::blst_p2_affine_in_g2(&point)
        };
        good.then(|| Self::new(&point))
    }

    /// scalar · [1]₂, for setups whose secret is known; `None` for the zero scalar.
    #[cfg(any(test, feature = "test-setup"))]
    pub(crate) fn generator_times(scalar: &[u8; 32]) -> Option<Self> {
        let (mut product, mut point) = (blst::blst_p2::default(), blst_p2_affine::default());
        // SAFETY: blst reads the 32 bytes that 255 bits take; the generator is a constant of its own.
        let infinite = unsafe {
            blst::blst_p2_mult(&mut product, blst::blst_p2_generator(), scalar.as_ptr(), 255);
            blst::blst_p2_to_affine(&mut point, &product);
            blst::blst_p2_is_inf(&product)
        };
        (!infinite).then(|| Self::new(&point))
    }
}

/// Whether e(p, a) · e(q, b) = 1. The G1 points must be of the subgroup.
pub(crate) fn pairings_cancel(p: &Affine, a: &PreparedG2, q: &Affine, b: &PreparedG2) -> bool {
    let mut product: Option<blst_fp12> = None;
    for (point, lines) in [(p, a), (q, b)] {
        // e(0, ·) = 1; blst's loop over prepared lines does not expect (0, 0).
        if point.is_infinity() {
            continue;
        }
        let mut value = blst_fp12::default();
        // SAFETY: blst reads the 68 lines that `new` allocated, and one point.
        unsafe { blst::blst_miller_loop_lines(&mut value, lines.0.as_ptr(), point.as_blst()) };
        product = Some(match product {
            None => value,
            Some(other) => {
                let mut both = blst_fp12::default();
                // SAFETY: see the module.
                unsafe { blst::blst_fp12_mul(&mut both, &other, &value) };
                both
            }
        });
    }
    let Some(product) = product else { return true };
    let mut result = blst_fp12::default();
    // SAFETY: see the module.
    unsafe {
        blst::blst_final_exp(&mut result, &product);
        blst::blst_fp12_is_one(&result)
    }
}
