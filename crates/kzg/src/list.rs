//! A shard's commitments in order, their digest, and the file they are kept in (docs/formats/commitments.md).

use holdfast_types::{SHARD_LEN_MAX, Transcript};
use thiserror::Error;

use crate::{CheckedCommitment, Commitment, POINT_LEN, PointError, blobs_of};

/// Blobs of a shard at most: what `SHARD_LEN_MAX` bytes make.
pub const BLOBS_MAX: usize = blobs_of(SHARD_LEN_MAX) as usize;

const MAGIC: [u8; 8] = *b"HFKZGLS\n";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 8 + 2 + 2 + 2 + 2 + 8;

/// Bytes of an encoded list at most; refuse longer ones before reading them.
pub const LIST_LEN_MAX: usize = HEADER_LEN + BLOBS_MAX * POINT_LEN + 32;

/// Why bytes are no commitment list.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ListError {
    /// Not the file it should be.
    #[error("expected a commitment list, got other bytes; fetch the list again")]
    Magic,
}

/// A shard's commitments, one a blob, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitmentList {
    commitments: Vec<Commitment>,
}

impl CommitmentList {
    /// The commitments of one shard: at most [`BLOBS_MAX`].
    pub fn new(commitments: Vec<Commitment>) -> Result<Self, ListError> {
        Ok(Self { commitments })
    }

    /// Whether a shard of `shard_len` bytes has as many blobs as this list has commitments.
    pub fn fits(&self, shard_len: u64) -> bool {
        blobs_of(shard_len) == self.commitments.len() as u64
    }

    /// One a blob, in order.
    pub fn commitments(&self) -> &[Commitment] {
        &self.commitments
    }

    /// The name of the list: what the catalog keeps.
    pub fn digest(&self) -> [u8; 32] {
        let _ = Transcript::new("holdfast 2026 commitment list v1");
        todo!()
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let _ = (MAGIC, VERSION);
        todo!()
    }

    /// The inverse of [`CommitmentList::encode`]. Points are not checked yet.
    pub fn decode(_bytes: &[u8]) -> Result<Self, ListError> {
        todo!()
    }

    /// Checks every point; the index names the first bad one.
    pub fn check_points(&self) -> Result<Vec<CheckedCommitment>, (usize, PointError)> {
        todo!()
    }
}
