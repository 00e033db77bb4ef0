//! The repairs of a cluster: which segments need one, in which order, how many at once.
//!
//! ```text
//! tick ─► look: segments at risk, worst first ─► due? recoverable? ─► run (one a segment, fenced)
//!                                                       │ no              │ placed, recorded
//!                                                       ▼                 ▼
//!                                             told once, looked at again   gone from the next look
//! ```
//!
//! | file | decides |
//! |---|---|
//! | [`plan`] | whether a segment is due, what is read, what is written where |
//! | `run` | one repair, step by step |
//! | `probe` | what a new shard must prove before it counts |
//! | `row` | what is told of a repair |
//! | `sweep` | what became of the repairs of the last process |
//!
//! Nothing here is remembered across processes but by the catalog: standings say what is bad, leases
//! who repairs, fences who came later.

pub mod plan;
mod probe;
mod row;
mod run;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{Mono, NodeId, SegmentId, ShardId};

use crate::{
    context::Context,
    effect::{Notice, RecoverOutcome, Token, Verification},
    message::{NodeReply, SendFailure},
    model::{Placement, SegmentView},
    store::{StoreOp, StoreReply},
};

use plan::PlanError;
use run::{Ended, Input, Outcome, Progress, Run, Shunned};
use sweep::Sweep;

/// Segments in one page of a look: a view of a wide code is some hundred KiB.
const LOOK_PAGE: u32 = 128;

/// Shards remembered that their nodes withhold, until they are placed elsewhere.
const WITHHELD_MAX: usize = 4096;

/// What is remembered of a segment that could not be repaired.
#[derive(Default)]
struct Trouble {
    not_before: Mono,
    avoid: BTreeSet<NodeId>,
    /// Shards that were read and are not there: a lost one is hoped for once, not for ever.
    gone: BTreeSet<(NodeId, ShardId)>,
    /// Shards that did not come when they were read.
    unserved: BTreeSet<(NodeId, ShardId)>,
    /// The last word about it, so that it is said once.
    told: String,
}

/// A look at the segments at risk, page by page.
struct Look {
    waiting: Option<Token>,
    after: Option<(i32, SegmentId)>,
    seen: BTreeSet<SegmentId>,
}

/// The repairs of a cluster.
pub(crate) struct Repairs {
    sweep: Sweep,
    next_look: Mono,
    look: Option<Look>,
    runs: BTreeMap<SegmentId, Run>,
    trouble: BTreeMap<SegmentId, Trouble>,
    suspects: Vec<(NodeId, ShardId)>,
    unserved: Vec<Placement>,
    /// Shards that count as lost because their nodes do not give them: not written there again.
    withheld: BTreeMap<(NodeId, ShardId), SegmentId>,
    placed: Vec<Placement>,
}

impl Repairs {
    pub(crate) fn new() -> Self {
        Self {
            sweep: Sweep::new(),
            next_look: Mono(0),
            look: None,
            runs: BTreeMap::new(),
            trouble: BTreeMap::new(),
            suspects: Vec::new(),
            unserved: Vec::new(),
            withheld: BTreeMap::new(),
            placed: Vec::new(),
        }
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        if !self.sweep.is_over() {
            return self.sweep.wish(ctx);
        }
        let mut over = Vec::new();
        for (id, run) in &mut self.runs {
            match run.is_over() {
                Some(ended) => over.push((*id, ended)),
                None => run.tick(ctx),
            }
        }
        for (id, ended) in over {
            self.ended(id, ended, ctx);
        }
        let free = self.runs.len() < ctx.profile.repairs as usize;
        if self.look.is_none() && free && ctx.now.mono >= self.next_look {
            self.look = Some(Look { waiting: None, after: None, seen: BTreeSet::new() });
        }
        self.wish_look(ctx);
    }

    fn wish_look(&mut self, ctx: &mut Context<'_>) {
        let Some(look) = self.look.as_mut().filter(|look| look.waiting.is_none()) else { return };
        let op = StoreOp::SegmentsAtRisk { after: look.after, limit: LOOK_PAGE };
        look.waiting = Some(ctx.out.store(op));
    }

    /// The catalog changed, or a repair ended: look again soon.
    pub(crate) fn look_soon(&mut self) {
        self.next_look = Mono(0);
    }

    /// Whether a repair writes, or has written, this shard there.
    pub(crate) fn targets(&self, node: NodeId, shard: ShardId) -> bool {
        self.runs.values().any(|run| run.targets(node, shard))
    }

    /// Shards that were not what their nodes say, found while reading them: to be audited now.
    pub(crate) fn take_suspects(&mut self) -> Vec<(NodeId, ShardId)> {
        std::mem::take(&mut self.suspects)
    }

    /// Shards that did not come when repairs read them.
    pub(crate) fn take_unserved(&mut self) -> Vec<Placement> {
        std::mem::take(&mut self.unserved)
    }

    /// These are lost because their nodes prove them and do not give them.
    pub(crate) fn withheld(&mut self, lost: Vec<Placement>) {
        let key = |lost: Placement| ((lost.node, lost.shard), lost.segment);
        self.withheld.extend(lost.into_iter().map(key));
        while self.withheld.len() > WITHHELD_MAX {
            self.withheld.pop_first();
        }
    }

    /// Shards that repairs placed since this was asked last.
    pub(crate) fn take_placed(&mut self) -> Vec<Placement> {
        std::mem::take(&mut self.placed)
    }

    /// Repairs under way.
    pub(crate) fn running(&self) -> usize {
        self.runs.len()
    }

    fn run_of(&self, token: Token) -> Option<SegmentId> {
        self.runs.iter().find(|(_, run)| run.owns(token)).map(|(id, _)| *id)
    }

    /// The catalog answered. Gives the reply back if it is not for these machines.
    pub(crate) fn on_stored(
        &mut self,
        token: Token,
        reply: StoreReply,
        deleting: &BTreeSet<(NodeId, ShardId)>,
        ctx: &mut Context<'_>,
    ) -> Option<StoreReply> {
        if self.sweep.owns(token) {
            self.sweep.on(reply, ctx);
            return None;
        }
        if self.look.as_ref().is_some_and(|look| look.waiting == Some(token)) {
            self.looked(reply, deleting, ctx);
            return None;
        }
        match self.run_of(token) {
            Some(id) => {
                self.feed(id, token, Input::Stored(reply), ctx);
                None
            }
            None => Some(reply),
        }
    }

    /// A node answered a probe.
    pub(crate) fn on_answered(&mut self, token: Token, reply: Result<NodeReply, SendFailure>, ctx: &mut Context<'_>) {
        if let Some(id) = self.run_of(token) {
            self.feed(id, token, Input::Answered(reply), ctx);
        }
    }

    /// The pool verified a probe.
    pub(crate) fn on_verified(&mut self, token: Token, found: Verification, ctx: &mut Context<'_>) {
        if let Some(id) = self.run_of(token) {
            self.feed(id, token, Input::Verified(found), ctx);
        }
    }

    /// The driver recovered what it could.
    pub(crate) fn on_recovered(&mut self, token: Token, outcome: RecoverOutcome, ctx: &mut Context<'_>) {
        if let Some(id) = self.run_of(token) {
            self.feed(id, token, Input::Recovered(outcome), ctx);
        }
    }

    /// A pool or channel was full: wished for again at the next tick.
    pub(crate) fn busy(&mut self, token: Token) {
        if self.sweep.owns(token) {
            self.sweep.busy();
        }
        if let Some(look) = self.look.as_mut().filter(|look| look.waiting == Some(token)) {
            look.waiting = None;
        }
        for run in self.runs.values_mut() {
            run.busy(token);
        }
    }

    pub(crate) fn owns(&self, token: Token) -> bool {
        let look = self.look.as_ref().is_some_and(|look| look.waiting == Some(token));
        look || self.sweep.owns(token) || self.run_of(token).is_some()
    }

    fn feed(&mut self, id: SegmentId, token: Token, input: Input, ctx: &mut Context<'_>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match run.on(token, input, ctx) {
            Progress::On => {}
            Progress::End(ended) => self.ended(id, ended, ctx),
        }
    }

    fn ended(&mut self, id: SegmentId, ended: Ended, ctx: &mut Context<'_>) {
        self.runs.remove(&id);
        if !ended.suspects.is_empty() {
            self.trouble.entry(id).or_default().gone.extend(&ended.suspects);
        }
        self.suspects.extend(ended.suspects);
        if !ended.unserved.is_empty() {
            let keys = ended.unserved.iter().map(|placement| (placement.node, placement.shard));
            self.trouble.entry(id).or_default().unserved.extend(keys);
        }
        self.unserved.extend(ended.unserved);
        self.withheld.retain(|(_, shard), _| !ended.placed.iter().any(|placement| placement.shard == *shard));
        self.placed.extend(ended.placed);
        let retry = ctx.now.mono + ctx.profile.repair_retry;
        match ended.outcome {
            Outcome::Complete => {
                self.trouble.remove(&id);
                // The slot is free: whoever is next need not wait for the next regular look.
                self.next_look = ctx.now.mono;
            }
            Outcome::Failed => {
                let trouble = self.trouble.entry(id).or_default();
                trouble.not_before = retry;
                trouble.avoid.extend(ended.failed);
            }
            Outcome::Stuck(error) => self.stuck(id, &error, ctx),
            Outcome::Leased => self.trouble.entry(id).or_default().not_before = ctx.now.mono + ctx.profile.repair_every,
        }
    }

    /// Says once why nothing is done about a segment.
    fn stuck(&mut self, id: SegmentId, error: &PlanError, ctx: &mut Context<'_>) {
        let trouble = self.trouble.entry(id).or_default();
        trouble.not_before = ctx.now.mono + ctx.profile.repair_retry;
        // Nodes that failed once are better than none.
        trouble.avoid.clear();
        self.withheld.retain(|_, segment| *segment != id);
        let reason = error.to_string();
        if trouble.told != reason {
            trouble.told.clone_from(&reason);
            let lost = matches!(error, PlanError::Unrecoverable { .. });
            ctx.out.publish(Notice::Stuck { segment: id, unrecoverable: lost, reason });
        }
    }

    fn looked(&mut self, reply: StoreReply, deleting: &BTreeSet<(NodeId, ShardId)>, ctx: &mut Context<'_>) {
        let Some(mut look) = self.look.take() else { return };
        look.waiting = None;
        let StoreReply::Segments(views) = reply else {
            self.next_look = ctx.now.mono + ctx.profile.repair_every;
            return;
        };
        let full = views.len() as u32 == LOOK_PAGE;
        for view in &views {
            look.seen.insert(view.segment.id);
            let good = view.placements.iter().filter(|placement| placement.standing.is_good()).count() as i32;
            look.after = Some((good - i32::from(view.segment.code.data()), view.segment.id));
            self.consider(view, deleting, ctx);
        }
        let free = self.runs.len() < ctx.profile.repairs as usize;
        if full && free {
            self.look = Some(look);
            return self.wish_look(ctx);
        }
        if !full {
            self.trouble.retain(|id, _| look.seen.contains(id));
        }
        self.next_look = ctx.now.mono + ctx.profile.repair_every;
    }

    /// Begins a repair if the segment is due, nobody is at it, and there is a plan.
    fn consider(&mut self, view: &SegmentView, deleting: &BTreeSet<(NodeId, ShardId)>, ctx: &mut Context<'_>) {
        let id = view.segment.id;
        let waits = self.trouble.get(&id).is_some_and(|trouble| ctx.now.mono < trouble.not_before);
        let full = self.runs.len() >= ctx.profile.repairs as usize;
        if full || waits || self.runs.contains_key(&id) || !plan::is_due(view, plan::health(view, ctx.nodes)) {
            return;
        }
        let remembered = self.trouble.get(&id).map(|trouble| {
            let Trouble { avoid, gone, unserved, .. } = trouble;
            (avoid.clone(), gone.clone(), unserved.clone())
        });
        let (avoid, gone, unserved) = remembered.unwrap_or_default();
        let withheld = self.withheld.iter().filter(|(_, segment)| **segment == id).map(|(key, _)| *key).collect();
        let seed = holdfast_types::Seed([0; 32]);
        let limits = plan::Limits {
            nodes: ctx.nodes,
            avoid: &avoid,
            deleting,
            gone: &gone,
            unserved: &unserved,
            withheld: &withheld,
            seed,
        };
        // Planned again under the lease; here only to see whether one is worth taking.
        if let Err(error) = plan::plan(view, limits, ctx.fence) {
            return self.stuck(id, &error, ctx);
        }
        let mut run =
            Run::new(id, Shunned { avoid, deleting: deleting.clone(), gone, unserved, withheld }, ctx.now.mono);
        run.tick(ctx);
        self.runs.insert(id, run);
    }
}
