//! What a volume asks of the machine below it.
//!
//! Synchronous and small, so that the simulation can stand in for the disk and
//! crash between any two calls. The contract is POSIX's, at its strictest:
//! a write survives a crash only after [`DiskFile::sync`] of its file, a name
//! only after [`Disk::sync_dir`], and a failed sync may have dropped anything
//! that was not yet on the disk.

use std::fmt;
use std::io;
use std::sync::Arc;

/// One directory, owned by one volume.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The names of all files, in any order.
    ///
    /// # Errors
    /// Whatever the machine says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// `AlreadyExists`, or whatever the machine says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound`, or whatever the machine says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes the name. Handles already open go on reading the bytes.
    ///
    /// # Errors
    /// `NotFound`, or whatever the machine says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    ///
    /// # Errors
    /// After an error, nothing is known about names not yet durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// Whatever the machine says.
    fn free_space(&self) -> io::Result<u64>;
}

/// An open file. Calls take an offset, so handles are shared without a cursor.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Fills `buf` from `offset`; returns less than its length only at the end
    /// of the file.
    ///
    /// # Errors
    /// Whatever the machine says, an unreadable sector for example.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// As [`DiskFile::read_at`], from the disk itself and past what memory still has of the file: for whoever reads much,
    /// once. `offset`, the address of `buf` and its length are multiples of 4096. What was
    /// written and not yet synced is there as well.
    ///
    /// # Errors
    /// As there, or that this file cannot be read so: the bytes are then to be asked for with [`DiskFile::read_at`].
    fn read_direct_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.read_at(offset, buf)
    }

    /// Whether [`DiskFile::read_direct_at`] is another way than [`DiskFile::read_at`], as far as is known by now.
    fn reads_directly(&self) -> bool {
        false
    }

    /// Says that these bytes will be read soon. A hint; whatever goes wrong with it shows when they are.
    fn will_need(&self, _offset: u64, _len: u64) {}

    /// Writes all of `bytes` at `offset`; the file grows, with zeros between.
    ///
    /// # Errors
    /// `StorageFull`, or whatever the machine says; any part may be written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// Whatever the machine says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// Whatever the machine says.
    fn size(&self) -> io::Result<u64>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// After an error, nothing is known about what was not yet durable, not
    /// even if a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}
