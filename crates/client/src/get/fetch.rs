//! One shard, or a part of one, from its node: in order, in time, and, if it is whole, with its CID.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdfast_protocol::get::Trouble;
use holdfast_types::{ByteRange, Millis, Root, ShardId};
use holdfast_wire::{
    ErrorCode,
    convert::{PIECE_SENT_MAX, ShardLocation},
};

use crate::{LinkError, Links, link::ShardPart};

/// Between two pieces of a shard: a node that sends nothing for so long sends nothing more.
const PIECE_PATIENCE: Duration = Duration::from_secs(15);
/// A node that is busy without saying for how long.
const BUSY_UNSAID: Millis = Millis(500);

/// Pieces shorter than this are copied together: a piece is a view of the message it came in, and keeps all of it, so
/// that a node that sends little in large messages would cost us a hundred times what we asked for. An honest one sends
/// pieces of this length, up to the last.
const PIECE_LEN_MIN: usize = PIECE_SENT_MAX;

/// Pieces in order.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Bytes>,
    small: BytesMut,
    len: u64,
}

impl Pieces {
    /// `whole`: the bytes of all pieces together. The last piece may be short, and is only one.
    fn push(&mut self, piece: Bytes, whole: u64) {
        self.len += piece.len() as u64;
        if piece.len() < PIECE_LEN_MIN && self.len < whole {
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
                came.push(piece, range.len());
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
    fn short_pieces_are_copied_together_and_keep_no_message() {
        let whole: Vec<u8> = (0..1_000_000u32).map(|n| (n / 7) as u8).collect();
        let lens = [1, 1, 5, PIECE_LEN_MIN - 1, PIECE_LEN_MIN, 1, 60_000, 70_000, 2, 100];
        let total = lens.iter().sum::<usize>();
        let (mut came, mut at) = (Pieces::default(), 0);
        for len in lens {
            let message = Bytes::copy_from_slice(&whole);
            came.push(message.slice(at..at + len), total as u64);
            at += len;
            let kept = len >= PIECE_LEN_MIN || at == total;
            assert_eq!(message.is_unique(), !kept, "{len}");
        }
        came.flush();
        assert_eq!((came.pieces.len(), came.len), (4, at as u64));
        assert_eq!(came.pieces.concat(), whole[..at]);
    }
}
