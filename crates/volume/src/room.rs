//! What a volume does when the disk is full: it serves, deletes, and comes back
//! by itself.
//!
//! Deleting takes a little room, for it is written to the journal. So a small
//! file is kept aside, and given up when the journal finds the disk full; it is
//! made again once there is room. A start may have to write too (the journal's
//! end, a header): where even the reserve does not buy that, the volume opens
//! for reading, and looks again each time it has a moment.

use std::io::ErrorKind;
use std::mem::take;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::VolumeError;
use crate::open::OpenReport;
use crate::volume::{Options, Volume};

/// Not a name of the format: a release that does not know it ignores the file.
pub(crate) const RESERVE_NAME: &str = "reserve";

/// Written in steps of this size.
const STEP: usize = 64 << 10;

/// Frees what was kept aside. Says whether there was anything.
pub(crate) fn give_up_reserve(disk: &dyn Disk) -> bool {
    // Not durable before the next directory sync, and it need not be: the room is there at once.
    disk.remove(RESERVE_NAME).is_ok()
}

/// Keeps `len` bytes aside, if the disk has them above its floor. Nothing depends on it, so nothing fails with it.
pub(crate) fn keep_reserve(disk: &dyn Disk, options: &Options) {
    let wanted = options.reserve;
    let there = match disk.open(RESERVE_NAME).and_then(|file| file.size()) {
        Ok(size) => size,
        Err(e) if e.kind() == ErrorKind::NotFound => 0,
        Err(_) => return,
    };
    // Twice, so that it is not given up and made again at the edge.
    let needed = options.free_floor.saturating_add(wanted.saturating_mul(2));
    if there >= wanted || disk.free_space().is_ok_and(|free| free < needed) {
        return;
    }
    // A crash may have left it cut short.
    give_up_reserve(disk);
    if write(disk, wanted).is_err() {
        give_up_reserve(disk);
    }
}

/// Bytes that no file system can leave out: zeros would be holes on some.
fn write(disk: &dyn Disk, len: u64) -> std::io::Result<()> {
    let file = disk.create(RESERVE_NAME)?;
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(STEP);
    while bytes.len() < STEP {
        // xorshift64 (Marsaglia, 2003).
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    let mut at = 0;
    while at < len {
        let now = (len - at).min(STEP as u64);
        file.write_at(at, &bytes[..now as usize])?;
        at += now;
    }
    // Not synced: the room is taken when it is written, and a reserve that a crash takes away is made again.
    Ok(())
}

impl Volume {
    /// Whether the volume only reads because the disk was full at its start.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    /// Looks whether a volume that opened on a full disk can be written by now, and keeps the reserve. Called by
    /// [`Volume::compact`]; readers go on reading, before and after.
    ///
    /// # Errors
    /// As [`Volume::open`], but for [`VolumeError::Full`]: then it waits on.
    pub(crate) fn seek_room(&mut self) -> Result<(), VolumeError> {
        if self.waits_for_room {
            let opened = Self::attempt(Arc::clone(&self.disk), self.options.clone(), self.identity);
            let (mut settled, report): (Self, OpenReport) = match opened {
                Ok(opened) => opened,
                Err(VolumeError::Full { .. }) => return Ok(()),
                Err(e) => return Err(e),
            };
            if settled.identity != self.identity || report.created {
                let what = "the volume was exchanged while it waited for room: restart the node".to_owned();
                return Err(VolumeError::Damaged { file: "journal".to_owned(), what });
            }
            // Readers hold the index: it is exchanged inside, in one step.
            let index = take(&mut *settled.shared.write());
            *self.shared.write() = index;
            settled.shared = self.shared.clone();
            *self = settled;
        }
        if self.read_only().is_none() {
            keep_reserve(self.disk.as_ref(), &self.options);
        }
        Ok(())
    }
}
