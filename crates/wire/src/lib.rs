//! Protobuf and checked conversions; no decisions.
//!
//! [`pb`] is generated from `proto/`. What comes from outside is a `pb` value first and becomes a value of
//! `holdfast-protocol` or of [`convert`] through `TryFrom`, which bounds every length, count and number and says what
//! was expected ([`DecodeError`]). The way back, `From`, cannot fail. [`WireError`] is the one place where an error
//! becomes a gRPC status; [`snapshot`] guards `proto/` against breaking changes.

#![forbid(unsafe_code)]

pub mod convert;
mod decode;
mod error;
pub mod pb;
pub mod snapshot;

pub use decode::DecodeError;
pub use error::{ERROR_CODES, ErrorCode, WireError};

/// The compiled descriptors of all of `proto/`, a serialised `google.protobuf.FileDescriptorSet`: for reflection and
/// for the snapshot.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// Bytes of one gRPC message at most, both ways, on every service: 512 leaves with their paths, 4096 damaged ranges or
/// a chunk of 1 MiB fit; what an attacker can make us hold by one message does not grow beyond it.
pub const MESSAGE_LEN_MAX: usize = 2 << 20;
