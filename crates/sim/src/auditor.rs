//! The auditor's process: the core, and a driver that carries out what it wishes. The core and
//! everything in flight die with it; the catalog and the commitment lists are its disk.

use std::collections::BTreeMap;

use holdfast_dispersal::RecoveryKey;
use holdfast_protocol::{
    auditor::{Auditor as Core, Config},
    effect::{Effect, Event as CoreEvent, Notice, Token, Verification},
    message::SendFailure,
    store::StoreReply,
    verify,
};
use holdfast_types::{Millis, Mono, SecretKey, Wall};

use crate::{
    chance::Chance,
    jobs::Job,
    message::{Peer, Purpose, Reply, Request},
    plan,
    world::{Event, World},
};

/// The process, whether or not it runs.
pub(crate) struct Auditor {
    /// Counts starts: what an earlier life wished for finds nobody.
    pub(crate) life: u64,
    /// When this life began.
    since: Mono,
    pub(crate) core: Option<Core>,
    pub(crate) key: SecretKey,
    pub(crate) recovery: RecoveryKey,
    cluster: [u8; 32],
    pub(crate) skew: i64,
    pub(crate) jobs: BTreeMap<Token, Job>,
    /// Dies at the so-manyeth effect, and is back after so many ms.
    pub(crate) dies: Option<(u64, u64)>,
}

impl Auditor {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        Self {
            life: 0,
            since: Mono(0),
            core: None,
            key: SecretKey::from_seed(&chance.bytes()),
            recovery: RecoveryKey::from_bytes(chance.bytes()),
            cluster: chance.bytes(),
            skew: 0,
            jobs: BTreeMap::new(),
            dies: None,
        }
    }

    pub(crate) fn start(&mut self, now: Mono) {
        if self.core.is_some() {
            return;
        }
        self.since = now;
        self.life += 1;
        let (cluster, key) = (self.cluster, self.key.clone());
        let config = Config { cluster, profile: plan::profile(), key, no_orphans_before: Wall(0) };
        self.core = Some(Core::new(config));
    }

    /// Everything that is not on a disk is gone.
    pub(crate) fn die(&mut self) {
        self.life += 1;
        self.core = None;
        self.jobs.clear();
        self.dies = None;
    }
}

impl World {
    /// How long this life of the auditor has lasted.
    pub(crate) fn auditor_uptime(&self) -> Millis {
        Millis(self.mono().0 - self.auditor.since.0)
    }

    /// One step of the core, and what follows from it.
    pub(crate) fn auditor_step(&mut self, event: CoreEvent) {
        let now = self.auditor_now();
        let Some(core) = &mut self.auditor.core else { return };
        for effect in core.step(now, event) {
            if self.auditor_dies_now() {
                return;
            }
            self.carry_out(effect);
        }
    }

    fn auditor_dies_now(&mut self) -> bool {
        let Some((after, down)) = &mut self.auditor.dies else { return false };
        if *after > 0 {
            *after -= 1;
            return false;
        }
        let down = *down;
        self.kill_auditor(down);
        true
    }

    pub(crate) fn kill_auditor(&mut self, down: u64) {
        self.note("the auditor dies");
        self.auditor.die();
        self.queue_in(down, Event::StartAuditor);
    }

    pub(crate) fn local(&mut self, delay: u64, event: CoreEvent) {
        let life = self.auditor.life;
        self.queue_in(delay, Event::Local { life, event: Box::new(event) });
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Store(token, op) => {
                let delay = self.chance.within(1..12);
                let reply = self.store(*op);
                self.local(delay, CoreEvent::Stored(token, Box::new(reply)));
            }
            Effect::Send { token, node, request, timeout } => {
                let to = Peer::Node(self.names[&node]);
                self.call(Peer::Auditor, to, Request::Node(request), timeout, Purpose::Core(token));
            }
            Effect::Verify(token, job) => {
                if !self.quiet && self.chance.per_mille(10) {
                    return self.local(1, CoreEvent::Busy(token));
                }
                let delay = self.chance.within(1..40);
                let found = self.verify(&job);
                self.local(delay, CoreEvent::Verified(token, found));
            }
            Effect::Commit(token, _) if !self.quiet && self.chance.per_mille(5) => {
                self.local(1, CoreEvent::Busy(token));
            }
            Effect::Commit(token, job) => self.begin_commit(token, *job),
            Effect::Recover(token, job) => self.begin_recover(token, *job),
            Effect::Cancel(token) => {
                self.auditor.jobs.remove(&token);
                self.drop_calls(|call| call.from == Peer::Auditor && call.purpose == Purpose::Core(token));
            }
            Effect::Publish(notice) => self.published(&notice),
        }
    }

    fn verify(&mut self, job: &holdfast_protocol::effect::VerifyJob) -> Verification {
        verify::verify(job, &self.lists, self.setup)
    }

    /// The catalog, which may fail: before it did anything, or after.
    pub(crate) fn store(&mut self, op: holdfast_protocol::store::StoreOp) -> StoreReply {
        let (per_mille, until) = self.store_fails;
        let fails = self.now < until && self.chance.per_mille(per_mille);
        if fails && self.chance.per_mille(500) {
            return StoreReply::Failed("simulated: the disk said no".into());
        }
        self.back_up(&op);
        let reply = self.catalog.apply(op.clone());
        self.stored(&op, &reply);
        if let StoreReply::Failed(why) = &reply {
            self.break_promise("nothing that a peer says makes the catalog fail", format!("{op:?}: {why}"));
        }
        if fails { StoreReply::Failed("simulated: the answer was lost".into()) } else { reply }
    }

    fn published(&mut self, notice: &Notice) {
        self.look_at_notice(notice);
        let said = match notice {
            Notice::Verdict(verdict) => format!(
                "verdict on node {} {:?} {:?} exceptions {}",
                self.names[&verdict.node],
                verdict.lane,
                verdict.outcome,
                verdict.exceptions.len()
            ),
            Notice::Repair(row) => {
                format!("repair of {} to node {} {:?} {}", row.shard, self.names[&row.to], row.state, row.reason)
            }
            Notice::NodeLife { node, life, reason } => format!("node {} is {life:?}: {reason}", self.names[node]),
            other => format!("{other:?}"),
        };
        self.note(&said);
    }

    /// An answer to a call of the auditor's.
    pub(crate) fn auditor_heard(&mut self, purpose: Purpose, reply: Reply) {
        match (purpose, reply) {
            (Purpose::Core(token), Reply::Node(reply)) => self.auditor_step(CoreEvent::Answered(token, reply)),
            (Purpose::Core(token), _) => {
                self.auditor_step(CoreEvent::Answered(token, Err(SendFailure::Malformed("another kind".into()))));
            }
            (Purpose::Commit(token), reply) => self.commit_heard(token, reply),
            (Purpose::Source(token, index), Reply::Got(got)) => self.source_read(token, index, got),
            (Purpose::Target(token, index), Reply::Put(reply)) => self.target_written(token, index, reply),
            (
                Purpose::Source(..)
                | Purpose::Target(..)
                | Purpose::Call(_)
                | Purpose::Store(_)
                | Purpose::Fetch(_)
                | Purpose::Register,
                _,
            ) => {}
        }
    }

    /// A job of the driver's came to its end.
    pub(crate) fn job_over(&mut self, token: Token, event: CoreEvent) {
        if self.auditor.jobs.remove(&token).is_some() {
            self.local(1, event);
        }
    }
}
