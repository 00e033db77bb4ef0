//! Writes down, for the nodes, what a segment is: its descriptor beside every shard, and with the
//! first segment of each object the object's manifest, envelope and pages. With them the nodes alone
//! can rebuild a catalog. One segment at a time; a change of the segment meanwhile makes it come up again.

use std::collections::{BTreeSet, VecDeque};

use holdfast_dispersal::{
    Extent, Geometry, RecoveryWrap, SegmentDescriptor, Signed, WrappedKey, WrappedSecrets, extent_pages,
};
use holdfast_types::{Millis, Mono, NodeId, ObjectId, OwnerId, SecretKey, SegmentId};

use crate::{
    context::Context,
    effect::{Notice, Token},
    message::{RecordKind, descriptor_key},
    model::{ObjectRow, Standing},
    store::{FENCE_NONE, OwedRecord, SegmentRecords, StoreOp, StoreReply, Undescribed},
};

/// Between two looks when nothing is to be described.
const LOOK_EVERY: Millis = Millis::from_secs(1);
/// Segments read together: a segment of small objects has 16384 extents.
const PAGE: u32 = 8;
/// Bytes of records gathered before they are written.
const GATHER_MAX: usize = 1 << 20;

enum Step {
    Look,
    Object(ObjectId),
    Roots(ObjectId),
    Page([u8; 32]),
    /// Records that fill a write before the segment is through.
    Flush,
    Finish,
}

/// Descriptions under way.
pub(super) struct Describe {
    waiting: Option<Token>,
    step: Step,
    next_look: Mono,
    queue: VecDeque<Undescribed>,
    objects: VecDeque<ObjectId>,
    roots: VecDeque<[u8; 32]>,
    gathered: Vec<OwedRecord>,
    bytes: usize,
}

impl Default for Describe {
    fn default() -> Self {
        Self {
            waiting: None,
            step: Step::Look,
            next_look: Mono(0),
            queue: VecDeque::new(),
            objects: VecDeque::new(),
            roots: VecDeque::new(),
            gathered: Vec::new(),
            bytes: 0,
        }
    }
}

impl Describe {
    pub(super) fn tick(&mut self, ctx: &mut Context<'_>) {
        let idle = matches!(self.step, Step::Look) && self.queue.is_empty();
        if self.waiting.is_none() && (!idle || ctx.now.mono >= self.next_look) {
            self.wish(ctx);
        }
    }

    pub(super) fn look_soon(&mut self) {
        self.next_look = Mono(0);
    }

    pub(super) fn owns(&self, token: Token) -> bool {
        self.waiting == Some(token)
    }

    pub(super) fn busy(&mut self, token: Token) {
        if self.waiting == Some(token) {
            self.waiting = None;
        }
    }

    fn owner(&self) -> OwnerId {
        self.queue.front().map_or(OwnerId([0; 32]), |item| item.view.segment.owner)
    }

    fn wish(&mut self, ctx: &mut Context<'_>) {
        let owner = self.owner();
        let op = match &self.step {
            Step::Look => StoreOp::Undescribed { limit: PAGE },
            Step::Object(id) => StoreOp::Object { owner, id: *id },
            Step::Roots(id) => StoreOp::PageRoots { owner, id: *id },
            Step::Page(root) => StoreOp::Page { owner, root: *root },
            Step::Flush => self.owe(self.gathered.clone(), None, ctx),
            Step::Finish => self.finish(ctx),
        };
        self.waiting = Some(ctx.out.store(op));
    }

    fn finish(&self, ctx: &mut Context<'_>) -> StoreOp {
        let (mut records, mut pages) = (self.gathered.clone(), Vec::new());
        if let Some(item) = self.queue.front() {
            match describe(item, ctx.key) {
                Ok(made) => {
                    let roots = made.iter().filter(|record| record.kind == RecordKind::Page).map(|record| record.key);
                    pages = roots.collect::<BTreeSet<_>>().into_iter().collect();
                    records.extend(made);
                }
                Err(what) => {
                    // Said, and not tried again until the segment changes: trying harder does not mend it.
                    let what = format!("segment {} cannot be described: {what}", item.view.segment.id);
                    ctx.out.publish(Notice::Trouble { what });
                }
            }
        }
        self.owe(records, Some(pages), ctx)
    }

    fn owe(&self, records: Vec<OwedRecord>, described: Option<Vec<[u8; 32]>>, ctx: &Context<'_>) -> StoreOp {
        let of = self.queue.front().map(|item| (item.view.segment.id, item.revision));
        let (segment, revision) = of.unwrap_or((SegmentId([0; 16]), 0));
        let at = ctx.now.wall;
        StoreOp::OweRecords(Box::new(SegmentRecords { segment, revision, records, described, at }))
    }

    pub(super) fn on_stored(&mut self, reply: StoreReply, ctx: &mut Context<'_>) {
        self.waiting = None;
        match (&self.step, reply) {
            (_, StoreReply::Failed(_)) => {
                // From the beginning, later: what was owed meanwhile is owed once.
                *self = Self { next_look: ctx.now.mono + LOOK_EVERY, ..Self::default() };
                return;
            }
            (Step::Look, StoreReply::Undescribed(found)) => {
                if found.is_empty() {
                    self.next_look = ctx.now.mono + LOOK_EVERY;
                    return;
                }
                self.queue = found.into();
                self.begin();
            }
            (Step::Object(id), StoreReply::Object(row)) => {
                let id = *id;
                self.gather_object(*row);
                self.step = Step::Roots(id);
            }
            (Step::Roots(_), StoreReply::PageRoots(roots)) => {
                self.roots = roots.into();
                self.go_on();
            }
            (Step::Page(root), StoreReply::Page(bytes)) => {
                let root = *root;
                self.gather(RecordKind::Page, root, &bytes);
                self.go_on();
            }
            (Step::Flush, StoreReply::Done) => {
                self.gathered.clear();
                self.bytes = 0;
                self.go_on();
            }
            // Written, or of a revision that is not the segment's any more: then it comes up again as it is now, if it is.
            (Step::Flush | Step::Finish, _) => {
                self.gathered.clear();
                self.bytes = 0;
                self.queue.pop_front();
                self.begin();
            }
            // Deleted since: the segment comes up again with what is left.
            (Step::Look | Step::Object(_) | Step::Roots(_) | Step::Page(_), _) => self.go_on(),
        }
        if !matches!(self.step, Step::Look) {
            self.wish(ctx);
        }
    }

    /// The next segment of the queue, from its first object.
    fn begin(&mut self) {
        self.roots.clear();
        self.objects.clear();
        self.step = Step::Look;
        if let Some(item) = self.queue.front() {
            // An object's records lie with its first bytes.
            let firsts = item.extents.iter().filter(|(_, extent)| extent.at == 0).map(|(id, _)| *id);
            self.objects = firsts.collect();
            if newcomers(item).is_empty() {
                self.objects.clear();
            }
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        self.step = if self.queue.is_empty() {
            Step::Look
        } else if self.bytes > GATHER_MAX {
            Step::Flush
        } else if let Some(root) = self.roots.pop_front() {
            Step::Page(root)
        } else if let Some(id) = self.objects.pop_front() {
            Step::Object(id)
        } else {
            Step::Finish
        };
    }

    fn gather_object(&mut self, row: ObjectRow) {
        let key = *row.id.as_bytes();
        self.gather(RecordKind::Manifest, key, &row.manifest);
        self.gather(RecordKind::Envelope, key, &row.envelope);
    }

    fn gather(&mut self, kind: RecordKind, key: [u8; 32], bytes: &[u8]) {
        let Some(item) = self.queue.front() else { return };
        for node in newcomers(item) {
            self.bytes += bytes.len();
            self.gathered.push(OwedRecord { node, kind, key, bytes: bytes.to_vec() });
        }
    }
}

/// Nodes that hold a shard of the segment, or are believed to.
fn holders(item: &Undescribed) -> BTreeSet<NodeId> {
    let held = item.view.placements.iter().filter(|placement| placement.standing != Standing::Lost);
    held.map(|placement| placement.node).collect()
}

/// Nodes that need the objects' records: all at first, later those to which a repair brought a shard.
fn newcomers(item: &Undescribed) -> BTreeSet<NodeId> {
    if item.described == 0 {
        return holders(item);
    }
    let repaired = item.view.placements.iter().filter(|placement| placement.fence != FENCE_NONE);
    repaired.map(|placement| placement.node).collect()
}

/// The descriptor and its pages, for every node that holds a shard.
fn describe(item: &Undescribed, key: &SecretKey) -> Result<Vec<OwedRecord>, String> {
    let segment = &item.view.segment;
    let geometry = Geometry::new(segment.code, segment.len).map_err(|error| error.to_string())?;
    let extent = |(object, extent): &(ObjectId, crate::model::ExtentRow)| Extent {
        object: *object,
        segment_offset: extent.offset,
        len: extent.len,
        stream_offset: extent.at,
    };
    let (extents, pages) =
        extent_pages(item.extents.iter().map(extent).collect()).map_err(|error| error.to_string())?;
    let owner = segment.secret_for_owner.as_slice().try_into().map(WrappedKey).map_err(|error| error.to_string())?;
    let recovery =
        RecoveryWrap::from_bytes(&segment.secret_for_recovery).ok_or("the wrapped secret has another length")?;
    let descriptor = SegmentDescriptor {
        version: item.revision,
        segment: segment.id,
        root: segment.root,
        geometry,
        shards: segment.shards.clone(),
        extents,
        owner: segment.owner,
        secrets: WrappedSecrets { owner, recovery },
    };
    let signed = Signed::sign(descriptor, key).map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    for node in holders(item) {
        for page in &pages {
            let (kind, key) = (RecordKind::Page, page.root.0);
            records.push(OwedRecord { node, kind, key, bytes: page.bytes.clone() });
        }
        let (kind, key) = (RecordKind::Descriptor, descriptor_key(segment.id));
        records.push(OwedRecord { node, kind, key, bytes: signed.bytes().to_vec() });
    }
    Ok(records)
}
