//! A get: an object's bytes, or a range of them, to a sink, in order, each frame verified before a byte of
//! it is written. What was met on the way is reported.

mod buffers;
mod fetch;
mod pass;
mod places;
mod segment;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::Arc,
    time::Duration,
};

use holdfast_dispersal::{Index, OpenError, Opener};
use holdfast_protocol::get::{Met, Patience, Trouble};
use holdfast_types::{ByteRange, NodeId, ObjectId, SegmentId, ShardId, ShardIndex};

use crate::{Client, ClientError, Progress, auditor::is_passing, client::OpenedObject, clock::Clock};
use buffers::Buffers;
use pass::{Broken, Pass};

/// Waits before a read that failed for want of shards begins again where it stopped: nodes come back,
/// and repair puts shards elsewhere. A read that got on since it failed last has all of them before it again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// A shard that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetShard {
    /// Of which segment.
    pub segment: SegmentId,
    /// Which of its shards.
    pub index: ShardIndex,
    /// Its name.
    pub shard: ShardId,
    /// Who holds it.
    pub node: NodeId,
    /// What was met.
    pub what: Met,
}

/// What a get came to.
#[derive(Clone, Debug, PartialEq)]
pub struct GetReport {
    /// The object.
    pub object: ObjectId,
    /// What it was called when it was stored.
    pub name: Option<String>,
    /// Bytes of the whole object.
    pub object_len: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Bytes of shards that came from nodes.
    pub fetched_bytes: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Of them those that were decoded, because a data shard was not there.
    pub reconstructed: u64,
    /// Shards that were read.
    pub shards: u64,
    /// Damaged, missing, lying and slow shards.
    pub met: Vec<MetShard>,
    /// From call to last byte.
    pub seconds: f64,
}

impl GetReport {
    /// Whether something was met that repair should know: more than slowness.
    pub fn is_damaged(&self) -> bool {
        self.met.iter().any(|met| match &met.what {
            Met::Trouble(Trouble::Corrupt | Trouble::Damaged(_) | Trouble::Missing) | Met::Known(_) => true,
            Met::Trouble(Trouble::Silent | Trouble::Busy { .. } | Trouble::Refused(_)) | Met::Slow(_) => false,
        })
    }
}

/// What a get has come to so far.
#[derive(Debug, Default)]
struct Tally {
    written: u64,
    fetched: u64,
    segments: u64,
    reconstructed: u64,
    shards: u64,
    met: Vec<MetShard>,
}

/// One get: what stays the same while it is begun again.
struct Get {
    client: Client,
    object: OpenedObject,
    pages: BTreeMap<u64, Vec<u8>>,
    /// Segments whose bytes did not open: to be read whole, so that the liar is named.
    suspected: BTreeSet<SegmentId>,
    progress: Arc<dyn Progress>,
    patience: Patience,
    buffers: Buffers,
}

impl Client {
    /// Writes an object, or `range` of its bytes, to `sink`, and gives the sink back.
    ///
    /// # Errors
    /// [`ClientError::Get`] when fewer than k shards of a segment are to be had: it says how many were
    /// found and needed, and what happened to the others. What was written until then is right.
    pub async fn get<W>(
        &self,
        object: ObjectId,
        range: Option<ByteRange>,
        sink: W,
        progress: Arc<dyn Progress>,
    ) -> Result<(GetReport, W), ClientError>
    where
        W: Write + Send + 'static,
    {
        let clock = Clock::start();
        let opened = self.open_object(object).await?;
        let index = opened.manifest.open(&opened.key).map_err(|error| ClientError::Open { object, error })?;
        let range = wanted(object, &index, range)?;
        progress.began(range.len());
        let mut get = Get {
            client: self.clone(),
            object: opened,
            pages: BTreeMap::new(),
            suspected: BTreeSet::new(),
            progress,
            patience: Patience::default(),
            buffers: Buffers::default(),
        };
        let (tally, sink) = get.read(range, sink).await?;
        let report = GetReport {
            object,
            name: index.name,
            object_len: index.plain_len,
            bytes: tally.written,
            fetched_bytes: tally.fetched,
            segments: tally.segments,
            reconstructed: tally.reconstructed,
            shards: tally.shards,
            met: tally.met,
            seconds: clock.seconds(),
        };
        Ok((report, sink))
    }
}

fn wanted(object: ObjectId, index: &Index, range: Option<ByteRange>) -> Result<ByteRange, ClientError> {
    let whole = ByteRange::first(index.plain_len);
    let range = range.unwrap_or(whole);
    if range.end() > whole.end() {
        let (from, to) = (range.start(), range.end());
        return Err(ClientError::Range { object, len: whole.len(), from, to });
    }
    Ok(range)
}

impl Get {
    /// Reads on where a pass broke off, while that may help.
    async fn read<W>(&mut self, range: ByteRange, mut sink: W) -> Result<(Tally, W), ClientError>
    where
        W: Write + Send + 'static,
    {
        let (mut pauses, mut failed_at) = (PAUSES.into_iter(), 0);
        let mut tally = Tally::default();
        loop {
            let opener = self.opener(range, tally.written).await?;
            let (end, back) = Pass::new(self, opener, &mut tally, sink).run().await;
            sink = back?;
            match end {
                Ok(()) => return Ok((tally, sink)),
                Err(Broken::Suspect { segments, error }) => {
                    let before = self.suspected.len();
                    self.suspected.extend(segments);
                    // Bytes that have their CIDs and still do not open were sealed like this.
                    if self.suspected.len() == before {
                        return Err(self.open_error(error));
                    }
                    tracing::warn!(object = %self.object.id, %error, "bytes did not open; reading whole shards to find the liar");
                    self.progress.notice("bytes did not open: reading whole shards to find the liar");
                }
                Err(Broken::Failed(error)) => {
                    let may_pass = is_passing(&error) || matches!(*error, ClientError::Get { .. });
                    // A long read may stumble now and then.
                    if tally.written > failed_at {
                        (pauses, failed_at) = (PAUSES.into_iter(), tally.written);
                    }
                    let Some(pause) = pauses.next().filter(|_| may_pass) else { return Err(*error) };
                    tracing::info!(object = %self.object.id, %error, "a read begins again where it stopped");
                    self.progress.notice(&format!("{error}; trying again"));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Opens what is left of `range` after `written` bytes of it; they end with a frame.
    async fn opener(&mut self, range: ByteRange, written: u64) -> Result<Opener, ClientError> {
        let left = ByteRange::new(range.start() + written, range.end()).unwrap_or(range);
        let (key, manifest) = (&self.object.key, &self.object.manifest);
        let mut opener = Opener::new(key, manifest, Some(left)).map_err(|error| self.open_error(error))?;
        for (number, root) in opener.pages_wanted() {
            if !self.pages.contains_key(&number) {
                let page = self.client.auditor.page(root).await?;
                self.pages.insert(number, page);
            }
            let page = self.pages.get(&number).map(Vec::as_slice).unwrap_or_default();
            opener.absorb_page(number, page).map_err(|error| self.open_error(error))?;
        }
        Ok(opener)
    }

    fn open_error(&self, error: OpenError) -> ClientError {
        ClientError::Open { object: self.object.id, error }
    }
}
