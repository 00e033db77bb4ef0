//! A witness: a secret value that lets a node's commitments be checked long after the put, by whoever was told the secret.
//!
//! ```text
//! client: seed ─► γ, z ─► y = Σ γ_i p_i(z) ──(seed, y)──► auditor, sealed at once
//! node:   list of commitments, signed with the witness's id ──► auditor: burnt with that list's digest, durably
//! auditor: ──seed──► node: opening of Σ γ_i p_i at z ──► it gives y against the burnt list, or the list is not believed
//! ```
//!
//! Whoever knows z *before* claiming a list can claim commitments of constants that give y, so the seed is all that protects:
//! each shard has a seed of its own, drawn by its client, from which no other follows; it is never logged, and it is revealed
//! only after the witness was burnt, durably, with the digest of the list that it is to judge. What becomes of the answers is
//! decided in `crate::commitment`.

mod judge;
mod said;
#[cfg(test)]
mod tests;

use std::fmt;

use holdfast_kzg::{BLOB_LEN, Fold, FoldError, Scalar};
use holdfast_types::Transcript;
use zeroize::Zeroizing;

use crate::challenge::Gammas;

pub use judge::{Read, Reading, claimed, holds, opened};
pub use said::{
    ADOPTION_REASON_MAX, Adopted, Adoption, Claim, ClaimFault, Commitments, Expected, OPENED_DAMAGED_MAX, Opened,
    OpenedBody,
};

/// Names a witness to the node, which learns nothing from it. Drawn by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WitnessId(pub [u8; 16]);

impl WitnessId {
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for WitnessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for WitnessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WitnessId({self})")
    }
}

/// The secret of one shard's witness: γ and z come from it alone. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessSeed(Zeroizing<[u8; 32]>);

impl WitnessSeed {
    /// Bytes of a seed.
    pub const LEN: usize = 32;

    /// From 32 bytes of the operating system's chance, drawn for this one shard.
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret itself: for the message that reveals it, and for sealing.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The coefficients of the shard's blobs: γ of blob i is `gammas().at(i)`.
    pub fn gammas(&self) -> Gammas {
        Gammas::of(&Transcript::new("holdfast 2026 witness v1 gamma").absorb("seed", self.expose()))
    }

    /// Where the sum is evaluated: 64 uniform bytes, reduced.
    pub fn z(&self) -> Scalar {
        let mut wide = Zeroizing::new([0; 64]);
        Transcript::new("holdfast 2026 witness v1 point").absorb("seed", self.expose()).stream().fill(&mut *wide);
        Scalar::from_wide(&wide)
    }
}

impl fmt::Debug for WitnessSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WitnessSeed(..)")
    }
}

/// What a client hands to the auditor for one shard. Neither seed nor y is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name.
    pub id: WitnessId,
    /// The secret.
    pub seed: WitnessSeed,
    /// Σ γ_i p_i(z), 32 bytes big-endian, canonical.
    pub y: [u8; 32],
}

impl Witness {
    /// The witness of a shard's bytes. Streams use [`Summing`].
    pub fn of(id: WitnessId, seed: WitnessSeed, shard: &[u8]) -> Result<Self, FoldError> {
        let mut summing = Summing::new(&seed);
        summing.absorb(0, shard)?;
        let y = summing.finish();
        Ok(Self { id, seed, y })
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({}, ..)", self.id)
    }
}

/// Σ γ_i p_i of one shard in the making, under a witness's γ: what the client evaluates, and what the node opens.
/// Pieces may come in any order and size, as long as each begins at an element (31 bytes) of its blob.
pub struct Summing {
    gammas: Gammas,
    z: Scalar,
    fold: Fold,
}

impl Summing {
    /// The empty sum under this seed.
    pub fn new(seed: &WitnessSeed) -> Self {
        Self { gammas: seed.gammas(), z: seed.z(), fold: Fold::new() }
    }

    /// Adds the shard's bytes from `offset` on; they may span blobs.
    pub fn absorb(&mut self, offset: u64, mut bytes: &[u8]) -> Result<(), FoldError> {
        let mut at = offset;
        while !bytes.is_empty() {
            let within = (at % BLOB_LEN as u64) as usize;
            let (piece, rest) = bytes.split_at(bytes.len().min(BLOB_LEN - within));
            self.fold.absorb(self.gammas.at(at / BLOB_LEN as u64), within, piece)?;
            at += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// y: what the client remembers.
    pub fn finish(self) -> [u8; 32] {
        self.fold.evaluate(self.z).to_bytes()
    }

    /// y with its proof: what the node answers.
    pub fn open(self, setup: &holdfast_kzg::Setup) -> holdfast_kzg::Opening {
        self.fold.open(setup, self.z)
    }
}

impl fmt::Debug for Summing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Summing(..)")
    }
}
