//! Reads: the real get machine, frame by frame, until the object or the range of it that was asked for is there and compared with what
//! its owner remembers. A read may fail while things go wrong; it may never give other bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_dispersal::{
    ExtentMap, Geometry, Manifest, Masks, Opener, ReadPlan, SegmentBinding, SegmentRead, StreamPart, WrappedKey,
};
use holdfast_protocol::{
    effect::Token,
    get::{Candidate, Effect, Event as GetEvent, Mode, Patience, SegmentGet, Trouble},
    message::SendFailure,
    model::{Placement, SegmentRow},
    put::CallFailure,
};
use holdfast_types::{ByteRange, FRAME_LEN, FrameIndex, Millis, ObjectId, Root, ShardId, ShardIndex};

use crate::{
    client::{Session, Work},
    message::{ApiReply, Got, Located, Peer, Purpose, Request},
    world::World,
};

const PROMISE: &str = "a read gives the object's bytes or none";

/// A part to read, its segment, and the segment's placements with whether their nodes were silent of late.
type Part<'a> = (StreamPart, &'a SegmentRow, &'a [(Placement, bool)]);

/// A read under way.
pub(crate) struct Reading {
    pub(crate) object: ObjectId,
    /// Bytes of the object; `None` is all of it, whatever that is.
    range: Option<ByteRange>,
    /// It is the last one: it has to succeed.
    last: bool,
    located: Option<Box<Located>>,
    /// What is to be read, none of it in two frames: a frame is opened as a whole, and read again as a whole.
    parts: Vec<StreamPart>,
    /// How many of them were read.
    done: usize,
    opener: Option<Opener>,
    plain: Vec<u8>,
    machine: Option<SegmentGet>,
    came: BTreeMap<Token, (ShardIndex, ByteRange, Bytes)>,
    asked: BTreeMap<Token, (ShardIndex, ByteRange, bool)>,
    suspected: bool,
}

impl Reading {
    pub(crate) fn new(object: ObjectId, range: Option<ByteRange>, last: bool) -> Self {
        Self {
            object,
            range,
            last,
            located: None,
            parts: Vec::new(),
            done: 0,
            opener: None,
            plain: Vec::new(),
            machine: None,
            came: BTreeMap::new(),
            asked: BTreeMap::new(),
            suspected: false,
        }
    }

    pub(crate) fn is_located(&self) -> bool {
        self.located.is_some()
    }

    /// The segment of the part that is read next, with what its placements are believed to be.
    fn segment(&self) -> Option<Part<'_>> {
        let part = *self.parts.get(self.done)?;
        let (row, placements) = self.located.as_ref()?.segments.iter().find(|(row, _)| row.id == part.segment)?;
        Some((part, row, placements))
    }
}

impl World {
    /// Reads all that was acknowledged and stands.
    pub(crate) fn read_everything(&mut self) {
        for (owner, object) in self.ledger.readable() {
            if !self.ledger.is_beyond(&object) {
                let range = Some(self.draw_range(&object));
                for range in [None, range] {
                    let reading = Box::new(Reading::new(object, range, true));
                    self.open(Session { life: 1, owner, work: Work::Get(reading) });
                }
            }
        }
    }

    /// Some bytes of an object; often where reads go wrong: nothing, the ends, and across the boundary of two frames.
    pub(crate) fn draw_range(&mut self, object: &ObjectId) -> ByteRange {
        let len = self.ledger.len_of(object);
        let (from, to) = match self.chance.below(8) {
            0 => {
                let at = self.chance.below(len + 1);
                (at, at)
            }
            1 => (0, len.min(1)),
            2 => (len.saturating_sub(1), len),
            3 => (self.chance.below(len + 1), len),
            4 | 5 if len > FRAME_LEN => {
                let (before, after) = (self.chance.within(1..3_000), self.chance.within(1..3_000));
                (FRAME_LEN - before, len.min(FRAME_LEN + after))
            }
            _ => {
                let (one, other) = (self.chance.below(len + 1), self.chance.below(len + 1));
                (one.min(other), one.max(other))
            }
        };
        if to > FRAME_LEN && from < FRAME_LEN {
            *self.report.kinds.entry("read across frames").or_default() += 1;
        }
        ByteRange::new(from, to).unwrap_or(ByteRange::first(len))
    }

    /// A last read that is not over.
    pub(crate) fn unread(&self) -> Option<String> {
        let open = self.sessions.iter().find_map(|session| match &session.work {
            Work::Get(reading) if reading.last => Some(reading.object),
            _ => None,
        });
        open.map(|object| format!("{object} was not read to its end"))
    }

    pub(crate) fn located(&mut self, session: usize, reply: ApiReply) {
        let owner = self.owner(self.sessions[session].owner);
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let located = match reply {
            ApiReply::Located(located) => located,
            ApiReply::Failed(CallFailure::Later { .. }) => return self.wake_in(session, 500),
            _ => return self.read_failed(session, "the auditor does not know it"),
        };
        let opener = |key: &WrappedKey| {
            let manifest = Manifest::decode_as(&reading.object, &located.manifest).map_err(|e| e.to_string())?;
            let key = owner.unwrap_object_key(&reading.object, key).map_err(|e| e.to_string())?;
            let opener = Opener::new(&key, &manifest, reading.range).map_err(|e| e.to_string())?;
            let map = ExtentMap::new(&reading.object, manifest.sealed_len(), located.extents.clone());
            let map = map.map_err(|e| e.to_string())?;
            let mut parts = Vec::new();
            for frame in opener.frames() {
                let span = opener.frame_span(FrameIndex(frame)).map_err(|e| e.to_string())?;
                parts.extend(map.locate(span.sealed).map_err(|e| e.to_string())?);
            }
            Ok::<_, String>((opener, parts))
        };
        match opener(&located.key) {
            Ok((opener, parts)) => {
                (reading.opener, reading.parts, reading.located) = (Some(opener), parts, Some(located));
                self.next_part(session);
            }
            Err(why) => self.read_failed(session, &why),
        }
    }

    fn read_failed(&mut self, session: usize, why: &str) {
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let (object, range, last) = (reading.object, reading.range, reading.last);
        // The last one once more, with what the catalog says then.
        let again = || Work::Get(Box::new(Reading::new(object, range, true)));
        self.sessions[session].work = if last { again() } else { Work::Over };
        self.note(&format!("session {session}: the read of {object} fails: {why}"));
        if !last {
            return;
        }
        self.sessions[session].life += 1;
        self.wake_in(session, 1_000);
    }

    fn next_part(&mut self, session: usize) {
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let Some((part, row, placements)) = reading.segment() else { return self.read_ended(session) };
        let Ok(geometry) = Geometry::new(row.code, row.len) else { return };
        let mode = Mode::choose(geometry, part.in_segment, reading.suspected);
        let candidate = |(placement, silent): &(Placement, bool)| Candidate {
            index: placement.index,
            standing: placement.standing.clone(),
            silent: *silent,
        };
        let candidates = placements.iter().map(candidate).collect();
        let patience = Patience { fetch: Millis(5_000), ..Patience::default() };
        reading.came.clear();
        reading.asked.clear();
        reading.machine = Some(SegmentGet::new(geometry, part.in_segment, mode, candidates, patience));
        self.get_step(session, GetEvent::Begin);
    }

    fn read_ended(&mut self, session: usize) {
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let finished = reading.opener.take().is_some_and(|opener| opener.finish().is_ok());
        let (object, range, plain) = (reading.object, reading.range, std::mem::take(&mut reading.plain));
        let segments = reading.parts.iter().map(|part| part.segment).collect::<BTreeSet<_>>().len();
        self.sessions[session].work = Work::Over;
        if !finished || !self.ledger.is(&object, range, &plain) {
            let what = format!("{object}, {range:?}: {} bytes that are not its own", plain.len());
            return self.break_promise(PROMISE, what);
        }
        self.report.reads += 1;
        if range.is_some() {
            *self.report.kinds.entry("read of a range").or_default() += 1;
        }
        if segments > 1 {
            *self.report.kinds.entry("read across segments").or_default() += 1;
        }
    }

    pub(crate) fn read_tick(&mut self, session: usize) {
        self.get_step(session, GetEvent::Tick);
    }

    fn get_step(&mut self, session: usize, event: GetEvent) {
        let now = self.mono();
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let Some(machine) = &mut reading.machine else { return };
        let effects = machine.step(now, event);
        if let Some(deadline) = machine.deadline() {
            // A deadline that is now has been dealt with: the next look is a moment later.
            self.wake_in(session, deadline.since(now).0.max(1));
        }
        for effect in effects {
            self.get_effect(session, effect);
        }
    }

    fn get_effect(&mut self, session: usize, effect: Effect) {
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        match effect {
            Effect::Fetch { token, shard: index, range, verify } => {
                let Some((_, _, placements)) = reading.segment() else { return };
                let Some((placement, _)) = placements.iter().find(|(placement, _)| placement.index == index) else {
                    return;
                };
                let (node, shard) = (placement.node, placement.shard);
                reading.asked.insert(token, (index, range, verify));
                let to = Peer::Node(self.names[&node]);
                let request = Request::Get { shard, range };
                self.call(Peer::Client(session), to, request, Millis(6_000), Purpose::Fetch(token));
            }
            Effect::Cancel(token) => {
                reading.asked.remove(&token);
            }
            Effect::Assemble { shards } => self.assemble(session, &shards),
            Effect::Fail(error) => self.read_failed(session, &error.to_string()),
        }
    }

    pub(crate) fn fetched(&mut self, session: usize, token: Token, got: Got) {
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let Some((index, range, verify)) = reading.asked.remove(&token) else { return };
        let shard = reading.segment().and_then(|(_, row, _)| row.shards.get(usize::from(index.0)).copied());
        let trouble = match got {
            Got::Bytes { damaged, .. } if !damaged.is_empty() => Trouble::Damaged(damaged),
            Got::Bytes { bytes, .. } if verify && Some(ShardId(Root::of(&bytes))) != shard => Trouble::Corrupt,
            Got::Bytes { bytes, .. } => {
                reading.came.insert(token, (index, range, bytes));
                return self.get_step(session, GetEvent::Came(token));
            }
            Got::NotFound => Trouble::Missing,
            Got::Busy(retry_after) => Trouble::Busy { retry_after },
            Got::Failed(SendFailure::Unreachable | SendFailure::Timeout) => Trouble::Silent,
            Got::Failed(failure) => Trouble::Refused(format!("{failure:?}")),
        };
        self.get_step(session, GetEvent::Failed(token, trouble));
    }

    fn assemble(&mut self, session: usize, shards: &[ShardIndex]) {
        let owner = self.owner(self.sessions[session].owner);
        let Work::Get(reading) = &mut self.sessions[session].work else { return };
        let Some((part, row, _)) = reading.segment() else { return };
        let sealed = (|| {
            let geometry = Geometry::new(row.code, row.len).map_err(|e| e.to_string())?;
            let binding = SegmentBinding { owner: row.owner, root: row.root, code: row.code };
            let wrapped = row.secret_for_owner.as_slice().try_into().map(WrappedKey).map_err(|e| format!("{e}"))?;
            let secret = owner.unwrap_placement(&binding, &wrapped).map_err(|e| e.to_string())?;
            let plan = ReadPlan::new(geometry, part.in_segment, shards).map_err(|e| e.to_string())?;
            let mut read = SegmentRead::new(plan, Masks::new(secret, row.root, row.code));
            for fetch in read.wanted() {
                let held = reading
                    .came
                    .values()
                    .find(|(index, range, _)| *index == fetch.shard && range.contains(fetch.range));
                let (_, range, bytes) = held.ok_or("a fetch of the plan did not come")?;
                let from = (fetch.range.start() - range.start()) as usize;
                let piece = &bytes[from..from + fetch.range.len() as usize];
                read.absorb(fetch.shard, fetch.range.start(), piece).map_err(|e| e.to_string())?;
            }
            read.to_vec().map_err(|e| e.to_string())
        })();
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(why) => return self.break_promise("what a get assembles can be put together", why),
        };
        let opened = reading.opener.as_mut().map(|opener| opener.push(&sealed));
        match opened {
            Some(Ok(frames)) => {
                // Until the frame is open, none of its parts is above suspicion.
                reading.suspected &= frames.is_empty();
                reading.plain.extend(frames.concat());
                reading.done += 1;
                self.next_part(session);
            }
            // A part of a shard cannot be verified by itself: it is read again as whole shards, which names the liar.
            Some(Err(_)) if !reading.suspected => {
                let frame = reading.opener.as_ref().and_then(|opener| opener.position().ok()).unwrap_or(0);
                reading.done = reading.parts.partition_point(|part| part.in_stream.start() < frame);
                reading.suspected = true;
                self.next_part(session);
            }
            Some(Err(error)) => self.break_promise(PROMISE, format!("verified shards do not open: {error}")),
            None => {}
        }
    }
}
