//! The auditor's side of the proofs: pure, for a CPU pool. Whatever a node's bytes are, the result
//! is a [`Verification`]; only what is missing on our own side is `NoList`.

use std::sync::Arc;

use holdfast_kzg::{
    CheckedCommitment, CommitmentList, FoldClaim, Gamma, ListError, Opening, PointError, Proof, Setup, Verdict,
};
use holdfast_types::{Seed, ShardId};
use merkle_cid::{LeafIndex, LeafSet, MultiProof};

use crate::effect::{FoldJob, FoldTerm, JudgeJob, LeafClaim, LeavesJob, Verification, VerifyJob};

/// A commitment list with its points checked once, kept affine: what makes a fold cheap to verify.
#[derive(Clone, Debug)]
pub struct CheckedList {
    list: CommitmentList,
    points: Vec<CheckedCommitment>,
}

impl CheckedList {
    /// Checks every point: 75 µs each. The error names the first bad one.
    pub fn new(list: CommitmentList) -> Result<Self, (usize, PointError)> {
        let points = list.check_points()?;
        Ok(Self { list, points })
    }

    /// From the bytes of a list's file.
    pub fn decode(bytes: &[u8]) -> Result<Self, ListFault> {
        let list = CommitmentList::decode(bytes).map_err(ListFault::List)?;
        Self::new(list).map_err(|(blob, error)| ListFault::Point(blob, error))
    }

    /// The list.
    pub fn list(&self) -> &CommitmentList {
        &self.list
    }

    /// Its points, one a blob, in order.
    pub fn points(&self) -> &[CheckedCommitment] {
        &self.points
    }
}

#[cfg(test)]
impl CheckedList {
    /// The same list, with another's points kept beside it.
    pub(crate) fn rotten(&self, other: &Self) -> Self {
        Self { list: self.list.clone(), points: other.points.clone() }
    }
}

/// Why bytes are no list to verify with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListFault {
    /// Not a list.
    #[error(transparent)]
    List(ListError),
    /// A commitment in it is no point.
    #[error("commitment {0} of the list is no point: {1}")]
    Point(usize, PointError),
}

/// Where the driver keeps commitment lists, by digest.
pub trait Lists {
    /// The list with this digest.
    fn list(&self, digest: &[u8; 32]) -> Option<Arc<CheckedList>>;
}

impl Lists for std::collections::BTreeMap<[u8; 32], Arc<CheckedList>> {
    fn list(&self, digest: &[u8; 32]) -> Option<Arc<CheckedList>> {
        self.get(digest).cloned()
    }
}

/// Does one job.
pub fn verify(job: &VerifyJob, lists: &impl Lists, setup: &Setup) -> Verification {
    match job {
        VerifyJob::Fold(job) => {
            let found = match gather(job, lists) {
                Ok(found) => found,
                Err(shard) => return Verification::NoList { shard },
            };
            said(holdfast_kzg::verify(setup, &claim(job, &terms(job, &found))))
        }
        VerifyJob::Leaves(job) => verify_leaves(job),
        VerifyJob::Judge(job) => judge(job, lists, setup),
    }
}

/// Verifies many folds as one random combination. `entropy` must be drawn after the last of the
/// answers came: a node that knew it could make two false answers cancel out.
pub fn verify_folds(jobs: &[FoldJob], lists: &impl Lists, setup: &Setup, entropy: Seed) -> Vec<Verification> {
    let found: Vec<Result<Vec<Arc<CheckedList>>, ShardId>> = jobs.iter().map(|job| gather(job, lists)).collect();
    let ready: Vec<(&FoldJob, Vec<_>)> =
        jobs.iter().zip(&found).filter_map(|(job, found)| Some((job, terms(job, found.as_ref().ok()?)))).collect();
    let claims: Vec<FoldClaim<'_>> = ready.iter().map(|(job, terms)| claim(job, terms)).collect();
    let mut verdicts = holdfast_kzg::verify_batch(setup, &claims, entropy.0).0.into_iter();
    let result = |found: &Result<_, ShardId>| match found {
        Err(shard) => Verification::NoList { shard: *shard },
        Ok(_) => verdicts.next().map_or_else(invalid, said),
    };
    found.iter().map(result).collect()
}

fn invalid() -> Verification {
    Verification::Invalid { shards: Vec::new() }
}

fn said(verdict: Verdict) -> Verification {
    match verdict {
        Verdict::Holds => Verification::Valid,
        // A value that is no scalar, a proof that is no point: as false as any other wrong answer.
        Verdict::Wrong | Verdict::Malformed(_) => invalid(),
    }
}

/// The list of each term, or the shard whose list is not at hand or too short: our own fault.
fn gather(job: &FoldJob, lists: &impl Lists) -> Result<Vec<Arc<CheckedList>>, ShardId> {
    let list = |term: &FoldTerm| {
        let last = term.blobs.last().map_or(0, |(_, to)| *to as usize);
        lists.list(&term.list).filter(|list| last <= list.points.len()).ok_or(term.shard)
    };
    job.terms.iter().map(list).collect()
}

fn terms<'a>(job: &FoldJob, lists: &'a [Arc<CheckedList>]) -> Vec<(Gamma, &'a CheckedCommitment)> {
    let mut gammas = job.challenge.gammas();
    let mut terms = Vec::new();
    for (term, list) in job.terms.iter().zip(lists) {
        for blob in term.blobs.iter().flat_map(|(from, to)| *from..*to) {
            let gamma = gammas.at(term.base + u64::from(blob));
            terms.extend(list.points.get(blob as usize).map(|point| (gamma, point)));
        }
    }
    terms
}

fn claim<'a>(job: &FoldJob, terms: &'a [(Gamma, &'a CheckedCommitment)]) -> FoldClaim<'a> {
    FoldClaim { terms, z: job.challenge.point(), opening: Opening { y: job.y, proof: Proof(job.proof) } }
}

/// The proof's leaves, verified under the shard's name and the catalog's length.
fn proven(claim: &LeafClaim) -> Option<(MultiProof, LeafSet)> {
    let leaves = LeafSet::from_ascending(claim.leaves.iter().copied().map(LeafIndex).collect()).ok()?;
    let proof = MultiProof::decode(claim.len, &leaves, claim.proof.as_slice()).ok()?;
    let holds = merkle_cid::verify(&claim.shard.0, claim.len, &leaves, &proof).is_ok();
    holds.then_some((proof, leaves))
}

fn verify_leaves(job: &LeavesJob) -> Verification {
    let shards: Vec<ShardId> =
        job.claims.iter().filter(|claim| proven(claim).is_none()).map(|claim| claim.shard).collect();
    if shards.is_empty() { Verification::Valid } else { Verification::Invalid { shards } }
}

/// Are these bytes the shard's, and do they give the commitment that its list says?
fn judge(job: &JudgeJob, lists: &impl Lists, setup: &Setup) -> Verification {
    let shard = job.claim.shard;
    // Our own list first, down to its digest: a rotten cache must not cost a node its name.
    let listed = lists.list(&job.list).filter(|list| list.list.digest() == job.list).and_then(|list| {
        let listed = list.list.commitments().get(job.blob as usize).copied()?;
        let point = list.points.get(job.blob as usize)?.commitment();
        (point == listed).then_some(listed)
    });
    let Some(listed) = listed else { return Verification::NoList { shard } };
    let Some((proof, leaves)) = proven(&job.claim) else { return Verification::Invalid { shards: vec![shard] } };
    let Ok(verified) = merkle_cid::verify(&shard.0, job.claim.len, &leaves, &proof) else {
        return Verification::Invalid { shards: vec![shard] };
    };
    let blob: Vec<u8> = verified.leaves().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    match setup.commit(&blob) {
        Ok(expected) if expected == listed => Verification::Valid,
        Ok(expected) => Verification::WrongCommitment { expected },
        Err(_) => Verification::Invalid { shards: vec![shard] },
    }
}
