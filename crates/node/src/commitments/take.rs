//! A list that somebody else computed, for a shard that came by repair or a list that was lost. It is taken only after
//! the node's own bytes passed against it under chance of its own: whoever keeps a wrong list on trust is the one who
//! fails the next audit.

use std::sync::Arc;

use holdfast_kzg::{CommitmentList, FoldClaim, Gamma, Setup, Verdict, verify};
use holdfast_protocol::witness::{ADOPTION_REASON_MAX, Adopted, Adoption, WitnessSeed};
use holdfast_types::{Millis, ShardId};
use holdfast_wire::{ErrorCode, WireError, convert::PutCommitments};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::fold::{Folded, fold};
use crate::{content::shard_key, refusal, state::State};

/// As after a challenge: it takes seconds at most.
const RETRY_AFTER: Millis = Millis(1_000);

/// Takes the list, or says why not, signed.
pub(crate) async fn take(state: &Arc<State>, offered: PutCommitments) -> Result<Adopted, WireError> {
    let shard = offered.shard;
    let list = CommitmentList::decode(&offered.list).map_err(|error| WireError::new(ErrorCode::Invalid, error))?;
    let digest = list.digest();
    let adoption = match state.challenges.clone().try_acquire_owned() {
        Ok(place) => {
            let judging = Arc::clone(state);
            let judged = spawn_blocking(move || {
                let _place = place;
                judge(&judging, shard, &list)
            });
            judged.await.map_err(|error| refusal::of_join(&error))??
        }
        Err(_) => Adoption::Refused { retry_after: RETRY_AFTER },
    };
    match &adoption {
        Adoption::Taken => {
            state.writer.list(shard, offered.list).await?;
            info!(%shard, "commitment list taken over");
        }
        Adoption::Wrong { reason } => warn!(%shard, %reason, "commitment list refused"),
        Adoption::Unreadable | Adoption::Refused { .. } => {}
    }
    Ok(Adopted::sign(state.incarnation, shard, digest, adoption, &state.key))
}

fn judge(state: &State, shard: ShardId, list: &CommitmentList) -> Result<Adoption, WireError> {
    let Some(entry) = state.reader.stat(&shard_key(&shard)) else { return Ok(Adoption::Unreadable) };
    if !list.fits(entry.len) {
        let got = list.commitments().len();
        return Ok(wrong(format!("expected the list of a shard of {} bytes, got {got} commitments", entry.len)));
    }
    let points = match list.check_points() {
        Ok(points) => points,
        Err((blob, error)) => return Ok(wrong(format!("blob {blob}: {error}"))),
    };
    // Drawn now, after the list was fixed, and told to nobody.
    let mut chance = [0; WitnessSeed::LEN];
    getrandom::fill(&mut chance)
        .map_err(|error| WireError::new(ErrorCode::Retry, format_args!("no randomness from the system: {error}")))?;
    let seed = WitnessSeed::new(chance);
    let opening = match fold(state, shard, &seed)? {
        Folded::Opening(opening) => opening,
        Folded::Damaged(_) | Folded::Missing => return Ok(Adoption::Unreadable),
    };
    let mut gammas = seed.gammas();
    let terms: Vec<(Gamma, _)> = (0..).map(|blob| gammas.at(blob)).zip(&points).collect();
    Ok(match verify(Setup::ethereum(), &FoldClaim { terms: &terms, z: seed.z(), opening }) {
        Verdict::Holds => Adoption::Taken,
        Verdict::Wrong | Verdict::Malformed(_) => wrong("the commitments are not those of the bytes here".into()),
    })
}

fn wrong(mut reason: String) -> Adoption {
    let end = (0..=ADOPTION_REASON_MAX.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    reason.truncate(end.unwrap_or_default());
    Adoption::Wrong { reason }
}
