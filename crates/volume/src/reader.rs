//! Reads records, verifies every piece, names what is damaged.
//!
//! A [`Reader`] is cheap to clone and belongs in every thread of a pool. It
//! holds the index's lock only to look a record up, never while it reads. A file
//! that compaction removes meanwhile goes on serving the handle already held.

use std::ops::Range;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::VolumeError;
use crate::format::{PIECE_LEN, PieceSum, piece_range, pieces, table_at, u32_at};
use crate::index::{Entry, Location, Record, Shared, Usage};
use crate::key::{Key, Namespace, Sequence};
use crate::stream::PieceStream;

/// The most one [`Reader::read`] returns: a shard of the largest segment (64 MiB).
pub const READ_LEN_MAX: u64 = 64 << 20;

/// The most one [`Reader::entries`] returns: a few hundred KiB of answer.
const ENTRIES_MAX: usize = 4096;

/// Pieces read with one call where order allows: near 1 MiB.
pub(crate) const RUN_PIECES: u32 = 8;

/// What a read found. `bytes` is as long as the range asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The bytes; those of damaged ranges are zero.
    pub bytes: Vec<u8>,
    /// Offsets in the record, within the range asked for, ascending and apart.
    pub damaged: Vec<Range<u64>>,
}

/// One step of [`Reader::scrub`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    /// What is damaged, record by record; ranges are whole pieces.
    pub damaged: Vec<(Key, Vec<Range<u64>>)>,
    /// Bytes of payload read.
    pub bytes: u64,
    /// Where the next step starts; `None` when the volume's end was reached.
    pub next: Option<Sequence>,
}

/// Reads a volume while its writer writes.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) shared: Shared,
}

/// A record and the handle to read it by.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) file: Option<Arc<dyn DiskFile>>,
}

impl Reader {
    pub(crate) fn find(&self, key: &Key) -> Option<Found> {
        let index = self.shared.read();
        let record = *index.get(key)?;
        let file = index.files.get(&record.file).cloned();
        Some(Found { record, file })
    }

    /// Whether a committed record has that key, damaged or not.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.shared.read().get(key).is_some()
    }

    /// What is known of a record without reading it.
    #[must_use]
    pub fn stat(&self, key: &Key) -> Option<Entry> {
        self.shared.read().get(key).map(Record::entry)
    }

    /// Where a record lies in the volume's directory.
    #[must_use]
    pub fn locate(&self, key: &Key) -> Option<Location> {
        self.shared.read().get(key).map(Record::location)
    }

    /// Committed records of the given kinds with a sequence in `range`, in that
    /// order, at most `limit` and at most 4096. Go on from the last one's
    /// [`Sequence::next`]; an empty answer is the end.
    #[must_use]
    pub fn entries(&self, kinds: &[u8], range: Range<Sequence>, limit: usize) -> Vec<Entry> {
        // A map has no range that ends before it starts.
        let range = range.start..range.end.max(range.start);
        self.shared
            .read()
            .in_order(range)
            .filter(|record| kinds.contains(&record.key.kind))
            .take(limit.min(ENTRIES_MAX))
            .map(Record::entry)
            .collect()
    }

    /// What a namespace holds and may hold.
    #[must_use]
    pub fn usage(&self, namespace: &Namespace) -> Usage {
        self.shared.read().usage(namespace)
    }

    /// Every namespace with a record or a quota.
    #[must_use]
    pub fn usages(&self) -> Vec<(Namespace, Usage)> {
        self.shared.read().usages().map(|(n, u)| (*n, *u)).collect()
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.shared.read().len()
    }

    /// The committed value of a meta key.
    #[must_use]
    pub fn meta(&self, key: u8) -> Option<Vec<u8>> {
        self.shared.read().meta(key).map(<[u8]>::to_vec)
    }

    /// Says that bytes `range` of a record will be read soon, so that the disk may begin. Nothing is promised, and a
    /// record that is not there is none the worse for it.
    pub fn will_need(&self, key: &Key, range: Range<u64>) {
        if let Some(Found { record, file: Some(file) }) = self.find(key) {
            let (start, end) = (range.start.min(record.len), range.end.min(record.len));
            file.will_need(record.offset + start, end.saturating_sub(start));
            // Whoever reads a record from its start needs its checksums too, which lie behind it.
            if start == 0 {
                file.will_need(record.offset + table_at(record.len), 4 * u64::from(pieces(record.len)));
            }
        }
    }

    /// Reads bytes `range` of a record and verifies every piece they touch.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::OutOfRange`]. Damage is not an
    /// error: it is named in the answer, and the rest is there.
    pub fn read(&self, key: &Key, range: Range<u64>) -> Result<Read, VolumeError> {
        let mut bytes = Vec::new();
        let damaged = self.read_into(key, range, &mut bytes)?;
        Ok(Read { bytes, damaged })
    }

    /// As [`Reader::read`], into `bytes`, whatever is in it: who reads much spares the pages of a new buffer each time.
    /// Gives what is damaged.
    ///
    /// # Errors
    /// As there; `bytes` is then as before.
    pub fn read_into(&self, key: &Key, range: Range<u64>, bytes: &mut Vec<u8>) -> Result<Vec<Range<u64>>, VolumeError> {
        let found = self.find(key).ok_or(VolumeError::NotFound { key: *key })?;
        let len = found.record.len;
        if range.start > range.end || range.end > len || range.end - range.start > READ_LEN_MAX {
            return Err(VolumeError::OutOfRange { key: *key, range, len, max: READ_LEN_MAX });
        }
        if range.is_empty() {
            bytes.clear();
            return Ok(Vec::new());
        }
        let first = (range.start / PIECE_LEN) as u32;
        let last = ((range.end - 1) / PIECE_LEN) as u32;
        let start = piece_range(len, first).start;
        // What is in it is overwritten.
        bytes.resize((piece_range(len, last).end - start) as usize, 0);
        let mut good = Vec::new();
        read_run(&found, first, bytes, &mut good);
        let mut damaged = Vec::new();
        for (index, _) in (first..).zip(&good).filter(|(_, good)| !**good) {
            let piece = piece_range(len, index);
            bytes[(piece.start - start) as usize..(piece.end - start) as usize].fill(0);
            join(&mut damaged, piece.start.max(range.start)..piece.end.min(range.end));
        }
        bytes.truncate((range.end - start) as usize);
        bytes.drain(..(range.start - start) as usize);
        Ok(damaged)
    }

    /// All pieces of the records `keys`, in the order they lie on the disk, with
    /// about 1 MiB of memory whatever their number.
    #[must_use]
    pub fn read_pieces(&self, keys: &[Key]) -> PieceStream {
        PieceStream::new(self, keys)
    }

    /// Reads and verifies records from `from` on, about `budget` bytes of them.
    #[must_use]
    pub fn scrub(&self, from: Sequence, budget: u64) -> Scrub {
        let mut out = Scrub::default();
        let mut at = from;
        loop {
            let record = self.shared.read().in_order(at..Sequence(u64::MAX)).next().copied();
            let Some(record) = record else { return out };
            if out.bytes >= budget.max(1) {
                out.next = Some(record.sequence);
                return out;
            }
            at = record.sequence.next();
            let mut ranges = Vec::new();
            let mut stream = self.read_pieces(&[record.key]);
            while let Some(piece) = stream.next() {
                if piece.bytes.is_none() {
                    join(&mut ranges, piece.offset..piece.offset + piece.len);
                }
            }
            // An empty record costs a step too, or a million of them would be one step.
            out.bytes += record.len.max(1);
            if !ranges.is_empty() {
                out.damaged.push((record.key, ranges));
            }
        }
    }
}

/// Appends `range`, melting it with the one before where they touch.
pub(crate) fn join(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        Some(_) | None => ranges.push(range),
    }
}

/// Reads consecutive pieces from `first` on into `buf`, which is exactly as long
/// as they are, and says of each whether its bytes are those written.
pub(crate) fn read_run(found: &Found, first: u32, buf: &mut [u8], good: &mut Vec<bool>) {
    let record = &found.record;
    let count = buf.len().div_ceil(PIECE_LEN as usize);
    debug_assert!(first as usize + count <= pieces(record.len) as usize);
    good.clear();
    let Some(file) = &found.file else {
        good.resize(count, false);
        return;
    };
    let mut table = vec![0; 4 * count];
    let table_from = record.offset + table_at(record.len) + 4 * u64::from(first);
    let table_len = read_or_nothing(file.as_ref(), table_from, &mut table);
    let from = record.offset + u64::from(first) * PIECE_LEN;
    // One bad sector fails the whole call: then each piece is asked for by itself.
    let whole = matches!(file.read_at(from, buf), Ok(n) if n == buf.len());
    for (i, piece) in buf.chunks_mut(PIECE_LEN as usize).enumerate() {
        let at = from + i as u64 * PIECE_LEN;
        let there = whole || read_or_nothing(file.as_ref(), at, piece) == piece.len();
        let index = first + i as u32;
        // A checksum that is not there must not pass for a zero that happens to fit.
        let summed = 4 * (i + 1) <= table_len;
        good.push(there && summed && PieceSum::of(&record.key, record.len, index, piece) == u32_at(&table, 4 * i));
    }
}

fn read_or_nothing(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> usize {
    file.read_at(offset, buf).unwrap_or(0)
}
