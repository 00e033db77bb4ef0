//! Where extents go, who may have how much, and what is left.

use std::sync::{Arc, PoisonError};

use crate::disk::DiskFile;
use crate::error::VolumeError;
use crate::extent::Ticket;
use crate::format::{FileHeader, HEADER_LEN, Role, data_name, extent_len};
use crate::index::Record;
use crate::key::{Key, Namespace, Sequence};
use crate::slot::SLOT_LEN;
use crate::volume::Volume;

/// Where the bytes of the disk went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Space {
    /// All data files and the journal.
    pub files: u64,
    /// Extents of committed records.
    pub live: u64,
    /// Extents reserved or sealed, not yet committed.
    pub in_flight: u64,
    /// What compaction could free.
    pub dead: u64,
    /// What may still be reserved.
    pub available: u64,
}

/// The writer's account of a data file.
#[derive(Debug)]
pub(crate) struct FileState {
    pub(crate) handle: Arc<dyn DiskFile>,
    /// Where the next extent would start.
    pub(crate) tail: u64,
    /// Bytes of extents the index points to.
    pub(crate) live: u64,
    /// Bytes of extents reserved or sealed.
    pub(crate) in_flight: u64,
    /// Whether something sealed in it awaits a sync.
    pub(crate) dirty: bool,
}

impl FileState {
    pub(crate) fn dead(&self) -> u64 {
        self.tail - HEADER_LEN - self.live - self.in_flight
    }
}

impl Volume {
    pub(crate) fn must_fit_quota(
        &self,
        namespace: &Namespace,
        key: &Key,
        len: u64,
        replaces: bool,
    ) -> Result<(), VolumeError> {
        let index = self.shared.read();
        let usage = index.usage(namespace);
        let replaced = match index.get(key) {
            Some(old) if replaces && old.namespace == *namespace => old.len,
            Some(_) | None => 0,
        };
        let used = usage.bytes + self.reserved.get(namespace).copied().unwrap_or(0);
        match usage.quota {
            Some(quota) if (used - replaced).saturating_add(len) > quota => {
                Err(VolumeError::QuotaExceeded { namespace: *namespace, quota, used, asked: len })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Finds room for an extent, in the active file or a new one.
    pub(crate) fn place(&mut self, namespace: Namespace, key: Key, len: u64) -> Result<Record, VolumeError> {
        let extent = extent_len(len);
        let fits = |f: &FileState| f.tail + extent <= self.options.file_len_max;
        let number = match self.active.filter(|n| self.files.get(n).is_some_and(fits)) {
            Some(number) => number,
            None => self.start_file()?,
        };
        let state = self.state(number)?;
        let offset = state.tail;
        state.tail += extent;
        state.in_flight += extent;
        Ok(Record { key, namespace, len, file: number, offset, sequence: Sequence::START })
    }

    /// A data file is durable, name and header, before anything points into it.
    fn start_file(&mut self) -> Result<u32, VolumeError> {
        let number = self.next_file;
        let name = data_name(number);
        let full = |e| VolumeError::write("starting a data file", HEADER_LEN, e);
        let handle = self.disk.create(&name).map_err(full)?;
        // Also after a failure: a number is never used twice.
        self.next_file += 1;
        let header = FileHeader { role: Role::Data, number, identity: self.identity, first: 0, carried: 0 };
        if let Err(e) = header.write(handle.as_ref()) {
            // Nothing points to it; the next start removes it if this does not.
            let _ = self.disk.remove(&name);
            return Err(full(e));
        }
        let synced = handle.sync().and_then(|()| self.disk.sync_dir());
        synced.map_err(|e| self.stop(&format!("syncing the new {name}"), &e))?;
        self.shared.write().files.insert(number, Arc::clone(&handle));
        self.files.insert(number, FileState { handle, tail: HEADER_LEN, live: 0, in_flight: 0, dirty: false });
        self.active = Some(number);
        Ok(number)
    }

    pub(crate) fn state(&mut self, number: u32) -> Result<&mut FileState, VolumeError> {
        // Every number that reaches here came out of `files`, and a file with
        // extents in flight is never removed.
        self.files
            .get_mut(&number)
            .ok_or_else(|| VolumeError::damaged(&data_name(number), "not open: a bug, report it"))
    }

    /// Where the bytes of the disk went.
    ///
    /// # Errors
    /// [`VolumeError::Io`] when the disk does not tell its free space.
    pub fn space(&mut self) -> Result<Space, VolumeError> {
        self.take_back();
        let available = self.available()?;
        let journal = HEADER_LEN + self.journal.slots() * SLOT_LEN as u64;
        let mut space = Space { files: journal, available, ..Space::default() };
        for state in self.files.values() {
            space.files += state.tail;
            space.live += state.live;
            space.in_flight += state.in_flight;
            space.dead += state.dead();
        }
        Ok(space)
    }

    /// What may still be reserved: within the capacity, and on the disk above
    /// the floor. Extents in flight may be partly written already; counting them
    /// whole errs on the safe side.
    pub(crate) fn available(&self) -> Result<u64, VolumeError> {
        let free = self.disk.free_space().map_err(|e| VolumeError::io("asking for free space", e))?;
        let taken: u64 = self.files.values().map(|f| f.tail).sum();
        let in_flight: u64 = self.files.values().map(|f| f.in_flight).sum();
        let by_disk = free.saturating_sub(self.options.free_floor).saturating_sub(in_flight);
        // A new file's header is paid from what is left over.
        Ok(by_disk.min(self.options.capacity.saturating_sub(taken)).saturating_sub(HEADER_LEN))
    }

    /// Takes back what dropped reservations held.
    pub(crate) fn take_back(&mut self) {
        let tickets = std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner));
        for ticket in tickets {
            self.unreserve(&ticket);
            self.unplace(&ticket.record);
        }
    }

    pub(crate) fn unreserve(&mut self, ticket: &Ticket) {
        if let Some(held) = self.reserved.get_mut(&ticket.record.namespace) {
            *held -= ticket.record.len;
            if *held == 0 {
                self.reserved.remove(&ticket.record.namespace);
            }
        }
    }

    /// An extent that will not be committed: its space is used again if it is
    /// the last of its file, and dead otherwise.
    pub(crate) fn unplace(&mut self, record: &Record) {
        if let Some(state) = self.files.get_mut(&record.file) {
            state.in_flight -= record.extent();
            if state.tail == record.offset + record.extent() {
                state.tail = record.offset;
            }
        }
    }
}
