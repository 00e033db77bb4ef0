//! The auditor's two keys: files of 32 bytes that only their owner may read, made at the first start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

/// Why a key cannot be had.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file.
    #[error("the key file {path} cannot be read or made: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the key file {path} has mode {mode:o}: expected 600; run chmod 600 on it, and renew the key if others could read it"
    )]
    Mode {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not 32 bytes.
    #[error("the key file {path} has {got} bytes: expected 32; restore it from its copy")]
    Length {
        /// Where.
        path: PathBuf,
        /// Bytes in it.
        got: u64,
    },
    /// There is a catalog but no key for it.
    #[error(
        "the catalog is there but the key file {path} is not: a new key could not heal what the old one wrapped; restore it from its copy"
    )]
    Lost {
        /// Where it should be.
        path: PathBuf,
    },
    /// The operating system's chance.
    #[error("no random bytes from the operating system: {0}")]
    Chance(String),
}

/// Reads the key at `path`, or makes it unless `must_exist`.
pub(crate) fn load_or_make(path: &Path, must_exist: bool) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    match File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound && must_exist => {
            Err(KeyError::Lost { path: path.into() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(source) => Err(KeyError::File { path: path.into(), source }),
    }
}

fn read(path: &Path, mut file: File) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let failed = |source| KeyError::File { path: path.into(), source };
    let about = file.metadata().map_err(failed)?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Mode { path: path.into(), mode });
    }
    if about.len() != 32 {
        return Err(KeyError::Length { path: path.into(), got: about.len() });
    }
    let mut key = Zeroizing::new([0; 32]);
    file.read_exact(&mut *key).map_err(failed)?;
    Ok(key)
}

fn make(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let failed = |source| KeyError::File { path: path.into(), source };
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(|error| KeyError::Chance(error.to_string()))?;
    // Whole or not at all: half a key after a power failure would lock the cluster out of its own healing.
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(&*key).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    if let Some(parent) = path.parent() {
        File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.key");
        let made = load_or_make(&path, false).unwrap();
        assert_eq!(*load_or_make(&path, true).unwrap(), *made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_lost_open_or_cut_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.key");
        assert!(matches!(load_or_make(&path, true), Err(KeyError::Lost { .. })));
        load_or_make(&path, false).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_make(&path, true), Err(KeyError::Mode { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [1; 31]).unwrap();
        assert!(matches!(load_or_make(&path, true), Err(KeyError::Length { got: 31, .. })));
    }
}
