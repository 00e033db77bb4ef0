//! One shard, or a part of one, from its node: in order, in time, and, if it is whole, with its CID.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdfast_protocol::get::Trouble;
use holdfast_types::{ByteRange, Millis, Root, ShardId};
use holdfast_wire::{ErrorCode, convert::ShardLocation};

use crate::{LinkError, Links, link::ShardPart};

/// Between two pieces of a shard: a node that sends nothing for so long sends nothing more.
const PIECE_PATIENCE: Duration = Duration::from_secs(15);
/// A node that is busy without saying for how long.
const BUSY_UNSAID: Millis = Millis(500);

/// Pieces shorter than this are gathered: a node that sends single bytes must not cost us a hundred times
/// what it sends. Those of an honest one have 256 KiB.
const PIECE_LEN_MIN: usize = 16 << 10;

/// Pieces in order.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    small: BytesMut,
    len: u64,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        self.len += piece.len() as u64;
        if piece.len() < PIECE_LEN_MIN {
            self.small.extend_from_slice(&piece);
        } else {
            self.flush();
            self.pieces.push(piece);
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }
}

/// Reads `range` of a shard of `len` bytes, in the pieces in which it came. With `verify`, which is for
/// all of it, the bytes have the shard's CID or are none.
pub(super) async fn fetch(
    links: &Links,
    at: &ShardLocation,
    len: u64,
    range: ByteRange,
    verify: bool,
) -> Result<Vec<Bytes>, Trouble> {
    let link = links.to(at.node.id, &at.node.addresses).map_err(trouble)?;
    let mut reader = link.get(at.shard, len, range, at.grant, PIECE_PATIENCE).await.map_err(trouble)?;
    // Together no more than the range, which the segment's geometry bounds and the reader holds to.
    let mut came = Pieces::default();
    let mut hasher = blake3::Hasher::new();
    loop {
        match reader.next().await.map_err(trouble)? {
            Some(ShardPart::Bytes(_, piece)) => {
                if verify {
                    hasher.update(&piece);
                }
                came.push(piece);
            }
            // One is enough: others give these bytes, and the node's own list is for the auditor.
            Some(ShardPart::Damaged(range)) => return Err(Trouble::Damaged(vec![range])),
            None => break,
        }
    }
    if came.len != range.len() {
        return Err(Trouble::Refused(format!("expected {} bytes, got {}", range.len(), came.len)));
    }
    if verify && ShardId(Root::from(hasher.finalize())) != at.shard {
        return Err(Trouble::Corrupt);
    }
    came.flush();
    Ok(came.pieces)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_gathered_and_long_ones_kept_all_in_order() {
        let whole: Vec<u8> = (0..200_000u32).map(|n| (n / 7) as u8).collect();
        let mut came = Pieces::default();
        let mut at = 0;
        for len in [1, 1, 5, PIECE_LEN_MIN - 1, PIECE_LEN_MIN, 1, 60_000, 70_000, 2] {
            came.push(Bytes::copy_from_slice(&whole[at..at + len]));
            at += len;
        }
        came.flush();
        assert_eq!((came.pieces.len(), came.len), (6, at as u64));
        assert_eq!(came.pieces.concat(), whole[..at]);
    }
}
