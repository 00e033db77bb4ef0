//! Scalars: elements of the BLS12-381 scalar field, and the fold's short coefficients.

use std::fmt;

use ark_bls12_381::Fr;
use ark_ff::{BigInteger, PrimeField};
use thiserror::Error;

/// Why bytes are no scalar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ScalarError {
    /// Not below the field's order, so another encoding of some other scalar: two encodings of one
    /// value would let one answer be signed twice.
    #[error(
        "expected 32 big-endian bytes below the BLS12-381 scalar field's order, got a larger number; send the canonical form"
    )]
    NotCanonical,
}

/// An element of the scalar field; encoded as 32 big-endian bytes, always below the order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scalar(pub(crate) Fr);

impl Scalar {
    /// Bytes of the encoding.
    pub const LEN: usize = 32;

    /// Parses the canonical form.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, ScalarError> {
        let value = Fr::from_be_bytes_mod_order(bytes);
        let scalar = Self(value);
        if scalar.to_bytes() == *bytes { Ok(scalar) } else { Err(ScalarError::NotCanonical) }
    }

    /// The canonical form.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out.copy_from_slice(&self.0.into_bigint().to_bytes_be());
        out
    }

    #[cfg(any(test, feature = "test-setup"))]
    pub(crate) fn to_le_bytes(self) -> [u8; Self::LEN] {
        let mut out = self.to_bytes();
        out.reverse();
        out
    }

    /// Reduces 64 uniform bytes (big-endian): the bias is below 2^-256. For points drawn from a seed.
    pub fn from_wide(bytes: &[u8; 64]) -> Self {
        Self(Fr::from_be_bytes_mod_order(bytes))
    }
}

impl From<u64> for Scalar {
    fn from(value: u64) -> Self {
        Self(Fr::from(value))
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(0x")?;
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A fold's coefficient: 128 bits, so that a product with a 248-bit element stays far below 512 bits.
/// Coefficients of one fold are drawn independently: powers of one γ would grow to 255 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gamma(pub u128);

impl From<u128> for Gamma {
    fn from(value: u128) -> Self {
        Self(value)
    }
}

impl Gamma {
    pub(crate) fn to_fr(self) -> Fr {
        Fr::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_a_scalar() {
        let mut order = [0; 32];
        order.copy_from_slice(&Fr::MODULUS.to_bytes_be());
        assert_eq!(Scalar::from_bytes(&order), Err(ScalarError::NotCanonical));
        assert_eq!(Scalar::from_bytes(&[0xff; 32]), Err(ScalarError::NotCanonical));
        order[31] -= 1;
        let largest = Scalar::from_bytes(&order).unwrap();
        assert_eq!(largest.to_bytes(), order);
        assert_eq!(largest.0 + Fr::from(1u64), Fr::from(0u64));
        assert_eq!(Scalar::from_bytes(&[0; 32]).unwrap(), Scalar::from(0));
    }

    #[test]
    fn wide_reduction_is_the_big_endian_number_modulo_the_order() {
        let mut wide = [0; 64];
        wide[31] = 1; // 2^256
        let expected = Fr::from(u128::MAX) + Fr::from(1u64);
        assert_eq!(Scalar::from_wide(&wide).0, expected * expected);
        wide = [0; 64];
        wide[63] = 9;
        assert_eq!(Scalar::from_wide(&wide), Scalar::from(9));
    }
}
