//! What drivers need to carry out commitment jobs, apart from IO: is this answer a claim, does this opening hold, are
//! these bytes the shard's and is this list theirs? Pure, for a CPU pool.

use std::sync::Arc;

use holdfast_kzg::{BLOB_LEN, CommitmentList, FoldClaim, Gamma, Opening as Opened80, Proof, Setup, Verdict};
use merkle_cid::Builder;

use super::{Claim, Commitments, Opened, OpenedBody, Summing, Witness, WitnessSeed};
use crate::{
    effect::{ClaimJob, CommitOutcome, Opening, ReadJob, RevealJob},
    message::SendFailure,
    model::Provenance,
    verify::{CheckedList, ListFault},
};

/// Whether the opening of Σ γ_i p_i under `seed` verifies against a list of Σ γ_i C_i.
///
/// With a seed that the opener did not know when it chose the list, and the value of the true sum, a wrong list passes with
/// probability below 2^-115 (DESIGN §4). Where we opened the sum ourselves from the bytes, it holds if and only if
/// Σ γ_i C_i is the sum's commitment, whatever z is: a wrong list passes with the chance of a 128-bit γ alone.
pub fn holds(setup: &Setup, seed: &WitnessSeed, list: &CheckedList, y: [u8; 32], proof: [u8; 48]) -> bool {
    let mut gammas = seed.gammas();
    let terms: Vec<(Gamma, &_)> =
        list.points().iter().enumerate().map(|(blob, point)| (gammas.at(blob as u64), point)).collect();
    let opening = Opened80 { y, proof: Proof(proof) };
    holdfast_kzg::verify(setup, &FoldClaim { terms: &terms, z: seed.z(), opening }) == Verdict::Holds
}

/// A node's claim as the driver goes on with it: a list to keep before the core is told, or what it came to.
pub fn claimed(job: &ClaimJob, reply: Result<Commitments, SendFailure>) -> Result<(Claim, CheckedList), CommitOutcome> {
    let (claim, bytes) = match reply {
        Ok(Commitments::Claimed { claim, list }) => (claim, list),
        Ok(Commitments::NotYet { retry_after, .. }) => return Err(CommitOutcome::NotYet { retry_after }),
        Ok(Commitments::Damaged(damaged)) => return Err(CommitOutcome::BadBytes { damaged }),
        Ok(Commitments::Missing) => return Err(CommitOutcome::BadBytes { damaged: Vec::new() }),
        Err(SendFailure::Malformed(why) | SendFailure::Denied(why)) => return Err(CommitOutcome::NoClaim { why }),
        Err(failure) => return Err(CommitOutcome::Failed(failure)),
    };
    if let Some(fault) = claim.fault(&job.of, job.witness) {
        return Err(CommitOutcome::NoClaim { why: fault.to_string() });
    }
    let list = match CommitmentList::decode(&bytes) {
        Ok(list) if list.digest() == claim.digest => list,
        // What is signed is the digest: other bytes are nobody's word.
        Ok(_) => return Err(CommitOutcome::NoClaim { why: "the list has another digest than the claim".into() }),
        Err(error) => return Err(CommitOutcome::NoClaim { why: error.to_string() }),
    };
    let false_claim = |why: String| CommitOutcome::FalseClaim { claim: Box::new(claim), why };
    if !list.fits(job.of.len) {
        let (got, len) = (list.commitments().len(), job.of.len);
        return Err(false_claim(format!("{got} commitments for a shard of {len} bytes")));
    }
    // Each point once, here: whoever verifies with the list later trusts them.
    match CheckedList::new(list) {
        Ok(list) => Ok((claim, list)),
        Err((blob, error)) => Err(false_claim(ListFault::Point(blob, error).to_string())),
    }
}

/// What a node's answer to a revealed witness comes to, against the list that the witness was burnt with.
pub fn opened(
    job: &RevealJob,
    witness: &Witness,
    list: &CheckedList,
    reply: Result<Opened, SendFailure>,
    setup: &Setup,
) -> CommitOutcome {
    let opened = match reply {
        Ok(opened) => opened,
        Err(SendFailure::Refused { retry_after }) => return CommitOutcome::TooBusy { retry_after },
        Err(SendFailure::Malformed(_) | SendFailure::Denied(_)) => return CommitOutcome::Opened(Opening::NotGiven),
        Err(failure @ (SendFailure::Unreachable | SendFailure::Timeout)) => return CommitOutcome::Failed(failure),
    };
    if opened.fault(&job.of, job.witness, &job.digest).is_some() {
        return CommitOutcome::Opened(Opening::NotGiven);
    }
    let (y, proof) = match opened.body {
        OpenedBody::Opening { y, proof } => (y, proof),
        OpenedBody::Damaged(damaged) => return CommitOutcome::BadBytes { damaged },
        OpenedBody::Missing => return CommitOutcome::BadBytes { damaged: Vec::new() },
        OpenedBody::OtherList { .. } => return CommitOutcome::Opened(Opening::NotGiven),
        OpenedBody::Refused { retry_after } => return CommitOutcome::TooBusy { retry_after },
    };
    // Attack: an opening that is true of the list says nothing of the bytes; only the client's value ties the two.
    CommitOutcome::Opened(match (holds(setup, &witness.seed, list, y, proof), y == witness.y) {
        (true, true) => Opening::Holds,
        (true, false) => Opening::OtherValue,
        (false, _) => Opening::False,
    })
}

/// A whole shard on its way past: its CID, and its commitments or what judges a claimed list of them.
pub struct Reading {
    job: ReadJob,
    hash: Builder,
    blob: Vec<u8>,
    at: u64,
    work: Work,
}

enum Work {
    /// One commitment a blob.
    Compute(Vec<holdfast_kzg::Commitment>),
    /// One sum, one opening, whatever the blobs.
    Judge(Box<Judge>),
}

struct Judge {
    list: Arc<CheckedList>,
    seed: WitnessSeed,
    sum: Summing,
}

/// How a reading ended.
#[derive(Debug)]
pub enum Read {
    /// Tell the core.
    Is(CommitOutcome),
    /// Keep this list, durably, and then tell the core [`CommitOutcome::Committed`].
    Computed(CommitmentList),
}

impl Reading {
    /// Judges by `claimed`, the list with the job's digest, under `chance` drawn after it was claimed; without it, computes.
    pub fn new(job: ReadJob, claimed: Option<Arc<CheckedList>>, chance: WitnessSeed) -> Self {
        let work = match claimed.filter(|list| list.list().fits(job.of.len)) {
            Some(list) => Work::Judge(Box::new(Judge { list, sum: Summing::new(&chance), seed: chance })),
            None => Work::Compute(Vec::new()),
        };
        Self { job, hash: Builder::new(), blob: Vec::with_capacity(BLOB_LEN), at: 0, work }
    }

    /// The shard's next bytes, in order.
    pub fn absorb(&mut self, mut bytes: &[u8], setup: &Setup) {
        self.hash.update(bytes);
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(BLOB_LEN - self.blob.len()));
            self.blob.extend_from_slice(taken);
            bytes = rest;
            if self.blob.len() == BLOB_LEN {
                self.close_blob(setup);
            }
        }
    }

    fn close_blob(&mut self, setup: &Setup) {
        // A blob of at most its length, at a blob's beginning: neither can refuse it.
        match &mut self.work {
            Work::Compute(commitments) => commitments.extend(setup.commit(&self.blob).ok()),
            Work::Judge(judge) => judge.sum.absorb(self.at, &self.blob).unwrap_or(()),
        }
        self.at += self.blob.len() as u64;
        self.blob.clear();
    }

    /// After the last byte.
    pub fn finish(mut self, setup: &Setup) -> Read {
        if !self.blob.is_empty() {
            self.close_blob(setup);
        }
        // Merkle first: what the bytes are not is nobody's commitment.
        if self.hash.finish().0 != self.job.of.shard.0 {
            return Read::Is(CommitOutcome::BadBytes { damaged: Vec::new() });
        }
        match self.work {
            Work::Compute(commitments) => match CommitmentList::new(commitments) {
                Ok(list) if list.fits(self.at) => Read::Computed(list),
                Ok(_) => Read::Is(CommitOutcome::Internal("a blob of the shard has no commitment".into())),
                Err(error) => Read::Is(CommitOutcome::Internal(error.to_string())),
            },
            Work::Judge(judge) => {
                let Judge { list, seed, sum } = *judge;
                let opening = sum.open(setup);
                let right = holds(setup, &seed, &list, opening.y, opening.proof.0);
                let (digest, provenance) = (list.list().digest(), Provenance::AuditorRead);
                Read::Is(if right { CommitOutcome::Committed { digest, provenance } } else { CommitOutcome::WrongList })
            }
        }
    }
}
