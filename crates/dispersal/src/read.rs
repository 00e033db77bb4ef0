//! Reads a range of a segment from whichever shards are at hand. [`ReadPlan`] decides what to fetch;
//! [`SegmentRead`] takes the bytes, unmasks them, and gives the range in order.
//!
//! While the data shards that hold the range are there, only they are touched and nothing is
//! decoded. For the bytes of a data shard that is not, the same bytes of any k shards are fetched.
//! Memory: what is fetched, and one strip. Whoever feeds the bytes verified them against the
//! shards' names before: a decoder cannot tell which of its k sources lies.

use std::collections::BTreeMap;

use holdfast_types::{ByteRange, ShardIndex};

use crate::{
    geometry::{Geometry, PartRange, SegmentError, span},
    mask::Masks,
    ranges::RangeSet,
    rows::Rows,
};

/// Bytes that are rebuilt, and given to a sink, at once.
pub const STRIP_LEN: usize = 1 << 20;

/// Bytes of one shard to fetch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fetch {
    /// Of which shard.
    pub shard: ShardIndex,
    /// Which of its bytes.
    pub range: ByteRange,
}

/// What to fetch for a range of a segment, and how to put it together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadPlan {
    geometry: Geometry,
    range: ByteRange,
    pieces: Vec<PartRange>,
    missing: Vec<ShardIndex>,
    sources: Vec<ShardIndex>,
    fetches: Vec<Fetch>,
}

impl ReadPlan {
    /// Plans a read of `range` (bytes of the segment). `available` lists the shards that can be
    /// read, the preferred ones first; a shard listed twice counts once.
    ///
    /// # Errors
    /// [`SegmentError::TooFewShards`] when the range needs a decode and fewer than k are available.
    pub fn new(geometry: Geometry, range: ByteRange, available: &[ShardIndex]) -> Result<Self, SegmentError> {
        let pieces = geometry.locate(range)?;
        let mut usable: Vec<ShardIndex> = Vec::with_capacity(available.len());
        for index in available {
            if !usable.contains(&geometry.shard(*index)?) {
                usable.push(*index);
            }
        }
        let (direct, lost): (Vec<PartRange>, Vec<PartRange>) =
            pieces.iter().copied().partition(|piece| usable.contains(&piece.shard));
        let sources = if lost.is_empty() { Vec::new() } else { choose_sources(geometry, &direct, &usable)? };

        let mut wanted: BTreeMap<ShardIndex, RangeSet> = BTreeMap::new();
        for piece in &direct {
            wanted.entry(piece.shard).or_default().insert(piece.in_shard);
        }
        for source in &sources {
            lost.iter().for_each(|piece| wanted.entry(*source).or_default().insert(piece.in_shard));
        }
        let fetches = wanted.iter().flat_map(|(shard, set)| set.iter().map(|range| Fetch { shard: *shard, range }));
        let fetches = fetches.collect();
        let missing = lost.iter().map(|piece| piece.shard).collect();
        Ok(Self { geometry, range, pieces, missing, sources, fetches })
    }

    /// What to fetch: sorted, disjoint, nothing else is touched.
    pub fn fetches(&self) -> &[Fetch] {
        &self.fetches
    }

    /// The data shards of the range that are not available: their bytes are decoded.
    pub fn missing(&self) -> &[ShardIndex] {
        &self.missing
    }

    /// The range of the segment.
    pub const fn range(&self) -> ByteRange {
        self.range
    }
}

/// Shards that are read anyway cost nothing more as a source.
fn choose_sources(
    geometry: Geometry,
    direct: &[PartRange],
    usable: &[ShardIndex],
) -> Result<Vec<ShardIndex>, SegmentError> {
    let needed = geometry.code().data();
    if usable.len() < usize::from(needed) {
        return Err(SegmentError::TooFewShards { found: usable.len() as u16, needed });
    }
    let read_anyway = |index: &&ShardIndex| direct.iter().any(|piece| piece.shard == **index);
    let (first, then): (Vec<&ShardIndex>, Vec<&ShardIndex>) = usable.iter().partition(read_anyway);
    Ok(first.into_iter().chain(then).take(usize::from(needed)).copied().collect())
}

/// A read in progress: fetched bytes, unmasked.
#[derive(Debug)]
pub struct SegmentRead {
    plan: ReadPlan,
    masks: Masks,
    held: BTreeMap<ShardIndex, Held>,
}

/// Bytes of one shard, from `start` on; those in `have` are real.
#[derive(Debug, Default)]
struct Held {
    start: u64,
    bytes: Vec<u8>,
    have: RangeSet,
}

impl Held {
    fn cover(&mut self, hull: ByteRange) {
        if self.bytes.is_empty() {
            self.start = hull.start();
        }
        if hull.start() < self.start {
            let before = (self.start - hull.start()) as usize;
            self.bytes.splice(0..0, std::iter::repeat_n(0, before));
            self.start = hull.start();
        }
        let len = (hull.end() - self.start) as usize;
        self.bytes.resize(len.max(self.bytes.len()), 0);
    }

    fn slice(&self, range: ByteRange) -> Option<&[u8]> {
        let from = range.start().checked_sub(self.start)? as usize;
        let inside = || self.bytes.get(from..from + range.len() as usize);
        if self.have.contains(range) { inside() } else { None }
    }
}

impl SegmentRead {
    /// Starts a read; `masks` are those of the plan's segment.
    pub fn new(plan: ReadPlan, masks: Masks) -> Self {
        Self { plan, masks, held: BTreeMap::new() }
    }

    /// All that is to be fetched of a shard, from the first byte to the last.
    fn hull(&self, shard: ShardIndex) -> Option<ByteRange> {
        let mut ranges = self.plan.fetches.iter().filter(|fetch| fetch.shard == shard).map(|fetch| fetch.range);
        let first = ranges.next()?;
        let (start, end) = ranges
            .fold((first.start(), first.end()), |(start, end), range| (start.min(range.start()), end.max(range.end())));
        ByteRange::new(start, end)
    }

    /// Takes verified, masked bytes of `shard` that start at `offset` of it, in any order.
    pub fn absorb(&mut self, shard: ShardIndex, offset: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let len = bytes.len() as u64;
        let Some(range) = ByteRange::at(offset, len) else {
            return Err(SegmentError::Unasked { expected: self.expectation(), shard, range: ByteRange::first(len) });
        };
        let asked = self.plan.fetches.iter().any(|fetch| fetch.shard == shard && fetch.range.contains(range));
        let Some(hull) = self.hull(shard).filter(|_| asked) else {
            return Err(SegmentError::Unasked { expected: self.expectation(), shard, range });
        };
        let held = self.held.entry(shard).or_default();
        held.cover(hull);
        let from = (offset - held.start) as usize;
        let place = &mut held.bytes[from..from + bytes.len()];
        place.copy_from_slice(bytes);
        self.masks.apply(shard, offset, place);
        held.have.insert(range);
        Ok(())
    }

    /// As [`SegmentRead::absorb`] of bytes that are unmasked already: all that was asked of the shard from `offset` on, and
    /// perhaps more. They are kept where they are, if nothing else of the shard came before.
    pub fn absorb_unmasked(&mut self, shard: ShardIndex, offset: u64, bytes: Vec<u8>) -> Result<(), SegmentError> {
        let len = bytes.len() as u64;
        let range = ByteRange::at(offset, len)
            .filter(|range| self.plan.fetches.iter().any(|fetch| fetch.shard == shard && range.contains(fetch.range)));
        let Some(range) = range else {
            return Err(SegmentError::Unasked { expected: self.expectation(), shard, range: ByteRange::first(len) });
        };
        let held = self.held.entry(shard).or_default();
        if held.bytes.is_empty() {
            (held.start, held.bytes) = (offset, bytes);
        } else {
            held.cover(range);
            let from = (offset - held.start) as usize;
            held.bytes[from..from + bytes.len()].copy_from_slice(&bytes);
        }
        held.have.insert(range);
        Ok(())
    }

    fn expectation(&self) -> String {
        match self.wanted().first() {
            Some(next) => format!("bytes {} of shard {} next", next.range, next.shard),
            None => "nothing more".to_owned(),
        }
    }

    /// What is still to come; empty when the range can be read.
    pub fn wanted(&self) -> Vec<Fetch> {
        let left = |fetch: &Fetch| {
            let held = self.held.get(&fetch.shard).map(|held| held.have.missing_from(fetch.range));
            let shard = fetch.shard;
            held.unwrap_or_else(|| vec![fetch.range]).into_iter().map(move |range| Fetch { shard, range })
        };
        self.plan.fetches.iter().flat_map(left).collect()
    }

    /// Plans anew when shards failed or came up: keeps what has come, and returns what is to be
    /// fetched now. `available` lists what can be read *or has come whole*, best of all first what has
    /// come; a shard that lied is left out and its bytes are forgotten.
    pub fn replan(&mut self, available: &[ShardIndex]) -> Result<Vec<Fetch>, SegmentError> {
        self.plan = ReadPlan::new(self.plan.geometry, self.plan.range, available)?;
        self.held.retain(|shard, _| available.contains(shard));
        Ok(self.wanted())
    }

    /// What is fetched and how it fits together.
    pub const fn plan(&self) -> &ReadPlan {
        &self.plan
    }

    /// Gives the range to `sink`, in order, in slices of at most [`STRIP_LEN`] bytes.
    pub fn read(&self, mut sink: impl FnMut(&[u8])) -> Result<(), SegmentError> {
        let mut strip = Vec::new();
        for piece in &self.plan.pieces {
            if !self.plan.missing.contains(&piece.shard) {
                self.bytes(piece.shard, piece.in_shard)?.chunks(STRIP_LEN).for_each(&mut sink);
                continue;
            }
            let rows = Rows::rebuild(self.plan.geometry.code(), &self.plan.sources, &[piece.shard]);
            for start in (piece.in_shard.start()..piece.in_shard.end()).step_by(STRIP_LEN) {
                let range = span(start, (piece.in_shard.end() - start).min(STRIP_LEN as u64));
                let sources: Result<Vec<&[u8]>, _> =
                    self.plan.sources.iter().map(|source| self.bytes(*source, range)).collect();
                strip.resize(range.len() as usize, 0);
                rows.apply(&sources?, &mut [&mut strip]);
                sink(&strip);
            }
        }
        Ok(())
    }

    /// The buffers of all that was taken, for other bytes.
    pub fn into_buffers(self) -> impl Iterator<Item = Vec<u8>> {
        self.held.into_values().map(|held| held.bytes)
    }

    /// [`SegmentRead::read`] into one buffer.
    pub fn to_vec(&self) -> Result<Vec<u8>, SegmentError> {
        let mut out = Vec::with_capacity(self.plan.range.len() as usize);
        self.read(|bytes| out.extend_from_slice(bytes))?;
        Ok(out)
    }

    fn bytes(&self, shard: ShardIndex, range: ByteRange) -> Result<&[u8], SegmentError> {
        let held = self.held.get(&shard).and_then(|held| held.slice(range));
        held.ok_or(SegmentError::Unfed { shard, range })
    }
}
