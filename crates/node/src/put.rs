//! A put: a grant, then bytes, hashed and written as they come, durable before the receipt.
//!
//! Until the writer has committed it, a shard is a reservation in somebody's hands; a stream that ends early, a wrong
//! root or a caller that goes away drops the reservation, and nothing is left.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use holdfast_protocol::message::Receipt;
use holdfast_transport::{PeerIdentity, Role};
use holdfast_types::{Grant, GrantError, Operation, Root, SHARD_LEN_MAX, Sequence, ShardId};
use holdfast_volume::{PIECE_LEN, Reservation};
use holdfast_wire::{ErrorCode, WireError, convert::PutPart, pb::node::v1::PutShardRequest};
use merkle_cid::Builder;
use tokio::{task::spawn_blocking, time::timeout};
use tonic::Streaming;
use tracing::debug;

use crate::{
    content::{SHARD_KIND, namespace, sequence, shard_key},
    refusal::{self, SOON},
    state::State,
    writer::Written,
};

/// A put whose caller says nothing for so long holds a place that others need.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Chunks shorter than this are copied together. A chunk is a view of the message it came in, and keeps all of it: one
/// of a single byte, in a message filled up with fields that nobody knows, would cost its sender 2 MiB of network and
/// hold 2 MiB of ours until 126,976 such have come. Two chunks of this length make a piece, so that two messages are the
/// most that one put can hold.
const CHUNK_KEPT_MIN: usize = 64 << 10;

/// Chunks in order, until they make about a piece.
#[derive(Default)]
struct Gathered {
    chunks: Vec<Bytes>,
    short: BytesMut,
    len: usize,
}

impl Gathered {
    fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if chunk.len() < CHUNK_KEPT_MIN {
            self.short.extend_from_slice(&chunk);
        } else {
            self.flush();
            self.chunks.push(chunk);
        }
    }

    fn flush(&mut self) {
        if !self.short.is_empty() {
            self.chunks.push(self.short.split().freeze());
        }
    }

    /// `None` of nothing.
    fn finish(mut self) -> Option<Vec<Bytes>> {
        self.flush();
        (!self.chunks.is_empty()).then_some(self.chunks)
    }
}

/// A shard on its way to the disk.
struct Intake {
    reservation: Reservation,
    builder: Builder,
}

impl Intake {
    fn absorb(&mut self, chunk: &[u8]) -> Result<(), WireError> {
        self.reservation.write(chunk).map_err(|error| refusal::of_volume(&error))?;
        self.builder.update(chunk);
        Ok(())
    }
}

/// Stores the shard that the stream brings.
pub(crate) async fn put(
    state: &Arc<State>,
    peer: &PeerIdentity,
    mut stream: Streaming<PutShardRequest>,
) -> Result<Receipt, WireError> {
    let _place = state.uploads.clone().try_acquire_owned().map_err(|_| refusal::busy("puts"))?;
    state.served.now();
    let (grant, replace) = match next(&mut stream).await? {
        Some(PutPart::Header { grant: signed, replace }) => {
            let grant = admit(state, peer, &signed)?;
            state.keep_proof(&signed).await;
            (grant, replace)
        }
        Some(PutPart::Chunk(_)) | None => {
            return Err(WireError::new(ErrorCode::Invalid, "expected a header first, got something else"));
        }
    };
    let shard = ShardId::from_bytes(grant.content);
    let replaces = match look(state, shard, grant.len, replace).await? {
        Copy::Intact(sequence) => return there(state, &mut stream, &grant, sequence).await,
        Copy::Damaged => true,
        Copy::Absent => false,
    };
    let (owner, key) = (namespace(&grant.owner), shard_key(&shard));
    let Some(reservation) = state.writer.reserve(owner, key, grant.len, replaces, grant.fence).await? else {
        // Another put of it ended between our look and our order.
        return match look(state, shard, grant.len, false).await? {
            Copy::Intact(sequence) => there(state, &mut stream, &grant, sequence).await,
            Copy::Damaged | Copy::Absent => {
                Err(WireError::new(ErrorCode::Retry, "the shard came and went meanwhile; put it again")
                    .retry_after(SOON))
            }
        };
    };
    let written = receive(&mut stream, &grant, reservation).await?;
    let sequence = state.writer.store(written).await?;
    state.served.now();
    state.damage.forget(&shard);
    state.desk.arrived();
    state.counts.put(grant.len);
    debug!(%shard, len = grant.len, %sequence, owner = %grant.owner, fence = %grant.fence, replaces, "shard stored");
    Ok(state.receipt(grant.owner, shard, grant.len, sequence))
}

/// Answers for a shard that need not be stored again.
async fn there(
    state: &State,
    stream: &mut Streaming<PutShardRequest>,
    grant: &Grant,
    sequence: Sequence,
) -> Result<Receipt, WireError> {
    let shard = ShardId::from_bytes(grant.content);
    drain(stream, grant.len).await?;
    debug!(%shard, %sequence, "shard was there already");
    Ok(state.receipt(grant.owner, shard, grant.len, sequence))
}

fn admit(state: &State, peer: &PeerIdentity, signed: &holdfast_types::SignedGrant) -> Result<Grant, WireError> {
    let grant = state.verify(signed, Operation::Put)?;
    let other = |field| refusal::of_grant(&GrantError::Other { field });
    match peer.role() {
        // A grant that leaked is of use to nobody but its owner.
        Role::Client if peer.owner() != Some(grant.owner) => return Err(other("owner")),
        Role::Client | Role::Auditor => {}
        Role::Node | Role::Gateway => {
            return Err(WireError::new(
                ErrorCode::Denied,
                format_args!("expected a client or the auditor, got {}; put with such a certificate", peer.subject),
            ));
        }
    }
    if grant.kind != SHARD_KIND {
        return Err(other("kind"));
    }
    if !(1..=SHARD_LEN_MAX).contains(&grant.len) {
        return Err(other("length"));
    }
    Ok(grant)
}

/// What is stored under a shard's name.
enum Copy {
    Absent,
    /// Or of another length.
    Damaged,
    Intact(Sequence),
}

/// Looks at the stored copy: as far as is known, or, when a repair asks, as far as its bytes say.
async fn look(state: &Arc<State>, shard: ShardId, len: u64, thoroughly: bool) -> Result<Copy, WireError> {
    let key = shard_key(&shard);
    let Some(entry) = state.reader.stat(&key) else { return Ok(Copy::Absent) };
    if entry.len != len || state.damage.is_known(&shard) {
        return Ok(Copy::Damaged);
    }
    if thoroughly {
        let _turn = state.reads.clone().acquire_owned().await.map_err(|_| refusal::busy("reads"))?;
        let reader = state.reader.clone();
        let whole = spawn_blocking(move || {
            // Checksums say that the bytes are those written; the root, that those written are the shard.
            let (mut builder, mut stream) = (Builder::new(), reader.read_pieces(&[key]));
            while let Some(piece) = stream.next() {
                let Some(bytes) = piece.bytes else { return false };
                builder.update(bytes);
            }
            builder.finish().0 == shard.0
        });
        if !whole.await.map_err(|error| refusal::of_join(&error))? {
            state.damaged(shard, std::slice::from_ref(&(0..len)));
            return Ok(Copy::Damaged);
        }
    }
    Ok(Copy::Intact(sequence(entry.sequence)))
}

async fn receive(
    stream: &mut Streaming<PutShardRequest>,
    grant: &Grant,
    reservation: Reservation,
) -> Result<Written, WireError> {
    let shard = ShardId::from_bytes(grant.content);
    let mut intake = Intake { reservation, builder: Builder::new() };
    while intake.reservation.written() < grant.len {
        let Some(chunks) = gather(stream).await? else {
            let (got, len) = (intake.reservation.written(), grant.len);
            let short =
                format_args!("expected {len} bytes as granted, got {got} and the end; put all of it again").to_string();
            return Err(WireError::new(ErrorCode::Invalid, short));
        };
        let absorbed = spawn_blocking(move || {
            chunks.iter().try_for_each(|chunk| intake.absorb(chunk))?;
            Ok::<_, WireError>(intake)
        });
        intake = absorbed.await.map_err(|error| refusal::of_join(&error))??;
    }
    if next(stream).await?.is_some() {
        let long = format!("expected {} bytes as granted, got more; put what the grant names", grant.len);
        return Err(WireError::new(ErrorCode::Invalid, long));
    }
    let Intake { reservation, builder } = intake;
    let (root, outboard) = builder.finish();
    if root != Root(grant.content) {
        let got = ShardId(root);
        let wrong =
            format_args!("expected the bytes of {shard} as granted, got those of {got}; read them again").to_string();
        return Err(WireError::new(ErrorCode::Corrupt, wrong));
    }
    Ok(Written { reservation, outboard: outboard.into_bytes(), fence: grant.fence })
}

/// The next chunks, about a piece together: a trip to a worker thread costs more than hashing a small one.
async fn gather(stream: &mut Streaming<PutShardRequest>) -> Result<Option<Vec<Bytes>>, WireError> {
    let mut gathered = Gathered::default();
    while gathered.len < PIECE_LEN as usize {
        match next(stream).await? {
            Some(PutPart::Chunk(chunk)) => gathered.push(chunk),
            Some(PutPart::Header { .. }) => {
                return Err(WireError::new(ErrorCode::Invalid, "expected a chunk, got a second header"));
            }
            None => break,
        }
    }
    Ok(gathered.finish())
}

async fn next(stream: &mut Streaming<PutShardRequest>) -> Result<Option<PutPart>, WireError> {
    let silent =
        |_| WireError::new(ErrorCode::Retry, format_args!("nothing came for {SILENCE_MAX:?}; put the shard again"));
    let message = timeout(SILENCE_MAX, stream.message()).await.map_err(silent)??;
    Ok(message.map(PutPart::try_from).transpose()?)
}

/// Takes what the caller sends of a shard that is there: cut off in the middle, some gRPC stacks report the cut
/// and not our answer.
async fn drain(stream: &mut Streaming<PutShardRequest>, len: u64) -> Result<(), WireError> {
    let mut left = len;
    while let Some(PutPart::Chunk(chunk)) = next(stream).await? {
        left = match left.checked_sub(chunk.len() as u64) {
            Some(left) => left,
            None => return Err(WireError::new(ErrorCode::Invalid, "expected no more bytes than granted, got more")),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use holdfast_wire::MESSAGE_LEN_MAX;

    use super::*;

    #[test]
    fn a_short_chunk_does_not_keep_the_message_it_came_in() {
        let mut gathered = Gathered::default();
        let mut expected = Vec::new();
        for (number, len) in [1, 1, CHUNK_KEPT_MIN - 1, CHUNK_KEPT_MIN, 3].into_iter().enumerate() {
            let message = Bytes::from(vec![number as u8; MESSAGE_LEN_MAX]);
            expected.extend_from_slice(&message[..len]);
            gathered.push(message.slice(7..7 + len));
            // Unique once more: nothing of ours looks into it.
            assert_eq!(message.is_unique(), len < CHUNK_KEPT_MIN, "{len}");
        }
        let chunks = gathered.finish().unwrap();
        assert_eq!(chunks.len(), 3, "short ones next to each other are one");
        assert_eq!(chunks.concat(), expected);
        assert!(Gathered::default().finish().is_none());
    }
}
