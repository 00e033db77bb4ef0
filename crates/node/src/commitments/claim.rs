//! A claim: the node's signed word that a list is its shard's, given before it knows what it will be asked.

use std::sync::Arc;

use holdfast_kzg::blobs_of;
use holdfast_protocol::witness::{Claim, Commitments, WitnessId};
use holdfast_types::{ByteRange, ShardId};
use holdfast_wire::WireError;
use tokio::task::spawn_blocking;

use super::kept;
use crate::{content::shard_key, refusal, state::State};

/// The shard's list, if it is there; otherwise the shard moves to the front.
pub(crate) async fn claim(
    state: &Arc<State>,
    shard: ShardId,
    witness: Option<WitnessId>,
) -> Result<Commitments, WireError> {
    let Some(entry) = state.reader.stat(&shard_key(&shard)) else { return Ok(Commitments::Missing) };
    let _turn = state.reads.clone().acquire_owned().await.map_err(|_| refusal::busy("reads"))?;
    let reading = Arc::clone(state);
    let list = spawn_blocking(move || kept(&reading, &shard)).await.map_err(|error| refusal::of_join(&error))?;
    if let Some(list) = list.filter(|list| list.fits(entry.len)) {
        let claim = Claim::sign(state.incarnation, shard, entry.len, witness, list.digest(), &state.key);
        return Ok(Commitments::Claimed { claim, list: list.encode() });
    }
    if let Some(damaged) = state.desk.take_damage(&shard, entry.sequence) {
        return Ok(Commitments::Damaged(damaged));
    }
    let turn = state.desk.ask(shard, blobs_of(entry.len));
    Ok(Commitments::NotYet { retry_after: turn.retry_after, ahead: turn.ahead })
}

/// What a disk's ranges are on the wire.
pub(super) fn ranges(damaged: &[std::ops::Range<u64>]) -> Vec<ByteRange> {
    damaged.iter().filter_map(|range| ByteRange::new(range.start, range.end)).collect()
}
