//! One round: every node is due for both lanes; ticks, questions, answers, proofs and verdicts until nothing is left to do.
//! One thread does everything in turn, so that the processor time between two readings is one step's.

use std::{collections::BTreeMap, error::Error};

use holdfast_kzg::Setup;
use holdfast_protocol::{
    answer,
    audit::Audits,
    effect::{Command, Effect, FoldJob, Notice, Verification, VerifyJob},
    message::{Answer, Challenge, NodeReply, NodeRequest, SetEntry},
    model::Outcome,
    outbox::Outbox,
    profile::Profile,
    responder::Responder,
    set,
    store::StoreOp,
    verify,
};
use holdfast_types::{Incarnation, Millis, Mono, NodeId, Now, Seed, Transcript, Wall};
use holdfast_wire::pb::node::v1 as pb;
use nix::time::{ClockId, clock_gettime};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    catalog::{Catalog, Peer},
    contents::{Contents, LEN},
};

/// Answers that are verified as one combination.
const BATCH: usize = 256;
/// A round that takes more ticks than this is stuck.
const TICKS_MAX: u64 = 100_000;

/// Steps of the auditor, in the order of the report.
pub(crate) const STEPS: [&str; 6] = [
    "planning: schedule, sets, digests, classification",
    "placements read from the catalog",
    "audit rows written before the challenge",
    "verification of folds and samples, one by one",
    "challenge derivation (γ and z), a part of the verification",
    "verdicts stored",
];
const PLAN: usize = 0;
const READ: usize = 1;
const OPEN: usize = 2;
const VERIFY: usize = 3;
const DERIVE: usize = 4;
const STORE: usize = 5;

/// What one round took.
pub(crate) struct Round {
    pub(crate) nodes: usize,
    pub(crate) shards: usize,
    /// Processor seconds, by [`STEPS`].
    pub(crate) seconds: [f64; 6],
    /// All folds again, as one random combination each [`BATCH`] answers.
    pub(crate) batched: f64,
    /// The nodes' own work: sets, folds, openings, leaves, signatures.
    pub(crate) nodes_seconds: f64,
    /// Challenges and answers, as protobuf.
    pub(crate) wire_bytes: u64,
    pub(crate) verdicts: usize,
}

struct Driver<'a> {
    catalog: Catalog,
    contents: &'a Contents,
    audits: Audits,
    out: Outbox,
    now: Now,
    folds: Vec<FoldJob>,
    round: Round,
}

impl Round {
    /// Plays it. Every verdict must be `Held`, one a node and lane at least.
    pub(crate) async fn run(catalog: Catalog, contents: &Contents) -> Result<Self, Box<dyn Error>> {
        let day = Millis::from_secs(86_400);
        let profile = Profile { fold_every: day, sample_every: day, silence_alarm: day, ..Profile::production() };
        let (nodes, per_node) = (catalog.rows.len(), catalog.shards_per_node);
        let round = Self {
            nodes,
            shards: nodes * per_node,
            seconds: [0.0; 6],
            batched: 0.0,
            nodes_seconds: 0.0,
            wire_bytes: 0,
            verdicts: 0,
        };
        let now = Now { mono: Mono(1_000_000), wall: Wall(1_000_000_000) };
        let audits = Audits::new([9; 32], profile);
        let mut driver = Driver { catalog, contents, audits, out: Outbox::default(), now, folds: Vec::new(), round };
        let setup = Setup::ethereum();
        setup.prepare();
        driver.play().await?;
        let mut round = driver.round;
        let began = processor_seconds();
        for batch in driver.folds.chunks(BATCH) {
            let found = verify::verify_folds(batch, &contents.lists, setup, Seed([5; 32]));
            assert!(
                found.iter().all(|found| *found == Verification::Valid),
                "the batch finds what each fold by itself is"
            );
        }
        round.batched = processor_seconds() - began;
        assert!(round.verdicts >= 2 * nodes, "expected a verdict a node and lane, got {}", round.verdicts);
        driver.catalog.store.close().await;
        Ok(round)
    }

    /// Processor seconds of the auditor; the derivation is a part of the verification.
    pub(crate) fn auditor_seconds(&self) -> f64 {
        self.seconds.iter().sum::<f64>() - self.seconds[DERIVE]
    }

    pub(crate) fn described(&self) -> Value {
        let steps: Vec<Value> =
            STEPS.iter().zip(self.seconds).map(|(step, seconds)| json!({ "step": step, "seconds": seconds })).collect();
        json!({
            "nodes": self.nodes,
            "shards": self.shards,
            "steps": steps,
            "auditor_seconds": self.auditor_seconds(),
            "folds_batched_seconds": self.batched,
            "nodes_seconds": self.nodes_seconds,
            "wire_bytes": self.wire_bytes,
            "verdicts": self.verdicts,
        })
    }
}

impl Driver<'_> {
    async fn play(&mut self) -> Result<(), Box<dyn Error>> {
        let began = processor_seconds();
        self.audits.command(self.now, &Command::AuditNow(None), &self.catalog.rows);
        self.round.seconds[PLAN] += processor_seconds() - began;
        for tick in 0..TICKS_MAX {
            self.now.mono = Mono(self.now.mono.0 + 100);
            self.now.wall = Wall(self.now.wall.0 + 100);
            let entropy = Seed(Transcript::new("holdfast bench chance").absorb_u64("n", tick).digest());
            let before = self.round.verdicts;
            let began = processor_seconds();
            self.audits.tick(self.now, entropy, &self.catalog.rows, &mut self.out);
            self.round.seconds[PLAN] += processor_seconds() - began;
            let carried = self.carry().await?;
            if !carried && self.round.verdicts == before && self.round.verdicts > 0 && self.audits.in_flight() == 0 {
                return Ok(());
            }
        }
        Err(format!("the round is not over after {TICKS_MAX} ticks, {} verdicts", self.round.verdicts).into())
    }

    /// Carries out what is wished for until nothing is; whether there was anything.
    async fn carry(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut any = false;
        loop {
            let effects = self.out.take();
            if effects.is_empty() {
                return Ok(any);
            }
            any = true;
            for effect in effects {
                self.carry_out(effect).await?;
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Result<(), Box<dyn Error>> {
        let began = processor_seconds();
        match effect {
            Effect::Store(token, op) => {
                let step = match &*op {
                    StoreOp::OpenAudit(_) => OPEN,
                    StoreOp::CloseAudit { .. } => STORE,
                    StoreOp::PlacementsOfNode { .. } => READ,
                    StoreOp::OpenAudits | StoreOp::Verdicts { .. } | StoreOp::LatestVerdicts { .. } => PLAN,
                    other => return Err(format!("a round without faults asked the catalog for {other:?}").into()),
                };
                let reply = self.catalog.store.apply(*op).await;
                let stored = processor_seconds();
                self.round.seconds[step] += stored - began;
                self.audits.on_stored(self.now, token, reply, &mut self.catalog.rows, &mut self.out);
                self.round.seconds[PLAN] += processor_seconds() - stored;
            }
            Effect::Send { token, node, request, .. } => {
                let NodeRequest::Challenge(challenge) = request else {
                    return Err(format!("a round without faults asked a node for {request:?}").into());
                };
                let answer = self.answer(node, &challenge)?;
                self.round.nodes_seconds += processor_seconds() - began;
                let asked = pb::ChallengeRequest::from(&*challenge).encoded_len();
                let answered = pb::ChallengeResponse::from(&answer).encoded_len();
                self.round.wire_bytes += (asked + answered) as u64;
                let told = processor_seconds();
                let reply = Ok(NodeReply::Answer(Box::new(answer)));
                self.audits.on_answered(self.now, token, reply, &self.catalog.rows, &mut self.out);
                self.round.seconds[PLAN] += processor_seconds() - told;
            }
            Effect::Verify(token, job) => {
                let found = verify::verify(&job, &self.contents.lists, Setup::ethereum());
                let verified = processor_seconds();
                self.round.seconds[VERIFY] += verified - began;
                self.audits.on_verified(self.now, token, found, &self.catalog.rows, &mut self.out);
                self.round.seconds[PLAN] += processor_seconds() - verified;
                if let VerifyJob::Fold(job) = *job {
                    self.derive(&job);
                    self.folds.push(job);
                }
            }
            Effect::Publish(Notice::Verdict(verdict)) => {
                let held = verdict.outcome == Outcome::Held && verdict.exceptions.is_empty();
                assert!(held, "every node told the truth, and was judged {:?}", verdict.outcome);
                self.round.verdicts += 1;
            }
            Effect::Publish(_) | Effect::Cancel(_) => {}
            Effect::Commit(..) | Effect::Recover(..) => return Err("an audit neither commits nor repairs".into()),
        }
        Ok(())
    }

    /// Every γ and z of a fold, once more and alone.
    fn derive(&mut self, job: &FoldJob) {
        let began = processor_seconds();
        let mut gammas = job.challenge.gammas();
        for term in &job.terms {
            for blob in term.blobs.iter().flat_map(|(from, to)| *from..*to) {
                std::hint::black_box(gammas.at(term.base + u64::from(blob)));
            }
        }
        std::hint::black_box(job.challenge.point());
        self.round.seconds[DERIVE] += processor_seconds() - began;
    }

    /// What an honest node says.
    fn answer(&self, node: NodeId, challenge: &Challenge) -> Result<Answer, Box<dyn Error>> {
        let Peer { key, held } = self.catalog.peers.get(&node).ok_or("a node of the catalog")?;
        let wanted = held.iter().filter(|(sequence, _)| set::holds(&challenge.set.runs, *sequence));
        let entry = |(sequence, content): &(_, usize)| SetEntry {
            sequence: *sequence,
            shard: self.contents.all[*content].shard,
            len: LEN,
        };
        let entries: Vec<SetEntry> = wanted.map(entry).collect();
        let mut responder =
            Responder::new(challenge, &entries).map_err(|body| format!("the node's set is another: {body:?}"))?;
        for read in responder.reads().to_vec() {
            let content = &self.contents.all[self.contents.by_name[&read.entry.shard]];
            if read.outboard {
                responder.outboard(&read.entry.shard, content.outboard.clone());
            }
            for range in &read.ranges {
                let bytes = &content.bytes[range.start() as usize..range.end() as usize];
                responder.absorb(&read.entry.shard, range.start(), bytes, &[])?;
            }
        }
        let body = responder.finish(Setup::ethereum());
        Ok(answer::sign(challenge, Incarnation([1; 16]), body, key))
    }
}

/// Processor time of this process: SQLite's thread is in it.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

/// What is kept of the rounds by step, for the fit.
pub(crate) fn by_step(rounds: &[Round]) -> BTreeMap<&'static str, Vec<(usize, f64)>> {
    let mut steps: BTreeMap<&'static str, Vec<(usize, f64)>> = BTreeMap::new();
    for round in rounds {
        for (step, seconds) in STEPS.iter().zip(round.seconds) {
            steps.entry(step).or_default().push((round.shards, seconds));
        }
        steps.entry("folds verified in batches").or_default().push((round.shards, round.batched));
    }
    steps
}
