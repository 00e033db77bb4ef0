//! What the demo stores: files, or bytes made from the seed, streamed either way.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{failure::Failure, show};

/// Bytes made from a seed, under a name of their own.
const MADE_DOMAIN: &str = "holdfast 2026 demo bytes v1";
/// Victims and offsets, drawn from the same seed.
const CHANCE_DOMAIN: &str = "holdfast 2026 demo chance v1";

fn stream(domain: &str, seed: u64) -> blake3::OutputReader {
    blake3::Hasher::new_derive_key(domain).update(&seed.to_le_bytes()).finalize_xof()
}

/// One thing to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file.
    File(PathBuf),
    /// Incompressible bytes.
    Made { len: u64, seed: u64 },
}

impl Content {
    /// What was asked for: files, or so many bytes, or else this very program.
    pub(crate) fn wanted(files: &[PathBuf], size: Option<u64>, seed: u64) -> Result<Vec<Self>, Failure> {
        match (files, size) {
            ([], Some(len)) => Ok(vec![Self::Made { len, seed }]),
            ([], None) => Ok(vec![Self::File(std::env::current_exe()?)]),
            (files, _) => files.iter().map(|path| Self::file(path)).collect(),
        }
    }

    /// A file that can be read twice, once to store it and once to compare.
    fn file(path: &Path) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::Usage(format!("{}: {why}; give a file that can be read", path.display()));
        let metadata =
            File::open(path).and_then(|file| file.metadata()).map_err(|error| refused(&error.to_string()))?;
        if !metadata.is_file() {
            return Err(refused("not a regular file"));
        }
        Ok(Self::File(path.to_owned()))
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Made { len, seed } => format!("{} made from seed {seed}", show::bytes(*len)),
        }
    }

    /// The same bytes each time.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::File(path) => Ok(Box::new(File::open(path)?)),
            Self::Made { len, seed } => Ok(Box::new(stream(MADE_DOMAIN, *seed).take(*len))),
        }
    }
}

/// Chance that the seed fixes.
pub(crate) struct Chance(blake3::OutputReader);

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        Self(stream(CHANCE_DOMAIN, seed))
    }

    /// A number below `end`, which must not be 0. The bias of a remainder is below 2^-64 · `end`: nothing hangs on it.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        (u128::from_le_bytes(bytes) % u128::from(end)) as u64
    }

    /// Bytes that are not zero: XORed with anything, they change it.
    pub(crate) fn mask(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(255) as u8 + 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_bytes_are_the_seeds_and_as_many_as_asked_for() {
        let read = |len, seed| {
            let mut bytes = Vec::new();
            Content::Made { len, seed }.open().unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(100_000, 7).len(), 100_000);
        assert_eq!(read(100_000, 7), read(100_000, 7));
        assert_ne!(read(64, 7), read(64, 8));
        assert!(read(0, 7).is_empty());
    }

    #[test]
    fn what_cannot_be_read_twice_is_refused_before_anything_starts() {
        for path in ["/", "/nowhere/at/all", "-"] {
            assert!(matches!(Content::wanted(&[path.into()], None, 1), Err(Failure::Usage(_))), "{path}");
        }
        assert_eq!(Content::wanted(&[], Some(9), 4).unwrap(), [Content::Made { len: 9, seed: 4 }]);
    }

    #[test]
    fn the_same_seed_draws_the_same_and_masks_change_every_byte() {
        let draw = |seed| {
            let mut chance = Chance::of(seed);
            ((0..32).map(|_| chance.below(10)).collect::<Vec<_>>(), chance.mask(256))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).0.iter().all(|number| *number < 10));
        assert!(!draw(1).1.contains(&0));
    }
}
