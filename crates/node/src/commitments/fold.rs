//! Reads a whole shard once and sums its blobs under a seed: for a witness that was revealed, and for chance of our own.

use holdfast_kzg::{Opening, Setup};
use holdfast_protocol::witness::{Summing, WitnessSeed};
use holdfast_types::{ByteRange, ShardId};
use holdfast_wire::{ErrorCode, WireError};
use merkle_cid::Builder;

use crate::{content::shard_key, state::State};

/// What became of a sum.
pub(super) enum Folded {
    Opening(Opening),
    /// These ranges cannot be read, or all of it is not the shard.
    Damaged(Vec<ByteRange>),
    Missing,
}

/// One pass over the shard at the rate of a challenge. Blocks. What is damaged is noted.
pub(super) fn fold(state: &State, shard: ShardId, seed: &WitnessSeed) -> Result<Folded, WireError> {
    let key = shard_key(&shard);
    let Some(entry) = state.reader.stat(&key) else { return Ok(Folded::Missing) };
    let (mut hash, mut sum, mut damaged) = (Builder::new(), Summing::new(seed), Vec::new());
    let mut pieces = state.reader.read_pieces(&[key]);
    let mut read = 0;
    while let Some(piece) = pieces.next() {
        match piece.bytes {
            Some(bytes) => {
                hash.update(bytes);
                let unaligned =
                    |error| WireError::new(ErrorCode::Bug, format_args!("{error}; this is a bug, report it"));
                sum.absorb(piece.offset, bytes).map_err(unaligned)?;
            }
            None => damaged.push(piece.offset..piece.offset + piece.len),
        }
        read += piece.len;
        std::thread::sleep(state.rate.turn(piece.len));
    }
    if read != entry.len {
        // Deleted before the first piece: nothing was there to read.
        return Ok(Folded::Missing);
    }
    if damaged.is_empty() && hash.finish().0 != shard.0 {
        // Rot before the checksums were taken. Whatever we said of these bytes would be said of another shard.
        damaged.push(0..entry.len);
    }
    if damaged.is_empty() {
        return Ok(Folded::Opening(sum.open(Setup::ethereum())));
    }
    state.damaged(shard, &damaged);
    Ok(Folded::Damaged(super::claim::ranges(&damaged)))
}
