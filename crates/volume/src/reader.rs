//! Reads records, verifies every piece, names what is damaged.
//!
//! A [`Reader`] is cheap to clone and belongs in every thread of a pool. It
//! holds the index's lock only to look a record up, never while it reads. A file
//! that compaction removes meanwhile goes on serving the handle already held.

use std::ops::Range;
use std::sync::Arc;

use crate::direct::{DirectBuffer, LARGE};
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

/// Pieces read with one call where order allows: as many as fit a huge page, with the checksums behind them.
pub(crate) const RUN_PIECES: u32 = 16;

/// What is best read with one [`Reader::read_direct`]: near 2 MiB.
pub const RUN_LEN: u64 = RUN_PIECES as u64 * PIECE_LEN;

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
    /// Whether whoever reads all of it reads it past the cache. Not from the file that new records go to: ext4 holds a
    /// file's lock for as long as such a read takes, and writers wait. (In an older one they are those who began before
    /// it was full.) And not a small record: the kernel reads many of them ahead with one call.
    direct: bool,
}

/// The pieces that a range of a record touches.
struct Span {
    found: Found,
    asked: Range<u64>,
    first: u32,
}

impl Span {
    /// Where the first piece starts.
    fn start(&self) -> u64 {
        u64::from(self.first) * PIECE_LEN
    }

    /// Bytes of all of them.
    fn len(&self) -> u64 {
        let Range { start, end } = self.asked;
        if start == end { 0 } else { self.found.record.len.min(end.next_multiple_of(PIECE_LEN)) - self.start() }
    }

    /// Where in the pieces the bytes are that were asked for.
    fn asked(&self) -> Range<usize> {
        if self.len() == 0 {
            return 0..0;
        }
        (self.asked.start - self.start()) as usize..(self.asked.end - self.start()) as usize
    }

    /// Zeros for pieces that are not `good`. Says where that is, of what was asked for.
    fn blank(&self, good: &[bool], bytes: &mut [u8]) -> Vec<Range<u64>> {
        let mut damaged = Vec::new();
        for (index, _) in (self.first..).zip(good).filter(|(_, good)| !**good) {
            let piece = piece_range(self.found.record.len, index);
            bytes[(piece.start - self.start()) as usize..(piece.end - self.start()) as usize].fill(0);
            join(&mut damaged, piece.start.max(self.asked.start)..piece.end.min(self.asked.end));
        }
        damaged
    }
}

impl Reader {
    pub(crate) fn find(&self, key: &Key) -> Option<Found> {
        let index = self.shared.read();
        let record = *index.get(key)?;
        let file = index.files.get(&record.file).cloned();
        let direct = record.len >= LARGE as u64
            && index.files.range(record.file + 1..).next().is_some()
            && file.as_ref().is_some_and(|file| file.reads_directly());
        Some(Found { record, file, direct })
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

    /// Says that bytes `range` of a record will be read soon with [`Reader::read_direct`], so that the disk may fetch what
    /// of it goes through memory. Nothing is promised, and a record that is not there is none the worse for it.
    pub fn will_read(&self, key: &Key, range: Range<u64>) {
        let Some(Found { record, file: Some(file), direct }) = self.find(key) else { return };
        let (start, end) = (range.start.min(record.len), range.end.min(record.len));
        if !direct {
            file.will_need(record.offset + start, end.saturating_sub(start));
        }
        // Whoever reads a record from its start needs its checksums too, which lie behind it.
        if start == 0 && (!direct || pieces(record.len) > RUN_PIECES) {
            file.will_need(record.offset + table_at(record.len), 4 * u64::from(pieces(record.len)));
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
        let span = self.span(key, range)?;
        // What is in it is overwritten.
        bytes.resize(span.len() as usize, 0);
        let good = read_run(&span.found, span.first, bytes);
        let damaged = span.blank(&good, bytes);
        let asked = span.asked();
        bytes.truncate(asked.end);
        bytes.drain(..asked.start);
        Ok(damaged)
    }

    /// As [`Reader::read_into`], from the disk itself and past what memory still has of it: cheaper for whoever reads much
    /// once, and what others have in the cache stays there. Small records, those in the file that is being written, and
    /// what the disk cannot give so go through the cache all the same.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_direct(
        &self,
        key: &Key,
        range: Range<u64>,
        buffer: &mut DirectBuffer,
    ) -> Result<Vec<Range<u64>>, VolumeError> {
        let span = self.span(key, range)?;
        let good = read_run_direct(&span.found, span.first, span.len(), buffer);
        let damaged = span.blank(&good, buffer.pages(span.len()));
        buffer.ask(span.asked());
        Ok(damaged)
    }

    fn span(&self, key: &Key, asked: Range<u64>) -> Result<Span, VolumeError> {
        let found = self.find(key).ok_or(VolumeError::NotFound { key: *key })?;
        let len = found.record.len;
        if asked.start > asked.end || asked.end > len || asked.end - asked.start > READ_LEN_MAX {
            return Err(VolumeError::OutOfRange { key: *key, range: asked, len, max: READ_LEN_MAX });
        }
        let first = (asked.start / PIECE_LEN) as u32;
        Ok(Span { found, asked, first })
    }

    /// All pieces of the records `keys`, in the order they lie on the disk, with
    /// about 2 MiB of memory whatever their number.
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
fn read_run(found: &Found, first: u32, buf: &mut [u8]) -> Vec<bool> {
    let run = Run::of(found, first, buf.len() as u64);
    let Some(file) = run.file else { return vec![false; run.count] };
    let sums = run.sums(file);
    run.check(file, buf, 0, &sums)
}

/// As [`read_run`], for `len` bytes and past the cache, into the buffer's start.
pub(crate) fn read_run_direct(found: &Found, first: u32, len: u64, buffer: &mut DirectBuffer) -> Vec<bool> {
    let run = Run::of(found, first, len);
    let Some(file) = run.file.filter(|_| len > 0) else {
        buffer.pages(len);
        return vec![false; run.count];
    };
    // A record that is one run is read with the checksums behind it.
    let alone = len == run.record.len && run.count <= RUN_PIECES as usize;
    let pages = buffer.pages(if alone { run.record.extent() } else { len });
    let there = if found.direct { file.read_direct_at(run.at(0), pages).unwrap_or(0) } else { 0 };
    let sums = if alone && there == pages.len() {
        let table = table_at(len) as usize;
        pages[table..table + 4 * run.count].to_vec()
    } else {
        run.sums(file)
    };
    run.check(file, &mut pages[..len as usize], there, &sums)
}

/// Consecutive pieces of one record.
struct Run<'a> {
    record: &'a Record,
    file: Option<&'a dyn DiskFile>,
    first: u32,
    count: usize,
}

impl<'a> Run<'a> {
    /// Those that `len` bytes are.
    fn of(found: &'a Found, first: u32, len: u64) -> Self {
        let count = len.div_ceil(PIECE_LEN) as usize;
        debug_assert!(first as usize + count <= pieces(found.record.len) as usize);
        Self { record: &found.record, file: found.file.as_deref(), first, count }
    }

    /// Where in the file piece `i` of them starts.
    fn at(&self, i: usize) -> u64 {
        self.record.offset + (u64::from(self.first) + i as u64) * PIECE_LEN
    }

    /// Their checksums, four bytes each: as many as could be read.
    fn sums(&self, file: &dyn DiskFile) -> Vec<u8> {
        let mut sums = vec![0; 4 * self.count];
        let from = self.record.offset + table_at(self.record.len) + 4 * u64::from(self.first);
        let there = file.read_at(from, &mut sums).unwrap_or(0);
        sums.truncate(there);
        sums
    }

    /// Of which pieces `bytes` are what was written. What is not yet `there` of them is read first.
    fn check(&self, file: &dyn DiskFile, bytes: &mut [u8], there: usize, sums: &[u8]) -> Vec<bool> {
        let read = |at, into: &mut [u8]| matches!(file.read_at(at, into), Ok(n) if n == into.len());
        // One bad sector fails the whole call: then each piece is asked for by itself.
        let whole = there >= bytes.len() || read(self.at(0), bytes);
        let good = |(i, piece): (usize, &mut [u8])| {
            let there = whole || read(self.at(i), piece);
            // A checksum that is not there must not pass for a zero that happens to fit.
            let summed = 4 * (i + 1) <= sums.len();
            let sum = |piece| PieceSum::of(&self.record.key, self.record.len, self.first + i as u32, piece);
            there && summed && sum(piece) == u32_at(sums, 4 * i)
        };
        bytes.chunks_mut(PIECE_LEN as usize).enumerate().map(good).collect()
    }
}
