//! Many objects, each acknowledged on its own.
//!
//! ```text
//! sources ─► batches ─┬─► upload ─► ledger ─► told ┐   small sources share an upload: its segments,
//!                     ├─► upload ─► ledger ─► told ├─  its calls to the auditor, its one transaction;
//!                     └─► …                        ┘   a large one has an upload of its own
//! ```
//!
//! Batches are cut from the list of sources alone, so that the same call after a crash cuts the same
//! ones and each finds its journal. A source that cannot be read fails by itself: its batch is put
//! without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{StreamExt, stream};

use super::{
    PutObject, PutOptions, PutReport, accept_options,
    journal::{Journal, Stamp},
    ledger::{Entry, Ledger},
};
use crate::{Client, ClientError, Progress, Source, clock::Clock};

/// Bytes that share an upload at most: what one round of calls is spread over, and no more than a few of
/// them need of memory.
const BATCH_LEN: u64 = 8 << 20;
/// Objects that share an upload at most: those behind wait for the last of them to be read.
const BATCH_OBJECTS: usize = 512;
/// Batches of small sources at once: while one waits for disks, others are sealed and committed.
const BATCHES_AT_ONCE: usize = 4;

/// What became of one source.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Its place among the sources.
    pub source: usize,
    /// What it is called.
    pub name: &'a str,
    /// The object, durable, or why there is none.
    pub stored: Result<&'a PutObject, &'a ClientError>,
}

/// What a put of many came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManyReport {
    /// Objects that are stored, by this run or the interrupted one.
    pub objects: u64,
    /// Sources that are not.
    pub failed: u64,
    /// Uploads of this run.
    pub uploads: u64,
    /// Plain bytes of all stored objects.
    pub bytes: u64,
    /// Plain bytes that an interrupted run had stored already.
    pub resumed_bytes: u64,
    /// Bytes of shards that nodes took in this run.
    pub stored_bytes: u64,
    /// Segments that became durable in this run.
    pub segments: u64,
    /// Shards that no node holds yet: owed to repair.
    pub owed_shards: u64,
    /// Bytes of shards that this client committed to.
    pub committed_bytes: u64,
    /// How long that took, batches beside each other counted each.
    pub commit_seconds: f64,
    /// From call to the last acknowledgement.
    pub seconds: f64,
}

/// A batch that was put, as far as it could be.
struct Batch {
    stored: Option<(Vec<usize>, PutReport, Journal)>,
    failed: Vec<(usize, Arc<ClientError>)>,
}

/// What all batches share.
struct Many {
    client: Client,
    options: PutOptions,
    progress: Arc<dyn Progress>,
    /// Set when going on is of no use: the auditor or the nodes fail, not a source.
    broken: AtomicBool,
}

impl Client {
    /// Stores each source as an object; each is acknowledged on its own: `tell` hears of it once it is
    /// durable, in whatever order that happens. Small sources share segments and calls.
    ///
    /// A source that cannot be read does not keep the others. If all sources are files and the client
    /// dies, the same call tells what was acknowledged again, as long as those files have not changed, and
    /// stores the rest.
    ///
    /// # Errors
    /// What `tell` says, or the files of the put that cannot be kept. Sources that are not stored are no
    /// error here: they are told, and counted.
    pub async fn put_many<E: From<ClientError>>(
        &self,
        sources: Vec<Source>,
        options: PutOptions,
        progress: Arc<dyn Progress>,
        mut tell: impl FnMut(Outcome<'_>) -> Result<(), E>,
    ) -> Result<ManyReport, E> {
        let clock = Clock::start();
        let policy = options.policy.clone().unwrap_or_else(|| self.policy.clone());
        accept_options(&policy, options.media_type.as_deref())?;
        let names: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
        let mut report = ManyReport::default();
        let (mut ledger, found) = Ledger::open(self, &policy, &options, &sources)?;
        let (readable, lens) = readable(sources, &mut |source, error| {
            report.failed += 1;
            tell(Outcome { source, name: &names[source], stored: Err(error) })
        })?;
        progress.began(lens.values().sum());
        let stands = self.standing(&readable, found).await?;
        for (source, object) in &stands {
            report.resumed_bytes += object.bytes;
            report.add(object);
            progress.plain(object.bytes);
            tell(Outcome { source: *source, name: &names[*source], stored: Ok(object) })?;
        }
        let dealt = deal(readable, &lens, &stands);
        let many = Many { client: self.clone(), options, progress, broken: AtomicBool::new(false) };
        for batch in &dealt.done {
            many.give_up(batch).await;
        }
        let at_once =
            |batches: Vec<_>, at_once| stream::iter(batches).map(|batch| many.put(batch)).buffer_unordered(at_once);
        // A large source fills what a client may use of memory; small ones do not, several at a time.
        let mut done = Box::pin(at_once(dealt.small, BATCHES_AT_ONCE).chain(at_once(dealt.large, 1)));
        while let Some(Batch { stored, failed }) = done.next().await {
            for (source, error) in &failed {
                report.failed += 1;
                tell(Outcome { source: *source, name: &names[*source], stored: Err(error) })?;
            }
            let Some((of, put, journal)) = stored else { continue };
            let entry = |((source, object), stamp): ((&usize, &PutObject), &Stamp)| Entry::new(*source, *stamp, object);
            ledger.add(&of.iter().zip(&put.objects).zip(journal.stamps()).map(entry).collect::<Vec<_>>())?;
            report.uploads += 1;
            report.absorb(&put);
            for (source, object) in of.iter().zip(&put.objects) {
                report.add(object);
                tell(Outcome { source: *source, name: &names[*source], stored: Ok(object) })?;
            }
            journal.end();
        }
        drop(done);
        if report.failed == 0 {
            ledger.end();
        }
        report.seconds = clock.seconds();
        Ok(report)
    }

    /// What the ledger names and still is: the file as it was read, the object not deleted since.
    async fn standing(
        &self,
        sources: &[Numbered],
        found: BTreeMap<usize, Entry>,
    ) -> Result<BTreeMap<usize, PutObject>, ClientError> {
        if found.is_empty() {
            return Ok(BTreeMap::new());
        }
        let listed: BTreeSet<_> = self.list().await?.into_iter().map(|object| object.id).collect();
        let stands = |(number, source): &Numbered| {
            let entry = found.get(number)?;
            let stamp = File::open(source.path()?).and_then(|file| Stamp::of(&file)).ok()?;
            let object = entry.object().filter(|object| stamp == entry.stamp && listed.contains(&object.id))?;
            Some((*number, object))
        };
        Ok(sources.iter().filter_map(stands).collect())
    }
}

impl ManyReport {
    fn add(&mut self, object: &PutObject) {
        self.objects += 1;
        self.bytes += object.bytes;
    }

    fn absorb(&mut self, put: &PutReport) {
        self.resumed_bytes += put.resumed_bytes;
        self.stored_bytes += put.stored_bytes;
        self.segments += put.segments;
        self.owed_shards += put.owed_shards;
        self.committed_bytes += put.committed_bytes;
        self.commit_seconds += put.commit_seconds;
    }
}

/// A source and its place among all.
type Numbered = (usize, Source);

/// Sources that can be put as far as one sees before reading, and their lengths. Others are told.
fn readable<E>(
    sources: Vec<Source>,
    tell: &mut impl FnMut(usize, &ClientError) -> Result<(), E>,
) -> Result<(Vec<Numbered>, BTreeMap<usize, u64>), E> {
    let (mut good, mut lens) = (Vec::with_capacity(sources.len()), BTreeMap::new());
    for (number, source) in sources.into_iter().enumerate() {
        match source.accept().and_then(|()| source.len_hint()) {
            Ok(len) => {
                lens.insert(number, len);
                good.push((number, source));
            }
            Err(error) => tell(number, &error)?,
        }
    }
    Ok((good, lens))
}

/// Batches.
#[derive(Default)]
struct Dealt {
    small: Vec<Vec<Numbered>>,
    large: Vec<Vec<Numbered>>,
    /// Whole in the ledger: whoever died before it forgot their journals leaves them to us.
    done: Vec<Vec<Numbered>>,
}

/// Cuts batches from the whole list, then leaves out what is stored.
fn deal(sources: Vec<Numbered>, lens: &BTreeMap<usize, u64>, stored: &BTreeMap<usize, PutObject>) -> Dealt {
    let (mut dealt, mut batch, mut held) = (Dealt::default(), Vec::new(), 0);
    for (number, source) in sources {
        let len = lens.get(&number).copied().unwrap_or(0);
        // Nobody knows how long a stream is, and whatever shared an upload with it would wait for its end.
        if len > BATCH_LEN || source.path().is_none() {
            dealt.large.push(vec![(number, source)]);
            continue;
        }
        if held + len > BATCH_LEN || batch.len() == BATCH_OBJECTS {
            dealt.small.push(std::mem::take(&mut batch));
            held = 0;
        }
        held += len;
        batch.push((number, source));
    }
    dealt.small.push(batch);
    let is_stored = |(number, _): &Numbered| stored.contains_key(number);
    for batches in [&mut dealt.small, &mut dealt.large] {
        batches.retain(|batch| !batch.is_empty());
        dealt.done.extend(batches.extract_if(.., |batch| batch.iter().all(is_stored)));
        batches.iter_mut().for_each(|batch| batch.retain(|source| !is_stored(source)));
    }
    dealt
}

impl Many {
    /// Puts a batch; what of it cannot be read fails by itself.
    async fn put(&self, mut batch: Vec<Numbered>) -> Batch {
        let mut failed = Vec::new();
        loop {
            let numbers: Vec<usize> = batch.iter().map(|(number, _)| *number).collect();
            if numbers.is_empty() {
                return Batch { stored: None, failed };
            }
            let all = |mut failed: Vec<_>, error: ClientError| {
                let error = Arc::new(error);
                failed.extend(numbers.iter().map(|number| (*number, error.clone())));
                Batch { stored: None, failed }
            };
            if self.broken.load(Ordering::Relaxed) {
                let why = "not tried, because the put of others failed; put it again";
                return all(failed, ClientError::Invalid(why.into()));
            }
            // Only files can be given twice, and only they share a batch.
            let again: Vec<Source> = batch.iter().filter_map(|(_, source)| source.again()).collect();
            let files = again.len() == batch.len();
            let sources = if files { again } else { batch.drain(..).map(|(_, source)| source).collect() };
            let progress = Arc::new(Share(self.progress.clone()));
            match self.client.store(sources, self.options.clone(), progress).await {
                Ok((report, journal)) => return Batch { stored: Some((numbers, report, journal)), failed },
                Err(error) => match culprit(&batch, &error).filter(|_| files) {
                    Some(place) => {
                        self.give_up(&batch).await;
                        failed.push((batch.remove(place).0, Arc::new(error)));
                    }
                    None => {
                        self.broken.store(!matches!(error, ClientError::Source { .. }), Ordering::Relaxed);
                        return all(failed, error);
                    }
                },
            }
        }
    }

    /// Leaves nothing of a batch behind that will not be put like this again.
    async fn give_up(&self, batch: &[Numbered]) {
        let sources: Vec<Source> = batch.iter().filter_map(|(_, source)| source.again()).collect();
        let policy = self.options.policy.as_deref().unwrap_or(&self.client.policy);
        let Ok((journal, state)) = Journal::open(&self.client, policy, &self.options, &sources) else { return };
        journal.end();
        if let Some(state) = state
            && let Err(error) = self.client.auditor.abort_upload(state.upload).await
        {
            tracing::debug!(upload = %state.upload, %error, "the upload was not given up and will expire");
        }
    }
}

/// The source of the batch that an error is about.
fn culprit(batch: &[Numbered], error: &ClientError) -> Option<usize> {
    let ClientError::Source { name, .. } = error else { return None };
    batch.iter().position(|(_, source)| source.path().is_some_and(|path| path.display().to_string() == *name))
}

/// The progress of one batch among others: how long all are was said already.
struct Share(Arc<dyn Progress>);

impl Progress for Share {
    fn plain(&self, bytes: u64) {
        self.0.plain(bytes);
    }
    fn moved(&self, bytes: u64) {
        self.0.moved(bytes);
    }
    fn committed(&self, bytes: u64) {
        self.0.committed(bytes);
    }
    fn segment(&self) {
        self.0.segment();
    }
    fn notice(&self, text: &str) {
        self.0.notice(text);
    }
}
