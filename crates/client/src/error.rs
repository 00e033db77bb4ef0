//! Every way in which the client's work can end badly, each saying what to do about it.

use std::{io, path::PathBuf};

use holdfast_dispersal::{ExtentError, OpenError, RecordError, SealError, SegmentError, UnwrapError};
use holdfast_protocol::{get::GetError, put::PutError};
use holdfast_transport::TransportError;
use holdfast_types::{ObjectId, OwnerId, SegmentId};
use holdfast_wire::{DecodeError, ErrorCode, WireError};
use thiserror::Error;

/// Why something came to nothing. [`ClientError::code`] says what a program should do.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A configuration that cannot be used.
    #[error("{}: {why}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What was expected, what came, what to do.
        why: String,
    },
    /// An owner key file that cannot be used.
    #[error("owner key {}: {why}", path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What was expected, what came, what to do.
        why: String,
    },
    /// Certificate and owner key are of two owners.
    #[error(
        "expected a client certificate of {key}, the owner of the key file, got one of {certificate}; use the pair that belongs together"
    )]
    OtherOwner {
        /// The key file's owner.
        key: OwnerId,
        /// Whom the certificate names.
        certificate: String,
    },
    /// No connection, or certificates that do not hold.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The auditor did not answer in time.
    #[error("the auditor did not answer {call} within {seconds} s; see that it runs, then try again")]
    Timeout {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The auditor says no, in words.
    #[error("the auditor on {call}: {error}")]
    Said {
        /// What was asked.
        call: &'static str,
        /// Its words, and what to do.
        error: WireError,
    },
    /// The auditor sent what is no answer.
    #[error("the auditor's answer to {call} cannot be used: {why}; compare the versions of client and auditor")]
    Malformed {
        /// What was asked.
        call: &'static str,
        /// What was expected, what came.
        why: String,
    },
    /// A source that cannot be read.
    #[error("cannot read {name}: {error}")]
    Source {
        /// Its name.
        name: String,
        /// The operating system's words.
        error: io::Error,
    },
    /// A put that cannot be as it was asked for.
    #[error("{0}")]
    Invalid(String),
    /// The place where bytes were to be written does not take them.
    #[error("cannot write what was read: {0}; what was written so far is right, begin again with a range")]
    Sink(io::Error),
    /// Files of an upload in progress cannot be kept.
    #[error("{}: {why}", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What happened, and what to do.
        why: String,
    },
    /// The same put runs in another process.
    #[error("another process puts the same files now ({} is locked); wait for it", path.display())]
    Running {
        /// Its lock.
        path: PathBuf,
    },
    /// A put came to an end before its objects were acknowledged.
    #[error("not stored: {0}")]
    Put(#[from] PutError),
    /// Too few good shards to read a segment.
    #[error("segment {segment}: {error}")]
    Get {
        /// Which.
        segment: SegmentId,
        /// What was found, what was needed, what was met.
        error: GetError,
    },
    /// What was read is not what was stored.
    #[error("object {object}: {error}")]
    Open {
        /// Which.
        object: ObjectId,
        /// What is wrong with it.
        error: OpenError,
    },
    /// A range that the object does not have.
    #[error("object {object} has {len} bytes, expected a range inside, got {from}..{to}")]
    Range {
        /// Which.
        object: ObjectId,
        /// Its length.
        len: u64,
        /// First byte asked for.
        from: u64,
        /// First byte after.
        to: u64,
    },
    /// The auditor's places of an object's bytes are not those of its stream.
    #[error(transparent)]
    Extents(#[from] ExtentError),
    /// Bytes that cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Segments that cannot be.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A record that cannot be read or made.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A wrapped key that this owner's key does not open.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// The operating system gave no chance.
    #[error("the operating system gives no random bytes ({0}); nothing may be sealed without")]
    Chance(String),
    /// Our own fault.
    #[error("{0}; this is a fault of holdfast: report it")]
    Bug(String),
}

impl ClientError {
    /// What to do about it: the exit code of a command, the branch of a program.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Config { .. }
            | Self::KeyFile { .. }
            | Self::OtherOwner { .. }
            | Self::Invalid(_)
            | Self::Range { .. }
            | Self::Source { .. }
            | Self::Sink(_)
            | Self::State { .. } => ErrorCode::Invalid,
            Self::Transport(error) if error.is_transient() => ErrorCode::Retry,
            Self::Transport(_) | Self::Unwrap(_) => ErrorCode::Denied,
            Self::Timeout { .. } | Self::Running { .. } => ErrorCode::Retry,
            Self::Said { error, .. } => error.code,
            Self::Malformed { .. } | Self::Bug(_) | Self::Chance(_) => ErrorCode::Bug,
            Self::Put(error) => match error {
                PutError::AuditorSilent { .. } => ErrorCode::Retry,
                PutError::TooFew { .. } => ErrorCode::Exhausted,
                PutError::Refused { .. } => ErrorCode::Conflict,
                PutError::Malformed { .. } => ErrorCode::Bug,
            },
            Self::Get { .. } | Self::Open { .. } | Self::Extents(_) => ErrorCode::Corrupt,
            Self::Seal(_) | Self::Segment(_) | Self::Record(_) => ErrorCode::Invalid,
        }
    }

    pub(crate) fn malformed(call: &'static str, why: impl ToString) -> Self {
        Self::Malformed { call, why: why.to_string() }
    }

    pub(crate) fn decode(call: &'static str) -> impl Fn(DecodeError) -> Self {
        move |error| Self::malformed(call, error)
    }
}
