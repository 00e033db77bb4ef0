//! What a fault does, and how much of it is allowed: damage that would leave an acknowledged segment
//! with fewer than k whole shards is not done, because nothing is promised then.

use std::collections::BTreeSet;

use holdfast_types::{NodeId, ShardId};
use holdfast_volume::{FakeDisk, Identity};

use crate::{
    liar::Lie,
    message::Peer,
    node::is_intact,
    plan::Fault,
    promises::Harm,
    world::{Event, World},
};

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Fault::Crash { .. } => "crash",
            Fault::CrashMidWrite { .. } => "crash mid-write",
            Fault::Kill { .. } => "kill",
            Fault::Flip { .. } => "flipped bits",
            Fault::RotJournal { running: true, .. } => "rotten journal, running",
            Fault::RotJournal { running: false, .. } => "rotten journal, down",
            Fault::Spoil { .. } => "unreadable sector",
            Fault::Cut { .. } => "cut file",
            Fault::Wipe { .. } => "wiped disk",
            Fault::Full { .. } => "full disk",
            Fault::FailSync { .. } => "failing fsync",
            Fault::Lie { lie, .. } => lie.name(),
            Fault::Part { .. } => "partition",
            Fault::AuditorCrash { .. } => "auditor crash",
            Fault::AuditorCrashMidStep { .. } => "auditor crash mid-step",
            Fault::Jump { .. } => "clock jump",
            Fault::StoreFails { .. } => "failing catalog",
            Fault::LoseList => "lost commitment list",
        }
    }
}

impl World {
    pub(crate) fn fault(&mut self, fault: Fault) {
        if self.strike(fault) {
            self.report.faults += 1;
            *self.report.kinds.entry(fault.name()).or_default() += 1;
        } else {
            self.note("not done: it would be beyond what is promised, or changes nothing");
        }
    }

    /// Whether it was done.
    fn strike(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Flip { .. } | Fault::Spoil { .. } | Fault::Cut { .. } => self.rot(fault),
            Fault::RotJournal { node, bits, running, down } => self.rot_journal(node, bits, running, down),
            Fault::Crash { node, down } => self.crash(node, down),
            Fault::CrashMidWrite { node, after, down } => {
                let disk = &self.nodes[node].disk;
                disk.crash_at(disk.operations() + after);
                self.marks[node].away = true;
                self.ledger.downs.insert(node, down);
                true
            }
            Fault::Kill { node, down } => self.kill(node, down),
            Fault::Wipe { node, down } => self.wipe(node, down),
            Fault::Full { node, span } => {
                let disk = &self.nodes[node].disk;
                disk.full_from(Some(disk.operations()));
                self.queue_in(span, Event::RoomAgain { node });
                true
            }
            Fault::FailSync { node, after, down } => {
                let disk = &self.nodes[node].disk;
                disk.fail_sync_at(disk.syncs() + after);
                self.marks[node].fails_sync = true;
                // Somebody sees to it and starts the process anew.
                self.queue_in(4_000, Event::Fault(Fault::Kill { node, down }));
                self.marks[node].away = true;
                true
            }
            Fault::Lie { node, lie, span } => self.lie(node, lie, span),
            Fault::Part { node, span } => {
                let mark = &mut self.marks[node];
                mark.cut_until = self.now + span;
                mark.away = true;
                true
            }
            Fault::AuditorCrash { down } => {
                self.kill_auditor(down);
                true
            }
            Fault::AuditorCrashMidStep { after, down } => {
                self.auditor.dies = Some((after, down));
                true
            }
            Fault::Jump { node, by } => {
                match node {
                    Some(node) => self.marks[node].skew += by,
                    None => self.auditor.skew += by,
                }
                true
            }
            Fault::StoreFails { per_mille, span } => {
                self.store_fails = (per_mille, self.now + span);
                true
            }
            Fault::LoseList => {
                let digests: Vec<[u8; 32]> = self.lists.keys().copied().collect();
                let lost = self.chance.pick(&digests).copied();
                lost.is_some_and(|digest| self.lists.remove(&digest).is_some())
            }
        }
    }

    /// Damage that only shows when somebody reads.
    fn rot(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Flip { node, bits } => self.damage(node, |world, disk, files| {
                for _ in 0..bits {
                    let Some((name, len)) = world.chance.pick(files).cloned() else { return };
                    let (at, bit) = (world.chance.below(len), world.chance.below(8) as u8);
                    drop(disk.flip(&name, at, bit));
                }
            }),
            Fault::Spoil { node } => self.damage(node, |world, disk, files| {
                let Some((name, len)) = world.chance.pick(files).cloned() else { return };
                let at = world.chance.below(len);
                drop(disk.spoil(&name, at));
            }),
            Fault::Cut { node } => self.damage(node, |world, disk, files| {
                let Some((name, len)) = world.chance.pick(files).cloned() else { return };
                let to = world.chance.below(len);
                drop(disk.cut(&name, to));
                // Where a file that is written to ends, the next records lie behind a hole.
                world.marks[node].wild = true;
            }),
            _ => false,
        }
    }

    fn crash(&mut self, node: usize, down: u64) -> bool {
        if self.marks[node].down {
            return false;
        }
        let seed = self.chance.word();
        self.nodes[node].cut_power(seed);
        self.is_down(node, down);
        true
    }

    pub(crate) fn kill(&mut self, node: usize, down: u64) -> bool {
        if self.marks[node].down {
            return false;
        }
        self.nodes[node].kill();
        self.is_down(node, down);
        true
    }

    fn is_down(&mut self, node: usize, down: u64) {
        let mark = &mut self.marks[node];
        (mark.down, mark.away, mark.registered) = (true, true, false);
        self.queue_in(down, Event::StartNode { node });
    }

    /// The power went in the middle of a write.
    pub(crate) fn power_went(&mut self, node: usize) {
        let down = self.ledger.downs.remove(&node).unwrap_or(1_000);
        self.note(&format!("node {node} loses power in the middle of a write"));
        self.crash(node, down);
    }

    /// Whether every acknowledged segment can stand to lose all that this node holds.
    pub(crate) fn may_lose(&mut self, node: usize) -> bool {
        let readers: Vec<_> = self.nodes.iter().map(crate::node::Node::look).collect();
        let id = self.nodes[node].id;
        let views: Vec<_> = self.catalog.segments().into_iter().filter_map(|id| self.catalog.segment(id)).collect();
        let holds = |other: &NodeId, shard: &ShardId| {
            let at = self.names[other];
            let sound = !self.nodes[at].liar.drops_puts() && !self.marks[at].rotten;
            sound && readers[at].as_ref().is_some_and(|reader| is_intact(reader, shard))
        };
        views.iter().filter(|view| !self.ledger.is_hostile(&view.segment.id)).all(|view| {
            let others = view.placements.iter().filter(|placement| placement.node != id);
            others.filter(|p| holds(&p.node, &p.shard)).count() >= usize::from(view.segment.code.data())
        })
    }

    /// Damages data files of a node, and notes which shards that hit.
    fn damage(&mut self, node: usize, how: impl FnOnce(&mut Self, &FakeDisk, &[(String, u64)])) -> bool {
        if !self.may_lose(node) {
            return false;
        }
        let disk = self.nodes[node].disk.clone();
        let mut files = disk.files();
        files.retain(|(name, len)| name.starts_with("data") && *len > 0);
        if files.is_empty() {
            return false;
        }
        self.marks[node].hit = true;
        let before = self.held(node);
        how(self, &disk, &files);
        let after = self.held(node);
        self.harm(node, &before.difference(&after).copied().collect());
        true
    }

    /// Whole shards on a node's disk.
    pub(crate) fn held(&self, node: usize) -> BTreeSet<ShardId> {
        let Some(reader) = self.nodes[node].look() else { return BTreeSet::new() };
        let found = reader.entries(&[0], holdfast_volume::Sequence::START..holdfast_volume::Sequence::END, usize::MAX);
        let names = found.into_iter().map(|entry| ShardId::from_bytes(entry.key.id));
        names.filter(|shard| is_intact(&reader, shard)).collect()
    }

    /// These shards are not whole there any more, and that is nobody's fault but ours.
    pub(crate) fn harm(&mut self, node: usize, shards: &BTreeSet<ShardId>) {
        let id = self.nodes[node].id;
        for shard in shards {
            self.marks[node].harmed.insert(*shard);
            let place = self.catalog.places().find(|place| place.node == id && place.shard == *shard);
            let segment = place.filter(|place| place.standing.is_good()).map(|place| place.segment);
            let verdicts = self.catalog.verdicts().len();
            self.ledger.harmed.insert((node, *shard));
            if let Some(segment) = segment {
                self.ledger.harms.push(Harm { node, shard: *shard, segment, verdicts });
            }
        }
    }

    fn wipe(&mut self, node: usize, down: u64) -> bool {
        if self.marks[node].down || !self.may_lose(node) {
            return false;
        }
        let held = self.held(node);
        self.replace_disk(node);
        self.harm(node, &held);
        self.is_down(node, down);
        true
    }

    fn replace_disk(&mut self, node: usize) {
        let fresh = Identity { volume: self.chance.bytes(), incarnation: self.chance.bytes() };
        (self.marks[node].wiped, self.marks[node].hit) = (true, true);
        let node = &mut self.nodes[node];
        node.kill();
        node.disk = FakeDisk::new();
        node.fresh = fresh;
        node.liar.repent();
    }

    /// A node that does not start on what its disk holds. Only a disk that we damaged may be like that.
    pub(crate) fn cannot_start(&mut self, node: usize, why: &str) {
        if !self.marks[node].wild {
            return self.break_promise("a crash never costs a volume", format!("node {node}: {why}"));
        }
        let held = self.marks[node].harmed.clone();
        self.replace_disk(node);
        self.harm(node, &held);
        self.is_down(node, 500);
    }

    pub(crate) fn started(&mut self, node: usize) {
        let disk = &self.nodes[node].disk;
        disk.crash_at(u64::MAX);
        disk.fail_sync_at(u64::MAX);
        disk.full_from(None);
        self.marks[node].fails_sync = false;
    }

    fn lie(&mut self, node: usize, lie: Lie, span: u64) -> bool {
        if self.nodes[node].liar.is_lying() || (lie.loses_bytes() && !self.may_lose(node)) {
            return false;
        }
        self.marks[node].lied = true;
        self.nodes[node].liar.begin(lie);
        self.queue_in(span, Event::Repent { node });
        let id = self.nodes[node].id;
        let denies = lie == Lie::Deny && self.catalog.places().any(|place| place.node == id);
        self.marks[node].denies = denies.then_some(self.now);
        if lie == Lie::DropKept {
            let held: Vec<ShardId> = self.held(node).into_iter().collect();
            let mut gone = BTreeSet::new();
            for _ in 0..3 {
                let shard = self.chance.pick(&held).copied();
                gone.extend(shard.filter(|shard| self.nodes[node].drop_shard(shard)));
            }
            self.harm(node, &gone);
        }
        true
    }

    /// Puts that a liar has taken and not kept.
    pub(crate) fn notice_dropped(&mut self, node: usize) {
        let dropped: BTreeSet<ShardId> = self.nodes[node].liar.claims().map(|claim| claim.shard).collect();
        let fresh: BTreeSet<ShardId> = dropped.difference(&self.marks[node].harmed).copied().collect();
        self.harm(node, &fresh);
    }

    pub(crate) fn repent(&mut self, node: usize) {
        self.nodes[node].liar.repent();
    }

    /// Nothing goes wrong any more. What is broken stays broken.
    pub(crate) fn fall_quiet(&mut self) {
        self.quiet = true;
        self.auditor.dies = None;
        self.auditor.skew = 0;
        self.store_fails = (0, 0);
        for node in 0..self.nodes.len() {
            self.started(node);
            self.repent(node);
            let mark = &mut self.marks[node];
            (mark.cut_until, mark.skew, mark.denies) = (0, 0, None);
            if self.nodes[node].is_read_only() {
                self.kill(node, 200);
            }
        }
        let clients: Vec<usize> = (0..self.sessions.len()).collect();
        for session in clients {
            // Whoever still wants something goes away: what it left behind is to be cleaned up.
            self.sessions[session].life += 1;
            self.sessions[session].work = crate::client::Work::Over;
            self.drop_calls(|call| call.from == Peer::Client(session));
        }
        self.take_stock();
    }
}
