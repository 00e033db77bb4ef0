//! Reads, compresses, seals and cuts, on a thread of its own: bytes of the sources in, segments out. It
//! waits for room before it begins a segment, so a slow cluster stops the reading, not the machine.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
};

use data_encoding::{BASE64, HEXLOWER};
use holdfast_dispersal::{
    Checkpoint, CutSegment, Description, Envelope, ObjectKey, OwnerKey, RunSalt, SealedObject, Sealer, SegmentCutter,
    Signed, WrappedKey,
};
use holdfast_types::{FRAME_LEN, ObjectId, Transcript, UploadId};
use holdfast_wire::convert::{CommitPart, NewObject};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::{
    Upload, created,
    journal::{Current, Snapshot, Spooled, Stamp},
    records,
};
use crate::{ClientError, Source, chance, source::Origin};

/// A segment on its way out, with its place in memory.
pub(super) struct Cut {
    pub(super) segment: CutSegment,
    /// Where it starts in the upload's sealed stream.
    pub(super) offset: u64,
    pub(super) snapshot: Snapshot,
    pub(super) room: OwnedSemaphorePermit,
}

/// Where to begin.
#[derive(Default)]
pub(super) struct Start {
    /// Sources that are sealed whole.
    pub(super) done: Vec<Stamp>,
    /// The one that is not.
    pub(super) current: Option<Resumed>,
    /// Bytes of the upload's sealed stream that are cut.
    pub(super) end: u64,
    /// Segments to be sent from the disk.
    pub(super) spooled: Vec<Spooled>,
}

impl Start {
    pub(super) fn plain_before(&self) -> u64 {
        let done: u64 = self.done.iter().map(Stamp::len).sum();
        done + self.current.as_ref().map_or(0, |current| current.checkpoint.plain_offset())
    }
}

/// A file that was sealed in part, read and verified up to the checkpoint.
pub(super) struct Resumed {
    pub(super) file: File,
    pub(super) stamp: Stamp,
    pub(super) prefix: blake3::Hasher,
    pub(super) key: ObjectKey,
    pub(super) checkpoint: Checkpoint,
    pub(super) offset: u64,
}

/// The sealing of one put.
pub(super) struct Sealing {
    owner: OwnerKey,
    upload: Arc<Upload>,
    sources: Vec<Source>,
    start: Start,
    keep: bool,
}

impl Sealing {
    pub(super) fn new(owner: OwnerKey, upload: Arc<Upload>, sources: Vec<Source>, start: Start, keep: bool) -> Self {
        Self { owner, upload, sources, start, keep }
    }

    /// Segments of an earlier run that go first.
    pub(super) fn take_spooled(&mut self) -> Vec<Spooled> {
        std::mem::take(&mut self.start.spooled)
    }

    /// Seals everything. Blocks: belongs on a thread that may.
    pub(super) fn run(self, runtime: Handle, out: mpsc::Sender<Cut>) -> Result<(), ClientError> {
        let Self { owner, upload, sources, start, keep } = self;
        upload.progress.plain(start.plain_before());
        let cutter = SegmentCutter::new(upload.terms.segment_len);
        let line = Line {
            runtime,
            out,
            upload: upload.clone(),
            cutter,
            cut: start.end,
            room: None,
            snapshot: Snapshot::default(),
        };
        let mut run = Run { owner, upload, keep, line, block: Vec::new(), before: Vec::new() };
        let (done, mut resumed) = (start.done.len(), start.current);
        for (number, source) in sources.into_iter().enumerate().skip(done) {
            match run.seal(number as u32, source, resumed.take()) {
                Ok(()) => {}
                // Nobody takes segments any more: whoever gave up says why.
                Err(Stop::Unheard) => return Ok(()),
                Err(Stop::Failed(error)) => return Err(*error),
            }
        }
        match run.line.flush() {
            Ok(()) | Err(Stop::Unheard) => Ok(()),
            Err(Stop::Failed(error)) => Err(*error),
        }
    }
}

enum Stop {
    Unheard,
    Failed(Box<ClientError>),
}

impl<E: Into<ClientError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// The end of the line: frames in, segments out.
struct Line {
    runtime: Handle,
    out: mpsc::Sender<Cut>,
    upload: Arc<Upload>,
    cutter: SegmentCutter,
    /// Bytes of the upload's sealed stream that are cut.
    cut: u64,
    room: Option<OwnedSemaphorePermit>,
    snapshot: Snapshot,
}

impl Line {
    /// Where the next frame starts in the upload's sealed stream.
    fn end(&self) -> u64 {
        self.cut + self.cutter.pending()
    }

    /// Waits until there is memory for the segment that the next frame goes into.
    fn make_room(&mut self) -> Result<(), Stop> {
        if self.room.is_none() {
            let room = self.runtime.block_on(self.upload.room.clone().acquire_owned());
            self.room = Some(room.map_err(|_| Stop::Unheard)?);
            if let Some(buffer) = self.upload.spare.data() {
                self.cutter.reuse(buffer);
            }
        }
        Ok(())
    }

    fn send(&mut self, segment: CutSegment) -> Result<(), Stop> {
        let Some(room) = self.room.take() else {
            return Err(ClientError::Bug("a segment was filled without room".into()).into());
        };
        let offset = self.cut;
        self.cut += segment.bytes.len() as u64;
        let snapshot = Snapshot { end: self.cut, ..std::mem::take(&mut self.snapshot) };
        self.out.blocking_send(Cut { segment, offset, snapshot, room }).map_err(|_| Stop::Unheard)
    }

    /// Every object is sealed: what is left is the last segment.
    fn flush(&mut self) -> Result<(), Stop> {
        match self.cutter.flush() {
            Some(segment) => self.send(segment),
            None => Ok(()),
        }
    }
}

/// One object being sealed.
struct Object {
    number: u32,
    key: ObjectKey,
    sealer: Sealer,
    /// Where its sealed stream starts in the upload's.
    offset: u64,
    /// Of the plain bytes in frames that were given out.
    prefix: blake3::Hasher,
}

struct Run {
    owner: OwnerKey,
    upload: Arc<Upload>,
    keep: bool,
    line: Line,
    /// The block that is read, and the one before it: room for a frame each, for all sources in turn.
    block: Vec<u8>,
    before: Vec<u8>,
}

impl Run {
    fn seal(&mut self, number: u32, source: Source, resumed: Option<Resumed>) -> Result<(), Stop> {
        let name = source.name().to_owned();
        let shown = source.path().map_or_else(|| name.clone(), |path| path.display().to_string());
        let failed = |error| ClientError::Source { name: shown.clone(), error };
        let mut owes_bytes = resumed.is_some();
        let (mut reader, stamp, mut object) = match resumed {
            Some(resumed) => self.go_on(number, resumed)?,
            None => self.begin(number, source.into_origin(), failed)?,
        };
        // A frame is sealed when more than it has come, for the last one is sealed as such: one block behind.
        let mut behind = 0;
        self.block.resize(FRAME_LEN as usize, 0);
        self.before.resize(FRAME_LEN as usize, 0);
        loop {
            let len = fill(&mut reader, &mut self.block).map_err(failed)?;
            if len == 0 {
                break;
            }
            owes_bytes = false;
            if behind > 0 {
                self.put_frame(&mut object)?;
            }
            self.upload.progress.plain(len as u64);
            std::mem::swap(&mut self.block, &mut self.before);
            behind = len;
            if len < FRAME_LEN as usize {
                break;
            }
        }
        object.sealer.push(&self.before[..behind])?;
        if owes_bytes {
            // Frames before the checkpoint were sealed as not the last one: one must follow.
            return Err(failed(io::Error::other("it became shorter since it was stored in part; put it again")).into());
        }
        self.finish(object, stamp, name)
    }

    fn begin(
        &mut self,
        number: u32,
        origin: Origin,
        failed: impl Fn(io::Error) -> ClientError,
    ) -> Result<(Box<dyn Read + Send>, Stamp, Object), Stop> {
        let (reader, stamp): (Box<dyn Read + Send>, Stamp) = match origin {
            Origin::File(path) => {
                let file = File::open(path).map_err(&failed)?;
                let stamp = Stamp::of(&file).map_err(&failed)?;
                (Box::new(file), stamp)
            }
            Origin::Stream(stream) => (stream, Stamp::default()),
        };
        let key = ObjectKey::from_bytes(chance::draw()?);
        let sealer = Sealer::new(key.clone(), RunSalt(chance::draw()?))?;
        let (offset, prefix) = (self.line.end(), blake3::Hasher::new());
        Ok((reader, stamp, Object { number, key, sealer, offset, prefix }))
    }

    fn go_on(&mut self, number: u32, resumed: Resumed) -> Result<(Box<dyn Read + Send>, Stamp, Object), Stop> {
        let Resumed { file, stamp, prefix, key, checkpoint, offset } = resumed;
        // A run key of its own: whatever the file says from here on, no nonce meets two contents.
        let sealer = Sealer::resume(key.clone(), checkpoint, RunSalt(chance::draw()?))?;
        Ok((Box::new(file), stamp, Object { number, key, sealer, offset, prefix }))
    }

    /// The block before is a whole frame, and not the last.
    fn put_frame(&mut self, object: &mut Object) -> Result<(), Stop> {
        if self.keep {
            object.prefix.update(&self.before);
        }
        self.line.make_room()?;
        let (number, stream_offset) = (object.number, object.sealer.sealed_len());
        let seal = |room: &mut [u8]| object.sealer.seal_frame(&self.before, room);
        let Some(segment) = self.line.cutter.push_with(number, stream_offset, seal)? else { return Ok(()) };
        let snapshot = &mut self.line.snapshot;
        for page in object.sealer.take_pages() {
            records::append(&mut snapshot.records, CommitPart::Page(page.bytes));
        }
        snapshot.current = if self.keep { Some(current(&self.owner, self.upload.id, object)?) } else { None };
        self.line.send(segment)
    }

    fn finish(&mut self, object: Object, stamp: Stamp, name: String) -> Result<(), Stop> {
        let Object { number, key, sealer, offset, .. } = object;
        let plain_len = sealer.plain_len();
        let description = Description { name: Some(name.clone()), media_type: self.upload.media_type.clone() };
        let SealedObject { frame, pages, manifest } = sealer.finish(description)?;
        let id = manifest.object_id();
        let envelope = Envelope {
            version: 1,
            object: id,
            owner: self.owner.owner_id(),
            key: self.owner.wrap_object_key(&id, &key),
            policy: self.upload.policy.clone(),
            code: self.upload.terms.code,
            retain_until: None,
            created: created(),
            names: vec![name.clone()],
        };
        let envelope = Signed::sign(envelope, &self.owner.signing())?;
        let (sealed_len, manifest) = (manifest.sealed_len(), manifest.bytes().to_vec());
        let new = NewObject { manifest, envelope: envelope.bytes().to_vec(), offset, sealed_len, plain_len, name };
        let snapshot = &mut self.line.snapshot;
        for page in pages {
            records::append(&mut snapshot.records, CommitPart::Page(page.bytes));
        }
        records::append(&mut snapshot.records, CommitPart::Object(Box::new(new)));
        snapshot.done.push(stamp);
        self.line.make_room()?;
        match self.line.cutter.push(number, frame.stream_offset, &frame.bytes) {
            Some(segment) => self.line.send(segment),
            None => Ok(()),
        }
    }
}

fn current(owner: &OwnerKey, upload: UploadId, object: &Object) -> Result<Current, ClientError> {
    let checkpoint = object.sealer.checkpoint();
    if object.prefix.count() != checkpoint.plain_offset() {
        let (expected, got) = (checkpoint.plain_offset(), object.prefix.count());
        return Err(ClientError::Bug(format!("expected a hash of {expected} plain bytes, got one of {got}")));
    }
    Ok(Current {
        checkpoint: BASE64.encode(&checkpoint.to_bytes()?),
        key: HEXLOWER.encode(&owner.wrap_object_key(&in_progress(upload, object.number), &object.key).0),
        offset: object.offset,
        prefix: object.prefix.finalize().to_hex().to_string(),
    })
}

/// Stands for the id of an object that has none yet, so that its key can be wrapped: no manifest hashes
/// to it.
fn in_progress(upload: UploadId, number: u32) -> ObjectId {
    let said = Transcript::new("holdfast 2026 object in progress v1")
        .absorb("upload", upload.as_bytes())
        .absorb_u64("number", u64::from(number));
    ObjectId::from_bytes(said.digest())
}

/// The inverse of how [`Current::key`] was wrapped.
pub(super) fn unwrap_key(owner: &OwnerKey, upload: UploadId, number: u32, wrapped: &str) -> Option<ObjectKey> {
    let wrapped = HEXLOWER.decode(wrapped.as_bytes()).ok()?;
    let wrapped = WrappedKey(wrapped.try_into().ok()?);
    owner.unwrap_object_key(&in_progress(upload, number), &wrapped).ok()
}

/// Fills the block, but at the end.
fn fill(reader: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match reader.read(&mut block[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
