//! The audits of all nodes: who is asked what and when, and what becomes of the answers.
//!
//! ```text
//! tick ─► schedule: who is due ─► flight: set, challenge, answer, proof ─► verdict, durable, published
//!                     ▲             │ silent        │ another set
//!                     │             ▼               ▼
//!                     └── life: contained, lost   reconcile: lists compared, absent shards asked for by name
//! ```
//!
//! | file | decides |
//! |---|---|
//! | `schedule` | which node is due for what |
//! | `flight` | one audit, step by step |
//! | `classify` | what a reply means |
//! | `localise` | which blobs are behind a false fold |
//! | `findings` | what is wrong, by shard |
//! | `containment`, `life` | what becomes of a silent node |
//! | `reconcile` | where a node's list and the catalog differ |
//! | `follow` | what follows from a task's end |
//! | `start` | what a process finds when it starts |
//!
//! Tasks are kept by number; a token leads from a reply to its task. At most one request of a task
//! is under way, so that a task is a straight line with one place to stand.

mod classify;
mod containment;
mod findings;
mod flight;
mod follow;
mod life;
mod localise;
mod reconcile;
mod schedule;
mod start;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_types::{Millis, Mono, NodeId, Now, Seed, Sequence};

use crate::{
    challenge,
    effect::{Command, Notice, Token, Verification},
    message::{NodeReply, SendFailure},
    model::{Lane, NodeRow},
    outbox::Outbox,
    profile::Profile,
    store::StoreReply,
};

use flight::Audit;
use life::{Knock, Life};
use reconcile::Reconcile;
use schedule::{Next, Watch};
use start::Start;
use task::{Ctx, Ending, Input, Progress, Purpose};

/// Wall and monotonic clock may part by this much between two events; more is a jump, and nobody's
/// slowness can be told from it.
const CLOCK_JUMP_MAX: Millis = Millis(1000);
/// A driver's own timeout is waited for this long past a deadline before the core makes one.
const OVERDUE_GRACE: Millis = Millis(1000);

enum Task {
    Start(Start),
    Audit(Box<Audit>),
    Reconcile(Box<Reconcile>),
    Life(Life),
    Knock(Knock, Purpose),
}

enum Waiting {
    On(Token),
    Until(Mono),
}

struct Running {
    task: Task,
    waiting: Waiting,
}

/// The audits of a cluster. Feed it events, carry out what it puts in the outbox.
pub struct Audits {
    cluster: [u8; 32],
    profile: Profile,
    last: Option<Now>,
    started: bool,
    drawn: u64,
    numbers: u64,
    watches: BTreeMap<NodeId, Watch>,
    tasks: BTreeMap<u64, Running>,
    tokens: BTreeMap<Token, u64>,
}

/// What people and drivers call.
impl Audits {
    /// Audits under `profile`. `cluster` names the cluster in every audit's id.
    pub fn new(cluster: [u8; 32], profile: Profile) -> Self {
        Self {
            cluster,
            profile,
            last: None,
            started: false,
            drawn: 0,
            numbers: 0,
            watches: BTreeMap::new(),
            tasks: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// Time went by. `nodes` must be loaded before the first tick.
    pub fn tick(&mut self, now: Now, entropy: Seed, nodes: &BTreeMap<NodeId, NodeRow>, out: &mut Outbox) {
        self.observe(now, nodes, out);
        if !self.started && self.tasks.is_empty() {
            let (task, progress) = Start::begin(&mut self.ctx(now, nodes, out));
            self.settle(Task::Start(task), progress, now, nodes, out);
        }
        self.wake(now, nodes, out);
        if self.started {
            self.sound_alarms(now, nodes, out);
            self.launch(now, &entropy, nodes, out);
        }
    }

    /// The catalog answered. `true` if the token is one of these machines'.
    pub fn on_stored(
        &mut self,
        now: Now,
        token: Token,
        reply: StoreReply,
        nodes: &mut BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) -> bool {
        let Some(mut running) = self.claim(token) else { return false };
        let progress = match &mut running.task {
            Task::Life(task) => {
                let before = nodes.get(&task.node).cloned();
                life::learn(nodes, &reply);
                task.on(Input::Stored(reply), before, &mut self.ctx(now, nodes, out))
            }
            task => task.on(Input::Stored(reply), &mut self.ctx(now, nodes, out)),
        };
        self.settle(running.task, progress, now, nodes, out);
        true
    }

    /// A node answered, or did not. `true` if the token is one of these machines'.
    pub fn on_answered(
        &mut self,
        now: Now,
        token: Token,
        reply: Result<NodeReply, SendFailure>,
        nodes: &BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) -> bool {
        let ours = self.tokens.contains_key(&token);
        // Before the reply is looked at: after a sleep of ours, a timeout says nothing about the node.
        self.observe(now, nodes, out);
        self.feed(token, Input::Answered(reply), now, nodes, out) || ours
    }

    /// The pool verified. `true` if the token is one of these machines'.
    pub fn on_verified(
        &mut self,
        now: Now,
        token: Token,
        found: Verification,
        nodes: &BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) -> bool {
        self.feed(token, Input::Verified(found), now, nodes, out)
    }

    /// The pool or a channel was full: the same is wished for at the next tick. `true` if the token
    /// is one of these machines'.
    pub fn busy(&mut self, token: Token) -> bool {
        let Some(number) = self.tokens.remove(&token) else { return false };
        if let Some(running) = self.tasks.get_mut(&number) {
            running.waiting = Waiting::Until(Mono(0));
        }
        true
    }

    /// Something from outside.
    pub fn command(&mut self, now: Now, command: &Command, nodes: &BTreeMap<NodeId, NodeRow>) {
        let profile = &self.profile;
        let mut watch = |row: &NodeRow, change: &dyn Fn(&mut Watch)| {
            change(self.watches.entry(row.id).or_insert_with(|| Watch::new(row, now, profile)));
        };
        match command {
            Command::AuditNow(asked) => {
                for row in nodes.values().filter(|row| asked.is_none_or(|asked| row.id == asked)) {
                    watch(row, &|watch| watch.due_now(now));
                }
            }
            Command::NodeChanged(id) => {
                if let Some(row) = nodes.get(id) {
                    watch(row, &|watch| watch.changed(row, now));
                }
            }
            Command::CatalogChanged => {
                for row in nodes.values() {
                    watch(row, &|watch| {
                        if watch.idle {
                            watch.idle = false;
                            watch.due_now(now);
                        }
                    });
                }
            }
        }
    }

    /// Audits, reconciliations and changes under way.
    pub fn in_flight(&self) -> usize {
        self.tasks.len()
    }
}

impl Task {
    fn node(&self) -> Option<NodeId> {
        match self {
            Task::Start(_) => None,
            Task::Audit(task) => Some(task.node),
            Task::Reconcile(task) => Some(task.node),
            Task::Life(task) => Some(task.node),
            Task::Knock(task, _) => Some(task.node),
        }
    }

    fn wish(&mut self, ctx: &mut Ctx<'_>) -> Progress {
        match self {
            Task::Start(task) => task.wish(ctx),
            Task::Audit(task) => task.wish(ctx),
            Task::Reconcile(task) => task.wish(ctx),
            Task::Life(task) => task.wish(ctx),
            Task::Knock(task, _) => task.wish(ctx),
        }
    }

    fn on(&mut self, input: Input, ctx: &mut Ctx<'_>) -> Progress {
        match self {
            Task::Start(task) => task.on(input, ctx),
            Task::Audit(task) => task.on(input, ctx),
            Task::Reconcile(task) => task.on(input, ctx),
            Task::Life(task) => task.on(input, None, ctx),
            Task::Knock(task, _) => task.on(input),
        }
    }

    fn interrupt(&mut self, ctx: &mut Ctx<'_>) -> Option<Progress> {
        match self {
            Task::Audit(task) => task.interrupt(ctx),
            Task::Reconcile(task) => task.interrupt(ctx),
            Task::Knock(..) => Some(Progress::End(Ending::Inconclusive)),
            Task::Start(_) | Task::Life(_) => None,
        }
    }

    fn answer_due(&self, within: Millis) -> Option<Mono> {
        match self {
            Task::Audit(task) => task.answer_due(),
            Task::Reconcile(task) => task.answer_due(within),
            Task::Knock(task, _) => Some(task.answer_due(within)),
            Task::Start(_) | Task::Life(_) => None,
        }
    }
}

/// Tasks on their way.
impl Audits {
    fn ctx<'a>(&'a self, now: Now, nodes: &'a BTreeMap<NodeId, NodeRow>, out: &'a mut Outbox) -> Ctx<'a> {
        Ctx { now, profile: &self.profile, cluster: &self.cluster, nodes, out }
    }

    fn claim(&mut self, token: Token) -> Option<Running> {
        let number = self.tokens.remove(&token)?;
        self.tasks.remove(&number)
    }

    fn feed(
        &mut self,
        token: Token,
        input: Input,
        now: Now,
        nodes: &BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) -> bool {
        let Some(mut running) = self.claim(token) else { return false };
        let progress = running.task.on(input, &mut self.ctx(now, nodes, out));
        self.settle(running.task, progress, now, nodes, out);
        true
    }

    fn settle(
        &mut self,
        task: Task,
        progress: Progress,
        now: Now,
        nodes: &BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) {
        let waiting = match progress {
            Progress::Wait(token) => {
                self.tokens.insert(token, self.numbers + 1);
                Waiting::On(token)
            }
            Progress::Sleep(until) => Waiting::Until(until),
            Progress::End(ending) => return self.ended(task, ending, now, nodes, out),
        };
        self.numbers += 1;
        self.tasks.insert(self.numbers, Running { task, waiting });
    }

    /// Ends what a jump of our clocks, or a sleep of ours, has made meaningless.
    fn observe(&mut self, now: Now, nodes: &BTreeMap<NodeId, NodeRow>, out: &mut Outbox) {
        let Some(last) = self.last.replace(now) else { return };
        let ticked = now.mono.since(last.mono);
        let parted = (now.wall.0 as i128 - last.wall.0 as i128 - i128::from(ticked.0)).unsigned_abs();
        let slept = ticked.0 > self.profile.answer_within.0 / 2;
        if parted <= u128::from(CLOCK_JUMP_MAX.0) && !slept {
            return;
        }
        let numbers: Vec<u64> = self.tasks.keys().copied().collect();
        for number in numbers {
            let Some(mut running) = self.tasks.remove(&number) else { continue };
            let Waiting::On(token) = running.waiting else {
                self.tasks.insert(number, running);
                continue;
            };
            let progress = running.task.interrupt(&mut self.ctx(now, nodes, out));
            match progress {
                Some(progress) => {
                    self.tokens.remove(&token);
                    out.cancel(token);
                    self.settle(running.task, progress, now, nodes, out);
                }
                None => drop(self.tasks.insert(number, running)),
            }
        }
    }

    /// Goes on with what slept, and with what waits for a word that the driver never gave.
    fn wake(&mut self, now: Now, nodes: &BTreeMap<NodeId, NodeRow>, out: &mut Outbox) {
        let within = self.profile.answer_within;
        let numbers: Vec<u64> = self.tasks.keys().copied().collect();
        for number in numbers {
            let Some(mut running) = self.tasks.remove(&number) else { continue };
            let overdue = running.task.answer_due(within).is_some_and(|due| now.mono > due + OVERDUE_GRACE);
            let progress = match running.waiting {
                Waiting::Until(until) if until <= now.mono => running.task.wish(&mut self.ctx(now, nodes, out)),
                Waiting::On(token) if overdue => {
                    self.tokens.remove(&token);
                    out.cancel(token);
                    let silence = Input::Answered(Err(SendFailure::Timeout));
                    running.task.on(silence, &mut self.ctx(now, nodes, out))
                }
                Waiting::Until(_) | Waiting::On(_) => {
                    self.tasks.insert(number, running);
                    continue;
                }
            };
            self.settle(running.task, progress, now, nodes, out);
        }
    }

    fn sound_alarms(&mut self, now: Now, nodes: &BTreeMap<NodeId, NodeRow>, out: &mut Outbox) {
        for row in nodes.values() {
            let watch = self.watches.entry(row.id).or_insert_with(|| Watch::new(row, now, &self.profile));
            if watch.alarm(row, now, &self.profile) {
                out.publish(Notice::Silence { node: row.id });
            }
        }
    }

    /// Begins what is due, the longest due first, within the bounds a node and in all.
    fn launch(&mut self, now: Now, entropy: &Seed, nodes: &BTreeMap<NodeId, NodeRow>, out: &mut Outbox) {
        let mut busy: BTreeMap<NodeId, Vec<Option<Lane>>> = BTreeMap::new();
        let mut in_flight = 0;
        for running in self.tasks.values() {
            let lane = match &running.task {
                Task::Audit(task) if task.purpose == Purpose::Routine => Some(task.lane),
                _ => None,
            };
            busy.entry(running.task.node().unwrap_or(NodeId([0; 32]))).or_default().push(lane);
            in_flight += u32::from(matches!(running.waiting, Waiting::On(_)));
        }
        let mut due: Vec<(Mono, NodeId, Next)> = Vec::new();
        for row in nodes.values() {
            let lanes = busy.get(&row.id).map(Vec::as_slice).unwrap_or_default();
            // What is not routine has the node to itself.
            if lanes.contains(&None) || lanes.len() >= self.profile.in_flight_per_node.max(1) as usize {
                continue;
            }
            let under_way: Vec<Lane> = lanes.iter().flatten().copied().collect();
            let Some(watch) = self.watches.get(&row.id) else { continue };
            if let Some((at, next)) = watch.next(row, &under_way, now, &self.profile) {
                let routine = matches!(next, Next::Audit(Purpose::Routine, ..));
                if routine || under_way.is_empty() {
                    due.push((at, row.id, next));
                }
            }
        }
        due.sort_by_key(|(at, node, _)| (*at, *node));
        let room = self.profile.in_flight.max(1).saturating_sub(in_flight) as usize;
        for (_, node, next) in due.into_iter().take(room) {
            self.drawn += 1;
            let seed = challenge::seed(entropy, &node, self.drawn);
            self.begin(node, next, seed, now, nodes, out);
        }
    }

    fn begin(
        &mut self,
        node: NodeId,
        next: Next,
        seed: Seed,
        now: Now,
        nodes: &BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) {
        let Some(watch) = self.watches.get_mut(&node) else { return };
        let absent = watch.absent.clone();
        if matches!(next, Next::Reconcile(_)) {
            watch.reconcile = None;
        }
        let containment = nodes.get(&node).and_then(|row| row.containment.as_ref()).map(|it| it.audit);
        let mut ctx = self.ctx(now, nodes, out);
        let (task, progress) = match (next, containment) {
            (Next::Audit(purpose, lane, from), _) => {
                let (task, progress) = Audit::begin(node, (purpose, lane, from), seed, absent, &mut ctx);
                (Task::Audit(Box::new(task)), progress)
            }
            (Next::Recall, Some(audit)) => {
                let (task, progress) = Audit::recall(node, audit, seed, &mut ctx);
                (Task::Audit(Box::new(task)), progress)
            }
            (Next::Recall, None) => {
                let plan = (Purpose::Contained, Lane::Sample, Sequence(0));
                let (task, progress) = Audit::begin(node, plan, seed, absent, &mut ctx);
                (Task::Audit(Box::new(task)), progress)
            }
            (Next::Reconcile(set), _) => {
                let (task, progress) = Reconcile::begin(node, set, seed, &mut ctx);
                (Task::Reconcile(Box::new(task)), progress)
            }
            (Next::Knock, _) => {
                let (task, progress) = Knock::begin(node, &mut ctx);
                (Task::Knock(task, Purpose::Probe), progress)
            }
        };
        self.settle(task, progress, now, nodes, out);
    }
}
