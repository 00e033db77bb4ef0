//! Eight nodes in four zones, one owner, one auditor.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use holdfast_dispersal::{
    Description, Encoder, Envelope, Geometry, Masks, ObjectKey, OwnerKey, PlacementSecret, Rebuilder, RecoveryKey,
    RecoveryWrap, RunSalt, Sealer, SegmentBinding, SegmentCutter, Signed, Target, Tombstone,
};
use holdfast_kzg::{CommitmentList, Setup};
use holdfast_types::{
    Code, Fence, Incarnation, Millis, Mono, NodeId, Now, ObjectId, Operation, Policy, Root, SecretKey, Seed, SegmentId,
    Sequence, ShardId, ShardIndex, Signature, SignedGrant, Transcript, UploadId, VolumeId, Wall, ZoneName,
};
use merkle_cid::Outboard;

use super::lists::{Manners, Taken};
use crate::{
    answer,
    auditor::{Auditor, Config},
    effect::{Command, CommitJob, Effect, Event, Notice, RecoverJob, RecoverOutcome, Token},
    grants,
    message::{AnswerBody, Challenge, NodeReply, NodeRequest, NodeStat, Receipt, RecordKind, SendFailure, SetEntry},
    model::{NodeLife, NodeRow, Outcome, Placement, RepairRow, SegmentView, Verdict},
    profile::Profile,
    responder::Responder,
    set,
    store::{MapStore, Store, StoreOp, StoreReply},
    upload::{self, ObjectSpec, SegmentSpec},
    verify::{self, CheckedList},
    witness::{Witness, WitnessId, WitnessSeed},
};

pub(super) const NODES: u8 = 8;
pub(super) const POLICY: (u16, u16) = (3, 2);

/// A node's disk.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) key: SecretKey,
    pub(super) up: bool,
    pub(super) held: BTreeMap<ShardId, (Sequence, Vec<u8>)>,
    pub(super) records: BTreeMap<(RecordKind, [u8; 32]), Vec<u8>>,
    pub(super) next: u64,
    /// The highest fence it saw.
    pub(super) fence: Fence,
    /// The grant that carried it.
    pub(super) proof: Option<SignedGrant>,
    /// It takes no shard.
    pub(super) full: bool,
    /// It signs for shards that it drops.
    pub(super) liar: bool,
    /// It signs, for what it takes, numbers that no catalog keeps.
    pub(super) boasts: bool,
    /// Challenges that it is too busy for, signed, and then as a server.
    pub(super) busy: u32,
    /// It proves what it has and gives none of it.
    pub(super) withholds: bool,
    /// No reading of it comes to an end.
    pub(super) drips: bool,
    pub(super) listed: u32,
    pub(super) manners: Manners,
    /// Times it was asked for commitments.
    pub(super) asked: u32,
    /// Secrets that it was told.
    pub(super) told: Vec<WitnessSeed>,
    pub(super) taken: Taken,
}

impl Peer {
    fn id(&self) -> NodeId {
        self.key.public().node_id()
    }

    pub(super) fn receipt(
        &self,
        owner: holdfast_types::OwnerId,
        shard: ShardId,
        len: u64,
        number: Sequence,
    ) -> Receipt {
        let receipt = Receipt {
            node: self.id(),
            incarnation: Incarnation([1; 16]),
            owner,
            shard,
            len,
            sequence: number,
            signature: Signature { algorithm: 0, bytes: [0; 64] },
        };
        Receipt { signature: self.key.sign(&receipt.transcript()), ..receipt }
    }

    /// Stores what the grant permits, as a node does.
    pub(super) fn put(&mut self, auditor: &SecretKey, now: Wall, grant: &SignedGrant, bytes: &[u8]) -> Receipt {
        if grant.grant.fence > self.fence {
            self.proof = Some(*grant);
        }
        let grant = *grant.verify(&auditor.public(), &self.id(), now, 0).expect("a valid grant");
        assert_eq!((grant.operation, grant.content), (Operation::Put, *Root::of(bytes).as_bytes()));
        assert!(grant.fence == Fence::default() || grant.fence >= self.fence, "an older fence is refused by the node");
        self.fence = self.fence.max(grant.fence);
        self.next += 1;
        let number = Sequence(if self.boasts { u64::MAX / 2 + self.next } else { self.next });
        let shard = ShardId::from_bytes(grant.content);
        if !self.liar {
            self.held.insert(shard, (number, bytes.to_vec()));
        }
        self.receipt(grant.owner, shard, bytes.len() as u64, number)
    }

    fn entries(&self) -> Vec<SetEntry> {
        let entry = |(shard, (sequence, bytes)): (&ShardId, &(Sequence, Vec<u8>))| SetEntry {
            sequence: *sequence,
            shard: *shard,
            len: bytes.len() as u64,
        };
        let mut entries: Vec<SetEntry> = self.held.iter().map(entry).collect();
        entries.sort_unstable();
        entries
    }

    fn answer(&self, challenge: &Challenge) -> NodeReply {
        let asked = |entry: &SetEntry| set::holds(&challenge.set.runs, entry.sequence);
        let entries: Vec<SetEntry> = self.entries().into_iter().filter(asked).collect();
        let body = match Responder::new(challenge, &entries) {
            Err(body) => body,
            Ok(mut responder) => {
                for read in responder.reads().to_vec() {
                    let (_, bytes) = &self.held[&read.entry.shard];
                    responder.outboard(&read.entry.shard, Outboard::of(bytes).into_bytes());
                    for range in &read.ranges {
                        let part = &bytes[range.start() as usize..range.end() as usize];
                        responder.absorb(&read.entry.shard, range.start(), part, &[]).expect("planned");
                    }
                }
                responder.finish(Setup::ethereum())
            }
        };
        NodeReply::Answer(Box::new(answer::sign(challenge, Incarnation([1; 16]), body, &self.key)))
    }

    fn reply(&mut self, auditor: &SecretKey, now: Wall, request: NodeRequest) -> Result<NodeReply, SendFailure> {
        if !self.up {
            return Err(SendFailure::Unreachable);
        }
        Ok(match request {
            NodeRequest::Challenge(challenge) if self.busy > 0 => {
                self.busy -= 1;
                // What it says is believed within reason.
                let retry_after = Millis::from_secs(86_400);
                if self.busy.is_multiple_of(2) {
                    return Err(SendFailure::Refused { retry_after });
                }
                let body = AnswerBody::Refused { retry_after };
                NodeReply::Answer(Box::new(answer::sign(&challenge, Incarnation([1; 16]), body, &self.key)))
            }
            NodeRequest::Challenge(challenge) => self.answer(&challenge),
            NodeRequest::List { from, limit } => {
                self.listed += 1;
                let page = self.entries().into_iter().filter(|entry| entry.sequence >= from);
                // Pages of two, so that a list has several.
                let entries: Vec<SetEntry> = page.take(2.min(limit as usize)).collect();
                let last = entries.last().map(|entry| Sequence(entry.sequence.0 + 1));
                let more = self.entries().iter().any(|entry| last.is_some_and(|last| entry.sequence >= last));
                NodeReply::Entries { entries, next: last.filter(|_| more) }
            }
            NodeRequest::Delete(grant) => {
                let grant = grant.verify(&auditor.public(), &self.id(), now, 0).expect("a valid grant");
                assert_eq!(grant.operation, Operation::Delete);
                match RecordKind::from_u8(grant.kind) {
                    Some(kind) => drop(self.records.remove(&(kind, grant.content))),
                    None => drop(self.held.remove(&ShardId::from_bytes(grant.content))),
                }
                NodeReply::Deleted
            }
            NodeRequest::PutRecord { kind, key, bytes, fence } => {
                if fence < self.fence {
                    return Err(SendFailure::Denied(format!("saw {}", self.fence)));
                }
                let outranked = [RecordKind::Manifest, RecordKind::Envelope];
                if outranked.contains(&kind) && self.records.contains_key(&(RecordKind::Tombstone, key)) {
                    return Err(SendFailure::Denied("its tombstone is here".into()));
                }
                self.records.insert((kind, key), bytes);
                if kind == RecordKind::Tombstone {
                    self.records.retain(|(kind, of), _| *of != key || !outranked.contains(kind));
                }
                NodeReply::Recorded
            }
            NodeRequest::ListRecords { kind, after, limit } => {
                let keys =
                    self.records.keys().filter(|(of, key)| *of == kind && after.is_none_or(|after| *key > after));
                NodeReply::Keys(keys.map(|(_, key)| *key).take(limit as usize).collect())
            }
            NodeRequest::Stat => NodeReply::Stat(NodeStat {
                node: self.id(),
                volume: VolumeId([1; 16]),
                incarnation: Incarnation([1; 16]),
                capacity: 1 << 30,
                used: 0,
                next: Sequence(self.next),
                fence: self.fence,
                wall: now,
                proof: self.proof.map(Box::new),
            }),
        })
    }
}

/// The cluster, its driver, and its auditor, which may die.
pub(super) struct World {
    pub(super) store: MapStore,
    pub(super) core: Auditor,
    pub(super) config: Config,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) now: Now,
    pub(super) notices: Vec<Notice>,
    /// Wished for and not yet carried out.
    pub(super) wishes: VecDeque<Effect>,
    /// Recoveries carried out.
    pub(super) recoveries: Vec<RecoverJob>,
    pub(super) commits: Vec<CommitJob>,
    pub(super) secrets: BTreeMap<WitnessId, Witness>,
    pub(super) lists: BTreeMap<[u8; 32], Arc<CheckedList>>,
    /// Recoveries wait here instead of being carried out, while this is set.
    pub(super) hold_recoveries: bool,
    /// What the catalog fails at, without doing it.
    pub(super) fails_at: fn(&StoreOp) -> bool,
    pub(super) held_back: Vec<(Token, RecoverJob)>,
    pub(super) owner: OwnerKey,
    recovery: RecoveryKey,
    ticks: u64,
}

/// Audits far apart, so that they do not disturb; the rest as in `demo`.
pub(super) fn profile() -> Profile {
    let day = Millis::from_secs(86_400);
    Profile { fold_every: day, sample_every: day, silence_alarm: day, list_every: day, ..Profile::demo() }
}

pub(super) fn noise(len: usize, n: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Transcript::new("test noise").absorb_u64("n", n).stream().fill(&mut bytes);
    bytes
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(profile())
    }

    pub(super) fn with(profile: Profile) -> Self {
        let key = SecretKey::from_seed(&[0xaa; 32]);
        let config = Config { cluster: [9; 32], profile, key, no_orphans_before: Wall(0) };
        let mut world = Self {
            store: MapStore::new(),
            core: Auditor::new(config.clone()),
            config,
            peers: BTreeMap::new(),
            now: Now { mono: Mono(50_000), wall: Wall(1_000_000_000) },
            notices: Vec::new(),
            wishes: VecDeque::new(),
            recoveries: Vec::new(),
            commits: Vec::new(),
            secrets: BTreeMap::new(),
            lists: BTreeMap::new(),
            hold_recoveries: false,
            fails_at: |_| false,
            held_back: Vec::new(),
            owner: OwnerKey::from_bytes([0xbb; 32]),
            recovery: RecoveryKey::from_bytes([0xcc; 32]),
            ticks: 0,
        };
        (0..NODES).for_each(|n| world.register(n));
        world
    }

    pub(super) fn register(&mut self, n: u8) {
        let key = SecretKey::from_seed(&[n + 1; 32]);
        let row = NodeRow {
            id: key.public().node_id(),
            key: key.public(),
            addresses: vec![],
            zone: ZoneName(format!("zone-{}", n % 4)),
            operator: String::new(),
            life: NodeLife::Active,
            containment: None,
            volume: VolumeId([1; 16]),
            incarnation: Incarnation([1; 16]),
            capacity: 1 << 30,
            used: 0,
            joined: self.now.wall,
            seen: self.now.wall,
            judged: None,
            version: 0,
        };
        let id = row.id;
        self.store.apply(StoreOp::PutNode(Box::new(row)));
        let peer = Peer {
            key,
            up: true,
            held: BTreeMap::new(),
            records: BTreeMap::new(),
            next: 0,
            fence: Fence::default(),
            proof: None,
            full: false,
            liar: false,
            boasts: false,
            busy: 0,
            withholds: false,
            drips: false,
            listed: 0,
            manners: Manners::default(),
            asked: 0,
            told: vec![],
            taken: Taken::new(),
        };
        self.peers.insert(id, peer);
        let effects = self.core.step(self.now, Event::Command(Command::NodeChanged(id)));
        self.wishes.extend(effects);
    }

    pub(super) fn nodes(&mut self) -> BTreeMap<NodeId, NodeRow> {
        match self.store.apply(StoreOp::Nodes) {
            StoreReply::Nodes(rows) => rows.into_iter().map(|row| (row.id, row)).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Puts object `n` through the auditor's own validation, as a client would; its first `held` shards only.
    pub(super) fn put(&mut self, n: u8, held: usize) -> (SegmentId, ObjectId) {
        self.put_with(n, held, |_, _| None)
    }

    /// The same, with what the client's witnesses are.
    pub(super) fn put_with(
        &mut self,
        n: u8,
        held: usize,
        witness: impl Fn(ShardIndex, &[u8]) -> Option<Witness>,
    ) -> (SegmentId, ObjectId) {
        let code = Code::new(POLICY.0, POLICY.1).unwrap();
        let policy = Policy::new("p", code).with_write_threshold(POLICY.0 + 1).unwrap();
        let (id, owner) = (UploadId([n; 16]), self.owner.owner_id());
        let expires = self.now.wall + Millis::from_secs(600);
        let row = upload::begin(id, owner, &policy, &self.nodes(), expires).unwrap();
        self.store.apply(StoreOp::BeginUpload(row.clone()));
        let object_key = ObjectKey::from_bytes([n; 32]);
        let mut sealer = Sealer::new(object_key.clone(), RunSalt([n; 32])).unwrap();
        assert!(sealer.push(&noise(20_000, n.into())).unwrap().is_empty());
        let sealed = sealer.finish(Description::default()).unwrap();
        let mut cutter = SegmentCutter::new(holdfast_dispersal::SEGMENT_LEN_DEFAULT);
        cutter.push(0, sealed.frame.stream_offset, &sealed.frame.bytes);
        let cut = cutter.flush().unwrap();
        let (secret, sealed_len) = (PlacementSecret::from_bytes([n; 32]), cut.bytes.len() as u64);
        let encoded = Encoder::new(code).encode(cut.bytes, &secret).unwrap();
        let binding = SegmentBinding { owner, root: encoded.root, code };
        let spec = SegmentSpec {
            id: SegmentId([n; 16]),
            offset: 0,
            root: encoded.root,
            len: sealed_len,
            shard_len: encoded.geometry.shard_len(),
            shards: encoded.shard_ids(),
            secret_for_owner: self.owner.wrap_placement(&binding, &secret).0.to_vec(),
            secret_for_recovery: self
                .recovery
                .public()
                .wrap(&binding, &secret, Seed([n; 32]))
                .unwrap()
                .to_bytes()
                .to_vec(),
        };
        let staged = upload::stage(&row, None, spec, &self.nodes(), &BTreeSet::new()).unwrap();
        let told = encoded.shards.iter().enumerate().filter_map(|(at, shard)| {
            let index = ShardIndex(at as u16);
            Some((index, witness(index, &shard.bytes)?))
        });
        let told: Vec<_> = told.collect();
        let witnesses = told.into_iter().map(|(index, witness)| self.seal(index, witness)).collect();
        let stage = StoreOp::StageSegment { staged: Box::new(staged.clone()), expires, witnesses };
        assert_eq!(self.store.apply(stage), StoreReply::Done);
        let (key, wall) = (self.config.key.clone(), self.now.wall);
        let mut receipts = Vec::new();
        for (index, grant) in upload::put_grants(&staged, expires, &key).into_iter().take(held) {
            let peer = self.peers.get_mut(&grant.grant.node).unwrap();
            receipts.push((index, peer.put(&key, wall, &grant, &encoded.shards[usize::from(index.0)].bytes)));
        }
        let sorted = upload::receipts(&staged, &receipts, &self.nodes());
        assert!(sorted.faults.is_empty());
        let noted = StoreOp::NoteReceipts { upload: id, segment: staged.segment.id, receipts: sorted.valid };
        assert_eq!(self.store.apply(noted), StoreReply::Done);
        let object = sealed.object_id();
        let envelope = Envelope {
            version: 1,
            object,
            owner,
            key: self.owner.wrap_object_key(&object, &object_key),
            policy: "p".into(),
            code,
            retain_until: None,
            created: wall,
            names: vec![format!("object-{n}")],
        };
        let spec = ObjectSpec {
            manifest: sealed.manifest.bytes().to_vec(),
            envelope: Signed::sign(envelope, &self.owner.signing()).unwrap().bytes().to_vec(),
            offset: 0,
            sealed_len,
            plain_len: 20_000,
            pages: sealed.pages.into_iter().map(|page| page.bytes).collect(),
        };
        let objects = upload::commit(&row, &[crate::model::StagedSpan::of(&staged)], vec![spec], wall).unwrap();
        let reply = self.store.apply(StoreOp::CommitUpload { id, owner, objects, at: wall });
        assert_eq!(reply, StoreReply::Committed { segments: vec![SegmentId([n; 16])] });
        self.tell(Event::Command(Command::CatalogChanged));
        (SegmentId([n; 16]), object)
    }

    pub(super) fn delete(&mut self, object: ObjectId) {
        let (owner, at) = (self.owner.owner_id(), self.now.wall);
        let tombstone = Tombstone { version: 1, object, owner, deleted: at };
        let tombstone = Signed::sign(tombstone, &self.owner.signing()).unwrap().bytes().to_vec();
        self.store.apply(StoreOp::DeleteObject { owner, id: object, tombstone, at });
        self.tell(Event::Command(Command::CatalogChanged));
    }

    pub(super) fn view(&mut self, segment: SegmentId) -> SegmentView {
        match self.store.apply(StoreOp::Segment(segment)) {
            StoreReply::Segment(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn placement(&mut self, segment: SegmentId, index: u16) -> Placement {
        let view = self.view(segment);
        view.placements.into_iter().find(|placement| placement.index == ShardIndex(index)).expect("placed")
    }

    pub(super) fn peer(&mut self, node: NodeId) -> &mut Peer {
        self.peers.get_mut(&node).expect("a peer")
    }

    pub(super) fn repairs(&mut self) -> Vec<RepairRow> {
        match self.store.apply(StoreOp::Repairs { limit: 1000 }) {
            StoreReply::Repairs(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// The node is gone, and a verdict says so.
    pub(super) fn lose(&mut self, node: NodeId) {
        self.peer(node).up = false;
        let row = self.nodes().remove(&node).expect("registered");
        let (life, containment) = (NodeLife::Suspended, None);
        self.store.apply(StoreOp::PutNode(Box::new(NodeRow { life, containment, ..row })));
        let verdict = verdict(node, self.now.wall);
        self.store.apply(StoreOp::LoseNode { verdict: Box::new(verdict) });
        self.tell(Event::Command(Command::NodeChanged(node)));
    }

    /// The node is there, and has lost this shard, and a verdict says so.
    pub(super) fn lose_shard(&mut self, placement: &Placement) {
        self.peer(placement.node).held.remove(&placement.shard);
        let audit = holdfast_types::AuditId([placement.index.0 as u8 + 1; 32]);
        let opened = crate::model::AuditRow {
            id: audit,
            node: placement.node,
            lane: crate::model::Lane::Sample,
            seed: Seed([0; 32]),
            runs: vec![],
            set_digest: [0; 32],
            opened: self.now.wall,
        };
        self.store.apply(StoreOp::OpenAudit(Box::new(opened)));
        let change = crate::store::StandingChange {
            segment: placement.segment,
            index: placement.index,
            node: placement.node,
            sequence: placement.sequence,
            standing: crate::model::Standing::Lost,
        };
        let verdict = Box::new(Verdict { audit, ..verdict(placement.node, self.now.wall) });
        let reply = self.store.apply(StoreOp::CloseAudit { verdict, changes: vec![change] });
        assert!(matches!(reply, StoreReply::Verdict(_)), "{reply:?}");
    }

    pub(super) fn tell(&mut self, event: Event) {
        let effects = self.core.step(self.now, event);
        self.wishes.extend(effects);
    }

    /// The auditor dies; another process begins on the same catalog. What was wished for is gone with it.
    pub(super) fn crash(&mut self) {
        self.core = Auditor::new(self.config.clone());
        self.wishes.clear();
        self.held_back.clear();
        self.now.mono = Mono(self.now.mono.0 + 1_000_000);
    }

    /// Time goes by, in steps of 250 ms; everything wished for is carried out at once.
    pub(super) fn run(&mut self, millis: u64) {
        for _ in 0..millis / 250 {
            self.tick();
            while self.carry_one() {}
        }
    }

    /// One quarter of a second, whose wishes are left to be carried out.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.now = Now { mono: Mono(self.now.mono.0 + 250), wall: Wall(self.now.wall.0 + 250) };
        let entropy = Seed(Transcript::new("test chance").absorb_u64("n", self.ticks).digest());
        self.tell(Event::Tick { entropy });
    }

    /// Carries out the next wish and tells the core; `false` when there is none.
    pub(super) fn carry_one(&mut self) -> bool {
        match self.do_one() {
            Some(Some(event)) => self.tell(event),
            Some(None) => {}
            None => return false,
        }
        true
    }

    /// Carries out the next wish; the core is not told.
    pub(super) fn do_one(&mut self) -> Option<Option<Event>> {
        let effect = self.wishes.pop_front()?;
        Some(match effect {
            Effect::Store(token, op) if (self.fails_at)(&op) => {
                Some(Event::Stored(token, Box::new(StoreReply::Failed("the disk of the catalog".into()))))
            }
            Effect::Store(token, op) => Some(Event::Stored(token, Box::new(self.store.apply(*op)))),
            Effect::Send { token, node, request, .. } => {
                let (key, wall) = (self.config.key.clone(), self.now.wall);
                Some(Event::Answered(token, self.peer(node).reply(&key, wall, request)))
            }
            Effect::Verify(token, job) => {
                Some(Event::Verified(token, verify::verify(&job, &self.lists, Setup::ethereum())))
            }
            Effect::Commit(_, job) if matches!(*job, CommitJob::Read(_)) && self.peers[&job.of().node].drips => {
                self.commits.push(*job);
                None
            }
            Effect::Commit(token, job) => Some(Event::CommitDone(token, self.commit(*job))),
            Effect::Recover(token, job) if self.hold_recoveries => {
                self.held_back.push((token, *job));
                None
            }
            Effect::Recover(token, job) => Some(Event::Recovered(token, Box::new(self.recover(*job)))),
            Effect::Cancel(_) => None,
            Effect::Publish(notice) => {
                self.notices.push(notice);
                None
            }
        })
    }

    /// What the driver's executor does: verified sources, one decoding, durable targets.
    pub(super) fn recover(&mut self, job: RecoverJob) -> RecoverOutcome {
        self.recoveries.push(job.clone());
        let mut outcome = RecoverOutcome {
            placed: vec![],
            bad_sources: vec![],
            silent_sources: vec![],
            failed_targets: vec![],
            reason: String::new(),
        };
        let mut sources = BTreeMap::new();
        for source in &job.sources {
            let peer = &self.peers[&source.node];
            match peer.held.get(&source.shard) {
                _ if !peer.up || peer.withholds => outcome.silent_sources.push(source.index),
                Some((_, bytes)) if ShardId(Root::of(bytes)) == source.shard => {
                    sources.insert(source.index, bytes.clone());
                }
                Some(_) | None => outcome.bad_sources.push(source.index),
            }
        }
        match self.rebuild(&job, &sources) {
            Ok(made) => self.place(&job, &made, &mut outcome),
            Err(reason) => outcome.reason = reason,
        }
        outcome
    }

    fn rebuild(
        &self,
        job: &RecoverJob,
        sources: &BTreeMap<ShardIndex, Vec<u8>>,
    ) -> Result<BTreeMap<ShardIndex, Vec<u8>>, String> {
        let binding = SegmentBinding { owner: job.owner, root: job.root, code: job.code };
        let wrap = RecoveryWrap::from_bytes(&job.secret).ok_or("no wrap")?;
        let secret = self.recovery.unwrap(&binding, &wrap).map_err(|error| error.to_string())?;
        let geometry = Geometry::new(job.code, job.len).map_err(|error| error.to_string())?;
        let indices: Vec<ShardIndex> = sources.keys().copied().collect();
        let targets: Vec<Target> = job.targets.iter().map(|t| Target { index: t.index, id: t.shard }).collect();
        let masks = Masks::new(secret, job.root, job.code);
        let mut rebuilder =
            Rebuilder::new(geometry, masks, &indices, &targets, None).map_err(|error| error.to_string())?;
        let mut made: BTreeMap<ShardIndex, Vec<u8>> = BTreeMap::new();
        while let Some(range) = rebuilder.next_strip() {
            let part = |index: &ShardIndex| sources[index][range.start() as usize..range.end() as usize].to_vec();
            let mut strips: Vec<Vec<u8>> = rebuilder.sources().iter().map(part).collect();
            for strip in rebuilder.absorb(&mut strips).map_err(|error| error.to_string())? {
                made.entry(strip.index).or_default().extend(strip.bytes);
            }
        }
        rebuilder.finish().map_err(|error| error.to_string())?;
        Ok(made)
    }

    fn place(&mut self, job: &RecoverJob, made: &BTreeMap<ShardIndex, Vec<u8>>, outcome: &mut RecoverOutcome) {
        let (key, wall) = (self.config.key.clone(), self.now.wall);
        for target in &job.targets {
            let grant = grants::recover_put(job, target, wall, &key);
            let peer = self.peer(target.node);
            if !peer.up || peer.full {
                outcome.failed_targets.push((target.index, "no room".into()));
                continue;
            }
            assert!(target.in_place || !peer.held.contains_key(&target.shard));
            outcome.placed.push((target.index, peer.put(&key, wall, &grant, &made[&target.index])));
        }
    }

    /// What must be true at every moment, whatever died.
    #[track_caller]
    pub(super) fn assert_sound(&mut self, segment: SegmentId) {
        let view = self.view(segment);
        let nodes: BTreeSet<NodeId> = view.placements.iter().map(|placement| placement.node).collect();
        assert_eq!(nodes.len(), view.placements.len(), "distinct nodes");
        for placement in &view.placements {
            let held = self.peers[&placement.node].held.get(&placement.shard);
            if placement.standing.is_good() {
                let (sequence, bytes) = held.expect("a good placement is held");
                assert_eq!(*sequence, placement.sequence);
                assert_eq!(ShardId(Root::of(bytes)), placement.shard);
            }
        }
        let due = StoreOp::DueDeletions { now: Wall(u64::MAX >> 1), after: None, limit: 1000 };
        let StoreReply::Deletions(queued) = self.store.apply(due) else { panic!("deletions") };
        for row in queued {
            let placed = view.placements.iter().any(|p| p.node == row.node && p.shard == row.shard);
            assert!(!placed, "a placed shard is queued for deletion");
        }
    }

    /// The segment is whole, in zones as it should be, and nothing is left running.
    #[track_caller]
    pub(super) fn assert_whole(&mut self, segment: SegmentId) {
        self.assert_sound(segment);
        let view = self.view(segment);
        assert_eq!(view.placements.len(), usize::from(POLICY.0 + POLICY.1));
        assert!(view.placements.iter().all(|placement| placement.standing.is_good()), "{view:?}");
        let nodes = self.nodes();
        let mut zones: BTreeMap<&ZoneName, u16> = BTreeMap::new();
        for placement in &view.placements {
            *zones.entry(&nodes[&placement.node].zone).or_default() += 1;
        }
        assert!(zones.values().all(|count| *count <= POLICY.1), "{zones:?}");
        assert_eq!(self.store.apply(StoreOp::RunningRepairs), StoreReply::Repairs(vec![]));
        assert_eq!(self.core.repairs_running(), 0);
    }
}

/// The commitments of a shard.
pub(super) fn list_of(bytes: &[u8]) -> Arc<CheckedList> {
    let commit = |blob: &[u8]| Setup::ethereum().commit(blob).expect("a blob");
    let commitments = bytes.chunks(holdfast_types::BLOB_LEN as usize).map(commit).collect();
    Arc::new(CheckedList::new(CommitmentList::new(commitments).expect("few")).expect("points"))
}

fn verdict(node: NodeId, at: Wall) -> Verdict {
    Verdict {
        id: holdfast_types::VerdictId(0),
        audit: holdfast_types::AuditId([0; 32]),
        node,
        lane: crate::model::Lane::Sample,
        outcome: Outcome::Missing,
        at,
        took: Millis(0),
        shards: 0,
        bytes: 0,
        exceptions: vec![],
        evidence: vec![],
    }
}
