//! Memory that a disk can write into by itself.
//!
//! A disk that writes into memory is told of every stretch of it that lies together. A MiB of ordinary pages is 256 of
//! them; in a huge page it is one, and a fast disk behind a hypervisor reads half as fast again
//! (`docs/profile.md`, "A full fold").

use std::ops::Range;

use memmap2::MmapMut;

use crate::format::PAGE;

/// What a huge page has on x86-64, and on aarch64 with pages of 4 KiB. Where it is more, it does not come to one.
const HUGE: usize = 2 << 20;
/// From here on a huge page is worth being cleared, and a read past the cache worth its calls.
pub(crate) const LARGE: usize = HUGE / 4;

/// Where [`Reader::read_direct`](crate::Reader::read_direct) reads to: a buffer kept from one read to the next, which
/// starts on a page where that matters, and the part of it that was asked for.
#[derive(Debug, Default)]
pub struct DirectBuffer {
    memory: Memory,
    /// Where in it the pages start, and how many bytes they are.
    start: usize,
    room: usize,
    asked: Range<usize>,
}

#[derive(Debug)]
enum Memory {
    Mapped(MmapMut),
    /// The kernel has no mapping left for us.
    Heap(Vec<u8>),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Memory {
    fn of(len: usize) -> Self {
        MmapMut::map_anon(len).map_or_else(|_| Self::Heap(vec![0; len]), Self::Mapped)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(heap) => heap,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(heap) => heap,
        }
    }
}

impl DirectBuffer {
    /// The bytes last read; those of damaged ranges are zero. Empty before the first read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[self.start..][self.asked.clone()]
    }

    /// Whole pages for at least `len` bytes, with whatever was in them.
    pub(crate) fn pages(&mut self, len: u64) -> &mut [u8] {
        let len = len.next_multiple_of(PAGE) as usize;
        if len > self.room {
            *self = Self::of(len);
        }
        self.asked = 0..0;
        &mut self.memory.bytes_mut()[self.start..self.start + len]
    }

    /// Says which of the pages' bytes were asked for.
    pub(crate) fn ask(&mut self, range: Range<usize>) {
        self.asked = range;
    }

    fn of(len: usize) -> Self {
        if len < LARGE {
            // Nothing of this length is read past the cache.
            return Self { memory: Memory::Heap(vec![0; len]), start: 0, room: len, asked: 0..0 };
        }
        let room = len.next_multiple_of(HUGE);
        // What is not touched of it takes no memory.
        let memory = Memory::of(room + HUGE);
        let start = memory.bytes().as_ptr().align_offset(HUGE);
        #[cfg(target_os = "linux")]
        if let Memory::Mapped(map) = &memory {
            // A kernel that has none gives ordinary ones, and the disk is slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Self { memory, start, room, asked: 0..0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_start_where_they_must_whatever_was_there_before() {
        let mut buffer = DirectBuffer::default();
        assert!(buffer.bytes().is_empty());
        let large = LARGE as u64;
        for len in [0, 1, PAGE - 1, PAGE, large - PAGE, large, 0, 5, 2 * HUGE as u64 + 1, PAGE] {
            let pages = buffer.pages(len);
            assert_eq!(pages.len() as u64, len.next_multiple_of(PAGE));
            assert!(pages.len() < LARGE || (pages.as_ptr() as usize).is_multiple_of(HUGE), "{len}");
            pages.fill(len as u8);
            assert!(buffer.bytes().is_empty());
            buffer.ask(0..len as usize);
            assert_eq!(buffer.bytes(), vec![len as u8; len as usize]);
        }
    }

    #[test]
    fn without_a_mapping_the_heap_serves_as_well() {
        let memory = Memory::Heap(vec![0; 3 * PAGE as usize]);
        let start = memory.bytes().as_ptr().align_offset(PAGE as usize);
        let mut buffer = DirectBuffer { memory, start, room: 2 * PAGE as usize, asked: 0..0 };
        let pages = buffer.pages(PAGE + 1);
        assert!((pages.as_ptr() as usize).is_multiple_of(PAGE as usize));
        pages.fill(7);
        buffer.ask(1..5000);
        assert_eq!(buffer.bytes(), [7; 4999]);
    }
}
