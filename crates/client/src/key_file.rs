//! The owner's key on disk: two lines of text, so that it can be printed, typed off and kept in a safe.
//!
//! ```text
//! holdfast owner key v1
//! <52 characters of base32: 32 bytes>
//! ```
//!
//! It is the one secret behind everything the owner stored. Whoever can read it can read that, and
//! whoever loses it cannot: so it is never overwritten, and refused when others can read it.

use std::{io, path::Path};

use data_encoding::BASE32_NOPAD;
use holdfast_dispersal::OwnerKey;
use zeroize::Zeroizing;

use crate::{ClientError, chance, file};

const HEADER: &str = "holdfast owner key v1";

/// A header, 52 characters and a few line ends: a longer file is another one.
const FILE_LEN_MAX: u64 = 256;

/// Reads and makes files with an owner's key.
#[derive(Clone, Copy, Debug)]
pub struct OwnerKeyFile;

impl OwnerKeyFile {
    /// Draws a key and writes it to `path`, mode 0600.
    ///
    /// # Errors
    /// [`ClientError::KeyFile`] if there is a file already, or it cannot be written.
    pub fn create(path: &Path) -> Result<OwnerKey, ClientError> {
        let key = OwnerKey::from_bytes(*Zeroizing::new(chance::draw()?));
        let digits = Zeroizing::new(BASE32_NOPAD.encode(key.as_bytes()).to_ascii_lowercase());
        let text = Zeroizing::new(format!("{HEADER}\n{}\n", digits.as_str()));
        file::create(path, text.as_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                refused(path, "there is a key already, and it is not overwritten; choose another path, or use it")
            }
            _ => refused(path, &format!("{error}; give a path in a directory that exists and can be written")),
        })?;
        Ok(key)
    }

    /// Reads the key of `path`.
    ///
    /// # Errors
    /// [`ClientError::KeyFile`] if it is missing, no such file, or readable for everybody.
    pub fn load(path: &Path) -> Result<OwnerKey, ClientError> {
        let failed = |error: io::Error| refused(path, &format!("{error}; make one with `holdfast key new`"));
        if file::is_exposed(path).map_err(failed)? {
            return Err(refused(
                path,
                "expected a file that only its owner can read; run chmod 600 on it, and store anew if others could log in",
            ));
        }
        let bytes = file::read_bounded(path, FILE_LEN_MAX).map_err(failed)?;
        let malformed =
            || refused(path, &format!("expected the line {HEADER:?} and 52 base32 characters; give the right file"));
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (Some(HEADER), Some(digits), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed());
        };
        let digits = Zeroizing::new(digits.to_ascii_uppercase());
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(digits.as_bytes()).map_err(|_| malformed())?);
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(bytes.as_slice().try_into().map_err(|_| malformed())?);
        Ok(OwnerKey::from_bytes(*bytes))
    }
}

fn refused(path: &Path, why: &str) -> ClientError {
    ClientError::KeyFile { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_reads_back_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owner.key");
        let made = OwnerKeyFile::create(&path).unwrap();
        assert_eq!(OwnerKeyFile::load(&path).unwrap().as_bytes(), made.as_bytes());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let other = OwnerKeyFile::create(&dir.path().join("other.key")).unwrap();
        assert_ne!(other.as_bytes(), made.as_bytes());
    }

    #[test]
    fn a_key_file_of_the_first_release_is_read_by_every_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owner.key");
        let golden = "holdfast owner key v1\naaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq\n";
        fs::write(&path, golden).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(OwnerKeyFile::load(&path).unwrap().as_bytes()[..], bytes);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owner.key");
        let made = OwnerKeyFile::create(&path).unwrap();
        let error = OwnerKeyFile::create(&path).unwrap_err();
        assert!(error.to_string().contains("not overwritten"), "{error}");
        assert_eq!(OwnerKeyFile::load(&path).unwrap().as_bytes(), made.as_bytes());
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owner.key");
        OwnerKeyFile::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = OwnerKeyFile::load(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owner.key");
        OwnerKeyFile::create(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let digits = good.lines().nth(1).unwrap();
        let bad = [
            String::new(),
            digits.to_owned(),
            good.replace("v1", "v2"),
            good[..good.len() - 3].to_owned(),
            format!("{good}{digits}\n"),
            format!("{HEADER}\n{}\n", "0".repeat(52)),
            "a".repeat(FILE_LEN_MAX as usize + 1),
        ];
        for text in bad {
            fs::write(&path, &text).unwrap();
            assert!(OwnerKeyFile::load(&path).is_err(), "{text:?}");
        }
        fs::write(&path, format!("\n{HEADER}\r\n  {}  \n\n", digits.to_uppercase())).unwrap();
        assert!(OwnerKeyFile::load(&path).is_ok(), "as typed off by a person");
    }
}
