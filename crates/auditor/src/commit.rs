//! Commits to a shard: reads all of it from its node, finds its CID, computes one commitment a blob
//! on the way, keeps the list. What the auditor read and hashed itself it need not believe anybody:
//! provenance `AuditorRead`.

use std::time::Duration;

use bytes::Bytes;
use holdfast_client::link::{LinkError, NodeLink, ShardPart};
use holdfast_kzg::{BLOB_LEN, CommitmentList, Setup};
use holdfast_protocol::{
    effect::{CommitJob, CommitOutcome},
    model::Provenance,
};
use holdfast_types::{ByteRange, ShardId};
use merkle_cid::Builder;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::lists::ListStore;

/// Parts between the network and the thread that commits: about 1 MiB.
const PARTS_WAITING: usize = 4;

/// Does one job.
pub(crate) async fn commit(job: &CommitJob, link: &NodeLink, lists: &ListStore, patience: Duration) -> CommitOutcome {
    let (parts, waiting) = mpsc::channel(PARTS_WAITING);
    let store = lists.clone();
    let shard = job.shard;
    let computing = spawn_blocking(move || compute(waiting, shard, &store));
    let damaged = match feed(job, link, patience, parts).await {
        Ok(damaged) => damaged,
        Err(error) => return CommitOutcome::Failed(error.into_failure()),
    };
    if !damaged.is_empty() {
        return CommitOutcome::BadBytes { damaged };
    }
    match computing.await {
        Ok(Ok(Some(digest))) => CommitOutcome::Committed { digest, provenance: Provenance::AuditorRead },
        Ok(Ok(None)) => CommitOutcome::BadBytes { damaged },
        Ok(Err(why)) => CommitOutcome::Internal(why),
        Err(error) => CommitOutcome::Internal(error.to_string()),
    }
}

/// Passes the shard's bytes on; gives the ranges that the node says are damaged.
async fn feed(
    job: &CommitJob,
    link: &NodeLink,
    patience: Duration,
    parts: mpsc::Sender<Bytes>,
) -> Result<Vec<ByteRange>, LinkError> {
    let mut reader = link.get(job.shard, job.len, ByteRange::first(job.len), None, patience).await?;
    let mut damaged = Vec::new();
    while let Some(part) = reader.next().await? {
        match part {
            ShardPart::Bytes(_, bytes) if damaged.is_empty() => {
                // Closed only when computing failed, which its own result tells.
                let _ = parts.send(bytes).await;
            }
            ShardPart::Bytes(..) => {}
            ShardPart::Damaged(range) => damaged.push(range),
        }
    }
    Ok(damaged)
}

/// The digest of the list, once kept; `None` if the bytes are not the shard's.
fn compute(mut parts: mpsc::Receiver<Bytes>, shard: ShardId, lists: &ListStore) -> Result<Option<[u8; 32]>, String> {
    let setup = Setup::ethereum();
    let mut hash = Builder::new();
    let mut commitments = Vec::new();
    let mut blob = Vec::with_capacity(BLOB_LEN);
    while let Some(mut part) = parts.blocking_recv() {
        hash.update(&part);
        while !part.is_empty() {
            let taken = part.split_to(part.len().min(BLOB_LEN - blob.len()));
            blob.extend_from_slice(&taken);
            if blob.len() == BLOB_LEN {
                commitments.push(setup.commit(&blob).map_err(|error| error.to_string())?);
                blob.clear();
            }
        }
    }
    if !blob.is_empty() {
        commitments.push(setup.commit(&blob).map_err(|error| error.to_string())?);
    }
    if hash.finish().0 != shard.0 {
        return Ok(None);
    }
    let list = CommitmentList::new(commitments).map_err(|error| error.to_string())?;
    lists.keep(list).map(Some).map_err(|error| format!("the commitment list cannot be kept: {error}"))
}
