//! What is promised, and the looking.
//!
//! | promise | looked at |
//! |---|---|
//! | no fault-free node is judged corrupt or missing, or given up while it could be reached | every verdict |
//! | one valid fence a segment | every lease and placement ([`crate::catalog`]) |
//! | what the catalog says a node holds, it holds, unless we damaged it | after every event; bytes every 2.5 s |
//! | a read gives the object's bytes or none | every read |
//! | what was deleted does not come back, were the catalog rebuilt from the nodes | four times after each deletion, and at the end |
//! | a node that answers no challenge does not keep its place | when a denier stops denying |
//! | nothing that a peer says makes the catalog fail | every operation |
//! | no node's word alone raises the epoch; an old copy's is raised | every raise; at the end |
//! | whole within a bound once faults stop; what was deleted is gone, with its records; damage has a verdict | at the end |

use std::collections::{BTreeMap, BTreeSet};

use holdfast_protocol::{
    model::{CommitmentState, NodeLife, Outcome, Verdict},
    store::{StoreOp, StoreReply},
    witness::{Witness, WitnessId},
};
use holdfast_types::{ByteRange, NodeId, ObjectId, SegmentId, ShardId, ShardIndex, UploadId};
use holdfast_volume::Sequence;

use crate::{
    client::Plain,
    node::{is_intact, shard_key},
    world::World,
};

/// Damage to a placement that was believed good.
pub(crate) struct Harm {
    pub(crate) node: usize,
    pub(crate) shard: ShardId,
    pub(crate) segment: SegmentId,
    /// Verdicts before it.
    pub(crate) verdicts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Sealed,
    Acknowledged,
    Deleted,
}

struct Known {
    owner: usize,
    upload: UploadId,
    plain: Vec<u8>,
    fate: Fate,
}

/// What the owners know, and what was done to the nodes.
#[derive(Default)]
pub(crate) struct Ledger {
    objects: BTreeMap<ObjectId, Known>,
    hostile: BTreeSet<UploadId>,
    segments: BTreeMap<SegmentId, UploadId>,
    /// Segments that lost more than they can stand.
    beyond: BTreeSet<SegmentId>,
    pub(crate) harms: Vec<Harm>,
    /// Every shard that was ever harmed on a node.
    pub(crate) harmed: BTreeSet<(usize, ShardId)>,
    /// What each shard's list must be.
    pub(crate) truth: BTreeMap<ShardId, [u8; 32]>,
    /// What clients drew.
    pub(crate) witnesses: BTreeMap<SegmentId, Vec<(ShardIndex, Witness)>>,
    /// Segments whose client lied about them.
    pub(crate) false_witnesses: BTreeSet<SegmentId>,
    /// Secrets that were told, and for which list.
    pub(crate) revealed: BTreeMap<WitnessId, [u8; 32]>,
    /// Undamaged nodes on which an object's tombstone was seen.
    pub(crate) tombstones: BTreeMap<ObjectId, BTreeSet<usize>>,
    /// How long a node stays down whose power goes mid-write.
    pub(crate) downs: BTreeMap<usize, u64>,
}

impl Ledger {
    pub(crate) fn upload(
        &mut self,
        id: UploadId,
        owner: usize,
        hostile: bool,
        segments: impl Iterator<Item = SegmentId>,
        objects: Vec<Plain>,
    ) {
        if hostile {
            self.hostile.insert(id);
        }
        self.segments.extend(segments.map(|segment| (segment, id)));
        for Plain { id: object, bytes } in objects {
            self.objects.insert(object, Known { owner, upload: id, plain: bytes, fate: Fate::Sealed });
        }
    }

    /// Acknowledged objects of honest clients that nobody deleted.
    pub(crate) fn readable(&self) -> Vec<(usize, ObjectId)> {
        let stands = |known: &&Known| known.fate == Fate::Acknowledged && !self.hostile.contains(&known.upload);
        self.objects.iter().filter(|(_, known)| stands(known)).map(|(id, known)| (known.owner, *id)).collect()
    }

    /// Whether these are the bytes of the object in the range, or all of them.
    pub(crate) fn is(&self, object: &ObjectId, range: Option<ByteRange>, plain: &[u8]) -> bool {
        self.objects.get(object).is_some_and(|known| match range {
            Some(range) => known.plain.get(range.start() as usize..range.end() as usize) == Some(plain),
            None => known.plain == plain,
        })
    }

    pub(crate) fn len_of(&self, object: &ObjectId) -> u64 {
        self.objects.get(object).map_or(0, |known| known.plain.len() as u64)
    }

    pub(crate) fn is_hostile(&self, segment: &SegmentId) -> bool {
        self.segments.get(segment).is_some_and(|upload| self.hostile.contains(upload))
    }

    /// Whether the object may have bytes in a segment that is beyond help.
    pub(crate) fn is_beyond(&self, object: &ObjectId) -> bool {
        let Some(known) = self.objects.get(object) else { return true };
        self.beyond.iter().any(|segment| self.segments.get(segment) == Some(&known.upload))
    }

    pub(crate) fn deleted(&self) -> impl Iterator<Item = (usize, ObjectId)> + '_ {
        self.objects.iter().filter(|(_, known)| known.fate == Fate::Deleted).map(|(id, known)| (known.owner, *id))
    }
}

/// By then a node that denies every challenge is contained: a round of samples, the refusals that are taken, and some.
const DENIED_MAX: u64 = 10_000;

const HONEST: &str = "no fault-free node is judged corrupt or missing";
const HELD: &str = "what the catalog says an undamaged node holds, it holds";

impl World {
    /// The catalog did something durable.
    pub(crate) fn stored(&mut self, op: &StoreOp, reply: &StoreReply) {
        match (op, reply) {
            (StoreOp::CommitUpload { id, .. }, StoreReply::Committed { .. }) => {
                let mine = self.ledger.objects.values_mut().filter(|known| known.upload == *id);
                for known in mine.filter(|known| known.fate == Fate::Sealed) {
                    known.fate = Fate::Acknowledged;
                    self.report.objects += 1;
                }
            }
            (StoreOp::SetCommitment { segment, index, to, .. }, StoreReply::Done) => {
                self.look_at_acceptance(*segment, *index, to);
            }
            (StoreOp::RaiseEpoch { above }, StoreReply::Epoch(_)) if *above > 0 => {
                if self.old_copy.as_ref().is_some_and(|old| old.restored) {
                    return;
                }
                self.break_promise("no node's word alone raises the epoch", format!("above {above}"));
            }
            (StoreOp::DeleteObject { id, .. }, StoreReply::Done) => {
                if let Some(known) = self.ledger.objects.get_mut(id) {
                    known.fate = Fate::Deleted;
                }
                self.burn_soon();
            }
            _ => {}
        }
    }

    /// A client was told that its upload is done: it must be.
    pub(crate) fn acknowledged(&mut self, upload: UploadId) {
        let open = self.ledger.objects.values().any(|known| known.upload == upload && known.fate == Fate::Sealed);
        if open {
            self.break_promise("what is acknowledged is in the catalog", format!("upload {upload}"));
        }
    }

    /// After every event.
    pub(crate) fn look(&mut self) {
        if let Some(breach) = self.catalog.breach.take() {
            self.breach.get_or_insert(breach);
        }
        for verdict in self.catalog.take_verdicts() {
            self.look_at(&verdict);
        }
        let changed: Vec<usize> = match self.catalog.changed {
            true => (0..self.nodes.len()).collect(),
            false => (0..self.nodes.len()).filter(|at| self.marks[*at].changed).collect(),
        };
        self.catalog.changed = false;
        for at in changed {
            if self.nodes[at].liar.drops_puts() {
                self.notice_dropped(at);
            }
            self.look_held(at, false);
        }
    }

    /// Every byte that the catalog believes in.
    pub(crate) fn look_deep(&mut self) {
        for at in 0..self.nodes.len() {
            self.look_held(at, true);
        }
    }

    fn look_held(&mut self, at: usize, deep: bool) {
        self.marks[at].changed = false;
        if self.marks[at].wild {
            return;
        }
        let (Some(reader), id) = (self.nodes[at].reader(), self.nodes[at].id) else { return };
        let gone = self.catalog.believed().filter(|place| place.node == id).find(|place| {
            let there = if deep { is_intact(&reader, &place.shard) } else { reader.contains(&shard_key(&place.shard)) };
            !there && !self.marks[at].harmed.contains(&place.shard)
        });
        if let Some(place) = gone {
            let what = format!(
                "node {at}: shard {} of segment {} index {} sequence {} is not there, and nobody harmed it",
                place.shard, place.segment, place.index, place.sequence
            );
            self.break_promise(HELD, what);
        }
        if deep {
            // What was made whole again has to stay whole.
            self.marks[at].harmed.retain(|shard| !is_intact(&reader, shard));
        }
    }

    fn look_at(&mut self, verdict: &Verdict) {
        let at = self.names[&verdict.node];
        let mark = &self.marks[at];
        if mark.lied || mark.wild {
            return;
        }
        let convicts = |outcome: &Outcome| matches!(outcome, Outcome::Corrupt | Outcome::Missing);
        let wrong = verdict
            .exceptions
            .iter()
            .find(|exception| convicts(&exception.outcome) && !self.ledger.harmed.contains(&(at, exception.shard)));
        let (harmed, wiped) = (self.ledger.harmed.iter().any(|(node, _)| *node == at), mark.wiped);
        if let Some(exception) = wrong {
            let what = format!("node {at}, shard {}: {:?} by {:?}", exception.shard, exception.outcome, verdict.lane);
            return self.break_promise(HONEST, what);
        }
        if convicts(&verdict.outcome) && !harmed && !wiped {
            return self.break_promise(HONEST, format!("node {at}: {:?} by {:?}", verdict.outcome, verdict.lane));
        }
        let given_up = verdict.exceptions.iter().any(|exception| !convicts(&exception.outcome));
        if given_up && !mark.away && self.plan.is_calm() && !harmed {
            let what = format!("node {at} was given up as {:?}, and could be reached all the time", verdict.outcome);
            self.break_promise("no node that can be reached loses its standing", what);
        }
    }

    /// A node denied every challenge until now.
    pub(crate) fn look_at_denial(&mut self, at: usize) {
        let Some(since) = self.marks[at].denies.take() else { return };
        let ours = ["auditor crash", "auditor crash mid-step", "clock jump", "failing catalog"];
        let ours = ours.iter().any(|kind| self.report.kinds.contains_key(kind));
        if ours || self.marks[at].away || self.now - since < DENIED_MAX {
            return;
        }
        let id = self.nodes[at].id;
        let row = self.catalog.nodes().into_iter().find(|row| row.id == id);
        *self.report.kinds.entry("denier found out").or_default() += 1;
        if row.is_some_and(|row| row.life == NodeLife::Active) {
            let what = format!("node {at} has denied every challenge for {} ms and is active", self.now - since);
            self.break_promise("a node that answers no challenge does not keep its place", what);
        }
    }

    /// The faults are over: what is wrong now, and what is beyond help?
    pub(crate) fn take_stock(&mut self) {
        let held: Vec<BTreeSet<ShardId>> = (0..self.nodes.len()).map(|at| self.held(at)).collect();
        let mut harmed = Vec::new();
        for segment in self.catalog.segments() {
            let Some(view) = self.catalog.segment(segment) else { continue };
            let is_whole = |node: &NodeId, shard: &ShardId| held[self.names[node]].contains(shard);
            let whole = view.placements.iter().filter(|p| is_whole(&p.node, &p.shard)).count();
            if whole < usize::from(view.segment.code.data()) {
                self.ledger.beyond.insert(segment);
                self.report.beyond += 1;
            }
            let broken = view.placements.iter().filter(|p| p.standing.is_good() && !is_whole(&p.node, &p.shard));
            harmed.extend(broken.map(|p| (self.names[&p.node], p.shard, segment)));
        }
        let verdicts = self.catalog.verdicts().len();
        let harms = harmed.into_iter().map(|(node, shard, segment)| Harm { node, shard, segment, verdicts });
        self.ledger.harms.extend(harms);
    }

    /// What is not whole yet; `None` when all is.
    pub(crate) fn unhealed(&mut self) -> Option<String> {
        if self.auditor.core.is_none() {
            return Some("the auditor is down".into());
        }
        if let Some(at) = (0..self.nodes.len()).find(|at| !self.nodes[*at].is_up() || !self.marks[*at].registered) {
            return Some(format!("node {at} is down"));
        }
        let unwell = self.catalog.nodes().into_iter().find(|row| row.life != NodeLife::Active);
        if let Some(row) = unwell {
            return Some(format!("node {} is {:?}: {:?}", self.names[&row.id], row.life, row.containment));
        }
        let summary = self.catalog.summary();
        let owed = (summary.deletions, summary.owed_records, summary.burials);
        if owed != (0, 0, 0) {
            return Some(format!("deletions, records and burials that are owed: {owed:?}"));
        }
        let mut named: BTreeSet<(usize, ShardId)> = BTreeSet::new();
        for segment in self.catalog.segments() {
            let Some(view) = self.catalog.segment(segment) else { continue };
            named.extend(view.placements.iter().map(|p| (self.names[&p.node], p.shard)));
            if self.ledger.beyond.contains(&segment) || self.ledger.is_hostile(&segment) {
                continue;
            }
            let good = view.placements.iter().filter(|p| p.standing.is_good()).count();
            let total = usize::from(view.segment.code.total());
            if good < total {
                let bad = view.placements.iter().filter(|p| !p.standing.is_good());
                let bad: Vec<String> =
                    bad.map(|p| format!("{} on node {} {:?}", p.index, self.names[&p.node], p.standing)).collect();
                return Some(format!("segment {segment} has {good} of {total} good shards; {bad:?}"));
            }
            let rotten = view.placements.iter().find(|p| {
                let reader = self.nodes[self.names[&p.node]].reader();
                !reader.is_some_and(|reader| is_intact(&reader, &p.shard))
            });
            if let Some(p) = rotten {
                let at = self.names[&p.node];
                return Some(format!("shard {} is not whole on node {at}, and believed good", p.shard));
            }
            if let Some(p) = view.placements.iter().find(|p| p.commitment == CommitmentState::Pending) {
                return Some(format!("shard {} has no commitment", p.shard));
            }
        }
        self.leftover(&named).or_else(|| self.leftover_record())
    }

    /// A shard that no placement names: of a deleted object, of an upload that came to nothing, of an old place.
    fn leftover(&self, named: &BTreeSet<(usize, ShardId)>) -> Option<String> {
        for (at, node) in self.nodes.iter().enumerate() {
            let reader = node.reader()?;
            let found = reader.entries(&[0], Sequence::START..Sequence::END, usize::MAX);
            let stray = found.into_iter().map(|entry| ShardId::from_bytes(entry.key.id));
            if let Some(shard) = stray.into_iter().find(|shard| !named.contains(&(at, *shard))) {
                return Some(format!("node {at} still has {shard}, which no placement names"));
            }
        }
        None
    }

    /// All is whole: was what went wrong noticed, and is what was deleted gone?
    pub(crate) fn look_back(&mut self) {
        let segments: BTreeSet<SegmentId> = self.catalog.segments().into_iter().collect();
        let verdicts = self.catalog.verdicts();
        let unjudged = self.ledger.harms.iter().find(|harm| {
            let id = self.nodes[harm.node].id;
            let named = |verdict: &Verdict| {
                verdict.node == id && verdict.exceptions.iter().any(|exception| exception.shard == harm.shard)
            };
            // What a hostile client put is not waited for: it may be whole before anybody samples it.
            let waited_for = segments.contains(&harm.segment) && !self.ledger.is_hostile(&harm.segment);
            waited_for && !verdicts[harm.verdicts..].iter().any(named)
        });
        if let Some(harm) = unjudged {
            let what = format!("node {}: shard {} was harmed, and no verdict says so", harm.node, harm.shard);
            self.break_promise("damage has a verdict", what);
        }
        self.look_at_records(true);
        self.look_at_old_copy();
        let deleted: Vec<(usize, ObjectId)> = self.ledger.deleted().collect();
        for (owner, id) in deleted {
            let owner = self.owner(owner).owner_id();
            if self.catalog.apply(StoreOp::Object { owner, id }) != StoreReply::NotFound {
                self.break_promise("what was deleted is not resurrected", format!("object {id} is in the catalog"));
            }
        }
    }
}
