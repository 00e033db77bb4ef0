//! A read: verified bytes in order, with the ranges that cannot be given named between them. Damaged bytes never
//! leave this module.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use holdfast_types::{ByteRange, ShardId};
use holdfast_volume::{PIECE_LEN, VolumeError};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{GetPart, PIECE_SENT_MAX},
    pb::node::v1::GetShardResponse,
};
use tokio::{sync::mpsc, task::spawn_blocking};
use tonic::Status;

use crate::{
    content::{sequence, shard_key},
    refusal,
    state::State,
};

/// Bytes of one read of the disk: whole pieces, near 1 MiB.
const RUN_LEN: u64 = 8 * PIECE_LEN;
/// Messages waiting for a slow caller at most; together about one read.
const MESSAGES_MAX: usize = 4;

/// What a read of the disk gave; what is damaged of it is zeros, and named.
struct Read {
    bytes: Bytes,
    damaged: Vec<Range<u64>>,
}

pub(crate) type Messages = mpsc::Receiver<Result<GetShardResponse, Status>>;

/// Begins to read `range` of a shard, or all of it.
pub(crate) fn get(state: &Arc<State>, shard: ShardId, range: Option<ByteRange>) -> Result<Messages, WireError> {
    let entry = state.reader.stat(&shard_key(&shard)).ok_or_else(|| {
        WireError::new(ErrorCode::NotFound, format_args!("no shard {shard} on this node; ask the auditor where it is"))
    })?;
    let whole = ByteRange::first(entry.len);
    let wanted = range.map_or(whole, |range| whole.intersect(range));
    let header = GetPart::Header { len: entry.len, sequence: sequence(entry.sequence) };
    let (out, messages) = mpsc::channel(MESSAGES_MAX);
    let state = Arc::clone(state);
    state.counts.get();
    tokio::spawn(async move {
        // Refused only when the caller is gone, and with it the wish.
        if out.send(Ok(header.into())).await.is_err() {
            return;
        }
        if let Err(error) = send(&state, shard, wanted, &out).await {
            let _ = out.send(Err(error.into())).await;
        }
    });
    Ok(messages)
}

async fn send(
    state: &Arc<State>,
    shard: ShardId,
    wanted: ByteRange,
    out: &mpsc::Sender<Result<GetShardResponse, Status>>,
) -> Result<(), WireError> {
    let mut at = wanted.start();
    while at < wanted.end() {
        // Reads end at pieces, so that none is read and verified twice.
        let end = wanted.end().min((at / RUN_LEN + 1) * RUN_LEN);
        let read = read(state, shard, at..end).await?;
        state.damaged(shard, &read.damaged);
        for part in parts(at, read) {
            let handed_on = good_bytes(&part);
            if out.send(Ok(part.into())).await.is_err() {
                return Ok(());
            }
            state.counts.got(handed_on);
        }
        at = end;
    }
    Ok(())
}

async fn read(state: &Arc<State>, shard: ShardId, range: Range<u64>) -> Result<Read, WireError> {
    let _turn = state.reads.clone().acquire_owned().await.map_err(|_| refusal::busy("reads"))?;
    state.served.now();
    let (reader, buffers) = (state.reader.clone(), state.buffers.clone());
    let read = spawn_blocking(move || {
        let mut bytes = buffers.take();
        let damaged = reader.read_into(&shard_key(&shard), range, &mut bytes)?;
        Ok(Read { bytes: buffers.lend(bytes), damaged })
    });
    let read = read.await.map_err(|error| refusal::of_join(&error))?;
    read.map_err(|error: VolumeError| refusal::of_volume(&error))
}

fn good_bytes(part: &GetPart) -> u64 {
    match part {
        GetPart::Piece { bytes, .. } => bytes.len() as u64,
        GetPart::Header { .. } | GetPart::Damaged(_) => 0,
    }
}

/// What was read from `at` on, as messages: good bytes as pieces, damaged ranges by name.
fn parts(at: u64, read: Read) -> Vec<GetPart> {
    let Read { bytes, damaged } = read;
    let end = at + bytes.len() as u64;
    let (mut parts, mut from) = (Vec::new(), at);
    let good = |parts: &mut Vec<GetPart>, good: Range<u64>| {
        for start in good.clone().step_by(PIECE_SENT_MAX) {
            let stop = good.end.min(start + PIECE_SENT_MAX as u64);
            let bytes = bytes.slice((start - at) as usize..(stop - at) as usize);
            parts.push(GetPart::Piece { offset: start, bytes });
        }
    };
    for damaged in damaged {
        good(&mut parts, from..damaged.start);
        parts.extend(ByteRange::new(damaged.start, damaged.end).map(GetPart::Damaged));
        from = damaged.end;
    }
    good(&mut parts, from..end);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_bytes_and_damage_cover_the_range_once_and_no_damaged_byte_is_in_a_piece() {
        let len = 2 * PIECE_SENT_MAX as u64 + 100;
        let damaged = [0..10, 5_000..PIECE_SENT_MAX as u64 + 7, len - 1..len];
        let mut bytes = vec![1; len as usize];
        damaged.iter().for_each(|range| bytes[range.start as usize..range.end as usize].fill(0));
        let mut at = 1_000;
        for part in parts(
            1_000,
            Read { bytes: bytes.into(), damaged: damaged.iter().map(|r| r.start + 1_000..r.end + 1_000).collect() },
        ) {
            match part {
                GetPart::Piece { offset, bytes } => {
                    assert_eq!(offset, at);
                    assert!(!bytes.is_empty() && bytes.len() <= PIECE_SENT_MAX && bytes.iter().all(|byte| *byte == 1));
                    at += bytes.len() as u64;
                }
                GetPart::Damaged(range) => {
                    assert_eq!(range.start(), at);
                    at = range.end();
                }
                GetPart::Header { .. } => panic!("no header here"),
            }
        }
        assert_eq!(at, 1_000 + len);
    }
}
