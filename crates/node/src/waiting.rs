//! Who gave an order and is told once the batch that it went into is durable, or is not.

use std::collections::BTreeMap;

use holdfast_types::Sequence;
use holdfast_volume::{Key, Reader};
use holdfast_wire::{ErrorCode, WireError};
use tokio::sync::oneshot;

use crate::content::sequence;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, WireError>>;

/// One who waits. Whoever went away meanwhile is not missed.
pub(crate) enum Waiting {
    Stored { key: Key, reply: Reply<Sequence> },
    Deleted { existed: bool, reply: Reply<bool> },
    Done { reply: Reply<()> },
}

impl Waiting {
    /// It is durable; `sequences` are those of the batch.
    pub(crate) fn tell(self, sequences: &BTreeMap<Key, Sequence>, reader: &Reader) {
        match self {
            Waiting::Stored { key, reply } => {
                let stat = || reader.stat(&key).map(|entry| sequence(entry.sequence));
                let deleted = || WireError::new(ErrorCode::Conflict, "the shard was deleted while it was put");
                let _ = reply.send(sequences.get(&key).copied().or_else(stat).ok_or_else(deleted));
            }
            Waiting::Deleted { existed, reply } => drop(reply.send(Ok(existed))),
            Waiting::Done { reply } => drop(reply.send(Ok(()))),
        }
    }

    /// Nothing of the batch is acknowledged.
    pub(crate) fn refuse(self, error: &WireError) {
        match self {
            Waiting::Stored { reply, .. } => drop(reply.send(Err(error.clone()))),
            Waiting::Deleted { reply, .. } => drop(reply.send(Err(error.clone()))),
            Waiting::Done { reply } => drop(reply.send(Err(error.clone()))),
        }
    }
}
