//! The first thing a process does about repairs: those that the last one left running have ended,
//! whether they know it or not. One whose shard stands in the catalog under its fence is done; any
//! other failed, and its segment is found again by the next look.

use std::collections::VecDeque;

use crate::{
    context::Context,
    effect::{Notice, Token},
    model::{RepairRow, RepairState},
    store::{StoreOp, StoreReply},
};

enum Step {
    List,
    Read,
    Write(Box<RepairRow>),
    Over,
}

/// The sweep of a start.
pub(super) struct Sweep {
    step: Step,
    left: VecDeque<RepairRow>,
    waiting: Option<Token>,
}

impl Sweep {
    pub(super) fn new() -> Self {
        Self { step: Step::List, left: VecDeque::new(), waiting: None }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.waiting == Some(token)
    }

    pub(super) fn busy(&mut self) {
        self.waiting = None;
    }

    /// Wishes for what the step waits for, unless that is under way.
    pub(super) fn wish(&mut self, ctx: &mut Context<'_>) {
        if self.waiting.is_some() {
            return;
        }
        let op = match (&self.step, self.left.front()) {
            (Step::List, _) => StoreOp::RunningRepairs,
            (Step::Read, Some(row)) => StoreOp::Segment(row.segment),
            (Step::Write(row), _) => StoreOp::PutRepair(row.clone()),
            (Step::Read, None) | (Step::Over, _) => return self.step = Step::Over,
        };
        self.waiting = Some(ctx.out.store(op));
    }

    pub(super) fn on(&mut self, reply: StoreReply, ctx: &mut Context<'_>) {
        self.waiting = None;
        match (&self.step, reply) {
            // Nobody knows what the store did; asking again does no harm.
            (_, StoreReply::Failed(_)) => return,
            (Step::List, StoreReply::Repairs(rows)) => {
                self.left = rows.into();
                self.step = Step::Read;
            }
            (Step::Read, reply) => {
                let Some(row) = self.left.front() else { return self.step = Step::Over };
                self.step = Step::Write(Box::new(ended(row, &reply, ctx)));
            }
            (Step::Write(row), _) => {
                ctx.out.publish(Notice::Repair(row.clone()));
                self.left.pop_front();
                self.step = Step::Read;
            }
            (Step::List | Step::Over, _) => self.step = Step::Over,
        }
        self.wish(ctx);
    }
}

fn ended(row: &RepairRow, reply: &StoreReply, ctx: &Context<'_>) -> RepairRow {
    let placed = match reply {
        StoreReply::Segment(view) => view
            .placements
            .iter()
            .find(|placement| placement.index == row.index && placement.node == row.to && placement.fence == row.fence),
        _ => None,
    };
    match placed {
        Some(placement) => {
            let bytes = placement.len;
            RepairRow { state: RepairState::Done, ended: Some(ctx.now.wall), bytes, ..row.clone() }
        }
        None => RepairRow {
            state: RepairState::Failed,
            ended: Some(ctx.now.wall),
            reason: "auditor restarted".into(),
            ..row.clone()
        },
    }
}
