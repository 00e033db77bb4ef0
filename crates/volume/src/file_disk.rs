//! A real directory as a [`Disk`].
//!
//! A lock file keeps two processes from writing one volume; the kernel lets go
//! of the lock with the process, however it ends. Files are synced with
//! `fdatasync`, which covers the length.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{Disk, DiskFile};
use crate::error::VolumeError;

const LOCK_NAME: &str = "LOCK";

/// A directory of the file system.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    directory: File,
    /// Held for as long as the disk is; none when reading only.
    lock: Option<File>,
}

impl FileDisk {
    /// Makes the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// [`VolumeError::Locked`] when another process has it, [`VolumeError::Io`].
    pub fn open(path: &Path) -> Result<Arc<Self>, VolumeError> {
        let trouble = |doing: &str, e| VolumeError::io(format!("{doing} {}", path.display()), e);
        create_durably(path).map_err(|e| trouble("making the directory", e))?;
        let directory = File::open(path).map_err(|e| trouble("opening the directory", e))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_NAME))
            .map_err(|e| trouble("opening the lock of", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(VolumeError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(trouble("locking", e)),
        }
        Ok(Arc::new(Self { path: path.to_owned(), directory, lock: Some(lock) }))
    }

    /// Opens the directory for reading, beside a process that may be writing it.
    ///
    /// # Errors
    /// [`VolumeError::Io`].
    pub fn read_only(path: &Path) -> Result<Arc<Self>, VolumeError> {
        let directory =
            File::open(path).map_err(|e| VolumeError::io(format!("opening the directory {}", path.display()), e))?;
        Ok(Arc::new(Self { path: path.to_owned(), directory, lock: None }))
    }

    fn writable(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(io::Error::new(io::ErrorKind::PermissionDenied, "the volume was opened for reading only")),
        }
    }
}

/// `create_dir_all`, with each new name made durable in its parent: a record
/// acknowledged in a directory that a power cut takes away would be a lie.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    File::open(parent)?.sync_all()
}

impl Disk for FileDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?
            .filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.writable()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path.join(name))?;
        Ok(Arc::new(OpenFile::new(file, self.path.join(name))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.lock.is_some()).open(self.path.join(name))?;
        Ok(Arc::new(OpenFile::new(file, self.path.join(name))))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn free_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
    /// The file system has said that it cannot be read past the cache.
    cached_only: AtomicBool,
}

impl OpenFile {
    fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, cached_only: AtomicBool::new(!cfg!(target_os = "linux")) }
    }

    /// The same file once more, to be read past the kernel's cache. Opened for each read of many: next to one that is
    /// nothing, and no file costs two handles.
    #[cfg(target_os = "linux")]
    fn direct(&self) -> io::Result<File> {
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::OFlags;

        // Whatever has that name by now must not keep us waiting.
        let flags = OFlags::DIRECT | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path)?;
        let (ours, theirs) = (self.file.metadata()?, file.metadata()?);
        if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "another file has that name now"))
        }
    }
}

fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

impl DiskFile for OpenFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        read_at(&self.file, offset, buf)
    }

    #[cfg(target_os = "linux")]
    fn read_direct_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.direct().and_then(|file| read_at(&file, offset, buf));
        if let Err(error) = &read
            && matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
        {
            self.cached_only.store(true, Ordering::Relaxed);
        }
        read
    }

    fn reads_directly(&self) -> bool {
        !self.cached_only.load(Ordering::Relaxed)
    }

    fn will_need(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        if let Some(len) = std::num::NonZeroU64::new(len) {
            let _ = rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::WillNeed);
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|m| m.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::direct::{DirectBuffer, LARGE};

    #[test]
    fn a_file_is_read_past_the_cache_wherever_the_file_system_can() -> Result<(), Box<dyn std::error::Error>> {
        let home = tempfile::tempdir()?;
        let disk = FileDisk::open(home.path())?;
        let file = disk.create("data-00000001")?;
        let bytes: Vec<u8> = (0..2 * LARGE).map(|i| (i / 4096 + i) as u8).collect();
        file.write_at(0, &bytes)?;
        let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let can = OpenOptions::new().read(true).custom_flags(flags).open(home.path().join("data-00000001")).is_ok();

        let mut buffer = DirectBuffer::default();
        let found = file.read_direct_at(4096, buffer.pages(LARGE as u64));
        assert_eq!((found.is_ok(), file.reads_directly()), (can, can), "{found:?}");
        if can {
            buffer.ask(0..LARGE);
            assert_eq!(buffer.bytes(), &bytes[4096..4096 + LARGE]);
            // Most refuse this, and are then not asked again; one that lives in memory does not mind.
            let odd = file.read_direct_at(7, &mut [0; 100]);
            assert_eq!(odd.is_ok(), file.reads_directly(), "{odd:?}");
        }
        Ok(())
    }
}
