//! A plain model of what a volume promises, and scripts to hold it against.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use holdfast_volume::{
    DirectBuffer, FakeDisk, Identity, Key, Namespace, OpenReport, Options, Read, Sequence, Volume, VolumeError,
};

pub(crate) const KIND: u8 = 3;
pub(crate) const OWNER: Namespace = Namespace([9; 32]);
pub(crate) const FRESH: Identity = Identity { volume: [0xA1; 16], incarnation: [0xB2; 16] };

/// Small files, so that scripts cross their borders.
pub(crate) fn options() -> Options {
    Options { file_len_max: 512 << 10, free_floor: 0, reserve: 8 << 10, journal_slack: 8, ..Options::default() }
}

pub(crate) fn open(disk: &FakeDisk) -> Result<(Volume, OpenReport), VolumeError> {
    Volume::open(disk.handle(), options(), FRESH)
}

pub(crate) fn key(n: u8) -> Key {
    Key { kind: KIND, id: [n; 32] }
}

/// What record `n` holds when written with `salt`: never zeros, never periodic
/// in a page or a piece.
pub(crate) fn content(n: u8, salt: u32, len: usize) -> Vec<u8> {
    let mut x = (u64::from(n) << 32 | u64::from(salt)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8 | 1
        })
        .collect()
}

/// Both ways to read, which must agree; into a buffer that the last read left full.
pub(crate) fn read(volume: &Volume, key: &Key, range: Range<u64>) -> Result<Read, VolumeError> {
    thread_local!(static BUFFER: RefCell<DirectBuffer> = RefCell::default());
    let read = volume.read(key, range.clone());
    BUFFER.with_borrow_mut(|buffer| match (&read, volume.reader().read_direct(key, range, buffer)) {
        (Ok(read), Ok(damaged)) => assert!(read.bytes == buffer.bytes() && read.damaged == damaged),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        (one, other) => panic!("{one:?} through the cache, {other:?} past it"),
    });
    read
}

pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// By stream, in uneven steps.
    Put {
        n: u8,
        salt: u32,
        len: usize,
    },
    Small {
        n: u8,
        salt: u32,
        len: usize,
    },
    Replace {
        n: u8,
        salt: u32,
        len: usize,
    },
    Delete {
        n: u8,
    },
    Meta {
        key: u8,
        salt: u32,
        len: usize,
    },
    /// Reserves, writes half, and lets go.
    Abandon {
        n: u8,
        len: usize,
    },
    Compact,
    Commit,
}

/// A script that ends with everything committed.
pub(crate) fn script(seed: u64, steps: usize) -> Vec<Op> {
    let mut rng = Rng(seed);
    let mut ops: Vec<Op> = (0..steps)
        .map(|step| {
            let (n, salt) = (rng.below(8) as u8, step as u32);
            let len = match rng.below(4) {
                0 => rng.below(4000) as usize,
                1 => rng.below(20_000) as usize,
                2 => rng.below(130_000) as usize,
                _ => [0, 1, 3964, 4096, 126_976, 126_977, 260_000][rng.below(7) as usize],
            };
            match rng.below(20) {
                0..=4 => Op::Put { n, salt, len },
                5 | 6 => Op::Small { n, salt, len: len % 5000 },
                7 | 8 => Op::Replace { n, salt, len },
                9..=11 => Op::Delete { n },
                12 => Op::Meta { key: n % 3, salt, len: len % 1025 },
                13 => Op::Abandon { n, len },
                14 | 15 => Op::Compact,
                _ => Op::Commit,
            }
        })
        .collect();
    ops.push(Op::Commit);
    ops
}

/// A script that makes little but history, so that the journal is rewritten.
pub(crate) fn rewriting_script() -> Vec<Op> {
    let mut ops = vec![Op::Meta { key: 1, salt: 1, len: 500 }];
    for round in 0..30u32 {
        ops.push(Op::Replace { n: (round % 5) as u8, salt: round, len: 100 });
        ops.push(Op::Commit);
        if round % 10 == 9 {
            ops.extend([Op::Compact, Op::Commit]);
        }
    }
    ops
}

/// A value, or that there is none.
pub(crate) type State = Option<(u32, usize)>;

/// What was acknowledged, and what a crash may also leave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) acknowledged: BTreeMap<u8, (u32, usize)>,
    pub(crate) sequences: BTreeMap<u8, Sequence>,
    pub(crate) meta: BTreeMap<u8, (u32, usize)>,
    /// Since the last commit, in order.
    pending: Vec<(u8, State)>,
    pending_meta: Vec<(u8, (u32, usize))>,
    /// Whether a commit has begun that was not acknowledged.
    committing: bool,
}

impl Model {
    fn will_be(&self, n: u8) -> State {
        let pending = self.pending.iter().rev().find(|(m, _)| *m == n).map(|(_, state)| *state);
        pending.unwrap_or_else(|| self.acknowledged.get(&n).copied())
    }

    pub(crate) fn allowed(&self, n: u8) -> BTreeSet<State> {
        let mut out = BTreeSet::from([self.acknowledged.get(&n).copied()]);
        if self.committing {
            out.extend(self.pending.iter().filter(|(m, _)| *m == n).map(|(_, state)| *state));
        }
        out
    }

    fn allowed_meta(&self, key: u8) -> BTreeSet<State> {
        let mut out = BTreeSet::from([self.meta.get(&key).copied()]);
        if self.committing {
            out.extend(self.pending_meta.iter().filter(|(k, _)| *k == key).map(|(_, v)| Some(*v)));
        }
        out
    }

    /// Does `op` to the volume and, where the volume took it, to the model.
    pub(crate) fn apply(&mut self, volume: &mut Volume, op: &Op) -> Result<(), VolumeError> {
        match *op {
            Op::Put { n, salt, len } => {
                if self.will_be(n).is_some() {
                    let refused = volume.reserve(OWNER, key(n), len as u64);
                    assert!(
                        matches!(
                            refused,
                            Err(VolumeError::Exists { .. }
                                | VolumeError::Pending { .. }
                                | VolumeError::ReadOnly { .. })
                        ),
                        "{refused:?}"
                    );
                    return Ok(());
                }
                let mut reservation = volume.reserve(OWNER, key(n), len as u64)?;
                for step in content(n, salt, len).chunks(50_001) {
                    reservation.write(step)?;
                }
                volume.seal(reservation)?;
                self.pending.push((n, Some((salt, len))));
            }
            Op::Small { n, salt, len } => {
                if self.will_be(n).is_none() {
                    volume.put_small(OWNER, key(n), &content(n, salt, len))?;
                    self.pending.push((n, Some((salt, len))));
                }
            }
            Op::Replace { n, salt, len } => {
                let mut reservation = volume.reserve_replacement(OWNER, key(n), len as u64)?;
                reservation.write(&content(n, salt, len))?;
                volume.seal(reservation)?;
                self.pending.push((n, Some((salt, len))));
            }
            Op::Delete { n } => match volume.delete(&key(n)) {
                Ok(()) => {
                    assert!(self.will_be(n).is_some());
                    self.pending.push((n, None));
                }
                Err(VolumeError::NotFound { .. }) => assert!(self.will_be(n).is_none()),
                Err(e) => return Err(e),
            },
            Op::Meta { key, salt, len } => {
                volume.set_meta(key, &content(key, salt, len))?;
                self.pending_meta.push((key, (salt, len)));
            }
            Op::Abandon { n, len } => {
                let mut reservation = volume.reserve_replacement(OWNER, key(n), len as u64)?;
                reservation.write(&content(n, 0, len / 2))?;
            }
            Op::Compact => {
                volume.compact(100_000)?;
            }
            Op::Commit => {
                self.committing = true;
                let committed = volume.commit()?;
                self.acknowledge();
                for one in committed {
                    self.sequences.insert(one.key.id[0], one.sequence);
                }
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        self.committing = false;
        for (n, state) in self.pending.drain(..) {
            match state {
                Some(value) => self.acknowledged.insert(n, value),
                None => self.acknowledged.remove(&n),
            };
        }
        self.meta.extend(self.pending_meta.drain(..));
    }

    /// Holds a freshly opened volume against the model, and takes over what it
    /// finds: from here on that is what was promised.
    pub(crate) fn adopt(&mut self, volume: &Volume) {
        let reader = volume.reader();
        for n in 0..8 {
            let allowed = self.allowed(n);
            let (expected, found) = match reader.stat(&key(n)) {
                None => (None, Vec::new()),
                Some(entry) => {
                    let read = volume.read(&key(n), 0..entry.len).unwrap();
                    assert_eq!(read.damaged, vec![], "record {n} is half there");
                    let value =
                        allowed.iter().flatten().find(|(salt, len)| content(n, *salt, *len) == read.bytes).copied();
                    assert!(value.is_some(), "record {n} of {} bytes is none of {allowed:?}", entry.len);
                    if allowed.len() == 1 {
                        assert_eq!(self.sequences.get(&n), Some(&entry.sequence), "the sequence of {n} changed");
                    }
                    self.sequences.insert(n, entry.sequence);
                    (value, read.bytes)
                }
            };
            assert!(allowed.contains(&expected), "record {n}: {expected:?} is none of {allowed:?}");
            match expected {
                Some((salt, len)) => {
                    assert_eq!(found, content(n, salt, len));
                    self.acknowledged.insert(n, (salt, len));
                }
                None => {
                    self.acknowledged.remove(&n);
                }
            }
        }
        for key in 0..3 {
            let allowed = self.allowed_meta(key);
            let found = reader.meta(key);
            let state = allowed.iter().find(|s| s.map(|(salt, len)| content(key, salt, len)) == found).copied();
            let Some(state) = state else { panic!("meta {key} is none of {allowed:?}") };
            if let Some(value) = state {
                self.meta.insert(key, value);
            }
        }
        self.pending.clear();
        self.pending_meta.clear();
        self.committing = false;
        let bytes: usize = self.acknowledged.values().map(|(_, len)| len).sum();
        assert_eq!(reader.usage(&OWNER).bytes, bytes as u64, "the accounts are off");
        assert_eq!(reader.records(), self.acknowledged.len() as u64);
    }

    /// A process that gives up its volume forgets what it had not committed.
    pub(crate) fn adopt_exactly(&mut self, volume: &Volume) {
        assert!(!self.committing, "a commit is open: what it did is not certain");
        self.adopt(volume);
    }
}
