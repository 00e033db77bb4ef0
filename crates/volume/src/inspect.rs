//! Looks at a volume from outside, while its owner may be writing it.
//!
//! For demonstrations, for support, and for whoever wants to see that what the
//! node says is what lies on the disk. It takes no lock and writes nothing.

use std::path::{Path, PathBuf};

use crate::error::VolumeError;
use crate::file_disk::FileDisk;
use crate::format::{Identity, data_name};
use crate::index::{Entry, Index, Record};
use crate::key::Key;
use crate::open::{Listing, load};

/// The owner may replace the journal between our looking and our opening;
/// not several times in a row.
const TRIES: u32 = 3;

/// A volume as its journal described it at one moment.
#[derive(Debug)]
pub struct Inspection {
    path: PathBuf,
    identity: Identity,
    index: Index,
}

/// Reads the journal of the volume in `path`.
///
/// # Errors
/// [`VolumeError::Damaged`] when there is no readable journal,
/// [`VolumeError::Unsupported`], [`VolumeError::Io`].
pub fn inspect(path: &Path) -> Result<Inspection, VolumeError> {
    let disk = FileDisk::read_only(path)?;
    let mut tries = 1;
    let loaded = loop {
        match Listing::of(disk.as_ref()).and_then(|listing| load(disk.as_ref(), &listing)) {
            Err(VolumeError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES => {
                tries += 1;
            }
            other => break other?,
        }
    };
    let Some(loaded) = loaded else {
        let what = "no readable journal: not a volume, or a wiped one";
        return Err(VolumeError::damaged(&path.display().to_string(), what));
    };
    Ok(Inspection { path: path.to_owned(), identity: loaded.header.identity, index: loaded.index })
}

impl Inspection {
    /// Who the volume is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Every committed record, in the order of commits.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.index.all().map(Record::entry).collect()
    }

    /// The file a record's payload lies in, contiguous, and where it starts.
    #[must_use]
    pub fn locate(&self, key: &Key) -> Option<(PathBuf, u64)> {
        self.index.get(key).map(|r| (self.path.join(data_name(r.file)), r.offset))
    }

    /// Every data file that holds a committed record.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let numbers: std::collections::BTreeSet<u32> = self.index.all().map(|r| r.file).collect();
        numbers.into_iter().map(|n| self.path.join(data_name(n))).collect()
    }

    /// The committed value of a meta key.
    #[must_use]
    pub fn meta(&self, key: u8) -> Option<Vec<u8>> {
        self.index.meta(key).map(<[u8]>::to_vec)
    }
}
