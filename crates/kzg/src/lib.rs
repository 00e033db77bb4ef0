//! KZG commitments over BLS12-381 with the Ethereum ceremony's setup: pack, commit, fold, open, verify.
//!
//! A shard is cut into blobs of 126,976 bytes; a blob is 4096 elements of 31 bytes, the values of a
//! polynomial of degree < 4096 at the bit-reversed roots of unity, exactly as in EIP-4844. So a
//! commitment here is, byte for byte, what c-kzg's `blob_to_kzg_commitment` gives for the same values,
//! and an opening is what its `compute_kzg_proof` gives.
//!
//! The road through the crate: [`Setup::commit`] names a blob by 48 bytes; [`Fold`] sums any number of
//! blobs under 128-bit coefficients; [`Fold::open`] proves that sum's value at one point in 80 bytes;
//! [`verify`] and [`verify_batch`] check it against the commitments alone. Points and scalars from outside
//! are parsed at the door: [`CheckedCommitment`], [`Scalar`].
//!
//! What a peer's bytes can be is a [`Verdict`], never an `Err`.

#![deny(unsafe_code)]

mod accumulate;
mod blst;
mod buckets;
mod chord;
mod domain;
mod engine;
mod field;
mod fixed_base;
mod fold;
#[cfg(any(test, feature = "test-setup"))]
#[doc(hidden)]
pub mod fuzzing;
mod list;
mod msm;
mod opening;
mod pack;
mod point;
mod scalar;
mod setup;
mod simd;
#[cfg(test)]
mod slow;
mod sums;
mod verify;

pub use engine::{CpuPath, CpuPathUnavailable};
pub use fold::{Fold, FoldError};
pub use list::{BLOBS_MAX, CommitmentList, LIST_LEN_MAX, ListError};
pub use opening::Opening;
pub use pack::{BLOB_LEN, ELEMENT_LEN, ELEMENTS_PER_BLOB, EXPANDED_LEN, PackError, blob_len, blobs_of, pack, unpack};
pub use point::{CheckedCommitment, Commitment, POINT_LEN, PointError, Proof};
pub use scalar::{Gamma, Scalar, ScalarError};
pub use setup::Setup;
pub use verify::{BatchVerdict, FoldClaim, Malformed, Verdict, verify, verify_batch};
