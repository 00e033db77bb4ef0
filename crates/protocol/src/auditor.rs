//! The auditor's core: audits, repairs, commitments and chores over one table of nodes and one
//! outbox. It waits for nothing; whoever drives it carries its effects out and tells it what came.
//!
//! ```text
//! Event ─► step ─► whose token is it? ─► audits │ repairs │ commitments │ chores ─► Vec<Effect>
//! ```
//!
//! A process starts with three questions to the catalog: who are the nodes, which is the highest
//! fence, and (a new catalog only) a first epoch. Until they are answered, ticks do nothing else.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Fence, Millis, Mono, NodeId, Now, SecretKey, Seed, ShardId, Wall};

use crate::{
    audit::Audits,
    chores::Chores,
    commitment::{Commitments, Debts},
    context::Context,
    effect::{Command, Effect, Event, Notice, Token},
    model::NodeRow,
    outbox::Outbox,
    profile::Profile,
    repair::Repairs,
    retrieve::Retrievals,
    store::{StoreOp, StoreReply},
};

pub use crate::commitment::CommitProgress;

/// Between two readings of the nodes' rows: reservations move their `used` without a change of version.
const NODES_EVERY: Millis = Millis::from_secs(5);
/// What an auditor is, checked where the configuration is read.
#[derive(Clone)]
pub struct Config {
    /// Names the cluster in every audit's id.
    pub cluster: [u8; 32],
    /// Intervals and limits.
    pub profile: Profile,
    /// Signs grants and descriptors.
    pub key: SecretKey,
    /// No orphan is collected before: the grace after a catalog was recovered from the nodes; 0 otherwise.
    pub no_orphans_before: Wall,
}

/// Where the start stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Nodes,
    Summary,
    FirstEpoch,
    Running,
}

/// The auditor's core. One catalog has one, or several that lease segments from it.
pub struct Auditor {
    config: Config,
    phase: Phase,
    starting: Option<Token>,
    nodes: BTreeMap<NodeId, NodeRow>,
    /// The highest fence given out.
    fence: Fence,
    /// As of the last tick; shut at once when a node contradicts us.
    uncontested: bool,
    chance: Seed,
    out: Outbox,
    audits: Audits,
    repairs: Repairs,
    commitments: Commitments,
    debts: Debts,
    retrievals: Retrievals,
    chores: Chores,
    reading: Option<Token>,
    next_reading: Mono,
    changed: BTreeSet<NodeId>,
    /// Changes of nodes that came while their rows were being read.
    changed_since: BTreeSet<NodeId>,
    raising: Option<Token>,
}

impl Auditor {
    /// A core that knows nothing yet; its first tick begins to ask.
    pub fn new(config: Config) -> Self {
        let audits = Audits::new(config.cluster, config.profile.clone());
        let chores = Chores::new(config.no_orphans_before, &config.profile);
        Self {
            config,
            phase: Phase::Nodes,
            starting: None,
            nodes: BTreeMap::new(),
            fence: Fence::default(),
            uncontested: false,
            chance: Seed([0; 32]),
            out: Outbox::default(),
            audits,
            repairs: Repairs::new(),
            commitments: Commitments::default(),
            debts: Debts::default(),
            retrievals: Retrievals::default(),
            chores,
            reading: None,
            next_reading: Mono(0),
            changed: BTreeSet::new(),
            changed_since: BTreeSet::new(),
            raising: None,
        }
    }

    /// What the core knows of the nodes; `used` is up to five seconds old.
    pub fn nodes(&self) -> &BTreeMap<NodeId, NodeRow> {
        &self.nodes
    }

    /// Deletions that nodes may be carrying out at this moment, by grants that still hold. Attack: an upload that comes
    /// back after it expired is staged where it was; a deletion on its way would hit what its client puts there now. So
    /// no shard is staged where it is being deleted.
    pub fn deleting(&self) -> BTreeSet<(NodeId, ShardId)> {
        self.chores.deleting()
    }

    /// Nodes that owe more commitments than they may: they get no new shards of puts.
    pub fn over_debt(&self) -> &BTreeSet<NodeId> {
        self.debts.over()
    }

    /// What came of commitments since the process began.
    pub fn commit_progress(&self) -> CommitProgress {
        self.commitments.progress()
    }

    /// Whether the start is over and the machines run.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Audits, reconciliations and changes of nodes under way.
    pub fn audits_in_flight(&self) -> usize {
        self.audits.in_flight()
    }

    /// Repairs under way.
    pub fn repairs_running(&self) -> usize {
        self.repairs.running()
    }

    /// Takes what happened, gives what is wished for. Replies to tokens that nobody waits for are dropped.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        match event {
            Event::Tick { entropy } => self.tick(now, entropy),
            Event::Stored(token, reply) => self.stored(now, token, *reply),
            Event::Busy(token) => self.busy(now, token),
            Event::Command(command) => self.command(now, &command),
            Event::Answered(token, reply) => {
                if self.repairs.owns(token) {
                    let (repairs, _, _, _, mut ctx) = self.parts(now);
                    repairs.on_answered(token, reply, &mut ctx);
                } else if self.chores.owns(token) {
                    let (_, _, chores, _, mut ctx) = self.parts(now);
                    chores.on_answered(token, reply, &mut ctx);
                } else {
                    self.audits.on_answered(now, token, reply, &self.nodes, &mut self.out);
                }
            }
            Event::Verified(token, found) => {
                if self.repairs.owns(token) {
                    let (repairs, _, _, _, mut ctx) = self.parts(now);
                    repairs.on_verified(token, found, &mut ctx);
                } else {
                    self.audits.on_verified(now, token, found, &self.nodes, &mut self.out);
                }
            }
            Event::CommitDone(token, outcome) if self.retrievals.owns(token) => {
                let (retrievals, mut ctx) = self.retrievals(now);
                retrievals.on_read(token, outcome, &mut ctx);
            }
            Event::CommitDone(token, outcome) => {
                let (_, commitments, _, _, mut ctx) = self.parts(now);
                commitments.on_committed(token, outcome, &mut ctx);
            }
            Event::Recovered(token, outcome) => {
                let (repairs, _, _, _, mut ctx) = self.parts(now);
                repairs.on_recovered(token, *outcome, &mut ctx);
            }
        }
        self.follow_up(now);
        self.out.take()
    }

    fn parts(&mut self, now: Now) -> (&mut Repairs, &mut Commitments, &mut Chores, &mut Audits, Context<'_>) {
        let Self { config, nodes, fence, uncontested, chance, out, audits, repairs, commitments, chores, .. } = self;
        let Config { cluster, profile, key, .. } = config;
        let (fence, uncontested, chance) = (*fence, *uncontested, *chance);
        let ctx = Context { now, profile, cluster, key, nodes, fence, uncontested, chance, out };
        (repairs, commitments, chores, audits, ctx)
    }

    fn tick(&mut self, now: Now, entropy: Seed) {
        self.chance = entropy;
        if self.phase != Phase::Running {
            return self.start();
        }
        if self.reading.is_none() && now.mono >= self.next_reading {
            self.read_nodes();
        }
        self.audits.tick(now, entropy, &self.nodes, &mut self.out);
        let (repairs, commitments, chores, _, mut ctx) = self.parts(now);
        repairs.tick(&mut ctx);
        commitments.tick(&mut ctx);
        chores.tick(&mut ctx);
        let (debts, mut ctx) = self.debts(now);
        debts.tick(&mut ctx);
        let (retrievals, mut ctx) = self.retrievals(now);
        retrievals.tick(&mut ctx);
        self.raise();
        self.uncontested = self.chores.is_uncontested();
    }

    fn retrievals(&mut self, now: Now) -> (&mut Retrievals, Context<'_>) {
        let Self { config, nodes, fence, uncontested, chance, out, retrievals, .. } = self;
        let Config { cluster, profile, key, .. } = config;
        let (fence, uncontested, chance) = (*fence, *uncontested, *chance);
        (retrievals, Context { now, profile, cluster, key, nodes, fence, uncontested, chance, out })
    }

    fn debts(&mut self, now: Now) -> (&mut Debts, Context<'_>) {
        let Self { config, nodes, fence, uncontested, chance, out, debts, .. } = self;
        let Config { cluster, profile, key, .. } = config;
        let (fence, uncontested, chance) = (*fence, *uncontested, *chance);
        (debts, Context { now, profile, cluster, key, nodes, fence, uncontested, chance, out })
    }

    /// The next question of the start, unless it is under way.
    fn start(&mut self) {
        if self.starting.is_some() {
            return;
        }
        let op = match self.phase {
            Phase::Nodes => StoreOp::Nodes,
            Phase::Summary => StoreOp::Summary,
            Phase::FirstEpoch => StoreOp::RaiseEpoch { above: 0 },
            Phase::Running => return,
        };
        self.starting = Some(self.out.store(op));
    }

    fn started(&mut self, reply: StoreReply) {
        self.starting = None;
        match (self.phase, reply) {
            (Phase::Nodes, StoreReply::Nodes(rows)) => {
                self.learn(rows);
                self.phase = Phase::Summary;
            }
            (Phase::Summary, StoreReply::Summary(summary)) => {
                self.fence = Fence { epoch: summary.epoch, counter: summary.counter };
                self.phase = if summary.epoch == 0 { Phase::FirstEpoch } else { Phase::Running };
            }
            (Phase::FirstEpoch, StoreReply::Epoch(epoch)) => {
                self.fence = Fence { epoch, counter: 0 };
                self.phase = Phase::Running;
            }
            // The store failed us: asked again at the next tick.
            (Phase::Nodes | Phase::Summary | Phase::FirstEpoch | Phase::Running, _) => return,
        }
        self.start();
    }

    fn learn(&mut self, rows: Vec<NodeRow>) {
        for row in rows {
            // A row read before somebody's change must not hide the change that is known already.
            if self.nodes.get(&row.id).is_none_or(|known| known.version <= row.version) {
                self.nodes.insert(row.id, row);
            }
        }
    }

    fn read_nodes(&mut self) {
        self.reading = Some(self.out.store(StoreOp::Nodes));
        self.changed.append(&mut self.changed_since);
    }

    fn nodes_read(&mut self, now: Now, reply: StoreReply) {
        self.reading = None;
        self.next_reading = now.mono + NODES_EVERY;
        let StoreReply::Nodes(rows) = reply else { return };
        self.learn(rows);
        for node in std::mem::take(&mut self.changed) {
            self.audits.command(now, &Command::NodeChanged(node), &self.nodes);
        }
        if !self.changed_since.is_empty() {
            self.read_nodes();
        }
    }

    fn stored(&mut self, now: Now, token: Token, reply: StoreReply) {
        if let StoreReply::Lease(lease) = &reply {
            self.fence = self.fence.max(lease.fence);
        }
        if self.starting == Some(token) {
            return self.started(reply);
        }
        if self.reading == Some(token) {
            return self.nodes_read(now, reply);
        }
        if self.raising == Some(token) {
            return self.raised(reply);
        }
        if self.repairs.owns(token) {
            let deleting = self.chores.deleting();
            let (repairs, _, _, _, mut ctx) = self.parts(now);
            repairs.on_stored(token, reply, &deleting, &mut ctx);
        } else if self.commitments.owns(token) {
            let (_, commitments, _, _, mut ctx) = self.parts(now);
            commitments.on_stored(token, reply, &mut ctx);
        } else if self.debts.owns(token) {
            let (debts, mut ctx) = self.debts(now);
            debts.on_stored(reply, &mut ctx);
        } else if self.retrievals.owns(token) {
            let (retrievals, mut ctx) = self.retrievals(now);
            retrievals.on_stored(token, reply, &mut ctx);
        } else if self.chores.owns(token) {
            let (repairs, _, chores, _, mut ctx) = self.parts(now);
            chores.on_stored(token, reply, repairs, &mut ctx);
        } else {
            self.audits.on_stored(now, token, reply, &mut self.nodes, &mut self.out);
        }
    }

    fn busy(&mut self, now: Now, token: Token) {
        for mine in [&mut self.starting, &mut self.reading, &mut self.raising] {
            if *mine == Some(token) {
                *mine = None;
            }
        }
        self.audits.busy(token);
        self.repairs.busy(token);
        self.commitments.busy(token, now.mono);
        self.debts.busy(token);
        self.retrievals.busy(token);
        self.chores.busy(token);
    }

    fn command(&mut self, now: Now, command: &Command) {
        match command {
            Command::AuditNow(_) => self.audits.command(now, command, &self.nodes),
            Command::NodeChanged(node) => {
                self.changed_since.insert(*node);
                if self.reading.is_none() && self.phase == Phase::Running {
                    self.read_nodes();
                }
            }
            Command::CatalogChanged => {
                self.audits.command(now, command, &self.nodes);
                self.repairs.look_soon();
                self.commitments.look_soon();
                self.chores.look_soon();
                self.next_reading = Mono(0);
            }
        }
    }

    /// What one machine found and another has to act on.
    fn follow_up(&mut self, now: Now) {
        self.commitments.placed(self.repairs.take_placed());
        let mut suspects = self.repairs.take_suspects();
        suspects.extend(self.commitments.take_suspects());
        let nodes: BTreeSet<NodeId> = suspects.into_iter().map(|(node, _)| node).collect();
        for node in nodes {
            self.audits.command(now, &Command::AuditNow(Some(node)), &self.nodes);
        }
        let unserved = [self.repairs.take_unserved(), self.commitments.take_unserved()].concat();
        let (retrievals, ctx) = self.retrievals(now);
        retrievals.failed(unserved, &ctx);
        let lost = retrievals.take_lost();
        if !lost.is_empty() {
            self.repairs.withheld(lost);
            self.repairs.look_soon();
        }
        self.uncontested &= self.chores.is_uncontested();
    }

    /// A node showed a fence that we signed and that this catalog never gave out: it is an old copy, and its next leases must
    /// be above. Asked for until the store has done it.
    fn raise(&mut self) {
        let Some(foreign) = self.chores.foreign_fence().filter(|_| self.raising.is_none()) else { return };
        self.raising = Some(self.out.store(StoreOp::RaiseEpoch { above: foreign.epoch }));
    }

    fn raised(&mut self, reply: StoreReply) {
        self.raising = None;
        let (StoreReply::Epoch(epoch), Some(foreign)) = (reply, self.chores.foreign_fence()) else { return };
        let what = format!(
            "a node has seen fence {foreign}, above this catalog's {}: the catalog is an old copy; its epoch is raised",
            self.fence
        );
        self.out.publish(Notice::Trouble { what });
        self.fence = self.fence.max(Fence { epoch, counter: 0 });
        self.chores.raised(self.fence);
    }
}
