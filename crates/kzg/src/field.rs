//! Sums and differences in the base field, in plain Rust: inlined, they stay in registers, where a call
//! into blst for so little costs more than the work. Products are blst's ([`crate::blst`]).

use ::blst::blst_fp;

use crate::blst::Fp;

type Limbs = [u64; 6];

impl Fp {
    /// The base field's order, little-endian.
    pub(crate) const MODULUS: Limbs = [
        0xb9fe_ffff_ffff_aaab,
        0x1eab_fffe_b153_ffff,
        0x6730_d2a0_f6b0_f624,
        0x6477_4b84_f385_12bf,
        0x4b1b_a7b6_434b_acd7,
        0x1a01_11ea_397f_e69a,
    ];
    pub(crate) const ZERO: Self = Self(blst_fp { l: [0; 6] });
    /// 2^384 modulo p: one, in Montgomery form.
    pub(crate) const ONE: Self = Self(blst_fp {
        l: [
            0x7609_0000_0002_fffd,
            0xebf4_000b_c40c_0002,
            0x5f48_9857_53c7_58ba,
            0x77ce_5853_7052_5745,
            0x5c07_1a97_a256_ec6d,
            0x15f6_5ec3_fa80_e493,
        ],
    });

    /// The element whose Montgomery form this is, below p.
    pub(crate) const fn from_words(l: Limbs) -> Self {
        Self(blst_fp { l })
    }

    /// The Montgomery form, little-endian.
    pub(crate) const fn words(&self) -> &Limbs {
        &self.0.l
    }

    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        self.0.l.iter().fold(0, |all, limb| all | limb) == 0
    }

    #[inline(always)]
    pub(crate) fn plus(&self, other: &Self) -> Self {
        // Both are below p < 2^381, so the sum leaves no carry.
        let (sum, _) = add(&self.0.l, &other.0.l);
        let (reduced, below) = subtract(&sum, &Self::MODULUS);
        Self(blst_fp { l: select(below, &sum, &reduced) })
    }

    #[inline(always)]
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let (difference, below) = subtract(&self.0.l, &other.0.l);
        let (wrapped, _) = add(&difference, &select(below, &Self::MODULUS, &[0; 6]));
        Self(blst_fp { l: wrapped })
    }

    /// −self if `negate`, without a branch: signs of digits are as good as random.
    #[inline(always)]
    pub(crate) fn negated_if(&self, negate: bool) -> Self {
        let (negated, _) = subtract(&Self::MODULUS, &self.0.l);
        Self(blst_fp { l: select(negate & !self.is_zero(), &negated, &self.0.l) })
    }
}

#[inline(always)]
fn add(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (mut out, mut carry) = ([0; 6], false);
    for at in 0..6 {
        (out[at], carry) = a[at].carrying_add(b[at], carry);
    }
    (out, carry)
}

#[inline(always)]
fn subtract(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (mut out, mut borrow) = ([0; 6], false);
    for at in 0..6 {
        (out[at], borrow) = a[at].borrowing_sub(b[at], borrow);
    }
    (out, borrow)
}

#[inline(always)]
fn select(first: bool, a: &Limbs, b: &Limbs) -> Limbs {
    let mask = u64::from(first).wrapping_neg();
    std::array::from_fn(|at| b[at] ^ (mask & (a[at] ^ b[at])))
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::Fq;
    use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
    use proptest::prelude::*;

    use super::*;

    /// ark keeps the same Montgomery form in the same limbs.
    fn ours(value: Fq) -> Fp {
        Fp(blst_fp { l: value.0.0 })
    }

    fn value() -> impl Strategy<Value = Fq> {
        let edge = prop::sample::select(vec![Fq::ZERO, Fq::ONE, -Fq::ONE, Fq::from(2u64), -Fq::from(2u64)]);
        let any = any::<[u64; 6]>().prop_map(|mut limbs| {
            limbs[5] >>= 4;
            Fq::from(BigInt::new(limbs))
        });
        prop_oneof![edge, any]
    }

    proptest! {
        #[test]
        fn arithmetic_is_arks(a in value(), b in value(), negate: bool) {
            prop_assert_eq!(ours(a).plus(&ours(b)), ours(a + b));
            prop_assert_eq!(ours(a).minus(&ours(b)), ours(a - b));
            prop_assert_eq!(ours(a).negated_if(negate), ours(if negate { -a } else { a }));
            prop_assert_eq!(ours(a).is_zero(), a == Fq::ZERO);
            let mut product = ours(a);
            product.multiply_by(&ours(b));
            prop_assert_eq!(product, ours(a * b));
            product.set_square(&ours(a));
            prop_assert_eq!(product, ours(a * a));
            prop_assert_eq!(ours(a).inverse(), ours(a.inverse().unwrap_or(Fq::ZERO)));
        }
    }

    #[test]
    fn constants_are_arks() {
        assert_eq!(Fp::MODULUS, Fq::MODULUS.0);
        assert_eq!(Fp::ONE, ours(Fq::ONE));
        assert_eq!(Fp::ZERO, ours(Fq::ZERO));
    }
}
