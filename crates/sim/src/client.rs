//! Clients: the real put machine over the real dispersal. One session is one process; what it keeps
//! on its own disk (sealed bytes, ids) is there when it comes back.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_dispersal::OwnerKey;
use holdfast_protocol::{
    effect::Token,
    put::{CallFailure, Effect, Event as PutEvent, Patience, Put, Terms},
    upload::{ObjectSpec, SegmentSpec},
};
use holdfast_types::{Millis, ObjectId, Policy, SegmentId, ShardId, ShardIndex, SignedGrant, UploadId};

use crate::{
    message::{Api, ApiReply, Peer, Purpose, Reply, Request},
    plan::{Hostile, Wish},
    reading::Reading,
    world::{Event, World},
};

/// How long a client waits for the auditor.
const CALL: Millis = Millis(2_000);
/// Before a call outside the machine is made again.
const AGAIN: u64 = 400;

/// A client process.
pub(crate) struct Session {
    pub(crate) life: u64,
    pub(crate) owner: usize,
    pub(crate) work: Work,
}

/// What it does.
pub(crate) enum Work {
    Put(Box<Upload>),
    Get(Box<Reading>),
    /// The object is to be deleted.
    Delete(ObjectId),
    Over,
}

/// A put, as its client has it on its disk, and the machine while it runs.
pub(crate) struct Upload {
    id: UploadId,
    policy: Policy,
    segments: BTreeMap<SegmentId, (SegmentSpec, Vec<Bytes>)>,
    objects: Vec<ObjectSpec>,
    machine: Option<Put>,
    grants: BTreeMap<(SegmentId, ShardIndex), SignedGrant>,
}

/// An object as its owner remembers it.
pub(crate) struct Plain {
    pub(crate) id: ObjectId,
    pub(crate) bytes: Vec<u8>,
}

fn patience() -> Patience {
    Patience { store: Millis(3_000), avoid: Millis(4_000), auditor: Millis(30_000), ..Patience::default() }
}

/// Owners
impl World {
    /// Two owners, so that what is one's is never the other's.
    pub(crate) fn owner(&self, number: usize) -> OwnerKey {
        OwnerKey::from_bytes([number as u8 + 1; 32])
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        let owner = self.chance.below(2) as usize;
        match wish {
            Wish::Put { dies, returns } => {
                let session = self.begin_put(owner, None);
                if let Some(after) = dies {
                    self.queue_in(after, Event::ClientDies { session, returns });
                }
            }
            Wish::PutHostile(how) => {
                *self.report.kinds.entry("hostile client").or_default() += 1;
                self.begin_put(owner, Some(how));
            }
            Wish::Delete => {
                let known = self.ledger.readable();
                if let Some((owner, object)) = self.chance.pick(&known).copied() {
                    self.open(Session { life: 1, owner, work: Work::Delete(object) });
                }
            }
            Wish::Get => {
                let known = self.ledger.readable();
                if let Some((owner, object)) = self.chance.pick(&known).copied() {
                    let range = self.chance.per_mille(500).then(|| self.draw_range(&object));
                    let reading = Box::new(Reading::new(object, range, false));
                    self.open(Session { life: 1, owner, work: Work::Get(reading) });
                }
            }
        }
    }

    pub(crate) fn open(&mut self, session: Session) -> usize {
        self.sessions.push(session);
        let at = self.sessions.len() - 1;
        self.begin_session(at);
        at
    }

    fn begin_session(&mut self, at: usize) {
        let key = self.owner(self.sessions[at].owner);
        let owner = key.owner_id();
        let api = match &self.sessions[at].work {
            Work::Put(upload) => Api::Begin { id: upload.id, owner, policy: upload.policy.clone() },
            Work::Get(reading) => Api::Locate { owner, object: reading.object },
            Work::Delete(object) => Api::Delete { owner, object: *object, tombstone: self.tombstone(&key, *object) },
            Work::Over => return,
        };
        self.ask_auditor(at, api, None);
    }

    pub(crate) fn ask_auditor(&mut self, at: usize, api: Api, token: Option<Token>) {
        self.call(Peer::Client(at), Peer::Auditor, Request::Api(Box::new(api)), CALL, Purpose::Call(token));
    }

    pub(crate) fn client_dies(&mut self, session: usize, returns: bool) {
        self.sessions[session].life += 1;
        if let Work::Put(upload) = &mut self.sessions[session].work {
            upload.machine = None;
            upload.grants.clear();
            if returns {
                let delay = self.chance.within(200..20_000);
                self.queue_in(delay, Event::ClientReturns { session });
            }
        }
    }

    pub(crate) fn client_returns(&mut self, session: usize) {
        if self.quiet {
            return;
        }
        let owner = self.owner(self.sessions[session].owner).owner_id();
        match &self.sessions[session].work {
            Work::Put(upload) if self.chance.per_mille(250) => {
                let api = Api::Abort { upload: upload.id, owner };
                self.sessions[session].work = Work::Over;
                self.ask_auditor(session, api, None);
            }
            _ => self.begin_session(session),
        }
    }

    /// What a session waits for by itself.
    pub(crate) fn wake(&mut self, session: usize, life: u64) {
        if self.sessions[session].life != life {
            return;
        }
        match &self.sessions[session].work {
            Work::Put(upload) if upload.machine.is_some() => self.put_step(session, PutEvent::Tick),
            Work::Put(_) | Work::Delete(_) => self.begin_session(session),
            Work::Get(reading) if reading.is_located() => self.read_tick(session),
            Work::Get(_) => self.begin_session(session),
            Work::Over => {}
        }
    }

    pub(crate) fn wake_in(&mut self, session: usize, delay: u64) {
        let life = self.sessions[session].life;
        self.queue_in(delay, Event::Wake { session, life });
    }

    pub(crate) fn client_heard(&mut self, session: usize, purpose: Purpose, reply: Reply) {
        match (&mut self.sessions[session].work, purpose, reply) {
            (Work::Put(_), Purpose::Call(None), Reply::Api(reply)) => self.begun(session, &reply),
            (Work::Put(_), Purpose::Call(Some(token)), Reply::Api(reply)) => self.put_heard(session, token, reply),
            (Work::Put(_), Purpose::Store(token), Reply::Put(reply)) => {
                self.put_step(session, PutEvent::Stored(token, reply));
            }
            (Work::Get(_), Purpose::Call(_), Reply::Api(reply)) => self.located(session, reply),
            (Work::Get(_), Purpose::Fetch(token), Reply::Got(got)) => self.fetched(session, token, got),
            (Work::Delete(_), Purpose::Call(_), Reply::Api(ApiReply::Failed(CallFailure::Later { .. }))) => {
                self.wake_in(session, AGAIN);
            }
            (Work::Delete(_), _, _) => self.sessions[session].work = Work::Over,
            _ => {}
        }
    }
}

/// Puts
impl World {
    fn begin_put(&mut self, owner: usize, hostile: Option<Hostile>) -> usize {
        let id = UploadId(self.chance.bytes());
        let total = u64::from(self.plan.code.total());
        let threshold = self.chance.within(u64::from(self.plan.code.data()) + 1..total + 1) as u16;
        let policy = Policy::new("sim", self.plan.code);
        let policy = policy.clone().with_write_threshold(threshold).unwrap_or(policy);
        let (objects, segments, plains) = match self.seal(owner, hostile) {
            Ok(sealed) => sealed,
            Err(why) => {
                self.break_promise("what can be put can be sealed", why);
                return 0;
            }
        };
        // A false witness harms nobody: what it is of must come out whole like any other.
        let harmful = hostile.is_some_and(|how| how != Hostile::WrongWitness);
        self.ledger.upload(id, owner, harmful, segments.keys().copied(), plains);
        let (machine, grants) = (None, BTreeMap::new());
        let upload = Upload { id, policy, segments, objects, machine, grants };
        self.open(Session { life: 1, owner, work: Work::Put(Box::new(upload)) })
    }

    fn begun(&mut self, session: usize, reply: &ApiReply) {
        let owner = self.owner(self.sessions[session].owner).owner_id();
        let Work::Put(upload) = &mut self.sessions[session].work else { return };
        match reply {
            ApiReply::Done if upload.machine.is_none() => {
                let (total, threshold) = (upload.policy.code.total(), upload.policy.write_threshold);
                upload.machine = Some(Put::new(Terms { total, threshold, owner }, patience()));
                let event = |(id, (spec, _)): (&SegmentId, &(SegmentSpec, Vec<Bytes>))| PutEvent::Segment {
                    id: *id,
                    shards: spec.shards.clone(),
                    shard_len: spec.shard_len,
                };
                let events: Vec<PutEvent> = upload.segments.iter().map(event).chain([PutEvent::Ended]).collect();
                for event in events {
                    self.put_step(session, event);
                }
            }
            ApiReply::Failed(CallFailure::Later { .. }) if !self.quiet => self.wake_in(session, AGAIN),
            ApiReply::Done => {}
            _ => self.sessions[session].work = Work::Over,
        }
    }

    fn put_heard(&mut self, session: usize, token: Token, reply: ApiReply) {
        let Work::Put(upload) = &mut self.sessions[session].work else { return };
        let event = match reply {
            ApiReply::Staged(slots) => {
                let names: Vec<ShardId> = slots.iter().map(|(slot, _)| slot.shard).collect();
                let segment = upload.segments.values().find(|(spec, _)| spec.shards == names).map(|(spec, _)| spec.id);
                if let Some(segment) = segment {
                    let grants = slots.iter().filter_map(|(slot, grant)| Some(((segment, slot.index), (*grant)?)));
                    upload.grants.extend(grants);
                }
                PutEvent::Staged(token, Ok(slots.into_iter().map(|(slot, _)| slot).collect()))
            }
            ApiReply::Noted(count) => PutEvent::Noted(token, Ok(count)),
            ApiReply::Done => PutEvent::Committed(token, Ok(())),
            ApiReply::Failed(failure) => {
                // Which call it was, the token says: two of the three do not know it.
                self.put_step(session, PutEvent::Staged(token, Err(failure.clone())));
                self.put_step(session, PutEvent::Noted(token, Err(failure.clone())));
                PutEvent::Committed(token, Err(failure))
            }
            ApiReply::Located(_) | ApiReply::NotFound => return,
        };
        self.put_step(session, event);
    }

    fn put_step(&mut self, session: usize, event: PutEvent) {
        let now = self.mono();
        let Work::Put(upload) = &mut self.sessions[session].work else { return };
        let Some(machine) = &mut upload.machine else { return };
        let effects = machine.step(now, event);
        let deadline = machine.deadline();
        for effect in effects {
            self.put_effect(session, effect);
        }
        if let Some(deadline) = deadline {
            self.wake_in(session, deadline.since(now).0);
        }
    }

    fn put_effect(&mut self, session: usize, effect: Effect) {
        let owner = self.owner(self.sessions[session].owner).owner_id();
        let Work::Put(upload) = &mut self.sessions[session].work else { return };
        match effect {
            Effect::Stage { token, segment, avoid } => {
                if let Some((spec, _)) = upload.segments.get(&segment) {
                    let witnesses = self.ledger.witnesses.get(&segment).cloned().unwrap_or_default();
                    let api = Api::Stage { upload: upload.id, owner, spec: spec.clone(), avoid, witnesses };
                    self.ask_auditor(session, api, Some(token));
                }
            }
            Effect::Store { token, segment, index, node } => {
                let grant = upload.grants.get(&(segment, index)).copied();
                let bytes = upload.segments.get(&segment).and_then(|(_, shards)| shards.get(usize::from(index.0)));
                if let (Some(grant), Some(bytes)) = (grant, bytes.cloned()) {
                    let request = Request::Put { grant, replace: false, bytes };
                    let to = Peer::Node(self.names[&node]);
                    self.call(Peer::Client(session), to, request, Millis(10_000), Purpose::Store(token));
                }
            }
            Effect::Note { token, segment, receipts } => {
                let api = Api::Note { upload: upload.id, owner, segment, receipts };
                self.ask_auditor(session, api, Some(token));
            }
            Effect::Commit(token) => {
                let api = Api::Commit { upload: upload.id, owner, objects: upload.objects.clone() };
                self.ask_auditor(session, api, Some(token));
            }
            Effect::Cancel(token) => self.drop_calls(|call| {
                call.from == Peer::Client(session)
                    && matches!(call.purpose, Purpose::Store(t) | Purpose::Call(Some(t)) if t == token)
            }),
            Effect::Done => {
                let id = upload.id;
                self.sessions[session].work = Work::Over;
                self.acknowledged(id);
            }
            Effect::Fail(error) => {
                self.note(&format!("session {session}: the put fails: {error}"));
                self.sessions[session].work = Work::Over;
            }
            Effect::Release { .. } | Effect::Avoid { .. } => {}
        }
    }
}
