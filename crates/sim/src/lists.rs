//! Commitments in the simulated cluster: the driver's jobs, and what must hold of them at the moment they happen.
//!
//! | promise | looked at |
//! |---|---|
//! | a secret is revealed for one list, and only after the catalog holds that burning | every reveal |
//! | no list is accepted that is not its shard's | every acceptance |
//! | no honest node is told a liar about its list, no honest client about its witness | every notice |

use std::sync::Arc;

use bytes::Bytes;
use holdfast_protocol::{
    effect::{CommitJob, CommitOutcome, Event as CoreEvent, Notice, Opening, Token},
    message::SendFailure,
    model::{CommitmentState, PendingShard, Provenance, SealedWitness, WitnessState},
    store::{ROWS_MAX, StoreOp, StoreReply},
    verify::{CheckedList, Lists},
    witness::{self, Adopted, Adoption, Commitments, Opened, Read, Reading, Witness, WitnessId, WitnessSeed},
};
use holdfast_types::{BLOB_LEN, ByteRange, Millis, SegmentId, ShardId, ShardIndex, Transcript};

use crate::{
    jobs::Job,
    message::{Got, ListCall, ListReply, Purpose, Reply, Request},
    world::World,
};

const SECRET: &str = "a secret is revealed once, for the list it was burnt with";
const RIGHT: &str = "no list is accepted that is not its shard's";
const HONEST: &str = "nobody honest is called a liar";

/// Seals like the auditor does, under a key that its disk does not hold.
fn seal_stream(key: &[u8; 32], id: WitnessId) -> [u8; 64] {
    let mut out = [0; 64];
    Transcript::new("sim witness seal").absorb("key", key).absorb("id", id.as_bytes()).stream().fill(&mut out);
    out
}

/// The client's side
impl World {
    /// Draws a witness for each shard, or none, as clients from before do; `lies` about its value.
    pub(crate) fn vouch(&mut self, segment: SegmentId, shards: &[(ShardId, Bytes)], lies: bool) {
        for (shard, bytes) in shards {
            let commit = |blob| self.setup.commit(blob).ok();
            let commitments: Vec<_> = bytes.chunks(BLOB_LEN as usize).filter_map(commit).collect();
            if let Ok(list) = holdfast_kzg::CommitmentList::new(commitments) {
                self.ledger.truth.insert(*shard, list.digest());
            }
        }
        if !lies && self.chance.per_mille(200) {
            return;
        }
        let mut drawn = Vec::new();
        for (at, (_, bytes)) in shards.iter().enumerate() {
            let (id, seed) = (WitnessId(self.chance.bytes()), WitnessSeed::new(self.chance.bytes()));
            let Ok(mut witness) = Witness::of(id, seed, bytes) else { continue };
            witness.y[31] ^= u8::from(lies);
            drawn.push((ShardIndex(at as u16), witness));
        }
        if lies {
            self.ledger.false_witnesses.insert(segment);
        }
        self.ledger.witnesses.insert(segment, drawn);
    }

    pub(crate) fn seal_witnesses(&self, witnesses: &[(ShardIndex, Witness)]) -> Vec<SealedWitness> {
        let seal = |(index, witness): &(ShardIndex, Witness)| {
            let plain = witness.seed.expose().iter().chain(&witness.y);
            let stream = seal_stream(self.auditor.recovery.as_bytes(), witness.id);
            let sealed = plain.zip(stream).map(|(byte, key)| byte ^ key).collect();
            SealedWitness { index: *index, id: witness.id, sealed, list: None }
        };
        witnesses.iter().map(seal).collect()
    }

    fn unseal(&self, id: WitnessId, sealed: &[u8]) -> Option<Witness> {
        let stream = seal_stream(self.auditor.recovery.as_bytes(), id);
        let plain: Vec<u8> = sealed.iter().zip(stream).map(|(byte, key)| byte ^ key).collect();
        let (seed, y) = plain.split_first_chunk::<32>()?;
        Some(Witness { id, seed: WitnessSeed::new(*seed), y: y.try_into().ok()? })
    }
}

/// The driver's side
impl World {
    pub(crate) fn begin_commit(&mut self, token: Token, job: CommitJob) {
        let of = *job.of();
        let call = match &job {
            CommitJob::Claim(job) => ListCall::Commitments { shard: of.shard, witness: job.witness },
            CommitJob::Read(_) => {
                self.auditor.jobs.insert(token, Job::Commit(job));
                let range = ByteRange::first(of.len);
                return self.ask(of.node, Request::Get { shard: of.shard, range }, Purpose::Commit(token));
            }
            CommitJob::Reveal(reveal) => {
                self.look_at_reveal(reveal.segment, reveal.index, reveal.witness, reveal.digest);
                let Some(witness) = self.unseal(reveal.witness, &reveal.sealed) else {
                    return self.local(1, CoreEvent::CommitDone(token, CommitOutcome::Internal("unsealed".into())));
                };
                let (digest, seed) = (reveal.digest, witness.seed);
                ListCall::Open { shard: of.shard, witness: reveal.witness, digest, seed }
            }
            CommitJob::Hand(hand) => {
                let Some(list) = self.lists.list(&hand.digest) else {
                    return self.local(1, CoreEvent::CommitDone(token, CommitOutcome::Internal("no list".into())));
                };
                ListCall::Put { shard: of.shard, list: list.list().encode() }
            }
        };
        self.auditor.jobs.insert(token, Job::Commit(job));
        self.ask(of.node, Request::Lists(call), Purpose::Commit(token));
    }

    pub(crate) fn commit_heard(&mut self, token: Token, reply: Reply) {
        let Some(Job::Commit(job)) = self.auditor.jobs.get(&token) else { return };
        let outcome = match (job.clone(), reply) {
            (CommitJob::Claim(job), reply) => {
                let said = match reply {
                    Reply::Lists(Ok(ListReply::Commitments(said))) => Ok(said),
                    Reply::Lists(Err(failure)) => Err(failure),
                    _ => Err(SendFailure::Malformed("another kind".into())),
                };
                self.claimed(&job, said)
            }
            (CommitJob::Reveal(job), reply) => {
                let said: Result<Opened, SendFailure> = match reply {
                    Reply::Lists(Ok(ListReply::Opened(said))) => Ok(*said),
                    Reply::Lists(Err(failure)) => Err(failure),
                    _ => Err(SendFailure::Malformed("another kind".into())),
                };
                match (self.unseal(job.witness, &job.sealed), self.lists.list(&job.digest)) {
                    (Some(witness), Some(list)) => witness::opened(&job, &witness, &list, said, self.setup),
                    _ => CommitOutcome::Opened(Opening::NotGiven),
                }
            }
            (CommitJob::Read(job), Reply::Got(got)) => self.read(job, got),
            (CommitJob::Read(_), _) => CommitOutcome::Failed(SendFailure::Malformed("another kind".into())),
            (CommitJob::Hand(job), Reply::Lists(Ok(ListReply::Adopted(said)))) => {
                if said.fault(&job.of, &job.digest).is_some() { CommitOutcome::Adopted } else { handed(*said) }
            }
            (CommitJob::Hand(_), _) => CommitOutcome::Failed(SendFailure::Timeout),
        };
        self.job_over(token, CoreEvent::CommitDone(token, outcome));
    }

    fn claimed(
        &mut self,
        job: &holdfast_protocol::effect::ClaimJob,
        said: Result<Commitments, SendFailure>,
    ) -> CommitOutcome {
        match witness::claimed(job, said) {
            Ok((claim, list)) => {
                self.lists.insert(claim.digest, Arc::new(list));
                CommitOutcome::Claimed(Box::new(claim))
            }
            Err(outcome) => outcome,
        }
    }

    fn read(&mut self, job: holdfast_protocol::effect::ReadJob, got: Got) -> CommitOutcome {
        let bytes = match got {
            Got::Bytes { damaged, .. } if !damaged.is_empty() => return CommitOutcome::BadBytes { damaged },
            Got::Bytes { bytes, .. } => bytes,
            // As the link words it: what is not there is no answer to a read.
            Got::NotFound => return CommitOutcome::Failed(SendFailure::Malformed("no such shard".into())),
            Got::Busy(retry_after) => return CommitOutcome::Failed(SendFailure::Refused { retry_after }),
            Got::Failed(failure) => return CommitOutcome::Failed(failure),
        };
        let claimed = job.claimed.and_then(|digest| self.lists.list(&digest));
        let chance = WitnessSeed::new(self.chance.bytes());
        let mut reading = Reading::new(job, claimed, chance);
        reading.absorb(&bytes, self.setup);
        match reading.finish(self.setup) {
            Read::Is(outcome) => outcome,
            Read::Computed(list) => match CheckedList::new(list) {
                Ok(list) => {
                    let digest = list.list().digest();
                    self.lists.insert(digest, Arc::new(list));
                    CommitOutcome::Committed { digest, provenance: Provenance::AuditorRead }
                }
                Err((blob, error)) => CommitOutcome::Internal(format!("blob {blob}: {error}")),
            },
        }
    }
}

fn handed(said: Adopted) -> CommitOutcome {
    match said.adoption {
        Adoption::Taken => CommitOutcome::Adopted,
        Adoption::Wrong { reason } => CommitOutcome::NotAdopted { reason },
        Adoption::Unreadable => CommitOutcome::BadBytes { damaged: Vec::new() },
        Adoption::Refused { .. } => CommitOutcome::TooBusy { retry_after: Millis(500) },
    }
}

/// What must hold
impl World {
    fn look_at_reveal(&mut self, segment: SegmentId, index: ShardIndex, id: WitnessId, digest: [u8; 32]) {
        let pending = StoreOp::PendingCommitments { after: None, limit: ROWS_MAX };
        let StoreReply::Pending(rows) = self.catalog.apply(pending) else { return };
        let is = |row: &&PendingShard| (row.placement.segment, row.placement.index) == (segment, index);
        let state = rows.iter().find(is).and_then(|row| row.witness.as_ref()).map(|row| (row.id, row.state));
        // A row that is gone meanwhile was accepted by bytes, lost, or deleted: the secret may go to the one list still.
        if state.is_some_and(|state| state != (id, WitnessState::Burnt(digest))) {
            self.break_promise(SECRET, format!("witness {id}: the catalog says {state:?}"));
        }
        let first = *self.ledger.revealed.entry(id).or_insert(digest);
        if first != digest {
            self.break_promise(SECRET, format!("witness {id} was revealed for two lists"));
        }
    }

    /// A commitment was set, durably.
    pub(crate) fn look_at_acceptance(&mut self, segment: SegmentId, index: ShardIndex, to: &CommitmentState) {
        let CommitmentState::Accepted { digest, provenance } = to else { return };
        let shard = self.catalog.places().find(|p| (p.segment, p.index) == (segment, index)).map(|p| p.shard);
        let truth = shard.and_then(|shard| self.ledger.truth.get(&shard));
        if truth.is_some_and(|truth| truth != digest) {
            self.break_promise(RIGHT, format!("shard {index} of segment {segment}, by {provenance:?}"));
        }
        *self
            .report
            .kinds
            .entry(match provenance {
                Provenance::AuditorRead => "list by reading",
                Provenance::ClientWitness => "list by witness",
                Provenance::LinkSampled => "list by links",
            })
            .or_default() += 1;
    }

    pub(crate) fn look_at_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::FalseList { node, shard, why, .. } => {
                let at = self.names[node];
                *self.report.kinds.entry("false list").or_default() += 1;
                if !self.marks[at].lied && !self.marks[at].wild {
                    self.break_promise(HONEST, format!("node {at} about the list of {shard}: {why}"));
                }
            }
            Notice::FalseWitness { segment, .. } => {
                *self.report.kinds.entry("false witness").or_default() += 1;
                if !self.ledger.false_witnesses.contains(segment) {
                    self.break_promise(HONEST, format!("the client of segment {segment}, about its witness"));
                }
            }
            _ => {}
        }
    }
}
