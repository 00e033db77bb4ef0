//! One shard, or a part of one, from its node: in order, in time, and, if it is whole, with its CID.

use std::time::Duration;

use holdfast_dispersal::Mask;
use holdfast_protocol::get::Trouble;
use holdfast_types::{ByteRange, Millis, Root, ShardId};
use holdfast_wire::{ErrorCode, convert::ShardLocation};

use crate::{LinkError, Links, link::ShardPart};

/// Between two pieces of a shard: a node that sends nothing for so long sends nothing more.
const PIECE_PATIENCE: Duration = Duration::from_secs(15);
/// A node that is busy without saying for how long.
const BUSY_UNSAID: Millis = Millis(500);

/// Reads `range` of a shard of `len` bytes to `bytes`, which is empty, and takes the mask off. With `verify`, which is for
/// all of it, the bytes as they came have the shard's CID or are none.
///
/// Each piece is hashed, copied and unmasked while it is in the processor's cache, and let go: whatever lengths a node sends
/// it in, what is kept is the range, which the segment's geometry bounds.
pub(super) async fn fetch(
    links: &Links,
    at: &ShardLocation,
    len: u64,
    range: ByteRange,
    mask: Mask,
    mut bytes: Vec<u8>,
    verify: bool,
) -> Result<Vec<u8>, Trouble> {
    let link = links.to(at.node.id, &at.node.addresses).map_err(trouble)?;
    let mut reader = link.get(at.shard, len, range, at.grant, PIECE_PATIENCE).await.map_err(trouble)?;
    let mut hasher = blake3::Hasher::new();
    loop {
        match reader.next().await.map_err(trouble)? {
            Some(ShardPart::Bytes(offset, piece)) => {
                if verify {
                    hasher.update(&piece);
                }
                let from = bytes.len();
                bytes.extend_from_slice(&piece);
                mask.apply(offset, &mut bytes[from..]);
            }
            // One is enough: others give these bytes, and the node's own list is for the auditor.
            Some(ShardPart::Damaged(range)) => return Err(Trouble::Damaged(vec![range])),
            None => break,
        }
    }
    if bytes.len() as u64 != range.len() {
        return Err(Trouble::Refused(format!("expected {} bytes, got {}", range.len(), bytes.len())));
    }
    if verify && ShardId(Root::from(hasher.finalize())) != at.shard {
        return Err(Trouble::Corrupt);
    }
    Ok(bytes)
}

/// What the machine makes of a failed read.
fn trouble(error: LinkError) -> Trouble {
    match error {
        LinkError::Unreachable { .. } | LinkError::Timeout { .. } => Trouble::Silent,
        LinkError::Malformed { why, .. } => Trouble::Refused(why),
        LinkError::Said { error, .. } => match error.code {
            ErrorCode::NotFound => Trouble::Missing,
            ErrorCode::Retry | ErrorCode::Exhausted => {
                Trouble::Busy { retry_after: error.retry_after.unwrap_or(BUSY_UNSAID) }
            }
            ErrorCode::Corrupt => Trouble::Damaged(Vec::new()),
            ErrorCode::Conflict | ErrorCode::Invalid | ErrorCode::Denied | ErrorCode::Bug => {
                Trouble::Refused(error.message)
            }
        },
    }
}
