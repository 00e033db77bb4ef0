//! The store against the map, operation by operation: a long walk of operations that mostly make
//! sense and sometimes do not, with the same answer asked of both. What the other promises forgot
//! to ask comes up here.

mod readings;

use holdfast_types::{Fence, Millis, SegmentId, Sequence, ShardIndex, VerdictId, Wall};

use super::{chance::Chance, fixture::*};
use crate::{
    message::{RecordKind, SetEntry},
    model::{
        CommitmentState, DeletionRow, Lease, NodeLife, NodeRow, Placement, Provenance, SealedWitness, SegmentView,
        StagedSegment, Standing, UploadRow, Verdict,
    },
    store::{MapStore, NewObject, OwedRecord, SegmentRecords, StandingChange, Store, StoreOp, StoreReply},
    witness::WitnessId,
};

/// Operations of one walk: every kind comes up some dozens of times.
const STEPS: usize = 1200;
/// Everything is read and compared this often.
const READ_ALL_EVERY: usize = 20;

const NODES: u8 = 6;
const SEGMENTS: u8 = 12;
const UPLOADS: u8 = 6;

/// A walk: its chance, the map that it is held against, and the leases that were given out.
pub(in crate::store) struct Walk {
    chance: Chance,
    pub(in crate::store) map: MapStore,
    leases: Vec<Lease>,
    audits: u8,
    now: u64,
}

impl Walk {
    pub(in crate::store) fn new(seed: u64) -> Self {
        Self { chance: Chance(seed), map: MapStore::new(), leases: Vec::new(), audits: 0, now: START.0 }
    }

    /// The next operation. Time goes on by up to a second.
    pub(in crate::store) fn op(&mut self) -> StoreOp {
        self.now += self.chance.below(1000);
        match self.chance.below(32) {
            0..=2 => self.put_node(),
            3 | 4 => {
                let (n, of) = self.whose();
                StoreOp::BeginUpload(UploadRow { expires: Wall(self.now + 10_000), ..upload(n, of) })
            }
            5..=8 => self.stage(),
            9..=12 => self.receipts(),
            13..=15 => self.commit(),
            16 => StoreOp::ExpireUploads { now: Wall(self.now.saturating_sub(20_000)) },
            17 => {
                let (id, of) = self.whose();
                StoreOp::AbortUpload { id: upload_id(id), owner: owner(of), at: Wall(self.now) }
            }
            18 => {
                let (id, of) = (self.chance.number(UPLOADS), self.chance.number(2));
                let tombstone = if self.chance.one_in(2) { vec![id; 7] } else { vec![] };
                StoreOp::DeleteObject { owner: owner(of), id: object_id(id), tombstone, at: Wall(self.now) }
            }
            19 | 20 => {
                let segment = self.existing();
                StoreOp::AcquireLease { segment, now: Wall(self.now), ttl: Millis(8000) }
            }
            21 => self.lease(),
            22..=24 => self.place(),
            25..=27 => self.commitment(),
            28 => self.standing(),
            29 => self.deletion(),
            30 => self.record(),
            _ => self.rare(),
        }
    }

    /// Notes what the map answered, for the operations to come.
    pub(in crate::store) fn answered(&mut self, reply: &StoreReply) {
        if let StoreReply::Lease(lease) = reply {
            self.leases.push(*lease);
        }
    }

    /// An upload and its owner; sometimes another owner.
    fn whose(&mut self) -> (u8, u8) {
        let n = self.chance.number(UPLOADS);
        (n, if self.chance.one_in(12) { self.chance.number(2) } else { n % 2 + 1 })
    }

    /// A segment that is there, if a few tries find one.
    fn existing(&mut self) -> SegmentId {
        let mut segment = segment_id(self.chance.number(SEGMENTS));
        for _ in 0..8 {
            if self.map.apply(StoreOp::Segment(segment)) != StoreReply::NotFound {
                break;
            }
            segment = segment_id(self.chance.number(SEGMENTS));
        }
        segment
    }

    fn view(&mut self) -> Option<SegmentView> {
        let segment = self.existing();
        match self.map.apply(StoreOp::Segment(segment)) {
            StoreReply::Segment(view) => Some(*view),
            _ => None,
        }
    }

    /// What some upload has staged, if a few tries find one.
    fn staged(&mut self) -> Vec<StagedSegment> {
        for _ in 0..8 {
            let (id, of) = self.whose();
            match self.map.apply(StoreOp::StagedSegments {
                id: upload_id(id),
                owner: owner(of),
                after: None,
                limit: 99,
            }) {
                StoreReply::Upload(_, staged) if !staged.is_empty() => return staged,
                _ => {}
            }
        }
        Vec::new()
    }

    fn placement(&mut self) -> Option<Placement> {
        let view = self.view()?;
        let at = self.chance.below(4) as usize;
        view.placements.get(at).cloned()
    }

    fn put_node(&mut self) -> StoreOp {
        let n = self.chance.number(NODES);
        let StoreReply::Nodes(rows) = self.map.apply(StoreOp::Nodes) else { return StoreOp::Nodes };
        let known = rows.into_iter().find(|row| row.id == node_id(n));
        let version = known.map_or(0, |row| row.version) + u64::from(self.chance.one_in(5));
        let life = if self.chance.one_in(3) { NodeLife::Draining } else { NodeLife::Active };
        let capacity = SHARD * (6 + self.chance.below(8));
        StoreOp::PutNode(Box::new(NodeRow { life, capacity, version, used: 5, ..node(n) }))
    }

    fn stage(&mut self) -> StoreOp {
        let (up, of) = self.whose();
        // Mostly one of the upload's own two.
        let own = up + UPLOADS * self.chance.below(2) as u8;
        let n = if self.chance.one_in(8) { self.chance.number(SEGMENTS) } else { own };
        let mut nodes: Vec<u8> = (1..=NODES).collect();
        for at in 0..nodes.len() {
            let other = self.chance.below(nodes.len() as u64) as usize;
            nodes.swap(at, other);
        }
        let nodes = if self.chance.one_in(20) { [1, 1, 2, 3] } else { [nodes[0], nodes[1], nodes[2], nodes[3]] };
        let mut staged = staged(up, n, of, u64::from(n) * 2 * SHARD, nodes);
        if self.chance.one_in(20) {
            staged.segment.len -= 1;
        }
        let (expires, mut witnesses) = (Wall(self.now + 10_000), Vec::new());
        for index in (0..5).map(ShardIndex) {
            if self.chance.one_in(if index.0 < 4 { 2 } else { 30 }) {
                let n = self.chance.number(2);
                let list = self.chance.one_in(4).then_some([n; 32]);
                let sealed = if list.is_some() { vec![] } else { vec![n; 92] };
                witnesses.push(SealedWitness { index, id: WitnessId([n; 16]), sealed, list });
            }
        }
        StoreOp::StageSegment { staged: Box::new(staged), expires, witnesses }
    }

    fn receipts(&mut self) -> StoreOp {
        let found = self.staged();
        let Some(staged) = found.first() else { return StoreOp::OpenAudits };
        let at = self.chance.below(found.len() as u64) as usize;
        let staged = found.get(at).unwrap_or(staged);
        let mut receipts = Vec::new();
        for assignment in &staged.assignments {
            let own = 10 * u64::from(staged.segment.id.0[0]) + u64::from(assignment.index.0);
            let sequence = if self.chance.one_in(8) { self.chance.below(60) } else { own };
            let node = if self.chance.one_in(12) { node_id(self.chance.number(NODES)) } else { assignment.node };
            receipts.push((assignment.index, node, Sequence(sequence)));
        }
        StoreOp::NoteReceipts { upload: staged.upload, segment: staged.segment.id, receipts }
    }

    fn commit(&mut self) -> StoreOp {
        let found = self.staged();
        let (mut up, mut of) = self.whose();
        let mut extents = Vec::new();
        let mut at = 0;
        for staged in &found {
            (up, of) = (staged.upload.0[0], staged.segment.owner.0[0]);
            if !self.chance.one_in(4) {
                let len = staged.segment.len - self.chance.below(500) - u64::from(self.chance.one_in(2));
                extents.push(extent(at, staged.segment.id.0[0], 0, len));
                at += len;
            }
        }
        let whole = object(self.chance.number(UPLOADS), of, extents.clone());
        let mut objects = vec![whole];
        if let Some(first) = extents.first().filter(|_| self.chance.one_in(2)) {
            let second = extent(0, first.segment.0[0], 5, 7 + 4000 * u64::from(self.chance.one_in(10)));
            objects.push(NewObject { pages: vec![], ..object(self.chance.number(UPLOADS), of, vec![second]) });
        }
        StoreOp::CommitUpload { id: upload_id(up), owner: owner(of), objects, at: Wall(self.now) }
    }

    fn known_lease(&mut self) -> Option<Lease> {
        let from = self.leases.len().saturating_sub(6);
        let recent = self.leases.len() - from;
        (recent > 0).then(|| self.leases[from + self.chance.below(recent as u64) as usize])
    }

    fn lease(&mut self) -> StoreOp {
        match self.known_lease() {
            Some(lease) if self.chance.one_in(2) => StoreOp::ReleaseLease(lease),
            Some(lease) => StoreOp::RenewLease { lease, expires: Wall(self.now + 9000) },
            None => StoreOp::RunningRepairs,
        }
    }

    fn place(&mut self) -> StoreOp {
        let Some(lease) = self.known_lease() else { return StoreOp::Summary };
        let StoreReply::Segment(view) = self.map.apply(StoreOp::Segment(lease.segment)) else {
            return StoreOp::Segment(lease.segment);
        };
        let index = ShardIndex(self.chance.below(4) as u16);
        let old = view.placements.iter().find(|placement| placement.index == index);
        let version = old.map_or(0, |old| old.version);
        let (n, at) = (lease.segment.0[0], self.now);
        let same = old.filter(|_| self.chance.one_in(3)).map(|old| old.node);
        let fence = if self.chance.one_in(8) { Fence { epoch: 0, counter: 1 } } else { lease.fence };
        let placement = Placement {
            segment: lease.segment,
            index,
            shard: shard_id(n, if self.chance.one_in(15) { 9 } else { index.0 }),
            len: SHARD,
            node: same.unwrap_or(node_id(self.chance.number(NODES))),
            sequence: Sequence(100 + self.chance.below(40)),
            commitment: old.map_or(CommitmentState::Pending, |old| old.commitment),
            standing: Standing::Good,
            version: 77,
            fence,
        };
        let expected = version + u64::from(self.chance.one_in(6));
        StoreOp::Place { placement: Box::new(placement), expected, at: Wall(at) }
    }

    fn commitment(&mut self) -> StoreOp {
        let Some(placement) = self.placement() else { return StoreOp::Nodes };
        let Placement { segment, index, shard, commitment, node, .. } = placement;
        let shard = if self.chance.one_in(9) { shard_id(9, 9) } else { shard };
        if self.chance.one_in(3) {
            let sequence = Sequence(100 + self.chance.below(40));
            return StoreOp::SetSequence { segment, index, node, sequence };
        }
        let digest = [self.chance.number(2); 32];
        if self.chance.one_in(2) {
            let id = WitnessId([self.chance.number(2); 16]);
            return StoreOp::BurnWitness { segment, index, shard, id, digest };
        }
        let read = self.chance.one_in(2);
        let provenance = if read { Provenance::AuditorRead } else { Provenance::ClientWitness };
        let to = match self.chance.below(4) {
            0 => CommitmentState::Pending,
            _ => CommitmentState::Accepted { digest, provenance },
        };
        let expected = if self.chance.one_in(4) { to } else { commitment };
        StoreOp::SetCommitment { segment, index, shard, expected, to, at: Wall(self.now) }
    }

    fn standing(&mut self) -> StoreOp {
        let n = self.audits;
        if self.chance.one_in(2) {
            self.audits = self.audits.wrapping_add(1);
            return StoreOp::OpenAudit(Box::new(audit(self.audits, 1)));
        }
        let mut changes = Vec::new();
        for _ in 0..self.chance.below(4) {
            let Some(placement) = self.placement() else { continue };
            let from = self.chance.below(SHARD);
            let range = holdfast_types::ByteRange::at(from, self.chance.below(300));
            let standing = match self.chance.below(3) {
                0 => Standing::Good,
                1 => Standing::Lost,
                _ => Standing::Damaged(range.into_iter().collect()),
            };
            let Placement { segment, index, node, sequence, .. } = placement;
            let sequence = Sequence(sequence.0 + u64::from(self.chance.one_in(5)));
            changes.push(StandingChange { segment, index, node, sequence, standing });
        }
        StoreOp::CloseAudit { verdict: Box::new(verdict(n, 1)), changes }
    }

    fn deletion(&mut self) -> StoreOp {
        let (n, index) = (self.chance.number(SEGMENTS), self.chance.below(4) as u16);
        let (node, shard) = (node_id(self.chance.number(NODES)), shard_id(n, index));
        match self.chance.below(3) {
            0 => {
                let due = Wall(self.now + self.chance.below(5000));
                StoreOp::QueueDeletions(vec![DeletionRow { node, shard, owner: owner(0), due }])
            }
            1 => StoreOp::DeletionDone { node, shard },
            _ => {
                let entry = |n: u8| SetEntry { sequence: Sequence(n.into()), shard: shard_id(n, index), len: SHARD };
                StoreOp::Unknown { node, entries: (1..=SEGMENTS).map(entry).collect() }
            }
        }
    }

    fn record(&mut self) -> StoreOp {
        let (node, key, bytes) =
            (node_id(self.chance.number(NODES)), [self.chance.number(4); 32], self.chance.number(3));
        match self.chance.below(5) {
            0 | 1 => {
                let StoreReply::Owed(owed) = self.map.apply(StoreOp::OwedRecords { after: None, limit: 999 }) else {
                    return StoreOp::Summary;
                };
                let at = self.chance.below(owed.len().max(1) as u64) as usize;
                let bytes = if self.chance.one_in(5) { vec![bytes; 9] } else { Vec::new() };
                let any = OwedRecord { node, kind: RecordKind::Envelope, key, bytes };
                let OwedRecord { node, kind, key, bytes } = owed.get(at).unwrap_or(&any);
                StoreOp::RecordKept { node: *node, kind: *kind, key: *key, digest: *blake3::hash(bytes).as_bytes() }
            }
            2 if self.chance.one_in(2) => {
                const KINDS: [RecordKind; 4] =
                    [RecordKind::Descriptor, RecordKind::Manifest, RecordKind::Envelope, RecordKind::Tombstone];
                let kind = KINDS[self.chance.below(4) as usize];
                StoreOp::BuryStrays { node, kind, keys: vec![key, [0; 32]], at: Wall(self.now) }
            }
            2 => {
                let before = Wall(self.now.saturating_sub(self.chance.below(3000)));
                let after = self.chance.one_in(2).then_some((RecordKind::Manifest, key, node));
                StoreOp::EndBurials { before, after, limit: 1 + self.chance.below(20) as u32 }
            }
            _ => {
                let records = vec![OwedRecord { node, kind: RecordKind::Envelope, key, bytes: vec![bytes; 9] }];
                let StoreReply::Undescribed(rows) = self.map.apply(StoreOp::Undescribed { limit: 9 }) else {
                    return StoreOp::Summary;
                };
                let known = rows.first().map(|row| (row.view.segment.id, row.revision));
                let (segment, revision) = known.unwrap_or((self.existing(), self.chance.below(4)));
                let revision = revision + u64::from(self.chance.one_in(6));
                let described = self.chance.one_in(2).then(|| vec![[self.chance.number(4); 32]]);
                StoreOp::OweRecords(Box::new(SegmentRecords {
                    segment,
                    revision,
                    records,
                    described,
                    at: Wall(self.now),
                }))
            }
        }
    }

    fn rare(&mut self) -> StoreOp {
        match self.chance.below(6) {
            0 => StoreOp::RaiseEpoch { above: self.chance.below(5) },
            1 => StoreOp::LoseNode { verdict: Box::new(verdict(self.audits, self.chance.number(NODES))) },
            _ => StoreOp::Summary,
        }
    }
}

/// A reply without what each store may choose: the words of a refusal and the numbers of verdicts.
fn comparable(reply: StoreReply) -> StoreReply {
    match reply {
        StoreReply::Conflict(_) => StoreReply::Conflict(String::new()),
        StoreReply::Verdict(_) => StoreReply::Verdict(VerdictId(0)),
        StoreReply::Verdicts(found) => {
            StoreReply::Verdicts(found.into_iter().map(|verdict| Verdict { id: VerdictId(0), ..verdict }).collect())
        }
        other => other,
    }
}

fn walk(store: &mut dyn Store, seed: u64) {
    let mut walk = Walk::new(seed);
    for step in 0..STEPS {
        let op = walk.op();
        let expected = walk.map.apply(op.clone());
        walk.answered(&expected);
        let got = store.apply(op.clone());
        assert_eq!(comparable(got), comparable(expected), "seed {seed}, step {step}: {op:?}");
        if step % READ_ALL_EVERY == 0 {
            for op in walk.readings() {
                let expected = comparable(walk.map.apply(op.clone()));
                let got = comparable(store.apply(op.clone()));
                assert_eq!(got, expected, "seed {seed}, after step {step}: {op:?}");
            }
        }
        if step % 300 == 299 {
            store.reopen();
        }
    }
}

pub(super) fn a_walk_of_operations_is_answered_as_the_map_does(store: &mut dyn Store) {
    walk(store, 1);
}

pub(super) fn another_walk_is_answered_as_the_map_does(store: &mut dyn Store) {
    walk(store, 2);
}

pub(super) fn a_third_walk_is_answered_as_the_map_does(store: &mut dyn Store) {
    walk(store, 3);
}
