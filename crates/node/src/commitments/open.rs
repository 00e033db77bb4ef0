//! An opening: the witness's secret is out, and the node shows what its bytes sum up to under it.

use std::sync::Arc;

use holdfast_kzg::blobs_of;
use holdfast_protocol::witness::{Opened, OpenedBody};
use holdfast_types::Millis;
use holdfast_wire::{WireError, convert::OpenWitness};
use tokio::task::spawn_blocking;
use tracing::info;

use super::{
    fold::{Folded, fold},
    kept,
};
use crate::{content::shard_key, refusal, state::State};

/// As after a challenge: it takes seconds at most.
const RETRY_AFTER: Millis = Millis(1_000);

/// Opens the witness against the list that was claimed for it, or says why not, signed.
pub(crate) async fn open(state: &Arc<State>, asked: OpenWitness) -> Result<Opened, WireError> {
    let (shard, witness, digest) = (asked.shard, asked.witness, asked.digest);
    let body = match state.challenges.clone().try_acquire_owned() {
        Ok(place) => {
            let state = Arc::clone(state);
            let answering = spawn_blocking(move || {
                let _place = place;
                answer(&state, &asked)
            });
            answering.await.map_err(|error| refusal::of_join(&error))??
        }
        Err(_) => {
            info!(%shard, "opening refused: too many challenges at once");
            OpenedBody::Refused { retry_after: RETRY_AFTER }
        }
    };
    Ok(Opened::sign(state.incarnation, shard, witness, digest, body, &state.key))
}

fn answer(state: &State, asked: &OpenWitness) -> Result<OpenedBody, WireError> {
    let Some(entry) = state.reader.stat(&shard_key(&asked.shard)) else { return Ok(OpenedBody::Missing) };
    match kept(state, &asked.shard).map(|list| list.digest()) {
        Some(digest) if digest == asked.digest => {}
        // An opening is judged against the list in the question: for another than ours it could only hurt us.
        Some(digest) => return Ok(OpenedBody::OtherList { digest }),
        None => {
            // Lost since it was claimed. What it was is computed again before anything is said about it.
            let turn = state.desk.ask(asked.shard, blobs_of(entry.len));
            return Ok(OpenedBody::Refused { retry_after: turn.retry_after });
        }
    }
    Ok(match fold(state, asked.shard, &asked.seed)? {
        Folded::Opening(opening) => OpenedBody::Opening { y: opening.y, proof: opening.proof.0 },
        Folded::Damaged(ranges) => OpenedBody::Damaged(ranges),
        Folded::Missing => OpenedBody::Missing,
    })
}
