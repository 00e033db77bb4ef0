//! Lists that a client computed itself. They stand on its word: what is looked at here is that folds can be verified with
//! them at all.
//!
//! Attack: whoever stages a segment over and over, each time with other lists, or one that cannot be staged, fills the disk.
//! So a segment is staged first, its lists are files next and rows last, one caller at a time, and a shard that is
//! staged with a list gets no other. What is left by whoever aborts in between is swept (`crate::lists::sweep`).

use std::sync::Arc;

use holdfast_kzg::CommitmentList;
use holdfast_protocol::{
    model::{SealedWitness, StagedSegment},
    store::{StoreOp, StoreReply, rules},
    verify::{CheckedList, ListFault},
    witness::WitnessId,
};
use holdfast_types::{ShardIndex, Wall};
use holdfast_wire::{ErrorCode, WireError, convert::ShardCommitments};
use tokio::task::spawn_blocking;
use tonic::Status;

use super::{Api, invalid, unexpected};

impl Api {
    /// Stages a segment with the lists of its shards.
    pub(super) async fn stage_with_lists(
        &self,
        own: Vec<ShardCommitments>,
        staged: StagedSegment,
        expires: Wall,
        sealed: Vec<SealedWitness>,
    ) -> Result<(), Status> {
        let len = staged.segment.shard_len;
        let parsed = own.iter().map(|of| parsed(of, len)).collect::<Result<Vec<_>, _>>()?;
        let words: Vec<_> = parsed.iter().map(word).collect();
        let all: Vec<_> = sealed.iter().chain(&words).cloned().collect();
        if let Some(why) = rules::witness_fault(&staged.segment, &all) {
            return Err(conflict(why));
        }
        // A point takes 75 µs, and a message holds 43,000: one caller at a time.
        let turn = self.1.lists().await?;
        let known = match self.ask(StoreOp::WitnessedLists(staged.segment.id)).await? {
            StoreReply::Witnessed(known) => known,
            other => return Err(unexpected(&other)),
        };
        if let Some(why) = rules::list_fault(&known, rules::given_lists(&words)) {
            return Err(conflict(why));
        }
        let api = self.clone();
        // On its own: a caller that hangs up between file and row would leave the file to nobody, as often as it likes.
        let done = tokio::spawn(async move {
            let _turn = turn;
            let sound = blocking(move || sound(parsed)).await?;
            api.put_staged(&staged, expires, sealed).await?;
            let lists = api.0.lists.clone();
            blocking(move || {
                let keep = |list: Arc<CheckedList>| lists.keep_checked(list).map(drop);
                sound.into_iter().try_for_each(keep).map_err(|error| WireError::new(ErrorCode::Retry, error))
            })
            .await?;
            api.put_staged(&staged, expires, words).await
        });
        done.await.map_err(|error| WireError::new(ErrorCode::Bug, error))?
    }
}

fn conflict(why: String) -> Status {
    WireError::new(ErrorCode::Conflict, why).into()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WireError> + Send + 'static,
) -> Result<T, WireError> {
    spawn_blocking(work).await.map_err(|error| WireError::new(ErrorCode::Bug, error))?
}

/// A client's list, of as many commitments as the shard has blobs; its points are not looked at yet.
fn parsed(of: &ShardCommitments, len: u64) -> Result<(ShardIndex, CommitmentList), WireError> {
    let index = of.index;
    let list = CommitmentList::decode(&of.list).map_err(|fault| invalid(format!("shard {index}: {fault}")))?;
    if !list.fits(len) {
        let got = list.commitments().len();
        return Err(invalid(format!("shard {index}: {got} commitments for a shard of {len} bytes")));
    }
    Ok((index, list))
}

/// What the catalog keeps of a list.
fn word((index, list): &(ShardIndex, CommitmentList)) -> SealedWitness {
    SealedWitness { index: *index, id: WitnessId([0; 16]), sealed: Vec::new(), list: Some(list.digest()) }
}

/// All of them with their points looked at: nothing is written before all are known to be good.
fn sound(parsed: Vec<(ShardIndex, CommitmentList)>) -> Result<Vec<Arc<CheckedList>>, WireError> {
    let check = |(index, list)| {
        let fault = |(blob, error)| invalid(format!("shard {index}: {}", ListFault::Point(blob, error)));
        CheckedList::new(list).map(Arc::new).map_err(fault)
    };
    parsed.into_iter().map(check).collect()
}
