//! The fold.

use thiserror::Error;

use crate::{Gamma, Opening, Scalar, Setup};

/// Why a piece cannot be folded in: a mistake of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FoldError {
    /// The piece does not begin at an element.
    #[error("expected a piece to begin at a multiple of 31 bytes in its blob, got offset {offset}; align the read")]
    Misaligned {
        /// Where the piece begins in its blob.
        offset: usize,
    },
    /// The piece reaches past its blob.
    #[error(
        "expected a piece within the blob's 126976 bytes, got {len} bytes at offset {offset}; cut the read at blobs"
    )]
    PastBlob {
        /// Where the piece begins in its blob.
        offset: usize,
        /// Its bytes.
        len: usize,
    },
}

/// Σ γ_i p_i in the making. 256 KiB, however many blobs go in.
pub struct Fold(());

impl Fold {
    /// The empty sum.
    pub fn new() -> Self {
        todo!()
    }

    /// Adds γ times a piece of a blob; pieces may come in any order.
    pub fn absorb(&mut self, _gamma: Gamma, _offset_in_blob: usize, _bytes: &[u8]) -> Result<(), FoldError> {
        todo!()
    }

    /// Adds another sum.
    pub fn merge(&mut self, _other: &Self) {
        todo!()
    }

    /// Opens the sum at z.
    pub fn open(self, _setup: &Setup, _z: Scalar) -> Opening {
        todo!()
    }

    /// The sum's value at z, without a proof (what a witness holds).
    pub fn evaluate(self, _z: Scalar) -> Scalar {
        todo!()
    }
}

impl Default for Fold {
    fn default() -> Self {
        Self::new()
    }
}
