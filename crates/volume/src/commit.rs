//! Group commit: data, then journal, then index.
//!
//! However many records were sealed, a commit costs one fsync a touched data
//! file and one of the journal. The order is the whole promise: a slot reaches
//! the disk only after the bytes it names, the index only after the slot.

use std::io;

use crate::error::{VolumeError, is_full};
use crate::format::data_name;
use crate::key::{Key, Sequence};
use crate::room::give_up_reserve;
use crate::slot::Change;
use crate::space::FileState;
use crate::volume::Volume;

/// A record that is durable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The record.
    pub key: Key,
    /// Its place in the order of commits.
    pub sequence: Sequence,
}

impl Volume {
    /// Makes everything sealed, deleted and set since the last commit durable,
    /// then visible. Returns the records put, in the order of their sequences.
    ///
    /// # Errors
    /// [`VolumeError::Full`]: nothing was acknowledged, nothing is lost; make
    /// room and commit again. [`VolumeError::ReadOnly`]: the machine failed to
    /// make it durable, nothing was acknowledged, and what was to be committed
    /// may or may not be there after a restart, each record whole or absent.
    pub fn commit(&mut self) -> Result<Vec<Committed>, VolumeError> {
        self.writable()?;
        for change in std::mem::take(&mut self.pending) {
            self.journal.stage(change);
        }
        if !self.journal.has_staged() {
            return Ok(Vec::new());
        }
        self.sync_dirty()?;
        match self.journal.is_intact() {
            Ok(true) => {}
            Ok(false) => return Err(self.stop_for("the journal is shorter than what was acknowledged".to_owned())),
            Err(e) => return Err(self.stop("looking at the journal", &e)),
        }
        let mut flushed = self.journal.flush();
        if flushed.as_ref().is_err_and(is_full) && give_up_reserve(self.disk.as_ref()) {
            // The same bytes to the same places.
            flushed = self.journal.flush();
        }
        if let Err(e) = flushed {
            if is_full(&e) {
                return Err(VolumeError::Full { needed: self.journal.staged_len(), available: 0 });
            }
            return Err(self.stop("writing the journal", &e));
        }
        self.journal.sync().map_err(|e| self.stop("fsync of the journal", &e))?;
        Ok(self.publish())
    }

    /// A record is in the journal only after its bytes are on the disk.
    fn sync_dirty(&mut self) -> Result<(), VolumeError> {
        let dirty: Vec<u32> = self.files.iter().filter(|(_, f)| f.dirty).map(|(n, _)| *n).collect();
        for number in dirty {
            let state = self.state(number)?;
            let synced = state.handle.sync();
            state.dirty = false;
            synced.map_err(|e| self.stop(&format!("fsync of {}", data_name(number)), &e))?;
        }
        Ok(())
    }

    fn publish(&mut self) -> Vec<Committed> {
        let changes = self.journal.settle();
        let mut committed = Vec::new();
        let shared = self.shared.clone();
        let mut index = shared.write();
        for change in &changes {
            if let Change::Put(record) | Change::Move(record) = change {
                if let Some(state) = self.files.get_mut(&record.file) {
                    state.in_flight -= record.extent();
                }
                if let Some(ticket) = self.sealed.remove(&(record.file, record.offset)) {
                    self.unreserve(&ticket);
                }
            }
            if let Change::Put(record) = change {
                committed.push(Committed { key: record.key, sequence: record.sequence });
            }
            let applied = index.apply(change);
            if let Some(state) = applied.live.and_then(|r| self.files.get_mut(&r.file)) {
                state.live += applied.live.map_or(0, |r| r.extent());
            }
            if let Some(state) = applied.dead.and_then(|r| self.files.get_mut(&r.file)) {
                state.live -= applied.dead.map_or(0, |r| r.extent());
            }
        }
        drop(index);
        // Whatever was pending has been staged and is now settled.
        self.fates.clear();
        self.reap();
        committed
    }

    /// Removes files that nothing points into. Not durable before the next
    /// directory sync, and it need not be: a file that comes back is removed again.
    pub(crate) fn reap(&mut self) {
        let empty = |(number, f): &(&u32, &FileState)| {
            f.live == 0 && f.in_flight == 0 && self.active != Some(**number) && !self.evidence.contains(number)
        };
        let gone: Vec<u32> = self.files.iter().filter(empty).map(|(n, _)| *n).collect();
        for number in gone {
            match self.disk.remove(&data_name(number)) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                // Tried again after the next commit.
                Err(_) => continue,
            }
            self.files.remove(&number);
            self.stuck.remove(&number);
            self.shared.write().files.remove(&number);
        }
    }
}
