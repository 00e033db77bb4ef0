//! BLAKE3's own tree as a Merkle tree: CIDs, inclusion proofs, verification.

#![forbid(unsafe_code)]

mod cid;

pub use cid::{CID_LEN, CID_TEXT_LEN_MAX, Cid, CidError, Codec, ROOT_LEN, Root};
