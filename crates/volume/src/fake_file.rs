//! An open file of the [`FakeDisk`].

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::fake_disk::{FakeDisk, State, power_lost};
use crate::fake_inode::SECTOR;

/// An open handle; goes on reading after its name is removed.
#[derive(Debug)]
pub(crate) struct FakeFile {
    pub(crate) disk: FakeDisk,
    pub(crate) number: u64,
    pub(crate) _held: Arc<()>,
}

impl FakeFile {
    fn with<T>(&self, change: impl FnOnce(&mut State, u64) -> Result<T>) -> Result<T> {
        change(&mut self.disk.state(), self.number)
    }
}

impl DiskFile for FakeFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.with(|state, number| {
            if state.power_lost {
                return Err(power_lost());
            }
            let inode = state.held(number)?;
            let from = (offset as usize).min(inode.bytes.len());
            let to = (from + buf.len()).min(inode.bytes.len());
            if inode.unreadable.range(from / SECTOR..to.div_ceil(SECTOR)).next().is_some() {
                return Err(Error::other("simulated unreadable sector"));
            }
            buf[..to - from].copy_from_slice(&inode.bytes[from..to]);
            Ok(to - from)
        })
    }

    fn read_direct_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.with(|state, number| {
            state.held(number)?.direct_reads += 1;
            Ok(())
        })?;
        self.read_at(offset, buf)
    }

    fn reads_directly(&self) -> bool {
        true
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.with(|state, number| {
            let now = state.operations;
            let crashed = state.step()?;
            let forced = state.full_from.is_some_and(|from| now >= from);
            let (free, copies) = (if forced { 0 } else { state.free() }, state.copies_on_write);
            let inode = state.held(number)?;
            let end = offset + bytes.len() as u64;
            let growth = if copies { bytes.len() as u64 } else { end.saturating_sub(inode.bytes.len() as u64) };
            let offset = offset as usize;
            if growth > free {
                // Part of it fits, as on a real disk.
                inode.write(offset, &bytes[..bytes.len() / 2]);
                return Err(ErrorKind::StorageFull.into());
            }
            inode.unreadable.retain(|s| *s < offset / SECTOR || *s >= (offset + bytes.len()).div_ceil(SECTOR));
            inode.write(offset, bytes);
            if crashed { Err(power_lost()) } else { Ok(()) }
        })
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.with(|state, number| {
            let crashed = state.step()?;
            state.held(number)?.truncate(len as usize);
            if crashed { Err(power_lost()) } else { Ok(()) }
        })
    }

    fn size(&self) -> Result<u64> {
        self.with(|state, number| {
            if state.power_lost {
                return Err(power_lost());
            }
            Ok(state.held(number)?.bytes.len() as u64)
        })
    }

    fn sync(&self) -> Result<()> {
        self.with(|state, number| {
            if state.step()? {
                return Err(power_lost());
            }
            let fails = state.sync_should_fail();
            let inode = state.held(number)?;
            let unsynced = std::mem::take(&mut inode.unsynced);
            if fails {
                inode.dropped.extend(unsynced);
                return Err(Error::other("simulated failure of fsync"));
            }
            inode.durable_len = inode.bytes.len();
            Ok(())
        })
    }
}
