//! An opening: the value of a polynomial at one point, and the 48 bytes that prove it.

use crate::{POINT_LEN, Proof, Scalar, ScalarError};

/// y = P(z) and its proof, as bytes: what a peer sent is judged by the verifier, not by the parser.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Opening {
    /// y, 32 bytes big-endian; canonical only if the verifier says so.
    pub y: [u8; Scalar::LEN],
    /// π, a compressed point.
    pub proof: Proof,
}

impl Opening {
    /// Bytes of the encoding: y, then π.
    pub const LEN: usize = Scalar::LEN + POINT_LEN;

    /// y ‖ π.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..Scalar::LEN].copy_from_slice(&self.y);
        out[Scalar::LEN..].copy_from_slice(&self.proof.0);
        out
    }

    /// The inverse of [`Opening::to_bytes`]. Judges nothing.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut opening = Self { y: [0; Scalar::LEN], proof: Proof([0; POINT_LEN]) };
        opening.y.copy_from_slice(&bytes[..Scalar::LEN]);
        opening.proof.0.copy_from_slice(&bytes[Scalar::LEN..]);
        opening
    }

    /// y as a scalar, if it is in canonical form.
    pub fn value(&self) -> Result<Scalar, ScalarError> {
        Scalar::from_bytes(&self.y)
    }
}
