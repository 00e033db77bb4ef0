//! Ranges, fences, codes: what every other conversion is made of.

use holdfast_types::{ByteRange, Code, Fence, SHARD_LEN_MAX, SHARDS_MAX, ShardIndex, Signature, SignedGrant};

use crate::{
    decode::{DecodeError, fixed, number, present},
    pb::common::v1 as pb,
};

impl TryFrom<pb::ByteRange> for ByteRange {
    type Error = DecodeError;
    fn try_from(range: pb::ByteRange) -> Result<Self, DecodeError> {
        ByteRange::new(range.start, range.end)
            .ok_or_else(|| DecodeError::new("end", format_args!("{} or more", range.start), range.end))
    }
}

impl From<ByteRange> for pb::ByteRange {
    fn from(range: ByteRange) -> Self {
        Self { start: range.start(), end: range.end() }
    }
}

impl From<pb::Fence> for Fence {
    fn from(fence: pb::Fence) -> Self {
        Self { epoch: fence.epoch, counter: fence.counter }
    }
}

impl From<Fence> for pb::Fence {
    fn from(fence: Fence) -> Self {
        Self { epoch: fence.epoch, counter: fence.counter }
    }
}

impl TryFrom<pb::Code> for Code {
    type Error = DecodeError;
    fn try_from(code: pb::Code) -> Result<Self, DecodeError> {
        let bound = 1..=u32::from(SHARDS_MAX) - 1;
        let data = number("data", code.data, bound.clone())? as u16;
        let parity = number("parity", code.parity, bound)? as u16;
        Code::new(data, parity).map_err(|error| DecodeError::new("data + parity", "a code that exists", error))
    }
}

impl From<Code> for pb::Code {
    fn from(code: Code) -> Self {
        Self { data: code.data().into(), parity: code.parity().into() }
    }
}

/// Index of a shard in its segment.
pub(crate) fn shard_index(field: &str, index: u32) -> Result<ShardIndex, DecodeError> {
    Ok(ShardIndex(number(field, index, 0..=u32::from(SHARDS_MAX) - 1)? as u16))
}

/// Bytes of one stored shard.
pub(crate) fn shard_len(field: &str, len: u64) -> Result<u64, DecodeError> {
    number(field, len, 1..=SHARD_LEN_MAX)
}

/// Algorithm and signature; whether it holds is for whoever has the key.
pub(crate) fn signature(field: &str, bytes: &[u8]) -> Result<Signature, DecodeError> {
    let bytes: [u8; Signature::LEN] = fixed(field, bytes)?;
    present(field, Signature::from_bytes(&bytes))
}

/// A grant's bytes; whether it holds is for the node.
pub(crate) fn grant(field: &str, bytes: &[u8]) -> Result<SignedGrant, DecodeError> {
    SignedGrant::from_bytes(bytes)
        .map_err(|_| DecodeError::new(field, "a signed grant of 195 bytes", format_args!("{} bytes", bytes.len())))
}

/// A grant's bytes, or none.
pub(crate) fn grant_or_empty(field: &str, bytes: &[u8]) -> Result<Option<SignedGrant>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { grant(field, bytes).map(Some) }
}

/// Ranges of a stored shard that are damaged: sorted, disjoint, not empty.
pub(crate) fn damaged_ranges(
    field: &str,
    ranges: Vec<pb::ByteRange>,
    most: usize,
) -> Result<Vec<ByteRange>, DecodeError> {
    let mut end = 0;
    crate::decode::list(field, ranges, 0..=most, |range| {
        let range = ByteRange::try_from(range)?;
        if range.is_empty() || range.start() < end || range.end() > SHARD_LEN_MAX {
            return Err(DecodeError::new("range", "sorted, disjoint ranges of a shard", range));
        }
        end = range.end();
        Ok(range)
    })
}
