//! Drives the core: one task steps it, in order; what it wishes for runs beside it and comes back as
//! an event. The driver decides nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use holdfast_kzg::Setup;
use holdfast_protocol::{
    auditor::Auditor,
    effect::{CommitJob, CommitOutcome, Effect, Event, Notice, RecoverJob, RecoverOutcome, Token, VerifyJob},
    message::{NodeRequest, SendFailure},
    verify::verify,
};
use holdfast_types::{Millis, NodeId};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{clock, commit, folds::Folds, recover, shared::Shared};

/// The core is told of time this often.
const TICK: Duration = Duration::from_millis(100);
/// A part of a shard that takes longer than this to come is not coming: 256 KiB at 10 kB/s.
const PART_PATIENCE: Duration = Duration::from_secs(30);

/// Work under way, by the token its answer will carry.
type Under = Arc<Mutex<HashMap<Token, AbortHandle>>>;

/// The one task that steps the core.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    core: Auditor,
    under_way: Under,
    cpus: Arc<Semaphore>,
    folds: Folds,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, core: Auditor) -> Self {
        let cpus = available_parallelism().map_or(1, usize::from);
        Self { shared, core, under_way: Arc::default(), cpus: Arc::new(Semaphore::new(cpus)), folds: Folds::default() }
    }

    /// Steps until `stop`. What is under way then is given up: everything that matters is durable already.
    pub(crate) async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = events.recv() => event,
                _ = ticks.tick() => match clock::chance() {
                    Ok(entropy) => Event::Tick { entropy },
                    Err(failure) => {
                        error!(%failure, "no random bytes from the operating system; no audit can begin");
                        continue;
                    }
                },
            };
            self.forget(&event);
            let effects = self.core.step(self.shared.clock.now(), event);
            self.shared.gauge(self.core.audits_in_flight(), self.core.repairs_running());
            // Before the deletions go out: who stages from now on knows of them.
            *self.shared.deleting.write().unwrap_or_else(PoisonError::into_inner) = self.core.deleting();
            self.tell_commitments();
            for effect in effects {
                self.perform(effect);
            }
        }
        for (_, work) in self.under_way.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            work.abort();
        }
    }

    /// What the API asks of commitments.
    fn tell_commitments(&self) {
        *self.shared.commit_progress.write().unwrap_or_else(PoisonError::into_inner) = self.core.commit_progress();
        let mut over = self.shared.over_debt.write().unwrap_or_else(PoisonError::into_inner);
        if *over != *self.core.over_debt() {
            over.clone_from(self.core.over_debt());
        }
    }

    fn forget(&self, event: &Event) {
        let token = match event {
            Event::Stored(token, _)
            | Event::Answered(token, _)
            | Event::Verified(token, _)
            | Event::CommitDone(token, _)
            | Event::Recovered(token, _)
            | Event::Busy(token) => token,
            Event::Tick { .. } | Event::Command(_) => return,
        };
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::Store(token, op) => {
                self.spawn(token, |shared| async move { Event::Stored(token, Box::new(shared.ask(*op).await)) })
            }
            Effect::Send { token, node, request, timeout } => self.send(token, node, request, timeout),
            Effect::Verify(token, job) => self.verify(token, *job),
            Effect::Commit(token, job) => self.commit(token, *job),
            Effect::Recover(token, job) => self.recover(token, *job),
            Effect::Cancel(token) => {
                let work = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
                if let Some(work) = work {
                    work.abort();
                }
            }
            Effect::Publish(notice) => self.publish(notice),
        }
    }

    fn spawn<F>(&self, token: Token, work: impl FnOnce(Arc<Shared>) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let events = self.shared.events.clone();
        let work = work(Arc::clone(&self.shared));
        // Locked over the spawn, so that the answer cannot be forgotten before it is known.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = tokio::spawn(async move {
            let event = work.await;
            let _ = events.send(event);
        });
        under_way.insert(token, handle.abort_handle());
    }

    fn addresses(&self, node: NodeId) -> Option<Vec<String>> {
        self.core.nodes().get(&node).map(|row| row.addresses.clone())
    }

    fn send(&self, token: Token, node: NodeId, request: NodeRequest, timeout: Millis) {
        let addresses = self.addresses(node);
        self.spawn(token, move |shared| async move {
            let Some(addresses) = addresses else {
                return Event::Answered(token, Err(SendFailure::Unreachable));
            };
            let link = match shared.links.to(node, &addresses) {
                Ok(link) => link,
                Err(error) => return Event::Answered(token, Err(error.into_failure())),
            };
            let reply = link.call(request, clock::duration(timeout)).await;
            Event::Answered(token, reply.map_err(holdfast_client::link::LinkError::into_failure))
        });
    }

    fn verify(&self, token: Token, job: VerifyJob) {
        let cpus = Arc::clone(&self.cpus);
        if let VerifyJob::Fold(fold) = job {
            let folds = self.folds.clone();
            return self.spawn(token, move |shared| async move {
                match folds.verify(fold, cpus, shared.lists.clone()).await {
                    Some(found) => Event::Verified(token, found),
                    None => Event::Busy(token),
                }
            });
        }
        self.spawn(token, move |shared| async move {
            let Ok(_turn) = cpus.acquire_owned().await else {
                return Event::Busy(token);
            };
            let done = spawn_blocking(move || verify(&job, &shared.lists, Setup::ethereum())).await;
            match done {
                Ok(found) => Event::Verified(token, found),
                Err(failure) => {
                    error!(%failure, "a verification ended without a result");
                    Event::Busy(token)
                }
            }
        });
    }

    fn commit(&self, token: Token, job: CommitJob) {
        let node = job.of().node;
        let (addresses, cpus) = (self.addresses(node), Arc::clone(&self.cpus));
        self.spawn(token, move |shared| async move {
            let Some(addresses) = addresses else {
                return Event::CommitDone(token, CommitOutcome::Failed(SendFailure::Unreachable));
            };
            let (lists, key, patience) = (&shared.lists, &shared.witnesses, PART_PATIENCE);
            let outcome = match shared.links.to(node, &addresses) {
                Ok(link) => commit::commit(job, &commit::Means { link: &link, lists, key, cpus, patience }).await,
                Err(error) => CommitOutcome::Failed(error.into_failure()),
            };
            Event::CommitDone(token, outcome)
        });
    }

    fn recover(&self, token: Token, job: RecoverJob) {
        let nodes = job.sources.iter().map(|source| source.node).chain(job.targets.iter().map(|target| target.node));
        let addresses: HashMap<NodeId, Vec<String>> =
            nodes.filter_map(|node| Some((node, self.addresses(node)?))).collect();
        self.spawn(token, move |shared| async move {
            let find = |node: NodeId| addresses.get(&node).cloned();
            let means = recover::Means {
                links: &shared.links,
                addresses: &find,
                key: &shared.key,
                recovery: &shared.recovery,
                patience: PART_PATIENCE,
            };
            let outcome: RecoverOutcome = recover::recover(&job, &means).await;
            Event::Recovered(token, Box::new(outcome))
        });
    }

    fn publish(&self, notice: Notice) {
        log(&notice);
        self.shared.counts.note(&notice);
        self.shared.alerts.write().unwrap_or_else(PoisonError::into_inner).hear(&notice);
        // No watcher is no error.
        let _ = self.shared.notices.send(Arc::new(notice));
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Verdict(verdict) => {
            let (node, audit) = (verdict.node, verdict.audit);
            info!(id = verdict.id.0, %node, %audit, lane = ?verdict.lane, outcome = ?verdict.outcome, took_ms = verdict.took.0, shards = verdict.shards, exceptions = verdict.exceptions.len(), "verdict");
            for exception in &verdict.exceptions {
                warn!(%node, shard = %exception.shard, segment = %exception.segment, outcome = ?exception.outcome, cause = ?exception.cause, range = ?exception.range.map(|range| range.to_string()), "shard not held");
            }
        }
        Notice::Repair(repair) => {
            info!(id = %repair.id, segment = %repair.segment, shard = %repair.shard, to = %repair.to, state = ?repair.state, reason = repair.reason, "repair");
        }
        Notice::NodeLife { node, life, reason } => warn!(%node, ?life, reason, "node changed its place in life"),
        Notice::Commitment { shard, node, accepted, .. } => debug!(%shard, %node, accepted, "commitments"),
        Notice::FalseList { node, shard, why, .. } => warn!(%node, %shard, why, "false commitment list"),
        Notice::FalseWitness { segment, index, shard } => warn!(%segment, %index, %shard, "false witness of a client"),
        Notice::Silence { node } => error!(%node, "no verdict for too long"),
        other => info!(notice = ?other, "notice"),
    }
}
