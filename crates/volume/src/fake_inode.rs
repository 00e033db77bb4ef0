//! One file of the [`FakeDisk`](crate::FakeDisk): what a reader sees, and what
//! the disk holds of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What survives a crash or does not, as one.
pub(crate) const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

#[derive(Clone, Debug, Default)]
pub(crate) struct Inode {
    pub(crate) bytes: Vec<u8>,
    pub(crate) durable_len: usize,
    /// What the disk holds of sectors written since the last sync.
    pub(crate) unsynced: BTreeMap<usize, Sector>,
    /// What it holds of sectors that a failed sync dropped: no later sync, only
    /// a later write, brings them down.
    pub(crate) dropped: BTreeMap<usize, Sector>,
    pub(crate) unreadable: BTreeSet<usize>,
    pub(crate) direct_reads: u64,
    /// Shared with every open handle: an unnamed file lives as long as one does.
    pub(crate) held: Arc<()>,
}

impl Inode {
    fn sector(&self, index: usize) -> Sector {
        let mut out = [0; SECTOR];
        let from = (index * SECTOR).min(self.bytes.len());
        let to = (from + SECTOR).min(self.bytes.len());
        out[..to - from].copy_from_slice(&self.bytes[from..to]);
        out
    }

    fn touch(&mut self, sectors: std::ops::Range<usize>) {
        for index in sectors {
            if !self.unsynced.contains_key(&index) {
                let held = self.dropped.remove(&index).unwrap_or_else(|| self.sector(index));
                self.unsynced.insert(index, held);
            }
        }
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        // A write past the end also makes the gap's sectors anew.
        self.touch(offset.min(self.bytes.len()) / SECTOR..end.div_ceil(SECTOR));
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        let (low, high) = (len.min(self.bytes.len()), len.max(self.bytes.len()));
        self.touch(low / SECTOR..high.div_ceil(SECTOR));
        self.bytes.resize(len, 0);
    }

    /// The file as a crash leaves it.
    pub(crate) fn crash(&self, chance: &mut Chance) -> Self {
        let mode = chance.below(4);
        let sectors = self.unsynced.len() as u64;
        let kept = match mode {
            0 => 0,
            1 => sectors,
            2 | 3 => chance.below(sectors + 1),
            _ => unreachable!("below(4)"),
        };
        let mut bytes = self.bytes.clone();
        let full = self.bytes.len().max(self.durable_len).next_multiple_of(SECTOR);
        bytes.resize(full.max(SECTOR), 0);
        for (i, (index, held)) in (0u64..).zip(&self.unsynced) {
            let survives = if mode == 3 { chance.below(2) == 1 } else { i < kept };
            if !survives {
                restore(&mut bytes, *index, held);
            }
        }
        for (index, held) in &self.dropped {
            restore(&mut bytes, *index, held);
        }
        let (low, high) = (self.durable_len.min(self.bytes.len()), self.durable_len.max(self.bytes.len()));
        let len = match mode {
            0 => self.durable_len,
            1 => self.bytes.len(),
            _ => match chance.below(3) {
                0 => low,
                1 => high,
                _ => low + chance.below((high - low) as u64 + 1) as usize,
            },
        };
        bytes.resize(len, 0);
        Self { durable_len: len, bytes, unreadable: self.unreadable.clone(), ..Self::default() }
    }
}

fn restore(bytes: &mut Vec<u8>, index: usize, held: &Sector) {
    let (from, to) = (index * SECTOR, (index + 1) * SECTOR);
    if bytes.len() < to {
        bytes.resize(to, 0);
    }
    bytes[from..to].copy_from_slice(held);
}

/// SplitMix64: enough chance to tear with, and the same everywhere.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}
