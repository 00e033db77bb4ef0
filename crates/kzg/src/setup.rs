//! The setup.

use crate::{Commitment, PackError};

/// A structured reference string of 4096 points.
pub struct Setup(());

impl Setup {
    /// The Ethereum ceremony's.
    pub fn ethereum() -> &'static Self {
        todo!()
    }

    /// A setup whose secret is `tau`: **whoever knows τ forges any proof**. Tests and simulation only.
    #[cfg(feature = "test-setup")]
    pub fn insecure_from_tau(_tau: crate::Scalar) -> Self {
        todo!()
    }

    /// The commitment of one blob: at most [`crate::BLOB_LEN`] bytes, zero-padded.
    pub fn commit(&self, _blob: &[u8]) -> Result<Commitment, PackError> {
        todo!()
    }
}
