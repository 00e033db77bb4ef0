//! Points of G1 as they travel (48 compressed bytes) and as they are once believed.

use std::fmt;

use thiserror::Error;

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
pub struct CheckedCommitment(());

impl CheckedCommitment {
    /// Bytes of the affine form: x ‖ y, uncompressed.
    pub const AFFINE_LEN: usize = 96;

    /// Parses and checks a compressed point: about 75 µs, most of it the subgroup check.
    pub fn parse(_commitment: &Commitment) -> Result<Self, PointError> {
        todo!()
    }

    /// The compressed form again.
    pub fn commitment(&self) -> Commitment {
        todo!()
    }
}
