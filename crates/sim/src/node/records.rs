//! Records beside the shards, by the daemon's rules.

use std::collections::BTreeSet;

use holdfast_protocol::message::{NodeReply, RecordKind, SendFailure};
use holdfast_types::Fence;
use holdfast_volume::{Key, Sequence, VolumeError};

use super::{COMMON, Node, replace};

/// Every kind there is.
const KINDS: [RecordKind; 5] =
    [RecordKind::Descriptor, RecordKind::Manifest, RecordKind::Page, RecordKind::Envelope, RecordKind::Tombstone];

fn record_key(kind: RecordKind, id: [u8; 32]) -> Key {
    Key { kind: kind as u8, id }
}

impl Node {
    pub(super) fn keep_record(
        &mut self,
        kind: RecordKind,
        id: [u8; 32],
        bytes: &[u8],
        fence: Fence,
    ) -> Result<(), SendFailure> {
        let key = record_key(kind, id);
        self.admit(fence, key)?;
        let tombstone = record_key(RecordKind::Tombstone, id);
        let outranked = [RecordKind::Manifest, RecordKind::Envelope].map(|kind| record_key(kind, id));
        if outranked.contains(&key) && self.reader().is_some_and(|reader| reader.contains(&tombstone)) {
            return Err(SendFailure::Denied("its tombstone is here".into()));
        }
        let stored = [fence.to_bytes().as_slice(), bytes].concat();
        self.change(|volume| replace(volume, COMMON, key, &stored))?;
        if key == tombstone {
            for key in outranked {
                self.drop_key(key)?;
            }
        }
        self.raise(fence)?;
        self.commit()
    }

    pub(super) fn drop_record(&mut self, kind: RecordKind, id: [u8; 32], fence: Fence) -> Result<(), SendFailure> {
        let key = record_key(kind, id);
        self.admit(fence, key)?;
        self.drop_key(key)?;
        self.raise(fence)?;
        self.commit()
    }

    /// Gone with the next commit, if it is there.
    pub(super) fn drop_key(&mut self, key: Key) -> Result<(), SendFailure> {
        self.change(|volume| match volume.delete(&key) {
            Ok(()) | Err(VolumeError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        })
    }

    pub(super) fn record_keys(&self, kind: RecordKind, after: Option<[u8; 32]>, limit: u32) -> NodeReply {
        let found =
            self.reader().map(|reader| reader.entries(&[kind as u8], Sequence::START..Sequence::END, usize::MAX));
        let keys: BTreeSet<[u8; 32]> = found.unwrap_or_default().into_iter().map(|entry| entry.key.id).collect();
        let past = keys.into_iter().filter(|key| after.is_none_or(|after| *key > after));
        NodeReply::Keys(past.take(limit as usize).collect())
    }

    /// What is on the disk, whether or not the process runs; what cannot be read whole is left out.
    pub(crate) fn records(&self) -> Vec<(RecordKind, [u8; 32], Vec<u8>)> {
        let Some(reader) = self.look() else { return Vec::new() };
        let kinds = KINDS.map(|kind| kind as u8);
        let found = reader.entries(&kinds, Sequence::START..Sequence::END, usize::MAX);
        let read = found.into_iter().filter_map(|entry| {
            let kind = RecordKind::from_u8(entry.key.kind)?;
            let read = reader.read(&entry.key, 0..entry.len).ok().filter(|read| read.damaged.is_empty())?;
            let (_, bytes) = read.bytes.split_first_chunk::<{ Fence::LEN }>()?;
            Some((kind, entry.key.id, bytes.to_vec()))
        });
        read.collect()
    }
}
