//! What follows from a task's end: the schedule moves on, or a node's place in life changes.

use std::collections::BTreeMap;

use holdfast_types::{NodeId, Now, Sequence};

use crate::{
    model::{Lane, NodeRow},
    outbox::Outbox,
};

use super::{
    Audits, Task,
    containment::Change,
    flight::Audit,
    life::{Knock, Life},
    reconcile::Reconcile,
    schedule::Watch,
    start::Start,
    task::{Ending, Purpose, Silence},
};

/// What a task's end begins.
enum Follow {
    /// Whether in the course of the rounds, and the silence.
    Silent(bool, Silence),
    Back(Change),
    Knock(Purpose),
}

impl Audits {
    pub(super) fn ended(
        &mut self,
        task: Task,
        ending: Ending,
        now: Now,
        nodes: &BTreeMap<NodeId, NodeRow>,
        out: &mut Outbox,
    ) {
        let follow = match &task {
            Task::Start(start) => {
                self.take_over(start, now, nodes);
                None
            }
            Task::Audit(audit) => self.audit_ended(audit, ending, now),
            Task::Reconcile(task) => self.reconcile_ended(task, ending, now),
            Task::Knock(task, purpose) => self.knock_ended(task.node, *purpose, ending, now),
            Task::Life(_) => None,
        };
        let Some(node) = task.node() else { return };
        match follow {
            None => {}
            Some(Follow::Silent(routine, silence)) => {
                let (task, progress) = Life::silent(node, silence, routine, &mut self.ctx(now, nodes, out));
                self.settle(Task::Life(task), progress, now, nodes, out);
            }
            Some(Follow::Back(change)) => {
                let (task, progress) = Life::back(node, change, &mut self.ctx(now, nodes, out));
                self.settle(Task::Life(task), progress, now, nodes, out);
            }
            Some(Follow::Knock(purpose)) => {
                let (task, progress) = Knock::begin(node, &mut self.ctx(now, nodes, out));
                self.settle(Task::Knock(task, purpose), progress, now, nodes, out);
            }
        }
    }

    fn take_over(&mut self, start: &Start, now: Now, nodes: &BTreeMap<NodeId, NodeRow>) {
        self.started = true;
        // Oldest first, so that the newest is what stays.
        for verdict in start.latest().iter().rev() {
            if let Some(row) = nodes.get(&verdict.node) {
                let watch = self.watches.entry(row.id).or_insert_with(|| Watch::new(row, now, &self.profile));
                watch.judged_before(verdict.at, verdict.lane, now, &self.profile);
            }
        }
    }

    fn audit_ended(&mut self, audit: &Audit, ending: Ending, now: Now) -> Option<Follow> {
        let profile = &self.profile;
        let watch = self.watches.get_mut(&audit.node)?;
        watch.absent.extend(audit.absent());
        match (ending, audit.purpose) {
            (Ending::Judged { more, false_answer }, purpose) => {
                watch.idle = false;
                watch.spoke(false_answer.is_some(), now);
                match (purpose, false_answer) {
                    (Purpose::Routine, Some(silence)) => {
                        watch.round(audit.lane).at = now.mono;
                        watch.is_false_too_often(profile).then_some(Follow::Silent(true, silence))
                    }
                    (Purpose::Routine, None) => {
                        watch.advance(audit.lane, more, now, profile);
                        (audit.held_all() && watch.is_vetted_now()).then_some(Follow::Back(Change::Vet))
                    }
                    (Purpose::Contained | Purpose::Fresh, Some(silence)) => Some(Follow::Silent(false, silence)),
                    (Purpose::Contained, None) => {
                        watch.fresh = true;
                        None
                    }
                    (Purpose::Fresh, None) => {
                        watch.fresh = false;
                        Some(Follow::Back(Change::Release))
                    }
                    (Purpose::Probe, _) => {
                        watch.probe = more;
                        more.is_none().then_some(Follow::Back(Change::Return))
                    }
                }
            }
            (Ending::Silent(silence), _) => {
                watch.fresh = false;
                Some(Follow::Silent(audit.purpose == Purpose::Routine, silence))
            }
            (Ending::Drift(set, silence), _) => {
                let honest = watch.drifted(set);
                (!honest).then_some(Follow::Silent(audit.purpose == Purpose::Routine, silence))
            }
            (Ending::Empty, Purpose::Routine) => {
                watch.idle |= audit.lane == Lane::Sample;
                watch.advance(audit.lane, None, now, profile);
                None
            }
            (Ending::Empty, Purpose::Contained | Purpose::Fresh) => Some(Follow::Knock(audit.purpose)),
            (Ending::Empty, Purpose::Probe) => {
                watch.probe = None;
                Some(Follow::Back(Change::Return))
            }
            (Ending::Inconclusive | Ending::Changed | Ending::Alive, _) => {
                if audit.purpose == Purpose::Probe {
                    watch.probe = None;
                    watch.knocked(now, profile);
                }
                watch.retry(now, profile);
                None
            }
        }
    }

    fn reconcile_ended(&mut self, task: &Reconcile, ending: Ending, now: Now) -> Option<Follow> {
        let watch = self.watches.get_mut(&task.node)?;
        watch.absent.extend(task.absent());
        let drifts = watch.drifts;
        match ending {
            Ending::Judged { .. } => {
                watch.spoke(false, now);
                // Attack: leave one shard out of the list and prove it by name, so that the others are never asked for.
                if task.explains_nothing() {
                    watch.drifts = drifts;
                }
                None
            }
            Ending::Silent(silence) => Some(Follow::Silent(false, silence)),
            Ending::Drift(..) | Ending::Empty | Ending::Inconclusive | Ending::Changed | Ending::Alive => None,
        }
    }

    fn knock_ended(&mut self, node: NodeId, purpose: Purpose, ending: Ending, now: Now) -> Option<Follow> {
        let profile = &self.profile;
        let watch = self.watches.get_mut(&node)?;
        match (ending, purpose) {
            (Ending::Alive, Purpose::Probe) => {
                watch.probe = Some(Sequence(0));
                None
            }
            (Ending::Alive, Purpose::Contained) => {
                watch.fresh = true;
                None
            }
            (Ending::Alive, Purpose::Fresh | Purpose::Routine) => {
                watch.fresh = false;
                Some(Follow::Back(Change::Release))
            }
            (Ending::Silent(_), Purpose::Probe) => {
                watch.knocked(now, profile);
                None
            }
            (Ending::Silent(silence), Purpose::Routine | Purpose::Contained | Purpose::Fresh) => {
                watch.fresh = false;
                Some(Follow::Silent(false, silence))
            }
            _ => {
                watch.retry(now, profile);
                None
            }
        }
    }
}
