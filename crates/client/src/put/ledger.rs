//! What of a put of many sources is acknowledged already, one line an object, in a directory of its own:
//!
//! ```text
//! STATE_DIR/many-<hash of owner, cluster, policy and paths>/ledger
//! ```
//!
//! Written when the auditor has acknowledged an object and before anybody is told, and forgotten when
//! all objects are told: the same call after a crash tells the same ids again and stores only the rest.
//! It is not synced: what a crash of the machine tears off is stored once more, and nothing is lost.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    PutObject, PutOptions,
    journal::{self, Stamp},
};
use crate::{Client, ClientError, Source, file};

const LEDGER: &str = "ledger";

/// 2^20 objects with names of 1 KiB.
const LEDGER_LEN_MAX: u64 = 2 << 30;

/// An acknowledged object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its place among the sources.
    pub(super) source: usize,
    /// The file as it was read.
    pub(super) stamp: Stamp,
    object: String,
    name: String,
    bytes: u64,
    sealed: u64,
}

impl Entry {
    pub(super) fn new(source: usize, stamp: Stamp, object: &PutObject) -> Self {
        let (bytes, sealed) = (object.bytes, object.sealed);
        Self { source, stamp, object: object.id.to_string(), name: object.name.clone(), bytes, sealed }
    }

    pub(super) fn object(&self) -> Option<PutObject> {
        let id = self.object.parse().ok()?;
        Some(PutObject { id, name: self.name.clone(), bytes: self.bytes, sealed: self.sealed })
    }
}

/// The ledger of one put of many; none of sources that cannot be read again.
#[derive(Debug)]
pub(super) struct Ledger(Option<Kept>);

#[derive(Debug)]
struct Kept {
    directory: PathBuf,
    file: File,
    /// Held as long as it is open.
    _lock: File,
}

impl Ledger {
    /// Opens it, and says what it finds, by source.
    pub(super) fn open(
        client: &Client,
        policy: &str,
        options: &PutOptions,
        sources: &[Source],
    ) -> Result<(Self, BTreeMap<usize, Entry>), ClientError> {
        let Some(name) = journal::name("many", client, policy, options, sources)? else {
            return Ok((Self(None), BTreeMap::new()));
        };
        let directory = client.state_dir.join(name);
        let lock = journal::lock(&directory)?;
        let path = directory.join(LEDGER);
        let found = if options.fresh { BTreeMap::new() } else { read(&path) };
        let opened = if options.fresh { file::overwrite(&path) } else { file::append(&path) };
        let file = opened.map_err(|error| failed(&path, &error))?;
        Ok((Self(Some(Kept { directory, file, _lock: lock })), found))
    }

    /// Acknowledged: from here on it may be told.
    pub(super) fn add(&mut self, entries: &[Entry]) -> Result<(), ClientError> {
        let Some(kept) = &mut self.0 else { return Ok(()) };
        // A line torn by a crash must not swallow the one that follows it.
        let mut lines = vec![b'\n'];
        for entry in entries {
            serde_json::to_writer(&mut lines, entry).map_err(|error| ClientError::Bug(error.to_string()))?;
            lines.push(b'\n');
        }
        kept.file.write_all(&lines).map_err(|error| failed(&kept.directory.join(LEDGER), &error))
    }

    /// Everything is stored and told.
    pub(super) fn end(self) {
        let Some(kept) = self.0 else { return };
        let removed = fs::remove_file(kept.directory.join(LEDGER)).and_then(|()| fs::remove_dir(&kept.directory));
        if let Err(error) = removed {
            tracing::warn!(directory = %kept.directory.display(), %error, "a finished put's ledger stays behind");
        }
    }
}

/// Lines that cannot be read are of objects that are stored again.
fn read(path: &Path) -> BTreeMap<usize, Entry> {
    let bytes = match file::read_bounded(path, LEDGER_LEN_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the ledger of an interrupted put cannot be read");
            return BTreeMap::new();
        }
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let entries = lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    entries.map(|entry| (entry.source, entry)).collect()
}

fn failed(path: &Path, error: &io::Error) -> ClientError {
    let why = format!("{error}; see that the state directory can be written");
    ClientError::State { path: path.to_owned(), why }
}
