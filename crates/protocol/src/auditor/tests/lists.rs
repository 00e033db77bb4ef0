//! The side of commitments: what nodes claim, open and take over, and the driver's jobs on it.

use std::collections::BTreeMap;

use holdfast_kzg::{BLOB_LEN, Setup};
use holdfast_types::{Incarnation, Millis, Seed, ShardId, ShardIndex, Transcript};

use super::world::{Peer, World, list_of};
use crate::{
    effect::{ClaimJob, CommitJob, CommitOutcome, HandJob, ReadJob, RevealJob},
    message::SendFailure,
    model::SealedWitness,
    verify::{CheckedList, Lists},
    witness::{
        self, Adopted, Adoption, Claim, Commitments, Opened, OpenedBody, Read, Reading, Summing, Witness, WitnessId,
        WitnessSeed,
    },
};

const LIFE: Incarnation = Incarnation([1; 16]);

/// What a node does when it is asked for commitments.
#[derive(Clone, Default)]
pub(super) enum Manners {
    #[default]
    Honest,
    /// It needs so many questions until it has computed.
    Slow(u32),
    /// It claims the commitments of other bytes than it holds, and opens these.
    OtherBytes,
    /// It claims these, and opens with the opening of these.
    Claims(std::sync::Arc<CheckedList>, [u8; 32], [u8; 48]),
    /// Its list is right, its opening is not.
    FalseOpening,
    /// It does not answer to a secret, but remembers it.
    MuteWhenTold,
    /// From before: it knows no such question.
    Old,
}

impl Peer {
    /// The bytes that it commits to.
    fn pretends(&self, shard: &ShardId) -> Option<Vec<u8>> {
        let mut bytes = self.held.get(shard)?.1.clone();
        if matches!(self.manners, Manners::OtherBytes) {
            bytes[7] ^= 1;
        }
        Some(bytes)
    }

    fn commitments(&mut self, job: &ClaimJob) -> Result<Commitments, SendFailure> {
        self.asked += 1;
        if !self.up {
            return Err(SendFailure::Unreachable);
        }
        let Some(bytes) = self.pretends(&job.of.shard) else { return Ok(Commitments::Missing) };
        let list = match &mut self.manners {
            Manners::Old => return Err(SendFailure::Malformed("unimplemented".into())),
            Manners::Slow(left) if *left > 0 => {
                *left -= 1;
                return Ok(Commitments::NotYet { retry_after: Millis(300), ahead: 1 });
            }
            Manners::Claims(list, ..) => list.clone(),
            _ => list_of(&bytes),
        };
        let len = bytes.len() as u64;
        let claim = Claim::sign(LIFE, job.of.shard, len, job.witness, list.list().digest(), &self.key);
        Ok(Commitments::Claimed { claim, list: list.list().encode() })
    }

    fn open(&mut self, job: &RevealJob, seed: &WitnessSeed) -> Result<Opened, SendFailure> {
        self.told.push(seed.clone());
        if !self.up || matches!(self.manners, Manners::MuteWhenTold) {
            return Err(SendFailure::Timeout);
        }
        let body = match (self.pretends(&job.of.shard), &self.manners) {
            (None, _) => OpenedBody::Missing,
            (_, Manners::Claims(_, y, proof)) => OpenedBody::Opening { y: *y, proof: *proof },
            (Some(bytes), manners) => {
                let mut sum = Summing::new(seed);
                sum.absorb(0, &bytes).expect("aligned");
                let opening = sum.open(Setup::ethereum());
                let mut y = opening.y;
                y[31] ^= u8::from(matches!(manners, Manners::FalseOpening));
                OpenedBody::Opening { y, proof: opening.proof.0 }
            }
        };
        Ok(Opened::sign(LIFE, job.of.shard, job.witness, job.digest, body, &self.key))
    }

    /// Takes a list over only if it is that of its bytes, under chance of its own.
    fn adopt(&mut self, job: &HandJob, list: &CheckedList) -> Adopted {
        let bytes = &self.held[&job.of.shard].1;
        let chance = WitnessSeed::new(Transcript::new("test chance of a node").absorb("list", &job.digest).digest());
        let mut sum = Summing::new(&chance);
        sum.absorb(0, bytes).expect("aligned");
        let opening = sum.open(Setup::ethereum());
        let right = list.list().fits(bytes.len() as u64)
            && witness::holds(Setup::ethereum(), &chance, list, opening.y, opening.proof.0);
        let adoption = if right { Adoption::Taken } else { Adoption::Wrong { reason: "other bytes".into() } };
        self.taken.insert(job.of.shard, right);
        Adopted::sign(LIFE, job.of.shard, job.digest, adoption, &self.key)
    }
}

/// The client's side: an honest witness of each shard.
pub(super) fn witness_of(index: ShardIndex, shard: &[u8]) -> Witness {
    let draw = |what| Transcript::new("test client").absorb("shard", shard).absorb_u64(what, index.0.into()).digest();
    let mut id = [0; 16];
    id.copy_from_slice(&draw("id")[..16]);
    Witness::of(WitnessId(id), WitnessSeed::new(draw("seed")), shard).expect("aligned")
}

/// The driver's side.
impl World {
    /// Sealed: the catalog gets a name, the driver remembers the secret.
    pub(super) fn seal(&mut self, index: ShardIndex, witness: Witness) -> SealedWitness {
        let sealed = SealedWitness { index, id: witness.id, sealed: witness.id.0.to_vec(), list: None };
        self.secrets.insert(witness.id, witness);
        sealed
    }

    pub(super) fn commit(&mut self, job: CommitJob) -> CommitOutcome {
        self.commits.push(job.clone());
        match job {
            CommitJob::Claim(job) => self.claim(&job),
            CommitJob::Reveal(job) => self.reveal(&job),
            CommitJob::Read(job) => self.read(job),
            CommitJob::Hand(job) => self.hand(&job),
        }
    }

    fn claim(&mut self, job: &ClaimJob) -> CommitOutcome {
        let reply = self.peer(job.of.node).commitments(job);
        match witness::claimed(job, reply) {
            Ok((claim, list)) => {
                self.lists.insert(claim.digest, std::sync::Arc::new(list));
                CommitOutcome::Claimed(Box::new(claim))
            }
            Err(outcome) => outcome,
        }
    }

    fn reveal(&mut self, job: &RevealJob) -> CommitOutcome {
        let id: [u8; 16] = job.sealed.as_slice().try_into().expect("a name");
        let witness = self.secrets[&WitnessId(id)].clone();
        let reply = self.peer(job.of.node).open(job, &witness.seed);
        let list = self.lists.list(&job.digest).expect("kept before it was burnt");
        witness::opened(job, &witness, &list, reply, Setup::ethereum())
    }

    fn read(&mut self, job: ReadJob) -> CommitOutcome {
        let peer = &self.peers[&job.of.node];
        if !peer.up {
            return CommitOutcome::Failed(SendFailure::Unreachable);
        }
        if peer.withholds {
            return CommitOutcome::Failed(SendFailure::Denied("not to you".into()));
        }
        let Some((_, bytes)) = peer.held.get(&job.of.shard) else {
            return CommitOutcome::BadBytes { damaged: vec![] };
        };
        let list = job.claimed.and_then(|digest| self.lists.list(&digest));
        let chance = WitnessSeed::new(Seed([self.commits.len() as u8; 32]).0);
        let mut reading = Reading::new(job, list, chance);
        // In the parts that a network gives, not at blobs.
        for part in bytes.chunks(BLOB_LEN / 3) {
            reading.absorb(part, Setup::ethereum());
        }
        match reading.finish(Setup::ethereum()) {
            Read::Is(outcome) => outcome,
            Read::Computed(list) => {
                let digest = list.digest();
                self.lists.insert(digest, std::sync::Arc::new(CheckedList::new(list).expect("own points")));
                CommitOutcome::Committed { digest, provenance: crate::model::Provenance::AuditorRead }
            }
        }
    }

    fn hand(&mut self, job: &HandJob) -> CommitOutcome {
        let list = self.lists.list(&job.digest).expect("accepted");
        let adopted = self.peer(job.of.node).adopt(job, &list);
        assert_eq!(adopted.fault(&job.of, &job.digest), None);
        match adopted.adoption {
            Adoption::Taken => CommitOutcome::Adopted,
            Adoption::Wrong { reason } => CommitOutcome::NotAdopted { reason },
            Adoption::Unreadable => CommitOutcome::BadBytes { damaged: vec![] },
            Adoption::Refused { retry_after } => CommitOutcome::TooBusy { retry_after },
        }
    }

    /// Jobs of one kind so far.
    pub(super) fn jobs(&self, is: impl Fn(&CommitJob) -> bool) -> usize {
        self.commits.iter().filter(|job| is(job)).count()
    }

    pub(super) fn reads(&self) -> usize {
        self.jobs(|job| matches!(job, CommitJob::Read(_)))
    }

    pub(super) fn reveals(&self) -> usize {
        self.jobs(|job| matches!(job, CommitJob::Reveal(_)))
    }
}

/// What a node keeps of lists that were offered to it.
pub(super) type Taken = BTreeMap<ShardId, bool>;
