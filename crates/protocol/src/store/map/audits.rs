//! Audits in flight, verdicts, and repairs.

use holdfast_types::{AuditId, NodeId, RepairId, VerdictId};

use crate::{
    model::{AuditRow, Exception, Placement, RepairRow, RepairState, Standing, Verdict},
    store::{
        MapStore, StandingChange, StoreReply,
        map::{conflict, rows},
    },
};

impl MapStore {
    pub(super) fn open_audit(&mut self, row: AuditRow) -> StoreReply {
        if self.open.get(&row.id).is_some_and(|open| *open != row) {
            return conflict(format!("audit {} is open with another challenge", row.id));
        }
        self.open.insert(row.id, row);
        StoreReply::Done
    }

    pub(super) fn audit(&self, id: AuditId) -> StoreReply {
        self.open.get(&id).map_or(StoreReply::NotFound, |row| StoreReply::Audits(vec![row.clone()]))
    }

    fn judge(&mut self, verdict: Verdict) -> StoreReply {
        let id = self.verdict_id();
        if let Some(node) = self.nodes.get_mut(&verdict.node) {
            node.judged = node.judged.max(Some(verdict.at));
        }
        self.verdicts.push(Verdict { id, ..verdict });
        StoreReply::Verdict(id)
    }

    pub(super) fn close_audit(&mut self, verdict: Verdict, changes: &[StandingChange]) -> StoreReply {
        if self.open.remove(&verdict.audit).is_none() {
            return conflict(format!("audit {} is not open", verdict.audit));
        }
        for change in changes {
            self.change_standing(change);
        }
        self.judge(verdict)
    }

    pub(super) fn lose_node(&mut self, mut verdict: Verdict) -> StoreReply {
        self.open.remove(&verdict.audit);
        let lost = self.standing_on(verdict.node);
        let exception = |p: &Placement| Exception {
            shard: p.shard,
            segment: p.segment,
            index: p.index,
            outcome: verdict.outcome,
            cause: None,
            range: None,
        };
        verdict.exceptions = lost.iter().map(exception).collect();
        for placement in lost {
            self.set_placement(Placement { standing: Standing::Lost, version: placement.version + 1, ..placement });
        }
        let staged = self.uploads.values_mut().flat_map(|upload| upload.staged.values_mut());
        for assignment in staged.flat_map(|staged| &mut staged.assignments).filter(|a| a.node == verdict.node) {
            assignment.sequence = None;
        }
        self.numbers.retain(|(node, _), _| *node != verdict.node);
        self.judge(verdict)
    }

    pub(super) fn verdicts_after(&self, after: VerdictId, node: Option<NodeId>, limit: u32) -> StoreReply {
        let past = self.verdicts.iter().filter(|verdict| verdict.id > after);
        let of = past.filter(|verdict| node.is_none_or(|node| verdict.node == node));
        StoreReply::Verdicts(of.take(rows(limit)).cloned().collect())
    }

    pub(super) fn latest_verdicts(&self, node: Option<NodeId>, limit: u32) -> StoreReply {
        let of = self.verdicts.iter().rev().filter(|verdict| node.is_none_or(|node| verdict.node == node));
        StoreReply::Verdicts(of.take(rows(limit)).cloned().collect())
    }

    pub(super) fn put_repair(&mut self, row: RepairRow) -> StoreReply {
        self.repairs.insert(row.id, row);
        StoreReply::Done
    }

    pub(super) fn latest_repairs(&self, limit: u32) -> StoreReply {
        let mut all: Vec<&RepairRow> = self.repairs.values().collect();
        all.sort_by_key(|row| std::cmp::Reverse((row.started, row.id)));
        StoreReply::Repairs(all.into_iter().take(rows(limit)).cloned().collect())
    }

    pub(super) fn repair(&self, id: RepairId) -> StoreReply {
        self.repairs.get(&id).map_or(StoreReply::NotFound, |row| StoreReply::Repairs(vec![row.clone()]))
    }

    pub(super) fn running_repairs(&self) -> StoreReply {
        let running = self.repairs.values().filter(|row| row.state == RepairState::Running);
        StoreReply::Repairs(running.take(rows(u32::MAX)).cloned().collect())
    }
}
