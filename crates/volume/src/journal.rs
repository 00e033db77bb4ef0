//! Appends changes to the journal, and knows what of it is durable.
//!
//! Changes are *staged* with their final numbers, flushed in one write, synced,
//! and then *settled*. A flush that found the disk full can be tried again: the
//! same bytes go to the same places, so that a half-written batch can never mix
//! with another one.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{FileHeader, HEADER_LEN, WATERMARK_AT};
use crate::key::Sequence;
use crate::slot::{Change, SLOT_LEN, SlotSeal, encode, slots_of};

/// Where slot `number` lies in a journal whose first slot is `first`.
pub(crate) fn slot_at(first: u64, number: u64) -> u64 {
    HEADER_LEN + (number - first) * SLOT_LEN as u64
}

#[derive(Debug)]
pub(crate) struct Journal {
    file: Arc<dyn DiskFile>,
    header: FileHeader,
    seal: SlotSeal,
    /// The last slot known to be synced.
    durable: u64,
    /// The first slot not yet staged.
    next: u64,
    staged_bytes: Vec<u8>,
    staged: Vec<Change>,
}

impl Journal {
    /// Goes on after slot `durable`, which is the last one in the file.
    pub(crate) fn resume(file: Arc<dyn DiskFile>, header: FileHeader, durable: u64) -> Self {
        let seal = SlotSeal::of(&header);
        Self { file, header, seal, durable, next: durable + 1, staged_bytes: Vec::new(), staged: Vec::new() }
    }

    pub(crate) fn header(&self) -> &FileHeader {
        &self.header
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Slots in the file, without those only staged.
    pub(crate) fn slots(&self) -> u64 {
        self.durable + 1 - self.header.first
    }

    pub(crate) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Gives a change its number; a put takes it for its sequence.
    pub(crate) fn stage(&mut self, mut change: Change) {
        if let Change::Put(record) = &mut change {
            record.sequence = Sequence(self.next);
        }
        encode(&change, self.next, self.durable, self.seal, &mut self.staged_bytes);
        self.next += slots_of(&change);
        self.staged.push(change);
    }

    /// Whether the file still holds what was synced. Somebody who truncated it
    /// would make every later acknowledgement a lie: a restart could not find it.
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        Ok(self.file.size()? >= slot_at(self.header.first, self.durable + 1))
    }

    /// Writes what is staged, without syncing. Repeatable after an error.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.file.write_at(slot_at(self.header.first, self.durable + 1), &self.staged_bytes)
    }

    pub(crate) fn staged_len(&self) -> u64 {
        self.staged_bytes.len() as u64
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// After a sync: takes the staged changes out, in order.
    pub(crate) fn settle(&mut self) -> Vec<Change> {
        self.durable = self.next - 1;
        self.staged_bytes.clear();
        // Only a hint for the next start, worth no fsync and no error of its own:
        // with it, a damaged last slot is told from a torn one.
        let _ = self.file.write_at(WATERMARK_AT, &self.seal.watermark(self.durable));
        std::mem::take(&mut self.staged)
    }
}
