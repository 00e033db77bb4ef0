//! Starts a new journal with only what still counts.
//!
//! The new file carries every live record, quota and meta value over, numbered
//! on from the old one, is synced whole, and only then takes over; the old one
//! is removed before the first commit goes into the new. A start that finds both
//! takes the new one if everything carried over is whole, and the old one if not.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::{VolumeError, is_full};
use crate::format::{FileHeader, HEADER_LEN, WATERMARK_AT, journal_name};
use crate::index::Index;
use crate::journal::Journal;
use crate::slot::{Change, SLOT_LEN, SlotSeal, encode, slots_of};
use crate::volume::Volume;

/// Written in steps of this size, so that memory does not grow with the volume.
const STEP: usize = 1 << 20;

impl Volume {
    /// Returns whether it rewrote. Waits for a moment with nothing half done.
    pub(crate) fn rewrite_journal_if_wasteful(&mut self) -> Result<bool, VolumeError> {
        if !self.pending.is_empty() || self.journal.has_staged() {
            return Ok(false);
        }
        let live: u64 = changes(&self.shared.read()).map(|change| slots_of(&change)).sum();
        if self.journal.slots() <= live.saturating_mul(2).saturating_add(self.options.journal_slack) {
            return Ok(false);
        }
        let old = journal_name(self.journal.header().number);
        let number = self.journal.header().number + 1;
        let first = self.journal.next();
        let header = FileHeader { number, first, carried: live, ..*self.journal.header() };
        let name = journal_name(number);
        let file = self.disk.create(&name).map_err(|e| VolumeError::write("starting a journal", HEADER_LEN, e))?;
        let written = write_carried(file.as_ref(), &header, &self.shared.read());
        if let Err(e) = written {
            // Left behind whole by chance, it would win over the old journal and
            // undo every commit from here on: it goes, durably, or nothing does.
            let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_dir());
            removed.map_err(|e| self.stop(&format!("removing the unfinished {name}"), &e))?;
            let needed = HEADER_LEN + live * SLOT_LEN as u64;
            return Err(if is_full(&e) {
                VolumeError::Full { needed, available: 0 }
            } else {
                VolumeError::io(format!("writing {name}"), e)
            });
        }
        let synced = file.sync().and_then(|()| self.disk.sync_dir());
        synced.map_err(|e| self.stop(&format!("syncing {name}"), &e))?;
        let removed = self.disk.remove(&old).and_then(|()| self.disk.sync_dir());
        removed.map_err(|e| self.stop(&format!("removing {old}"), &e))?;
        self.journal = Journal::resume(Arc::clone(&file), header, first + live - 1);
        Ok(true)
    }
}

/// Everything that still counts, in the order of the sequences.
fn changes(index: &Index) -> impl Iterator<Item = Change> + '_ {
    let quotas = index.usages().filter_map(|(n, u)| u.quota.map(|quota| Change::Quota(*n, quota)));
    let metas = index.metas().map(|(key, bytes)| Change::Meta(*key, bytes.clone()));
    index.all().map(|record| Change::Carried(*record)).chain(quotas).chain(metas)
}

fn write_carried(file: &dyn DiskFile, header: &FileHeader, index: &Index) -> std::io::Result<()> {
    header.write(file)?;
    let seal = SlotSeal::of(header);
    let mut number = header.first;
    let mut at = HEADER_LEN;
    let mut bytes = Vec::with_capacity(STEP);
    for change in changes(index) {
        encode(&change, number, header.first - 1, seal, &mut bytes);
        number += slots_of(&change);
        if bytes.len() >= STEP {
            file.write_at(at, &bytes)?;
            at += bytes.len() as u64;
            bytes.clear();
        }
    }
    file.write_at(at, &bytes)?;
    file.write_at(WATERMARK_AT, &seal.watermark(number - 1))
}
