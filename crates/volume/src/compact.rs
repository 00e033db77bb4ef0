//! Moves live records out of mostly dead files, so that these can go.
//!
//! A record is copied to the active file, every piece verified on the way, and
//! its move is committed like any other change, under its old sequence. Until
//! then the old extent is what is read; after it, the emptied file is removed.
//! A damaged record stays where it is: copying would destroy what a person might
//! still save, and repair replaces it anyway.

use crate::error::VolumeError;
use crate::extent::ExtentWriter;
use crate::format::HEADER_LEN;
use crate::index::Record;
use crate::key::Key;
use crate::reader::Found;
use crate::slot::Change;
use crate::space::FileState;
use crate::stream::PieceStream;
use crate::volume::Volume;

/// What a step of [`Volume::compact`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactStep {
    /// Records copied; moved for good at the next commit.
    pub records: u64,
    /// Bytes of payload copied.
    pub bytes: u64,
    /// Records left where they are because they are damaged.
    pub damaged: Vec<Key>,
    /// Whether another step, after a commit, has something to do.
    pub more: bool,
}

/// A file being emptied.
#[derive(Debug)]
pub(crate) struct Victim {
    file: u32,
    /// Records in it when it was chosen, the first to move last.
    queue: Vec<Key>,
}

impl Volume {
    /// Looks after room: what waits for it is tried again, the reserve is made anew. Then
    /// copies about `budget` bytes of payload out of the file that gains most,
    /// or rewrites the journal when most of it is history. Call it when there is
    /// time, commit, and go on while there is `more`.
    ///
    /// # Errors
    /// [`VolumeError::Full`] when there is no room to copy to,
    /// [`VolumeError::ReadOnly`], [`VolumeError::Io`]. Nothing is lost by any.
    pub fn compact(&mut self, budget: u64) -> Result<CompactStep, VolumeError> {
        self.seek_room()?;
        self.writable()?;
        let mut step = CompactStep { more: self.rewrite_journal_if_wasteful()?, ..CompactStep::default() };
        let Some(mut victim) = self.victim.take().or_else(|| self.choose_victim()) else {
            return Ok(step);
        };
        while step.bytes < budget.max(1) {
            let Some(key) = victim.queue.pop() else { break };
            let Some(found) = self.reader().find(&key).filter(|f| f.record.file == victim.file) else {
                continue; // deleted or replaced meanwhile
            };
            match self.copy(found) {
                Ok(Some(record)) => {
                    step.records += 1;
                    step.bytes += record.len.max(1);
                }
                Ok(None) => step.damaged.push(key),
                Err(e) => {
                    victim.queue.push(key);
                    self.victim = Some(victim);
                    return Err(e);
                }
            }
        }
        step.more = true;
        if victim.queue.is_empty() && self.pending.is_empty() && !self.journal.has_staged() {
            // All that could move has moved, durably; what is left is damaged.
            if self.files.contains_key(&victim.file) {
                self.stuck.insert(victim.file);
            }
            self.reap();
            step.more = self.choose_victim().is_some_and(|next| {
                self.victim = Some(next);
                true
            });
        } else {
            self.victim = Some(victim);
        }
        Ok(step)
    }

    /// The file with the greatest dead share, if that share is worth the copying.
    fn choose_victim(&mut self) -> Option<Victim> {
        let percent = u64::from(self.options.compact_dead_percent.max(1));
        let share = |f: &FileState| f.dead().saturating_mul(100) / (f.tail - HEADER_LEN).max(1);
        let (file, _) = self
            .files
            .iter()
            .filter(|(number, f)| {
                f.in_flight == 0
                    && !self.stuck.contains(*number)
                    && !self.evidence.contains(*number)
                    && share(f) >= percent
            })
            .max_by_key(|(_, f)| share(f))?;
        let file = *file;
        if self.active == Some(file) {
            self.active = None;
        }
        let mut records: Vec<Record> = self.shared.read().all().filter(|r| r.file == file).copied().collect();
        records.sort_by_key(|r| std::cmp::Reverse(r.offset));
        Some(Victim { file, queue: records.iter().map(|r| r.key).collect() })
    }

    /// `None`: it is damaged and stays.
    fn copy(&mut self, found: Found) -> Result<Option<Record>, VolumeError> {
        let old = found.record;
        let place = self.place(old.namespace, old.key, old.len)?;
        let record = Record { sequence: old.sequence, ..place };
        let mut writer = ExtentWriter::new(self.state(record.file)?.handle.clone(), record);
        let mut pieces = PieceStream::of(found);
        while let Some(piece) = pieces.next() {
            let Some(bytes) = piece.bytes else {
                self.unplace(&record);
                return Ok(None);
            };
            if let Err(e) = writer.write(bytes) {
                self.unplace(&record);
                return Err(VolumeError::write("moving a record", record.extent(), e));
            }
        }
        if let Err(e) = writer.finish() {
            self.unplace(&record);
            return Err(VolumeError::write("moving a record", record.extent(), e));
        }
        self.state(record.file)?.dirty = true;
        self.pending.push(Change::Move(record));
        Ok(Some(record))
    }
}
