//! The driver of the put machine: carries its wishes to auditor and nodes and tells it what came.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use futures::stream;
use holdfast_dispersal::Buffers;
use holdfast_protocol::{
    effect::Token,
    message::{Receipt, SendFailure},
    put::{CallFailure, Effect, Event, Patience, Put, Slot, Terms},
};
use holdfast_types::{NodeId, ObjectId, SegmentId, ShardIndex};
use holdfast_wire::{
    ErrorCode,
    convert::{IndexedReceipt, NoteReceipts, SegmentSpec, ShardAssignment, StageSegment, Staged},
    pb::auditor::v1 as pb,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    task::{AbortHandle, JoinSet, spawn_blocking},
};

use super::{
    Upload,
    code::{Coded, Coder, Word},
    journal::{Journal, Spooled, spool_path},
    records,
    seal::{Cut, Sealing},
};
use crate::{Client, ClientError, auditor, chance, clock::Clock};

/// Messages of a commit that wait to be sent: at most a few hundred KiB.
const COMMIT_AHEAD: usize = 8;

/// What a put came to.
#[derive(Default)]
pub(super) struct Done {
    pub(super) ids: Vec<ObjectId>,
    pub(super) stored_bytes: u64,
    pub(super) segments: u64,
    pub(super) owed_shards: u64,
    pub(super) committed_bytes: u64,
    pub(super) commit_seconds: f64,
}

/// What sealing and coding give.
enum Fed {
    Segment(Box<Coded>),
    /// There are no more. Said outright: a put whose sealing broke off must never be committed as it is.
    End,
    Failed(ClientError),
}

/// Seals, codes, sends and commits.
pub(super) async fn run(
    client: &Client,
    upload: Arc<Upload>,
    sealing: Sealing,
    journal: &mut Journal,
) -> Result<Done, ClientError> {
    let directory = journal.directory().map(ToOwned::to_owned);
    let (send, fed) = mpsc::channel(1);
    let feeder = Feeder { upload: upload.clone(), directory, send: send.clone() };
    let coder = Arc::new(Coder::new(client.owner.clone(), &upload));
    let feeding = tokio::spawn(async move {
        let last = feeder.feed(coder, sealing).await.map_or_else(Fed::Failed, |()| Fed::End);
        let _ = send.send(last).await;
    });
    let total = upload.terms.code.total();
    let terms = Terms { total, threshold: upload.terms.write_threshold, owner: client.owner_id };
    let driver = Driver {
        client,
        upload: &upload,
        journal,
        clock: Clock::start(),
        machine: Put::new(terms, Patience::default()),
        live: BTreeMap::new(),
        tasks: JoinSet::new(),
        handles: BTreeMap::new(),
        done: Done::default(),
    };
    let driven = driver.drive(fed).await;
    // Whoever seals may wait for room, or for its source: nobody waits for it.
    upload.room.close();
    feeding.abort();
    driven
}

struct Feeder {
    upload: Arc<Upload>,
    /// Where sealed bytes are kept.
    directory: Option<PathBuf>,
    send: mpsc::Sender<Fed>,
}

impl Feeder {
    fn spool(&self, segment: SegmentId) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| spool_path(directory, segment))
    }

    /// First the segments of an earlier run, then those that are sealed now, one after the other.
    async fn feed(&self, coder: Arc<Coder>, mut sealing: Sealing) -> Result<(), ClientError> {
        for spooled in sealing.take_spooled() {
            let Ok(room) = self.upload.room.clone().acquire_owned().await else { return Ok(()) };
            let (coder, path) = (coder.clone(), self.spool(spooled.id).unwrap_or_default());
            let coded = blocking(move || coder.code_again(&spooled, path, room)).await?;
            if self.send.send(Fed::Segment(Box::new(coded))).await.is_err() {
                return Ok(());
            }
        }
        let (out, mut cuts) = mpsc::channel::<Cut>(1);
        let runtime = Handle::current();
        let sealer = spawn_blocking(move || sealing.run(runtime, out));
        while let Some(cut) = cuts.recv().await {
            let id = SegmentId(chance::draw()?);
            let (coder, upload, spool) = (coder.clone(), self.upload.clone(), self.spool(id));
            let coded = blocking(move || coder.code(&upload, cut, id, spool)).await?;
            if self.send.send(Fed::Segment(Box::new(coded))).await.is_err() {
                return Ok(());
            }
        }
        sealer.await.map_err(|error| ClientError::Bug(error.to_string()))?
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    spawn_blocking(work).await.map_err(|error| ClientError::Bug(error.to_string()))?
}

/// A segment that is not released yet.
struct Live {
    spec: SegmentSpec,
    offset: u64,
    shards: Vec<Bytes>,
    buffers: Buffers,
    word: Word,
    places: Vec<ShardAssignment>,
    _room: OwnedSemaphorePermit,
}

/// What a task came to.
enum Reply {
    Staged(SegmentId, Result<Staged, ClientError>),
    Stored(u64, Result<Receipt, SendFailure>),
    Noted(Result<u32, ClientError>),
    Committed(Result<Vec<ObjectId>, ClientError>),
}

struct Driver<'a> {
    client: &'a Client,
    upload: &'a Upload,
    journal: &'a mut Journal,
    clock: Clock,
    machine: Put,
    live: BTreeMap<SegmentId, Live>,
    tasks: JoinSet<(Token, Reply)>,
    handles: BTreeMap<Token, AbortHandle>,
    done: Done,
}

/// Whether the put goes on.
enum Next {
    GoOn,
    Over,
}

impl Driver<'_> {
    async fn drive(mut self, mut fed: mpsc::Receiver<Fed>) -> Result<Done, ClientError> {
        let mut ended = false;
        loop {
            let deadline = self.machine.deadline().map(|at| self.clock.at(at));
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                Some(joined) = self.tasks.join_next() => match joined {
                    Ok((token, reply)) => self.told(token, reply),
                    // Cancelled, as we wished.
                    Err(error) if error.is_cancelled() => continue,
                    Err(error) => return Err(ClientError::Bug(error.to_string())),
                },
                fed = fed.recv(), if !ended => match fed {
                    Some(Fed::Segment(coded)) => self.take(*coded)?,
                    Some(Fed::End) => {
                        ended = true;
                        Event::Ended
                    }
                    Some(Fed::Failed(error)) => return Err(error),
                    None => return Err(ClientError::Bug("sealing broke off without a word".into())),
                },
                () = timer => Event::Tick,
            };
            for effect in self.machine.step(self.clock.now(), event) {
                match self.carry_out(effect)? {
                    Next::GoOn => {}
                    Next::Over => return Ok(self.done),
                }
            }
        }
    }

    /// Writes a segment down before anybody hears of it.
    fn take(&mut self, coded: Coded) -> Result<Event, ClientError> {
        let Coded { spec, offset, shards, buffers, word, snapshot, room } = coded;
        self.done.committed_bytes += word.committed.0;
        self.done.commit_seconds += word.committed.1;
        if let Some(snapshot) = snapshot {
            self.journal.cut(snapshot, Spooled::of(offset, &spec))?;
        }
        let event = Event::Segment { id: spec.id, shards: spec.shards.clone(), shard_len: spec.shard_len };
        self.live.insert(spec.id, Live { spec, offset, shards, buffers, word, places: Vec::new(), _room: room });
        Ok(event)
    }

    fn told(&mut self, token: Token, reply: Reply) -> Event {
        self.handles.remove(&token);
        match reply {
            Reply::Staged(segment, Ok(staged)) => {
                let slots = staged.assignments.iter().map(slot).collect();
                if let Some(live) = self.live.get_mut(&segment) {
                    live.places = staged.assignments;
                }
                Event::Staged(token, Ok(slots))
            }
            Reply::Staged(_, Err(error)) => Event::Staged(token, Err(call_failure(&error))),
            Reply::Stored(len, reply) => {
                if reply.is_ok() {
                    self.done.stored_bytes += len;
                    self.upload.progress.moved(len);
                }
                Event::Stored(token, reply.map(Box::new))
            }
            Reply::Noted(reply) => Event::Noted(token, reply.map_err(|error| call_failure(&error))),
            Reply::Committed(Ok(ids)) => {
                self.done.ids = ids;
                Event::Committed(token, Ok(()))
            }
            Reply::Committed(Err(error)) => Event::Committed(token, Err(call_failure(&error))),
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Result<Next, ClientError> {
        match effect {
            Effect::Stage { token, segment, avoid } => self.stage(token, segment, avoid),
            Effect::Store { token, segment, index, node } => self.store(token, segment, index, node),
            Effect::Note { token, segment, receipts } => self.note(token, segment, receipts),
            Effect::Cancel(token) => {
                if let Some(handle) = self.handles.remove(&token) {
                    handle.abort();
                }
            }
            Effect::Release { segment, owed } => {
                if let Some(live) = self.live.remove(&segment) {
                    drop(live.shards);
                    self.upload.spare.take_back(live.buffers);
                }
                self.journal.durable(segment)?;
                self.done.segments += 1;
                self.done.owed_shards += u64::from(owed);
                self.upload.progress.segment();
            }
            Effect::Avoid { node, why } => {
                tracing::info!(%node, why, "node avoided");
                self.upload.progress.notice(&format!("node {} is avoided: {why}", node.short()));
            }
            Effect::Commit(token) => self.commit(token)?,
            Effect::Done => return Ok(Next::Over),
            Effect::Fail(error) => return Err(error.into()),
        }
        Ok(Next::GoOn)
    }

    fn spawn(&mut self, token: Token, work: impl Future<Output = Reply> + Send + 'static) {
        let handle = self.tasks.spawn(async move { (token, work.await) });
        self.handles.insert(token, handle);
    }

    fn stage(&mut self, token: Token, segment: SegmentId, avoid: Vec<NodeId>) {
        let Some(live) = self.live.get(&segment) else { return };
        let request = StageSegment {
            upload: self.upload.id,
            offset: live.offset,
            segment: live.spec.clone(),
            avoid,
            witnesses: live.word.witnesses.clone(),
            commitments: live.word.commitments.clone(),
        };
        let auditor = self.client.auditor.clone();
        self.spawn(token, async move { Reply::Staged(segment, auditor.stage_segment(&request).await) });
    }

    fn store(&mut self, token: Token, segment: SegmentId, index: ShardIndex, node: NodeId) {
        let Some(live) = self.live.get(&segment) else { return };
        let at = usize::from(index.0);
        let (Some(place), Some(bytes)) = (live.places.get(at), live.shards.get(at).cloned()) else { return };
        let grant = place.grant;
        let link = self.client.links.to(node, &place.node.addresses);
        self.spawn(token, async move {
            let len = bytes.len() as u64;
            let Some(grant) = grant else {
                return Reply::Stored(len, Err(SendFailure::Denied("the auditor gave no grant".into())));
            };
            let stored = match link {
                Ok(link) => link.put(&grant, false, stream::iter([bytes])).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &stored {
                tracing::debug!(%segment, %index, %error, "a shard was not stored");
            }
            Reply::Stored(len, stored.map_err(crate::LinkError::into_failure))
        });
    }

    fn note(&mut self, token: Token, segment: SegmentId, receipts: Vec<(ShardIndex, Receipt)>) {
        let receipts = receipts.into_iter().map(|(index, receipt)| IndexedReceipt { index, receipt }).collect();
        let note = NoteReceipts { upload: self.upload.id, segment, receipts };
        let auditor = self.client.auditor.clone();
        self.spawn(token, async move { Reply::Noted(auditor.note_receipts(&note).await) });
    }

    fn commit(&mut self, token: Token) -> Result<(), ClientError> {
        let records = self.journal.records()?;
        let (upload, auditor) = (self.upload.id, self.client.auditor.clone());
        self.spawn(token, async move { Reply::Committed(commit(auditor, upload, records).await) });
        Ok(())
    }
}

/// Streams the records to the auditor.
async fn commit(
    auditor: auditor::Auditor,
    upload: holdfast_types::UploadId,
    records: records::Reader<Box<dyn Read + Send>>,
) -> Result<Vec<ObjectId>, ClientError> {
    let (send, receive) = mpsc::channel::<Option<pb::CommitUploadRequest>>(COMMIT_AHEAD);
    let reading = spawn_blocking(move || {
        records.commit(upload, |message| send.blocking_send(Some(message)).is_ok())?;
        let _ = send.blocking_send(None);
        Ok(())
    });
    // Records that cannot be read to their end must not pass for a smaller commit: then the stream never
    // ends, and is dropped.
    let parts = stream::unfold(receive, |mut receive| async move {
        match receive.recv().await {
            Some(message) => Some((message?, receive)),
            None => std::future::pending().await,
        }
    });
    let read = async {
        match reading.await {
            Ok(Ok(())) => std::future::pending().await,
            Ok(Err(error)) => damaged(&error),
            Err(error) => ClientError::Bug(error.to_string()),
        }
    };
    tokio::select! {
        answer = auditor.commit_upload(parts) => answer,
        error = read => Err(error),
    }
}

fn damaged(error: &io::Error) -> ClientError {
    let why = format!("{error}; put again with the option to begin anew");
    ClientError::State { path: "records of the upload".into(), why }
}

fn slot(place: &ShardAssignment) -> Slot {
    Slot {
        index: place.index,
        shard: place.shard,
        node: place.node.id,
        key: place.node.key,
        held: place.sequence.is_some(),
    }
}

fn call_failure(error: &ClientError) -> CallFailure {
    match error.code() {
        ErrorCode::Retry => CallFailure::Later { after: auditor::retry_after(error), why: error.to_string() },
        ErrorCode::Conflict
        | ErrorCode::Invalid
        | ErrorCode::NotFound
        | ErrorCode::Denied
        | ErrorCode::Exhausted
        | ErrorCode::Corrupt
        | ErrorCode::Bug => CallFailure::No(error.to_string()),
    }
}
