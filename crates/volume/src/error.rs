//! What a volume refuses, with the numbers, and what the caller can do.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::key::{Key, Namespace};

/// What a caller should do about a [`VolumeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The same call can succeed later.
    Retry,
    /// The volume's state stands against it; look before going on.
    Conflict,
    /// No volume would do this; the caller is wrong.
    Invalid,
    /// Stored bytes are not what they were.
    Corrupt,
    /// There is no room; delete, compact, or raise the limit.
    NoRoom,
    /// The volume is closed to writing until a person or a restart helps.
    Stopped,
}

/// Why a volume refused. The text says what was expected, what came, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// No committed record has that key.
    #[error("no record {key}")]
    NotFound {
        /// The key asked for.
        key: Key,
    },
    /// A committed record has that key.
    #[error("record {key} exists: read it, or replace it")]
    Exists {
        /// The key asked for.
        key: Key,
    },
    /// A record with that key is sealed and becomes durable at the next commit.
    #[error("record {key} is sealed and not yet committed: ask again after the next commit")]
    Pending {
        /// The key asked for.
        key: Key,
    },
    /// The namespace may not hold that much.
    #[error(
        "namespace {namespace} may hold {quota} bytes, holds or has reserved {used}, {asked} more were asked: delete, or raise the quota"
    )]
    QuotaExceeded {
        /// Whose quota.
        namespace: Namespace,
        /// Bytes of payload allowed.
        quota: u64,
        /// Bytes of payload held or reserved.
        used: u64,
        /// Bytes of payload asked for.
        asked: u64,
    },
    /// The disk or the volume's capacity has no room.
    #[error("{needed} bytes needed, {available} available: delete and compact, or give the volume more room")]
    Full {
        /// Bytes of disk needed, with checksums and padding.
        needed: u64,
        /// Bytes of disk that may still be used.
        available: u64,
    },
    /// One record can never be that long here.
    #[error("a record of {len} bytes was asked, at most {max} fit a data file: cut it, or raise file_len_max")]
    TooLarge {
        /// Bytes of payload asked for.
        len: u64,
        /// The longest payload that fits.
        max: u64,
    },
    /// More was written than was reserved.
    #[error("{len} bytes were reserved, {written} written, {more} more came: reserve the true length")]
    Overrun {
        /// Bytes reserved.
        len: u64,
        /// Bytes written before.
        written: u64,
        /// Bytes of the refused write.
        more: u64,
    },
    /// Less was written than was reserved; the reservation is gone.
    #[error("{len} bytes were reserved, only {written} written: the reservation is dropped, start again")]
    Incomplete {
        /// Bytes reserved.
        len: u64,
        /// Bytes written.
        written: u64,
    },
    /// A write of this reservation failed before; it can only be dropped.
    #[error("an earlier write of this reservation failed: drop it and start again")]
    Broken,
    /// The range is not in the record, or longer than one call reads.
    #[error("bytes {}..{} of record {key} were asked; it has {len}, and one call reads at most {max}", range.start, range.end)]
    OutOfRange {
        /// The record.
        key: Key,
        /// The range asked for.
        range: Range<u64>,
        /// The record's length.
        len: u64,
        /// The longest range of one call.
        max: u64,
    },
    /// A meta value is too long.
    #[error("a meta value of {len} bytes was given, at most {max} are kept")]
    MetaTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The volume no longer takes writes; reads go on.
    #[error("the volume is read-only: {reason}")]
    ReadOnly {
        /// What happened, and what to do.
        reason: String,
    },
    /// Another process has the volume.
    #[error("{} is open in another process: stop it, or use another directory", path.display())]
    Locked {
        /// The volume's directory.
        path: PathBuf,
    },
    /// The files are of a newer format.
    #[error("{file}: {what}: use the release that wrote it, or a newer one")]
    Unsupported {
        /// The file.
        file: String,
        /// What is not understood.
        what: String,
    },
    /// The volume as a whole cannot be opened.
    #[error("{file}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The machine refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// What the machine said.
        source: io::Error,
    },
}

impl VolumeError {
    /// What the caller should do.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Pending { .. } | Self::Locked { .. } | Self::Io { .. } => Advice::Retry,
            Self::NotFound { .. } | Self::Exists { .. } | Self::Broken | Self::Incomplete { .. } => Advice::Conflict,
            Self::TooLarge { .. } | Self::Overrun { .. } | Self::OutOfRange { .. } | Self::MetaTooLong { .. } => {
                Advice::Invalid
            }
            Self::QuotaExceeded { .. } | Self::Full { .. } => Advice::NoRoom,
            Self::ReadOnly { .. } | Self::Unsupported { .. } => Advice::Stopped,
            Self::Damaged { .. } => Advice::Corrupt,
        }
    }

    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    pub(crate) fn damaged(file: &str, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }

    /// A failed write of `needed` bytes: no room, or the machine's own trouble.
    pub(crate) fn write(doing: &str, needed: u64, source: io::Error) -> Self {
        if is_full(&source) { Self::Full { needed, available: 0 } } else { Self::io(doing, source) }
    }
}

/// Whether freeing space would have let the call succeed.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
