//! Names content by its BLAKE3 root and proves parts of it under that name. Does no IO.
//!
//! The way of a proof through the files: [`tree`] (shape) → `builder` (stream in, root and `outboard` out) → `leaves`
//! (which ones are asked for) → `proof` (what must be read, how long the answer is) → `prove` → `verify`.
//!
//! ---
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod cid;
mod leaves;
mod outboard;
mod proof;
mod prove;
#[cfg(feature = "serde")]
mod root_serde;
pub mod tree;
mod verify;

pub use builder::Builder;
pub use cid::{CID_LEN, CID_TEXT_LEN_MAX, Cid, CidError, Codec, ROOT_LEN, Root, RootTextError};
pub use leaves::{LEAVES_PER_PROOF_MAX, LeafIndex, LeafSet, LeafSetError};
pub use outboard::{OUTBOARD_ENTRY_LEN, Outboard, OutboardError, outboard_len};
pub use proof::{MultiProof, PROOF_LEN_MAX, plan_reads, proof_len};
pub use prove::{MissingRead, ProveError, prove, prove_content, prove_from_reads};
pub use tree::{GROUP_LEN, GeometryError, LEAF_LEN};
pub use verify::{Run, Verified, VerifyError, verify};
