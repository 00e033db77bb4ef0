//! The node's receipt key on disk: 32 bytes of seed, readable by their owner only, durable before they are used.
//!
//! The key *is* the node. Losing it with a volume in place would let the node come back as a stranger holding shards
//! that nobody asks it for, so that case is refused.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use holdfast_types::SecretKey;
use zeroize::Zeroizing;

use crate::NodeError;

const SEED_LEN: usize = 32;

/// Reads the key at `path`, or makes it when it is not there and `volume_dir` holds no volume yet.
///
/// # Errors
/// [`NodeError::File`]: unreadable, readable by others, of another length, or missing beside a volume.
pub fn load_or_create(path: &Path, volume_dir: &Path) -> Result<SecretKey, NodeError> {
    match load(path)? {
        Some(key) => Ok(key),
        None if holds_volume(volume_dir)? => Err(NodeError::file(
            path,
            format!(
                "the identity key is gone, but {} holds a volume that was made with it: restore the key from its \
                 backup; to start as a new node with nothing, move the volume away",
                volume_dir.display()
            ),
        )),
        None => create(path),
    }
}

fn load(path: &Path) -> Result<Option<SecretKey>, NodeError> {
    let failed = |error: io::Error| NodeError::file(path, format!("cannot read the identity key: {error}"));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(NodeError::file(
            path,
            "expected a key that only its owner can read: run chmod 600 on it; if others could log in, it is no secret any more",
        ));
    }
    if metadata.len() != SEED_LEN as u64 {
        return Err(NodeError::file(
            path,
            format!("expected an identity key of {SEED_LEN} bytes, got {}: restore it from its backup", metadata.len()),
        ));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(failed)?);
    let seed: &[u8; SEED_LEN] =
        bytes.as_slice().try_into().map_err(|_| NodeError::file(path, "changed while it was read"))?;
    Ok(Some(SecretKey::from_seed(seed)))
}

/// A lock file alone is no volume.
fn holds_volume(volume_dir: &Path) -> Result<bool, NodeError> {
    let failed = |error: io::Error| NodeError::file(volume_dir, format!("cannot look into the directory: {error}"));
    let entries = match fs::read_dir(volume_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        if entry.map_err(failed)?.file_name() != "LOCK" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn create(path: &Path) -> Result<SecretKey, NodeError> {
    let mut seed = Zeroizing::new([0; SEED_LEN]);
    getrandom::fill(seed.as_mut())
        .map_err(|error| NodeError::file(path, format!("no randomness for a key: {error}")))?;
    write(path, seed.as_ref())
        .map_err(|error| NodeError::file(path, format!("cannot write the identity key: {error}")))?;
    Ok(SecretKey::from_seed(&seed))
}

/// Whole and durable under its name, or not there: half a key after a crash would be refused for ever.
fn write(path: &Path, seed: &[u8]) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    fs::create_dir_all(&parent)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staged = path.with_file_name(name);
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    file.write_all(seed)?;
    file.sync_all()?;
    // A link fails where a rename would overwrite a key that somebody made meanwhile.
    let linked = fs::hard_link(&staged, path);
    fs::remove_file(&staged)?;
    linked?;
    File::open(&parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, volume) = (dir.path().join("deep/node.key"), dir.path().join("volume"));
        let made = load_or_create(&path, &volume).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_create(&path, &volume).unwrap().public(), made.public());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_missing_key_beside_a_volume_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, volume) = (dir.path().join("node.key"), dir.path().join("volume"));
        fs::create_dir(&volume).unwrap();
        fs::write(volume.join("LOCK"), "").unwrap();
        fs::write(volume.join("journal-1"), "x").unwrap();
        let error = load_or_create(&path, &volume).unwrap_err().to_string();
        assert!(error.contains("restore the key") && error.contains("volume"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, volume) = (dir.path().join("node.key"), dir.path().join("volume"));
        load_or_create(&path, &volume).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(load_or_create(&path, &volume).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [1; 31]).unwrap();
        assert!(load_or_create(&path, &volume).unwrap_err().to_string().contains("got 31"));
    }
}
