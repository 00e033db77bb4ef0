//! What a node answers when it does not do what is asked.

use holdfast_types::{Fence, GrantError, Millis};
use holdfast_volume::{Advice, Key, VolumeError};
use holdfast_wire::{ErrorCode, WireError};
use tokio::task::JoinError;

/// Puts and reads end soon; who comes back after this finds a place.
pub(crate) const SOON: Millis = Millis(500);

pub(crate) fn of_volume(error: &VolumeError) -> WireError {
    let code = match (error, error.advice()) {
        (VolumeError::NotFound { .. }, _) => ErrorCode::NotFound,
        (_, Advice::Retry) => return WireError::new(ErrorCode::Retry, error).retry_after(SOON),
        (_, Advice::Conflict) => ErrorCode::Conflict,
        (_, Advice::Invalid) => ErrorCode::Invalid,
        (_, Advice::Corrupt) => ErrorCode::Corrupt,
        // A volume that takes no writes has no room for whoever asks: the bytes belong elsewhere.
        (_, Advice::NoRoom | Advice::Stopped) => ErrorCode::Exhausted,
    };
    WireError::new(code, error)
}

pub(crate) fn of_grant(error: &GrantError) -> WireError {
    let code = match error {
        GrantError::Malformed { .. } => ErrorCode::Invalid,
        GrantError::Signature(_) | GrantError::Other { .. } | GrantError::Expired { .. } => ErrorCode::Denied,
    };
    WireError::new(code, error)
}

pub(crate) fn of_fence(seen: Fence, got: Fence) -> WireError {
    WireError::new(
        ErrorCode::Denied,
        format_args!("expected a fence of {seen} or above, got {got}: another lease is in force, take a new one"),
    )
}

pub(crate) fn of_tombstone(key: Key) -> WireError {
    WireError::new(
        ErrorCode::Conflict,
        format_args!(
            "record {key} is of an object whose tombstone is here: it was deleted, and comes back under no record"
        ),
    )
}

pub(crate) fn of_join(error: &JoinError) -> WireError {
    WireError::new(ErrorCode::Bug, format_args!("a worker ended early: {error}; this is a bug, report it"))
}

pub(crate) fn busy(what: &str) -> WireError {
    WireError::new(ErrorCode::Retry, format_args!("too many {what} at once; ask again in {SOON}")).retry_after(SOON)
}
