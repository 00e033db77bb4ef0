//! Points of G1 as they travel (48 compressed bytes) and as they are once believed.

use std::fmt;

use thiserror::Error;

use crate::blst::Affine;

/// Bytes of a compressed G1 point (the ZCash encoding, as EIP-4844 uses it).
pub const POINT_LEN: usize = 48;

/// Why 48 bytes are no point of G1. Each is its own attack: an invalid encoding makes two names for
/// one commitment, a point off the curve or outside the subgroup leaks or forges under the pairing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PointError {
    /// Flags or coordinate are not of a compressed point.
    #[error(
        "expected a compressed G1 point of 48 bytes, got flags or a coordinate that no point has; send the ZCash encoding"
    )]
    Encoding,
    /// No y exists for this x.
    #[error("expected the x coordinate of a point on BLS12-381, got one that is not on the curve; recompute the point")]
    NotOnCurve,
    /// On the curve, but not of the prime order.
    #[error("expected a point of the prime-order subgroup G1, got one outside it; recompute the point")]
    NotInSubgroup,
}

macro_rules! bytes48 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; POINT_LEN]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

bytes48!(
    /// A commitment as it travels: not yet known to be a point. Printed as `0x` and 96 hex digits.
    Commitment
);
bytes48!(
    /// An opening's proof as it travels: not yet known to be a point.
    Proof
);

/// A commitment that was parsed, found on the curve and in the subgroup; kept affine, so that
/// verifying with it costs no decompression. The point at infinity (the zero blob) is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckedCommitment(pub(crate) Affine);

impl CheckedCommitment {
    /// Bytes of the affine form: x ‖ y, uncompressed.
    pub const AFFINE_LEN: usize = Affine::SERIALIZED_LEN;

    /// Parses and checks a compressed point: some 50 to 100 µs, most of it the subgroup check.
    pub fn parse(commitment: &Commitment) -> Result<Self, PointError> {
        parse(&commitment.0).map(Self)
    }

    /// The compressed form again.
    pub fn commitment(&self) -> Commitment {
        Commitment(self.0.compress())
    }

    /// The affine form, for a cache of checked points kept under its own digest.
    pub fn to_affine_bytes(&self) -> [u8; Self::AFFINE_LEN] {
        self.0.serialize()
    }

    /// Reads what [`CheckedCommitment::to_affine_bytes`] wrote, without the subgroup check.
    /// Only for bytes that this process wrote and whose digest it verified: a point outside the
    /// subgroup would make false answers pass.
    pub fn from_trusted_affine(bytes: &[u8; Self::AFFINE_LEN]) -> Result<Self, PointError> {
        Affine::deserialize(bytes).map(Self)
    }
}

/// Encoding, curve and subgroup, in this order.
pub(crate) fn parse(bytes: &[u8; POINT_LEN]) -> Result<Affine, PointError> {
    let point = Affine::uncompress(bytes)?;
    if point.in_subgroup() { Ok(point) } else { Err(PointError::NotInSubgroup) }
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{Fq, G1Affine};
    use ark_ec::AffineRepr;
    use ark_ff::{BigInteger, PrimeField};
    use ark_serialize::CanonicalSerialize;

    use super::*;

    fn hex(text: &str) -> [u8; 48] {
        let bytes: Vec<u8> = (0..48).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
        bytes.try_into().unwrap()
    }

    fn refused(bytes: [u8; 48]) -> PointError {
        CheckedCommitment::parse(&Commitment(bytes)).unwrap_err()
    }

    /// The compressed form of some curve point with this x, whatever its order.
    fn with_x(x: u64) -> Option<[u8; 48]> {
        let point = G1Affine::get_point_from_x_unchecked(Fq::from(x), false)?;
        let mut bytes = Vec::new();
        point.serialize_compressed(&mut bytes).unwrap();
        Some(bytes.try_into().unwrap())
    }

    #[test]
    fn the_generator_and_infinity_are_points() {
        let generator = crate::slow::compress(G1Affine::generator().into_group());
        let checked = CheckedCommitment::parse(&Commitment(generator)).unwrap();
        assert_eq!(checked.commitment().0, generator);
        assert_eq!(CheckedCommitment::from_trusted_affine(&checked.to_affine_bytes()), Ok(checked));
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        let checked = CheckedCommitment::parse(&Commitment(infinity)).unwrap();
        assert_eq!(checked.commitment().0, infinity);
        assert_eq!(CheckedCommitment::from_trusted_affine(&checked.to_affine_bytes()), Ok(checked));
    }

    #[test]
    fn a_second_encoding_of_a_point_is_refused() {
        let generator = crate::slow::compress(G1Affine::generator().into_group());
        let mut uncompressed_flag = generator;
        uncompressed_flag[0] &= 0x7f;
        assert_eq!(refused(uncompressed_flag), PointError::Encoding);
        let mut infinity_flag = generator;
        infinity_flag[0] |= 0x40;
        assert_eq!(refused(infinity_flag), PointError::Encoding);
        let mut signed_infinity = [0; 48];
        signed_infinity[0] = 0xe0;
        assert_eq!(refused(signed_infinity), PointError::Encoding);
        assert_eq!(refused([0; 48]), PointError::Encoding);
        assert_eq!(refused([0xff; 48]), PointError::Encoding);
        // x + p is the same field element in 381 bits where it fits: x = p itself stands for 0, x = p + 4 for 4.
        let mut above = Fq::MODULUS;
        above.add_with_carry(&ark_ff::BigInt::from(4u64));
        let mut bytes: [u8; 48] = above.to_bytes_be().try_into().unwrap();
        bytes[0] |= 0x80;
        assert_eq!(refused(bytes), PointError::Encoding);
    }

    #[test]
    fn a_point_off_the_curve_and_one_outside_the_subgroup_are_told_apart() {
        let (mut off, mut outside) = (0, 0);
        for x in 1..40u64 {
            let mut bytes = [0; 48];
            bytes[47] = x as u8;
            bytes[0] = 0x80;
            match with_x(x) {
                None => {
                    assert_eq!(refused(bytes), PointError::NotOnCurve, "{x}");
                    off += 1;
                }
                // The cofactor is 2^125: no small x happens to be in the subgroup.
                Some(bytes) => {
                    assert_eq!(refused(bytes), PointError::NotInSubgroup, "{x}");
                    outside += 1;
                }
            }
        }
        assert!(off > 5 && outside > 5);
        // (0, 2) has order 3.
        let mut order_three = [0; 48];
        order_three[0] = 0x80;
        assert_eq!(refused(order_three), PointError::NotInSubgroup);
    }

    #[test]
    fn the_known_compressed_generator_is_ours() {
        let generator =
            hex("97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb");
        assert_eq!(Affine::generator().compress(), generator);
        assert_eq!(parse(&generator), Ok(Affine::generator()));
    }

    #[test]
    fn a_cached_affine_point_off_the_curve_is_refused() {
        let mut bytes = CheckedCommitment(Affine::generator()).to_affine_bytes();
        bytes[95] ^= 1;
        assert_eq!(CheckedCommitment::from_trusted_affine(&bytes), Err(PointError::NotOnCurve));
        bytes[0] |= 0x80;
        assert_eq!(CheckedCommitment::from_trusted_affine(&bytes), Err(PointError::Encoding));
        assert_eq!(CheckedCommitment::from_trusted_affine(&[0; 96]), Err(PointError::NotOnCurve));
    }
}
