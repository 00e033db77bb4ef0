//! Verification.

use crate::{CheckedCommitment, Gamma, Opening, PointError, Scalar, ScalarError, Setup};

/// One answer to a fold.
#[derive(Clone, Copy, Debug)]
pub struct FoldClaim<'a> {
    /// (γ, commitment) of every blob folded.
    pub terms: &'a [(Gamma, &'a CheckedCommitment)],
    /// Where it was opened.
    pub z: Scalar,
    /// What the peer answered.
    pub opening: Opening,
}

/// Which of the peer's bytes are not even of the right form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// y.
    Value(ScalarError),
    /// π.
    Proof(PointError),
}

/// What a claim is found to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// The claim holds.
    Holds,
    /// Well-formed, and false.
    Wrong,
    /// Bytes that are no answer.
    Malformed(Malformed),
}

/// One verdict a claim, in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct BatchVerdict(pub Vec<Verdict>);

impl BatchVerdict {
    /// Whether every claim holds.
    pub fn all_hold(&self) -> bool {
        self.0.iter().all(|verdict| *verdict == Verdict::Holds)
    }
}

/// Verifies one claim.
pub fn verify(_setup: &Setup, _claim: &FoldClaim<'_>) -> Verdict {
    todo!()
}

/// Verifies all claims as one random combination; on failure finds the false ones.
/// `entropy` must be drawn after the last answer came, from the operating system.
pub fn verify_batch(_setup: &Setup, _claims: &[FoldClaim<'_>], _entropy: [u8; 32]) -> BatchVerdict {
    todo!()
}
