//! What a put needs to go on after a crash, in a directory of its own:
//!
//! ```text
//! STATE_DIR/put-<hash of owner, cluster, policy and paths>/
//!   state.json      replaced whole, mode 0600; what it says is true
//!   records         the commit so far; bytes past state.json's count are torn and cut off
//!   segment-<id>    sealed bytes of a segment that is not durable yet
//! ```
//!
//! *Why sealed bytes are kept.* A segment that was staged must be finished as it is: the upload's stream
//! has no gaps. But bytes after the checkpoint cannot be sealed again under the same key: if the source
//! changed meanwhile, one nonce would meet two contents. So whatever is staged lies on this disk first,
//! and is sent again from there; what was only in memory is sealed afresh under another run salt.
//!
//! No key is in it that is not wrapped to the owner. The bytes of `segment-*` are not synced: a crash of
//! the machine may tear them, which their root shows, and the put begins anew.

use std::{
    fs::{self, File},
    io::{self, Cursor, Read, Write},
    os::unix::fs::MetadataExt,
    path::{self, Path, PathBuf},
};

use data_encoding::HEXLOWER;
use holdfast_types::{Code, SegmentId, SegmentRoot, ShardId, Transcript, UploadId};
use holdfast_wire::convert::{SegmentSpec, UploadTerms};
use serde::{Deserialize, Serialize};

use super::{PutObject, PutOptions, records};
use crate::{Client, ClientError, Source, file};

const FORMAT: u32 = 1;
const STATE: &str = "state.json";
const RECORDS: &str = "records";

/// 32,768 sources with their stamps, a checkpoint, and three segments of 256 shards, with room to spare.
const STATE_LEN_MAX: u64 = 64 << 20;

/// How a file was when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamp {
    len: u64,
    modified_secs: i64,
    modified_nanos: i64,
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            len: metadata.len(),
            modified_secs: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
            inode: metadata.ino(),
        })
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }
}

/// The object that is being sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Current {
    /// [`holdfast_dispersal::Checkpoint`], base 64.
    pub(crate) checkpoint: String,
    /// The object key, wrapped to the owner; hexadecimal.
    pub(crate) key: String,
    /// Where its sealed stream starts in the upload's.
    pub(crate) offset: u64,
    /// BLAKE3 of the plain bytes before the checkpoint; hexadecimal.
    pub(crate) prefix: String,
}

/// A segment whose sealed bytes lie beside the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spooled {
    pub(crate) offset: u64,
    pub(crate) id: SegmentId,
    pub(crate) root: SegmentRoot,
    pub(crate) len: u64,
    pub(crate) shard_len: u64,
    pub(crate) shards: Vec<ShardId>,
    pub(crate) secret_for_owner: String,
    pub(crate) secret_for_recovery: String,
}

impl Spooled {
    pub(crate) fn of(offset: u64, spec: &SegmentSpec) -> Self {
        Self {
            offset,
            id: spec.id,
            root: spec.root,
            len: spec.len,
            shard_len: spec.shard_len,
            shards: spec.shards.clone(),
            secret_for_owner: HEXLOWER.encode(&spec.secret_for_owner),
            secret_for_recovery: HEXLOWER.encode(&spec.secret_for_recovery),
        }
    }

    pub(crate) fn spec(&self) -> Option<SegmentSpec> {
        Some(SegmentSpec {
            id: self.id,
            root: self.root,
            len: self.len,
            shard_len: self.shard_len,
            shards: self.shards.clone(),
            secret_for_owner: HEXLOWER.decode(self.secret_for_owner.as_bytes()).ok()?,
            secret_for_recovery: HEXLOWER.decode(self.secret_for_recovery.as_bytes()).ok()?,
        })
    }
}

/// Where a put stands, as of the end of the last segment that was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    format: u32,
    pub(crate) upload: UploadId,
    pub(crate) policy: String,
    data: u16,
    parity: u16,
    pub(crate) segment_len: u64,
    /// Sources that are sealed to their end, as they were.
    pub(crate) done: Vec<Stamp>,
    pub(crate) current: Option<Current>,
    /// Bytes of the upload's sealed stream that are cut into segments.
    pub(crate) end: u64,
    /// Bytes of `records` that are true.
    pub(crate) records: u64,
    /// Segments that may not be durable yet.
    pub(crate) spooled: Vec<Spooled>,
    /// Segments that are.
    pub(crate) durable: u64,
}

impl State {
    pub(crate) fn new(upload: UploadId, policy: &str, terms: &UploadTerms) -> Self {
        Self {
            format: FORMAT,
            upload,
            policy: policy.to_owned(),
            data: terms.code.data(),
            parity: terms.code.parity(),
            segment_len: terms.segment_len,
            done: Vec::new(),
            current: None,
            end: 0,
            records: 0,
            spooled: Vec::new(),
            durable: 0,
        }
    }

    /// Whether the upload stands as it was begun.
    pub(crate) fn fits(&self, terms: &UploadTerms) -> bool {
        Code::new(self.data, self.parity) == Ok(terms.code) && self.segment_len == terms.segment_len
    }
}

/// What sealing adds with each segment that it cuts.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Sources that came to their end since the segment before.
    pub(crate) done: Vec<Stamp>,
    /// The object that the segment ends in, if it does not end with it.
    pub(crate) current: Option<Current>,
    /// Bytes of the upload's sealed stream up to the segment's end.
    pub(crate) end: u64,
    /// Records since the segment before.
    pub(crate) records: Vec<u8>,
}

/// A put's memory: on disk, or, of what cannot be read again, in this process only.
#[derive(Debug)]
pub(crate) struct Journal {
    kept: Option<Kept>,
    state: Option<State>,
    records: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    directory: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl Journal {
    /// Opens the journal of this put, and says what it finds in it. A state that cannot be read counts
    /// as none: it would be of another version.
    pub(crate) fn open(
        client: &Client,
        policy: &str,
        options: &PutOptions,
        sources: &[Source],
    ) -> Result<(Self, Option<State>), ClientError> {
        let Some(name) = name("put", client, policy, options, sources)? else {
            return Ok((Self { kept: None, state: None, records: Vec::new() }, None));
        };
        let directory = client.state_dir.join(name);
        let lock = lock(&directory)?;
        let journal =
            Self { kept: Some(Kept { directory: directory.clone(), _lock: lock }), state: None, records: Vec::new() };
        let state = read_state(&directory);
        Ok((Self { state: state.clone(), ..journal }, state))
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Starts anew.
    pub(crate) fn begin(&mut self, state: State) -> Result<(), ClientError> {
        self.records.clear();
        if let Some(kept) = &self.kept {
            clear(&kept.directory).map_err(|error| failed(&kept.directory, &error))?;
        }
        self.state = Some(state);
        self.persist()
    }

    /// Where it is kept.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| kept.directory.as_path())
    }

    /// Where the sealed bytes of a segment are to be kept.
    pub(crate) fn spool_path(&self, segment: SegmentId) -> Option<PathBuf> {
        self.kept.as_ref().map(|kept| spool_path(&kept.directory, segment))
    }

    /// A segment was cut and its sealed bytes are kept: from here on it may be staged.
    pub(crate) fn cut(&mut self, snapshot: Snapshot, spooled: Spooled) -> Result<(), ClientError> {
        let Some(state) = &mut self.state else { return Err(ClientError::Bug("a journal without a put".into())) };
        match &self.kept {
            None => self.records.extend(&snapshot.records),
            Some(kept) => {
                let path = kept.directory.join(RECORDS);
                append(&path, state.records, &snapshot.records).map_err(|error| failed(&path, &error))?;
            }
        }
        state.records += snapshot.records.len() as u64;
        state.done.extend(snapshot.done);
        state.current = snapshot.current;
        state.end = snapshot.end;
        state.spooled.push(spooled);
        self.persist()
    }

    /// A segment is durable and the auditor knows.
    pub(crate) fn durable(&mut self, segment: SegmentId) -> Result<(), ClientError> {
        let Some(state) = &mut self.state else { return Err(ClientError::Bug("a journal without a put".into())) };
        state.spooled.retain(|spooled| spooled.id != segment);
        state.durable += 1;
        self.persist()?;
        if let Some(path) = self.spool_path(segment) {
            // Left behind it costs space until the put ends, nothing else.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    fn persist(&self) -> Result<(), ClientError> {
        let (Some(kept), Some(state)) = (&self.kept, &self.state) else { return Ok(()) };
        let path = kept.directory.join(STATE);
        let bytes = serde_json::to_vec(state).map_err(|error| ClientError::Bug(error.to_string()))?;
        file::replace(&path, &bytes).map_err(|error| failed(&path, &error))
    }

    /// The records so far.
    pub(crate) fn records(&self) -> Result<records::Reader<Box<dyn Read + Send>>, ClientError> {
        let len = self.state.as_ref().map_or(0, |state| state.records);
        let inner: Box<dyn Read + Send> = match &self.kept {
            None => Box::new(Cursor::new(self.records.clone())),
            Some(kept) => {
                let path = kept.directory.join(RECORDS);
                Box::new(File::open(&path).map_err(|error| failed(&path, &error))?.take(len))
            }
        };
        Ok(records::Reader::new(inner))
    }

    /// The objects so far.
    pub(crate) fn objects(&self) -> Result<Vec<PutObject>, ClientError> {
        let path = self.kept.as_ref().map_or_else(PathBuf::new, |kept| kept.directory.join(RECORDS));
        self.records()?.objects().map_err(|error| failed(&path, &error))
    }

    /// The sources that are sealed to their end, as they were read.
    pub(super) fn stamps(&self) -> &[Stamp] {
        self.state.as_ref().map_or(&[], |state| &state.done)
    }

    /// Forgets everything.
    pub(crate) fn end(self) {
        if let Some(kept) = &self.kept
            && let Err(error) = clear(&kept.directory).and_then(|()| fs::remove_dir(&kept.directory))
        {
            tracing::warn!(directory = %kept.directory.display(), %error, "a finished put's files stay behind");
        }
    }
}

pub(super) fn spool_path(directory: &Path, segment: SegmentId) -> PathBuf {
    directory.join(format!("segment-{segment}"))
}

/// The directory's name, if the put can be resumed: the same command finds it again.
pub(super) fn name(
    kind: &str,
    client: &Client,
    policy: &str,
    options: &PutOptions,
    sources: &[Source],
) -> Result<Option<String>, ClientError> {
    let mut said = Transcript::new("holdfast 2026 put journal v1")
        .absorb("owner", client.owner_id.as_bytes())
        .absorb("cluster", client.cluster.as_bytes())
        .absorb("policy", policy.as_bytes())
        .absorb("media type", options.media_type.as_deref().unwrap_or_default().as_bytes());
    for source in sources {
        let Some(path) = source.path() else { return Ok(None) };
        let name = path.display().to_string();
        // One that is not there may come: it still has a place.
        let path = path.canonicalize().or_else(|_| path::absolute(path));
        let path = path.map_err(|error| ClientError::Source { name, error })?;
        said.push("path", path.as_os_str().as_encoded_bytes());
        said.push("name", source.name().as_bytes());
    }
    Ok(Some(format!("{kind}-{}", HEXLOWER.encode(&said.digest()[..16]))))
}

/// Makes the directory and locks it. A lock on a directory that was removed meanwhile is none.
pub(super) fn lock(directory: &Path) -> Result<File, ClientError> {
    loop {
        file::make_directory(directory).map_err(|error| failed(directory, &error))?;
        let handle = match File::open(directory) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(directory, &error)),
        };
        match handle.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(ClientError::Running { path: directory.to_owned() }),
            Err(fs::TryLockError::Error(error)) => return Err(failed(directory, &error)),
        }
        let same = |held: &fs::Metadata, named: &fs::Metadata| held.ino() == named.ino() && held.dev() == named.dev();
        let held = handle.metadata().map_err(|error| failed(directory, &error))?;
        if fs::metadata(directory).is_ok_and(|named| same(&held, &named)) {
            return Ok(handle);
        }
    }
}

fn read_state(directory: &Path) -> Option<State> {
    let bytes = file::read_bounded(&directory.join(STATE), STATE_LEN_MAX).ok()?;
    match serde_json::from_slice::<State>(&bytes) {
        Ok(state) if state.format == FORMAT => Some(state),
        Ok(State { format, .. }) => {
            tracing::warn!(format, "an interrupted put of another version cannot be resumed");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the state of an interrupted put cannot be read");
            None
        }
    }
}

/// Writes `bytes` at `offset`; what was behind it is torn and goes.
fn append(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = file::append(path)?;
    if file.metadata()?.len() < offset {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "expected more records than there are"));
    }
    file.set_len(offset)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn clear(directory: &Path) -> io::Result<()> {
    // The state first: without it the rest means nothing.
    match fs::remove_file(directory.join(STATE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::read_dir(directory)?.try_for_each(|entry| fs::remove_file(entry?.path()))
}

fn failed(path: &Path, error: &io::Error) -> ClientError {
    let why = format!("{error}; see that the state directory can be written and has room for three segments");
    ClientError::State { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests;
