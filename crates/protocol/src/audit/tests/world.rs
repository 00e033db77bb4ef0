//! A cluster of two nodes in memory: the real machines, the real responder, the real proofs, the
//! map as catalog. Time moves in steps of a tenth of a second.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use holdfast_kzg::{Commitment, CommitmentList, Setup};
use holdfast_types::{
    BLOB_LEN, ByteRange, Code, Incarnation, Millis, Mono, NodeId, Now, ObjectId, OwnerId, SecretKey, Seed, SegmentId,
    SegmentRoot, Sequence, ShardId, ShardIndex, UploadId, Wall,
};
use merkle_cid::{Outboard, Root};

use crate::{
    answer,
    audit::{Audits, containment::tests::row},
    effect::{Command, Effect, FoldJob, Notice, Token, VerifyJob},
    message::{Answer, Ask, Challenge, NodeReply, NodeRequest, NodeStat, SendFailure, SetEntry},
    model::{
        Assignment, CommitmentState, ExtentRow, NodeLife, NodeRow, ObjectRow, Placement, Provenance, SegmentRow,
        StagedSegment, UploadRow, Verdict,
    },
    outbox::Outbox,
    profile::Profile,
    responder::Responder,
    set,
    store::{MapStore, NewObject, Store, StoreOp, StoreReply},
    verify::{self, CheckedList},
};

/// Bytes of every shard: two blobs and a short third.
pub(super) const LEN: u64 = 2 * BLOB_LEN + 5000;
/// Segments, and so shards on each of the two nodes.
pub(super) const SEGMENTS: usize = 3;
const OWNER: OwnerId = OwnerId([7; 32]);

/// A shard's bytes, their name, their outboard, and their commitments: made once for all tests.
pub(super) struct Content {
    pub(super) shard: ShardId,
    pub(super) bytes: Vec<u8>,
    outboard: Vec<u8>,
    list: Arc<CheckedList>,
}

fn contents() -> &'static [Content] {
    static MADE: OnceLock<Vec<Content>> = OnceLock::new();
    MADE.get_or_init(|| {
        (0..2 * SEGMENTS)
            .map(|n| {
                let mut bytes = vec![0; LEN as usize];
                holdfast_types::Transcript::new("test content").absorb_u64("n", n as u64).stream().fill(&mut bytes);
                let outboard = Outboard::of(&bytes);
                let list = list_of(&bytes);
                Content { shard: ShardId(Root::of(&bytes)), bytes, outboard: outboard.into_bytes(), list }
            })
            .collect()
    })
}

pub(super) fn list_of(bytes: &[u8]) -> Arc<CheckedList> {
    let setup = Setup::ethereum();
    let commitments: Vec<Commitment> =
        bytes.chunks(BLOB_LEN as usize).map(|blob| setup.commit(blob).expect("a blob")).collect();
    Arc::new(CheckedList::new(CommitmentList::new(commitments).expect("few")).expect("points"))
}

/// What a node has.
pub(super) struct Held {
    pub(super) shard: ShardId,
    pub(super) bytes: Vec<u8>,
    pub(super) outboard: Vec<u8>,
    /// What its disk says.
    pub(super) damaged: Vec<ByteRange>,
}

/// What a node says to a challenge, given what the honest answer would be. `None`: nothing, ever.
pub(super) type Manner = Box<dyn FnMut(&Challenge, Answer) -> Option<Result<NodeReply, SendFailure>>>;

pub(super) struct Peer {
    pub(super) key: SecretKey,
    pub(super) held: BTreeMap<Sequence, Held>,
    pub(super) manner: Manner,
    /// Whether it is there at all.
    pub(super) up: bool,
    /// Every challenge that reached it.
    pub(super) asked: Vec<Challenge>,
}

pub(super) fn honest() -> Manner {
    Box::new(|_, answer| Some(Ok(NodeReply::Answer(Box::new(answer)))))
}

impl Peer {
    pub(super) fn id(&self) -> NodeId {
        self.key.public().node_id()
    }

    fn entries(&self) -> Vec<SetEntry> {
        let entry =
            |(sequence, held): (&Sequence, &Held)| SetEntry { sequence: *sequence, shard: held.shard, len: LEN };
        self.held.iter().map(entry).collect()
    }

    /// What an honest node with these bytes answers.
    fn answer(&self, challenge: &Challenge) -> Answer {
        let wanted = |entry: &SetEntry| match &challenge.ask {
            Ask::Leaves { shard, .. } => entry.shard == *shard,
            Ask::Fold { .. } | Ask::Sample { .. } => set::holds(&challenge.set.runs, entry.sequence),
        };
        let entries: Vec<SetEntry> = self.entries().into_iter().filter(wanted).collect();
        let body = match Responder::new(challenge, &entries) {
            Err(body) => body,
            Ok(mut responder) => {
                for read in responder.reads().to_vec() {
                    let held = &self.held[&read.entry.sequence];
                    responder.outboard(&read.entry.shard, held.outboard.clone());
                    for range in &read.ranges {
                        let bytes = &held.bytes[range.start() as usize..range.end() as usize];
                        responder.absorb(&read.entry.shard, range.start(), bytes, &held.damaged).expect("planned");
                    }
                }
                responder.finish(Setup::ethereum())
            }
        };
        answer::sign(challenge, Incarnation([1; 16]), body, &self.key)
    }

    fn reply(&mut self, request: &NodeRequest) -> Option<Result<NodeReply, SendFailure>> {
        if !self.up {
            return Some(Err(SendFailure::Unreachable));
        }
        Some(Ok(match request {
            NodeRequest::Challenge(challenge) => {
                self.asked.push((**challenge).clone());
                let answer = self.answer(challenge);
                return (self.manner)(challenge, answer);
            }
            NodeRequest::List { from, .. } => {
                let entries = self.entries().into_iter().filter(|entry| entry.sequence >= *from).collect();
                NodeReply::Entries { entries, next: None }
            }
            NodeRequest::Stat => NodeReply::Stat(NodeStat {
                node: self.id(),
                volume: holdfast_types::VolumeId([1; 16]),
                incarnation: Incarnation([1; 16]),
                capacity: 1 << 40,
                used: 0,
                next: Sequence(0),
                fence: holdfast_types::Fence::default(),
                wall: Wall(0),
                proof: None,
            }),
            NodeRequest::Delete(_) | NodeRequest::PutRecord { .. } | NodeRequest::ListRecords { .. } => {
                panic!("not asked here")
            }
        }))
    }
}

pub(super) struct World {
    pub(super) store: MapStore,
    pub(super) audits: Audits,
    pub(super) nodes: BTreeMap<NodeId, NodeRow>,
    /// The one that the tests turn, and its honest neighbour.
    pub(super) peers: [Peer; 2],
    pub(super) lists: BTreeMap<[u8; 32], Arc<CheckedList>>,
    /// Folds that were verified.
    folds: Vec<FoldJob>,
    pub(super) out: Outbox,
    pub(super) now: Now,
    pub(super) notices: Vec<Notice>,
    /// Challenges that were answered with nothing.
    pub(super) unanswered: Vec<Token>,
    ticks: u64,
}

/// Rounds far apart, so that a test asks for what it wants; the rest as in `demo`.
pub(super) fn profile() -> Profile {
    let day = Millis::from_secs(86_400);
    Profile { fold_every: day, sample_every: day, silence_alarm: Millis::from_secs(500_000), ..Profile::demo() }
}

impl World {
    /// Two nodes with a shard of each segment, the turned one's committed to.
    pub(super) fn new() -> Self {
        let keys = [SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32])];
        let mut store = MapStore::new();
        let mut nodes = BTreeMap::new();
        for key in &keys {
            let StoreReply::Nodes(rows) = store.apply(StoreOp::PutNode(Box::new(row(key)))) else { panic!("a node") };
            nodes.extend(rows.into_iter().map(|row| (row.id, row)));
        }
        let peer = |key: SecretKey| Peer { key, held: BTreeMap::new(), manner: honest(), up: true, asked: vec![] };
        let mut world = Self {
            store,
            audits: Audits::new([9; 32], profile()),
            nodes,
            peers: keys.map(peer),
            lists: BTreeMap::new(),
            folds: Vec::new(),
            out: Outbox::default(),
            now: Now { mono: Mono(50_000), wall: Wall(1_000_000) },
            notices: Vec::new(),
            unanswered: Vec::new(),
            ticks: 0,
        };
        (0..SEGMENTS).for_each(|n| world.put(n));
        world
    }

    fn put(&mut self, n: usize) {
        let [zero, one] = [&contents()[2 * n], &contents()[2 * n + 1]];
        let code = Code::new(1, 1).expect("a code");
        let (id, upload) = (SegmentId([n as u8; 16]), UploadId([n as u8; 16]));
        let segment = SegmentRow {
            id,
            owner: OWNER,
            root: SegmentRoot::from_bytes([n as u8; 32]),
            len: LEN,
            code,
            shard_len: LEN,
            shards: vec![zero.shard, one.shard],
            repair_threshold: 1,
            secret_for_owner: vec![],
            secret_for_recovery: vec![],
        };
        let expires = Wall(u64::MAX >> 1);
        let row = UploadRow {
            id: upload,
            owner: OWNER,
            policy: "p".into(),
            code,
            write_threshold: 2,
            repair_threshold: 1,
            expires,
            committed: false,
        };
        let ids = [self.peers[0].id(), self.peers[1].id()];
        let assign = |(at, content): (usize, &&Content)| Assignment {
            index: ShardIndex(at as u16),
            shard: content.shard,
            node: ids[at],
            sequence: None,
        };
        let assignments = [zero, one].iter().enumerate().map(assign).collect();
        // A gap after every shard: where the node put the segment's descriptor.
        let sequence = Sequence(10 + 2 * n as u64);
        let receipts = vec![(ShardIndex(0), ids[0], sequence), (ShardIndex(1), ids[1], sequence)];
        let staged = Box::new(StagedSegment { upload, offset: 0, segment, assignments });
        let object = ObjectRow {
            id: object(n),
            owner: OWNER,
            name: String::new(),
            sealed_len: LEN,
            plain_len: LEN,
            created: Wall(0),
            manifest: vec![],
            envelope: vec![],
        };
        let extents = vec![ExtentRow { at: 0, segment: id, offset: 0, len: LEN }];
        self.store.apply(StoreOp::BeginUpload(row));
        self.store.apply(StoreOp::StageSegment { staged, expires, witnesses: vec![] });
        self.store.apply(StoreOp::NoteReceipts { upload, segment: id, receipts });
        let objects = vec![NewObject { row: object, extents, pages: vec![] }];
        let reply = self.store.apply(StoreOp::CommitUpload { id: upload, owner: OWNER, objects, at: Wall(0) });
        assert!(matches!(reply, StoreReply::Committed { .. }), "{reply:?}");
        for (at, content) in [zero, one].into_iter().enumerate() {
            let Content { shard, bytes, outboard, list } = content;
            let held = Held { shard: *shard, bytes: bytes.clone(), outboard: outboard.clone(), damaged: vec![] };
            self.peers[at].held.insert(sequence, held);
            if at == 0 {
                // The neighbour is only sampled: a fold costs as much as all else in a test.
                self.accept(n, at, CommitmentState::Pending, list.clone());
            }
        }
    }

    /// Accepts a list for shard `index` of segment `n`.
    pub(super) fn accept(&mut self, n: usize, index: usize, expected: CommitmentState, list: Arc<CheckedList>) {
        let digest = list.list().digest();
        self.lists.insert(digest, list);
        let to = CommitmentState::Accepted { digest, provenance: Provenance::AuditorRead };
        let shard = contents()[2 * n + index].shard;
        let (segment, index, at) = (SegmentId([n as u8; 16]), ShardIndex(index as u16), self.now.wall);
        let reply = self.store.apply(StoreOp::SetCommitment { segment, index, shard, expected, to, at });
        assert_eq!(reply, StoreReply::Done);
    }

    pub(super) fn delete(&mut self, n: usize) {
        self.store.apply(StoreOp::DeleteObject { owner: OWNER, id: object(n), tombstone: vec![], at: Wall(0) });
    }

    /// The turned node's row.
    pub(super) fn row(&self) -> &NodeRow {
        &self.nodes[&self.peers[0].id()]
    }

    /// The turned node's shard of segment `n`, as the catalog has it.
    pub(super) fn placement(&mut self, n: usize) -> Placement {
        match self.store.apply(StoreOp::Segment(SegmentId([n as u8; 16]))) {
            StoreReply::Segment(view) => view.placements[0].clone(),
            other => panic!("expected segment {n}, got {other:?}"),
        }
    }

    /// The turned node's copy of its shard of segment `n`.
    pub(super) fn held(&mut self, n: usize) -> &mut Held {
        self.peers[0].held.get_mut(&Sequence(10 + 2 * n as u64)).expect("held")
    }

    pub(super) fn manner(
        &mut self,
        manner: impl FnMut(&Challenge, Answer) -> Option<Result<NodeReply, SendFailure>> + 'static,
    ) {
        self.peers[0].manner = Box::new(manner);
    }

    pub(super) fn few_questions(&mut self, most: u32) {
        self.audits = Audits::new([9; 32], Profile { localise_max: most, ..profile() });
    }

    pub(super) fn two_at_once(&mut self) {
        self.audits.profile.in_flight_per_node = 2;
    }

    pub(super) fn short_alarm(&mut self, after: Millis) {
        self.audits.profile.silence_alarm = after;
    }

    /// The name of the turned node's shard of segment `n`.
    pub(super) fn lists_shard(&self, n: usize) -> ShardId {
        contents()[2 * n].shard
    }

    /// Another process takes over from the catalog.
    pub(super) fn restart(&mut self) {
        self.audits = Audits::new([9; 32], profile());
        self.out = Outbox::default();
        self.now.mono = Mono(self.now.mono.0 + 1_000_000);
    }

    pub(super) fn audit_now(&mut self) {
        let who = Some(self.peers[0].id());
        self.audits.command(self.now, &Command::AuditNow(who), &self.nodes);
    }

    /// Lets time go by, in steps of 100 ms.
    pub(super) fn run(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.now.mono = Mono(self.now.mono.0 + 100);
            self.now.wall = Wall(self.now.wall.0 + 100);
            self.tick();
        }
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        let entropy = Seed(holdfast_types::Transcript::new("test chance").absorb_u64("n", self.ticks).digest());
        self.audits.tick(self.now, entropy, &self.nodes, &mut self.out);
        self.carry();
    }

    /// Carries out what is wished for until nothing is.
    fn carry(&mut self) {
        loop {
            let effects = self.out.take();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Store(token, op) => {
                let reply = self.store.apply(*op);
                assert!(self.audits.on_stored(now, token, reply, &mut self.nodes, &mut self.out));
            }
            Effect::Send { token, node, request, .. } => {
                let peer = self.peers.iter_mut().find(|peer| peer.id() == node).expect("a peer");
                match peer.reply(&request) {
                    Some(reply) => {
                        assert!(self.audits.on_answered(now, token, reply, &self.nodes, &mut self.out));
                    }
                    None => self.unanswered.push(token),
                }
            }
            Effect::Verify(token, job) => {
                if let VerifyJob::Fold(fold) = &*job {
                    self.folds.push(fold.clone());
                }
                let found = verify::verify(&job, &self.lists, Setup::ethereum());
                assert!(self.audits.on_verified(now, token, found, &self.nodes, &mut self.out));
            }
            Effect::Publish(notice) => self.notices.push(notice),
            Effect::Cancel(_) => {}
            Effect::Commit(..) | Effect::Recover(..) => panic!("not wished for here"),
        }
    }

    pub(super) fn fold_jobs(&self) -> Vec<FoldJob> {
        self.folds.clone()
    }

    /// Verdicts on the turned node so far.
    pub(super) fn verdicts(&self) -> Vec<&Verdict> {
        let id = self.peers[0].id();
        let verdict = |notice: &'_ Notice| matches!(notice, Notice::Verdict(verdict) if verdict.node == id);
        let told = self.notices.iter().filter(|notice| verdict(notice));
        told.filter_map(|notice| if let Notice::Verdict(verdict) = notice { Some(&**verdict) } else { None }).collect()
    }

    /// The places in life that the turned node went through.
    pub(super) fn lives(&self) -> Vec<NodeLife> {
        let id = self.peers[0].id();
        let life = |notice: &Notice| match notice {
            Notice::NodeLife { node, life, .. } if *node == id => Some(*life),
            _ => None,
        };
        self.notices.iter().filter_map(life).collect()
    }

    /// Nothing is left open, and the neighbour, who did nothing wrong, was never accused.
    pub(super) fn assert_settled(&mut self) {
        assert_eq!(self.store.apply(StoreOp::OpenAudits), StoreReply::Audits(vec![]));
        let other = self.peers[1].id();
        assert_eq!(self.nodes[&other].life, NodeLife::Active);
        for notice in &self.notices {
            if let Notice::Verdict(verdict) = notice
                && verdict.node == other
            {
                assert_eq!(verdict.outcome, crate::model::Outcome::Held);
                assert!(verdict.exceptions.is_empty());
            }
        }
    }
}

fn object(n: usize) -> ObjectId {
    ObjectId::from_bytes([n as u8; 32])
}
