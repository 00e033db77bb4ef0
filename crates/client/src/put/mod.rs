//! A put: sources become objects, acknowledged all together, or, of many, each on its own (see `put_many`). Where
//! all sources are files, a journal is kept, and after a crash of the client the same put goes on where it
//! was.

mod code;
mod commit;
mod drive;
mod journal;
mod ledger;
mod many;
mod records;
mod resume;
mod seal;
mod spare;
mod witness;

use std::sync::Arc;

use holdfast_dispersal::{Geometry, RecoveryPublicKey};
use holdfast_protocol::put::PutError;
use holdfast_types::{ObjectId, UploadId};
use holdfast_wire::convert::{BeginUpload, NAME_LEN_MAX, OBJECTS_PER_COMMIT_MAX, UploadTerms};
use tokio::sync::Semaphore;

use crate::{
    Client, ClientError, Progress, Source, chance,
    clock::{self, Clock},
    config::accept_policy,
};
use journal::{Journal, State};
pub use many::{ManyReport, Outcome};
use seal::Sealing;
use spare::Spare;

/// Coded bytes of segments that are being filled, coded and sent at once: with the buffers of the
/// connections and the process itself, a client stays below 256 MiB.
pub const IN_FLIGHT_LEN_MAX: u64 = 160 << 20;

/// Segments at once at most: one being filled, two on their way.
const SEGMENTS_AT_ONCE: u64 = 3;

/// Who computes the KZG commitments that folds are verified against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// The nodes, after the put; the client gives witnesses that let them be checked.
    #[default]
    Later,
    /// The client, before the put ends. They stand on its word at once, as they would on its witness.
    Now,
}

/// How to put.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Name of the policy; the configuration's when `None`.
    pub policy: Option<String>,
    /// Media type of the objects (RFC 6838), sealed in their manifests.
    pub media_type: Option<String>,
    /// Begin anew, even if a put of the same files was interrupted.
    pub fresh: bool,
    /// Who computes the commitments.
    pub commit: Commit,
}

/// An object that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutObject {
    /// Its id: the CID of its manifest.
    pub id: ObjectId,
    /// What it is called.
    pub name: String,
    /// Bytes of it.
    pub bytes: u64,
    /// Sealed bytes.
    pub sealed: u64,
}

/// What a put came to. Everything in it is acknowledged and durable.
#[derive(Clone, Debug, PartialEq)]
pub struct PutReport {
    /// The upload.
    pub upload: UploadId,
    /// The objects, in order of the sources.
    pub objects: Vec<PutObject>,
    /// Plain bytes of all objects.
    pub bytes: u64,
    /// Plain bytes that an earlier, interrupted run had stored already.
    pub resumed_bytes: u64,
    /// Bytes of shards that nodes took in this run.
    pub stored_bytes: u64,
    /// Segments that became durable in this run.
    pub segments: u64,
    /// Shards that no node holds yet: owed to repair.
    pub owed_shards: u64,
    /// Bytes of shards that this client committed to, with [`Commit::Now`].
    pub committed_bytes: u64,
    /// How long that took, on all cores; sending goes on meanwhile.
    pub commit_seconds: f64,
    /// From call to acknowledgement.
    pub seconds: f64,
}

/// What every step of a put needs to know.
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    pub(crate) policy: String,
    pub(crate) media_type: Option<String>,
    pub(crate) terms: UploadTerms,
    pub(crate) recovery: RecoveryPublicKey,
    pub(crate) progress: Arc<dyn Progress>,
    /// One for each segment that may be in memory.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) spare: Spare,
    pub(crate) commit: Commit,
}

impl Client {
    /// Stores each source as an object; all are acknowledged together, or none. Small ones share segments.
    ///
    /// If all sources are files and the client dies, the same call goes on where it was, as long as the
    /// upload has not expired and what was read of the files has not changed; otherwise it begins anew.
    ///
    /// # Errors
    /// [`ClientError::Put`] says how far it came; calling again goes on from there.
    pub async fn put(
        &self,
        sources: Vec<Source>,
        options: PutOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<PutReport, ClientError> {
        self.put_and_tell(sources, options, progress, |_| Ok(())).await
    }

    /// [`Client::put`], which forgets the put only once `tell` has passed its report on: whoever dies
    /// before, or cannot tell, finds the same objects by the same call.
    ///
    /// # Errors
    /// Those of [`Client::put`], and what `tell` says.
    pub async fn put_and_tell<E: From<ClientError>>(
        &self,
        sources: Vec<Source>,
        options: PutOptions,
        progress: Arc<dyn Progress>,
        tell: impl FnOnce(&PutReport) -> Result<(), E>,
    ) -> Result<PutReport, E> {
        let (report, journal) = self.store(sources, options, progress).await?;
        tell(&report)?;
        journal.end();
        Ok(report)
    }

    /// Everything is acknowledged; the journal still says so.
    async fn store(
        &self,
        sources: Vec<Source>,
        options: PutOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<(PutReport, Journal), ClientError> {
        let clock = Clock::start();
        let policy = options.policy.clone().unwrap_or_else(|| self.policy.clone());
        accept(&sources, &policy, options.media_type.as_deref())?;
        let lens: Result<Vec<u64>, ClientError> = sources.iter().map(Source::len_hint).collect();
        progress.began(lens?.iter().sum());

        let paths = sources.iter().filter_map(|source| source.path().map(ToOwned::to_owned)).collect();
        let (mut journal, found) = Journal::open(self, &policy, &options, &sources)?;
        let (upload, start) = match self.resume(found, &journal, &options, paths, &progress).await? {
            resume::Decision::Stored(state) => return stored_before(&state, journal, clock),
            resume::Decision::GoOn(resumed) => *resumed,
            resume::Decision::Afresh { given_up } => {
                if let Some(old) = given_up {
                    // What it left on nodes goes at once; if this fails, it goes when the upload expires.
                    let _ = self.auditor.abort_upload(old).await;
                }
                let upload = self.begin(UploadId(chance::draw()?), &policy, &options, &progress).await?;
                journal.begin(State::new(upload.id, &policy, &upload.terms))?;
                (upload, seal::Start::default())
            }
        };
        let upload = Arc::new(upload);
        let resumed_bytes = start.plain_before();
        let sealing = Sealing::new(self.owner.clone(), upload.clone(), sources, start, journal.is_kept());
        let driven = drive::run(self, upload.clone(), sealing, &mut journal).await;
        let done = match driven {
            Ok(done) => done,
            Err(error) => {
                self.give_up(&upload, journal, &error).await;
                return Err(error);
            }
        };
        let objects = journal.objects()?;
        if objects.iter().map(|object| object.id).ne(done.ids.iter().copied()) {
            return Err(ClientError::malformed(
                "CommitUpload",
                "expected the ids of the objects that were sent, got others",
            ));
        }
        let report = PutReport {
            upload: upload.id,
            bytes: objects.iter().map(|object| object.bytes).sum(),
            objects,
            resumed_bytes,
            stored_bytes: done.stored_bytes,
            segments: done.segments,
            owed_shards: done.owed_shards,
            committed_bytes: done.committed_bytes,
            commit_seconds: done.commit_seconds,
            seconds: clock.seconds(),
        };
        Ok((report, journal))
    }

    /// Begins an upload, or finds it.
    async fn begin(
        &self,
        id: UploadId,
        policy: &str,
        options: &PutOptions,
        progress: &Arc<dyn Progress>,
    ) -> Result<Upload, ClientError> {
        let begin = BeginUpload { upload: id, policy: policy.to_owned() };
        let terms = crate::auditor::patiently(|| self.auditor.begin_upload(&begin)).await?;
        let recovery = terms.recovery_key.as_slice().try_into().map(RecoveryPublicKey).map_err(|_| {
            let got = terms.recovery_key.len();
            ClientError::malformed("BeginUpload", format!("expected a recovery key of 32 bytes (X25519), got {got}"))
        })?;
        let stored = Geometry::new(terms.code, terms.segment_len)?.stored_len();
        let at_once = (IN_FLIGHT_LEN_MAX / stored).clamp(1, SEGMENTS_AT_ONCE);
        let (policy, media_type) = (policy.to_owned(), options.media_type.clone());
        let room = Arc::new(Semaphore::new(at_once as usize));
        Ok(Upload {
            id,
            policy,
            media_type,
            terms,
            recovery,
            progress: progress.clone(),
            room,
            spare: Spare::default(),
            commit: options.commit,
        })
    }

    /// What cannot go on leaves nothing behind; what can, keeps its journal.
    async fn give_up(&self, upload: &Upload, journal: Journal, error: &ClientError) {
        let for_good = matches!(error, ClientError::Put(PutError::Refused { .. } | PutError::Malformed { .. }));
        if journal.is_kept() && !for_good {
            upload.progress.notice("what is stored so far is kept; the same put goes on from there");
            return;
        }
        journal.end();
        if let Err(error) = self.auditor.abort_upload(upload.id).await {
            tracing::debug!(upload = %upload.id, %error, "the upload was not given up and will expire");
        }
    }
}

/// The earlier run died between the acknowledgement and its report.
fn stored_before(state: &State, journal: Journal, clock: Clock) -> Result<(PutReport, Journal), ClientError> {
    let objects = journal.objects()?;
    let bytes = objects.iter().map(|object| object.bytes).sum();
    let (upload, seconds) = (state.upload, clock.seconds());
    let (stored_bytes, segments, owed_shards) = (0, 0, 0);
    let (committed_bytes, commit_seconds) = (0, 0.0);
    let report = PutReport {
        upload,
        objects,
        bytes,
        resumed_bytes: bytes,
        stored_bytes,
        segments,
        owed_shards,
        committed_bytes,
        commit_seconds,
        seconds,
    };
    Ok((report, journal))
}

/// Refuses what the auditor would refuse at the end of a long put.
fn accept(sources: &[Source], policy: &str, media_type: Option<&str>) -> Result<(), ClientError> {
    if !(1..=OBJECTS_PER_COMMIT_MAX).contains(&sources.len()) {
        let got = sources.len();
        let why = format!("expected 1 to {OBJECTS_PER_COMMIT_MAX} sources in one put, got {got}; put them in several");
        return Err(ClientError::Invalid(why));
    }
    accept_options(policy, media_type)?;
    sources.iter().try_for_each(Source::accept)
}

/// The same, for every source of a put.
fn accept_options(policy: &str, media_type: Option<&str>) -> Result<(), ClientError> {
    accept_policy(policy).map_err(ClientError::Invalid)?;
    if let Some(got) = media_type.filter(|text| text.len() > NAME_LEN_MAX) {
        let why = format!("expected a media type of at most {NAME_LEN_MAX} bytes, got {}", got.len());
        return Err(ClientError::Invalid(why));
    }
    Ok(())
}

/// When the objects are made, by the owner's clock.
fn created() -> holdfast_types::Wall {
    clock::wall()
}
