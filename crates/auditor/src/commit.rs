//! The driver's jobs on commitments: ask for a list, reveal a witness, read a shard, hand a list over. What an answer is
//! worth is `holdfast_protocol::witness`'s to say; here are the calls, the files and the threads.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use holdfast_client::link::{LinkError, NodeLink, ShardPart};
use holdfast_kzg::Setup;
use holdfast_protocol::{
    effect::{ClaimJob, CommitJob, CommitOutcome, HandJob, Opening, ReadJob, RevealJob, read_within},
    model::Provenance,
    verify::Lists,
    witness::{self, Adoption, Commitments, Opened, Read, Reading, WitnessSeed},
};
use holdfast_types::ByteRange;
use holdfast_wire::convert::OpenWitness;
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};
use tracing::error;

use crate::{clock, lists::ListStore, seal::WitnessKey};

/// Parts between the network and the thread that computes: about 1 MiB.
const PARTS_WAITING: usize = 4;

/// What a job takes.
pub(crate) struct Means<'a> {
    pub(crate) link: &'a NodeLink,
    pub(crate) lists: &'a ListStore,
    pub(crate) key: &'a WitnessKey,
    /// Threads that compute: as many as there are processors.
    pub(crate) cpus: Arc<Semaphore>,
    /// For a part of a shard to come.
    pub(crate) patience: Duration,
}

/// Does one job.
pub(crate) async fn commit(job: CommitJob, means: &Means<'_>) -> CommitOutcome {
    match job {
        CommitJob::Claim(job) => claim(job, means).await,
        CommitJob::Reveal(job) => reveal(*job, means).await,
        CommitJob::Read(job) => read(job, means).await,
        CommitJob::Hand(job) => hand(job, means).await,
    }
}

/// Computes on a thread of the pool.
async fn compute<T: Send + 'static>(
    cpus: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CommitOutcome> {
    let internal = |what: String| CommitOutcome::Internal(what);
    let _turn = cpus.acquire().await.map_err(|error| internal(error.to_string()))?;
    spawn_blocking(work).await.map_err(|error| internal(error.to_string()))
}

async fn claim(job: ClaimJob, means: &Means<'_>) -> CommitOutcome {
    let reply = means.link.commitments(job.of.shard, job.witness, clock::duration(job.timeout)).await;
    let reply: Result<Commitments, _> = reply.map_err(LinkError::into_failure);
    let lists = means.lists.clone();
    let claimed = compute(&means.cpus, move || {
        let (claim, list) = witness::claimed(&job, reply)?;
        // Durable before the core burns a witness with its digest.
        lists.keep_checked(list).map_err(|error| CommitOutcome::Internal(not_kept(&error)))?;
        Ok(CommitOutcome::Claimed(Box::new(claim)))
    });
    match claimed.await {
        Ok(Ok(outcome)) | Ok(Err(outcome)) | Err(outcome) => outcome,
    }
}

fn not_kept(error: &std::io::Error) -> String {
    format!("the commitment list cannot be kept: {error}")
}

async fn reveal(job: RevealJob, means: &Means<'_>) -> CommitOutcome {
    let witness = match means.key.open(job.segment, job.index, job.witness, &job.sealed) {
        Ok(witness) => witness,
        Err(why) => {
            error!(%why, "the witness cannot be used; its shard is read instead");
            return CommitOutcome::Internal(why);
        }
    };
    let (shard, id, digest, seed) = (job.of.shard, job.witness, job.digest, witness.seed.clone());
    let open = OpenWitness { shard, witness: id, digest, seed };
    let reply: Result<Opened, LinkError> = means.link.open_witness(&open, clock::duration(job.timeout)).await;
    let reply = reply.map_err(LinkError::into_failure);
    let lists = means.lists.clone();
    let opened = compute(&means.cpus, move || match lists.list(&job.digest) {
        Some(list) => witness::opened(&job, &witness, &list, reply, Setup::ethereum()),
        // Lost between the burning and now: the bytes will tell.
        None => CommitOutcome::Opened(Opening::NotGiven),
    });
    opened.await.unwrap_or_else(|outcome| outcome)
}

async fn read(job: ReadJob, means: &Means<'_>) -> CommitOutcome {
    let mut chance = [0; WitnessSeed::LEN];
    if let Err(error) = getrandom::fill(&mut chance) {
        return CommitOutcome::Internal(format!("no random bytes from the operating system: {error}"));
    }
    let (parts, waiting) = mpsc::channel(PARTS_WAITING);
    let lists = means.lists.clone();
    let computing = spawn_blocking(move || judge(job, waiting, &lists, WitnessSeed::new(chance)));
    let damaged = match feed(&job, means, parts).await {
        Ok(damaged) => damaged,
        Err(error) => return CommitOutcome::Failed(error.into_failure()),
    };
    if !damaged.is_empty() {
        return CommitOutcome::BadBytes { damaged };
    }
    computing.await.unwrap_or_else(|error| CommitOutcome::Internal(error.to_string()))
}

/// Passes the shard's bytes on; gives the ranges that the node says are damaged.
async fn feed(job: &ReadJob, means: &Means<'_>, parts: mpsc::Sender<Bytes>) -> Result<Vec<ByteRange>, LinkError> {
    let of = &job.of;
    let reader = means.link.get(of.shard, of.len, ByteRange::first(of.len), None, means.patience).await?;
    let mut reader = reader.within(clock::duration(read_within(of.len)));
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

fn judge(job: ReadJob, mut parts: mpsc::Receiver<Bytes>, lists: &ListStore, chance: WitnessSeed) -> CommitOutcome {
    let setup = Setup::ethereum();
    let claimed = job.claimed.and_then(|digest| lists.list(&digest));
    let mut reading = Reading::new(job, claimed.clone(), chance);
    while let Some(part) = parts.blocking_recv() {
        reading.absorb(&part, setup);
    }
    let kept = match (reading.finish(setup), claimed) {
        (Read::Computed(list), _) => lists.keep(list),
        // A shard may have waited for this reading for hours, its list named by nobody.
        (Read::Is(CommitOutcome::Committed { .. }), Some(list)) => lists.keep_checked(list),
        (Read::Is(outcome), _) => return outcome,
    };
    match kept {
        Ok(digest) => CommitOutcome::Committed { digest, provenance: Provenance::AuditorRead },
        Err(error) => CommitOutcome::Internal(not_kept(&error)),
    }
}

async fn hand(job: HandJob, means: &Means<'_>) -> CommitOutcome {
    let lists = means.lists.clone();
    let encoded = spawn_blocking(move || lists.list(&job.digest).map(|list| list.list().encode())).await;
    let Ok(Some(list)) = encoded else {
        return CommitOutcome::Internal("the list that a repair should bring along is not at hand".into());
    };
    let adopted = match means.link.put_commitments(job.of.shard, list, clock::duration(job.timeout)).await {
        Ok(adopted) => adopted,
        Err(error) => return CommitOutcome::Failed(error.into_failure()),
    };
    if let Some(fault) = adopted.fault(&job.of, &job.digest) {
        return CommitOutcome::Internal(fault.to_string());
    }
    match adopted.adoption {
        Adoption::Taken => CommitOutcome::Adopted,
        Adoption::Wrong { reason } => CommitOutcome::NotAdopted { reason },
        Adoption::Unreadable => CommitOutcome::BadBytes { damaged: Vec::new() },
        Adoption::Refused { retry_after } => CommitOutcome::TooBusy { retry_after },
    }
}
