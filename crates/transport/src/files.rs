//! Keys and certificates on disk: written whole or not at all, keys readable by their owner only.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{TransportError, limits::PEM_LEN_MAX};

/// The cluster's certificate, beside every certificate and with the authority itself.
pub(crate) const CA_CERT: &str = "ca.pem";
/// The authority's key.
pub(crate) const CA_KEY: &str = "ca-key.pem";
/// A process's own certificate.
pub(crate) const CERT: &str = "cert.pem";
/// A process's own key.
pub(crate) const KEY: &str = "key.pem";
/// A request for a certificate.
pub(crate) const REQUEST: &str = "request.pem";

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What to do when the file is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// A renewal takes the place of what it renews.
    Replace,
    /// A second authority in the place of the first would orphan a whole cluster.
    Keep,
}

/// Writes a secret, mode 0600 from its first byte.
pub(crate) fn write_private(path: &Path, text: &str, existing: Existing) -> Result<(), TransportError> {
    write(path, text, PRIVATE, existing)
}

/// Writes what everybody may read.
pub(crate) fn write_public(path: &Path, text: &str, existing: Existing) -> Result<(), TransportError> {
    write(path, text, PUBLIC, existing)
}

/// Makes a directory that only its owner may enter; leaves one that exists as it is.
pub(crate) fn make_directory(path: &Path) -> Result<(), TransportError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| failed(path, &e))
}

fn write(path: &Path, text: &str, mode: u32, existing: Existing) -> Result<(), TransportError> {
    let staged = staged(path);
    let result = stage(&staged, text, mode).and_then(|()| match existing {
        Existing::Replace => fs::rename(&staged, path),
        // A link fails where a rename would overwrite.
        Existing::Keep => fs::hard_link(&staged, path).and_then(|()| fs::remove_file(&staged)),
    });
    let result = result.and_then(|()| sync_directory(path));
    result.map_err(|error| {
        // The staged file holds a key: it must not stay behind, and it is gone after a success.
        let _ = fs::remove_file(&staged);
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                file_error(path, "exists already and is not overwritten; choose another directory")
            }
            _ => failed(path, &error),
        }
    })
}

fn stage(staged: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Left over from a crash; it was never in use under this name.
    match fs::remove_file(staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(staged)?;
    file.write_all(text.as_bytes())?;
    // The process's umask narrows what `mode` asks for.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

fn staged(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

/// Reads a PEM file that everybody may read.
pub(crate) fn read_public(path: &Path) -> Result<String, TransportError> {
    read(path).map(|text| text.to_string())
}

/// Reads a key, unless everybody else on the machine could have read it too.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<String>, TransportError> {
    let metadata = fs::metadata(path).map_err(|e| failed(path, &e))?;
    // Group access stays allowed: service supervisors hand keys over that way.
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(file_error(
            path,
            "expected a key that only its owner can read; run chmod 600 on it, and issue a new one if others could log in",
        ));
    }
    read(path)
}

fn read(path: &Path) -> Result<Zeroizing<String>, TransportError> {
    let file = File::open(path).map_err(|e| failed(path, &e))?;
    let mut text = Zeroizing::new(String::new());
    file.take(PEM_LEN_MAX as u64 + 1).read_to_string(&mut text).map_err(|e| failed(path, &e))?;
    if text.len() > PEM_LEN_MAX {
        return Err(file_error(
            path,
            &format!("expected a PEM file of at most {PEM_LEN_MAX} bytes, got more; give the right file"),
        ));
    }
    Ok(text)
}

fn failed(path: &Path, error: &io::Error) -> TransportError {
    file_error(path, &format!("{error}; make it with `holdfast pki`, or correct the path or its permissions"))
}

fn file_error(path: &Path, why: &str) -> TransportError {
    TransportError::File { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY);
        fs::write(staged(&path), "left over from a crash").unwrap();
        write_private(&path, "secret", Existing::Replace).unwrap();
        write_private(&path, "renewed", Existing::Replace).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path).unwrap().as_str(), "renewed");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_must_be_kept_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CA_KEY);
        write_private(&path, "first", Existing::Keep).unwrap();
        let error = write_private(&path, "second", Existing::Keep).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(read_private(&path).unwrap().as_str(), "first");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY);
        write_public(&path, "no longer secret", Existing::Keep).unwrap();
        assert!(read_private(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_file_too_long_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CERT);
        fs::write(&path, vec![b'a'; PEM_LEN_MAX + 1]).unwrap();
        assert!(read_public(&path).unwrap_err().to_string().contains("at most"));
        fs::write(&path, vec![b'a'; PEM_LEN_MAX]).unwrap();
        assert_eq!(read_public(&path).unwrap().len(), PEM_LEN_MAX);
    }
}
