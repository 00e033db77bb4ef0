//! Walks the pieces of many records in the order they lie on the disk.
//!
//! What a fold needs: one sequential pass, bounded memory, and damage that
//! costs a piece and not the pass.

use crate::direct::DirectBuffer;
use crate::format::{PIECE_LEN, piece_range, pieces};
use crate::key::Key;
use crate::reader::{Found, RUN_PIECES, Reader, read_run_direct};

/// One piece of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The record.
    pub key: Key,
    /// Which piece of it, from 0.
    pub index: u32,
    /// Where it starts in the payload.
    pub offset: u64,
    /// Its length: [`PIECE_LEN`], less for the last.
    pub len: u64,
    /// The verified bytes, or `None` where they are damaged.
    pub bytes: Option<&'a [u8]>,
}

/// The pieces of a set of records in physical order. See
/// [`Reader::read_pieces`](crate::Reader::read_pieces).
#[derive(Debug)]
pub struct PieceStream {
    /// Sorted so that the next one is last.
    todo: Vec<Found>,
    missing: Vec<Key>,
    current: Option<Found>,
    run: DirectBuffer,
    good: Vec<bool>,
    /// The first piece in `run`, and the one to hand out next.
    run_first: u32,
    at: u32,
}

impl PieceStream {
    pub(crate) fn new(reader: &Reader, keys: &[Key]) -> Self {
        let mut missing = Vec::new();
        let mut todo = Vec::with_capacity(keys.len());
        for key in keys {
            match reader.find(key) {
                Some(found) => todo.push(found),
                None => missing.push(*key),
            }
        }
        todo.sort_by_key(|found| std::cmp::Reverse((found.record.file, found.record.offset)));
        todo.dedup_by_key(|found| found.record.key);
        Self { missing, ..Self::over(todo) }
    }

    pub(crate) fn of(found: Found) -> Self {
        Self::over(vec![found])
    }

    fn over(todo: Vec<Found>) -> Self {
        Self {
            todo,
            missing: Vec::new(),
            current: None,
            run: DirectBuffer::default(),
            good: Vec::new(),
            run_first: 0,
            at: 0,
        }
    }

    /// Keys that no committed record has.
    #[must_use]
    pub fn missing(&self) -> &[Key] {
        &self.missing
    }

    /// The next piece, or `None` after the last. An empty record has no piece.
    ///
    /// Not an [`Iterator`]: the bytes are lent until the next call.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Piece<'_>> {
        while self.current.as_ref().is_none_or(|found| self.at == pieces(found.record.len)) {
            self.current = Some(self.todo.pop()?);
            (self.run_first, self.at) = (0, 0);
            self.good.clear();
        }
        let found = self.current.as_ref()?;
        let len = found.record.len;
        if self.at as usize == self.run_first as usize + self.good.len() {
            let end = pieces(len).min(self.at + RUN_PIECES);
            let bytes = piece_range(len, end - 1).end - piece_range(len, self.at).start;
            self.run_first = self.at;
            self.good = read_run_direct(found, self.at, bytes, &mut self.run);
            self.run.ask(0..bytes as usize);
        }
        let index = self.at;
        self.at += 1;
        let in_run = (index - self.run_first) as usize;
        let range = piece_range(len, index);
        let from = in_run * PIECE_LEN as usize;
        let bytes = self.good[in_run].then(|| &self.run.bytes()[from..from + (range.end - range.start) as usize]);
        Some(Piece { key: found.record.key, index, offset: range.start, len: range.end - range.start, bytes })
    }
}
