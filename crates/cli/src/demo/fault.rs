//! Does the damage, behind the cluster's back: with plain file operations on the nodes' own files, and a signal. What is
//! damaged is looked up first, with the volume's inspector, and proven to be what it is taken for.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use holdfast_types::{ByteRange, ShardId};
use holdfast_volume::{Key, inspect};

use crate::failure::Failure;

/// Shards in a node's volume: the kind of their records (`docs/formats/volume.md`).
const SHARD_KIND: u8 = 0;
/// Bytes read at once while a shard is hashed.
const READ_LEN: usize = 1 << 20;

/// A shard as it lies on a disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OnDisk {
    file: PathBuf,
    at: u64,
}

/// Finds a shard in a node's volume, and proves that it is there: its bytes hash to its name.
pub(crate) fn find(volume: &Path, shard: &ShardId, len: u64) -> Result<OnDisk, Failure> {
    let refused = |why: String| Failure::file(volume, why);
    let inspection = inspect(volume).map_err(|error| refused(error.to_string()))?;
    let key = Key { kind: SHARD_KIND, id: *shard.as_bytes() };
    let place =
        inspection.locate(&key).ok_or_else(|| refused(format!("expected shard {shard} in this volume, got none")))?;
    let (file, at) = place;
    let hash = hash(&file, at, len).map_err(|error| Failure::file(&file, error))?;
    if hash.as_bytes() != shard.as_bytes() {
        return Err(refused(format!("expected shard {shard} at byte {at}, got bytes with another hash")));
    }
    Ok(OnDisk { file, at })
}

fn hash(file: &Path, at: u64, len: u64) -> io::Result<blake3::Hash> {
    let file = File::open(file)?;
    let (mut hasher, mut buffer, mut done) = (blake3::Hasher::new(), vec![0; READ_LEN], 0);
    while done < len {
        let part = &mut buffer[..READ_LEN.min((len - done) as usize)];
        file.read_exact_at(part, at + done)?;
        hasher.update(part);
        done += part.len() as u64;
    }
    Ok(hasher.finalize())
}

/// XORs bytes of a shard with `mask`, on the disk.
pub(crate) fn flip(place: &OnDisk, range: ByteRange, mask: &[u8]) -> Result<(), Failure> {
    let flip = || {
        let file = File::options().read(true).write(true).open(&place.file)?;
        let mut bytes = vec![0; mask.len()];
        file.read_exact_at(&mut bytes, place.at + range.start())?;
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        file.write_all_at(&bytes, place.at + range.start())?;
        file.sync_all()
    };
    flip().map_err(|error: io::Error| Failure::file(&place.file, error))
}

/// Every file that a node's volume keeps payload in.
pub(crate) fn payload_files(volume: &Path) -> Result<Vec<PathBuf>, Failure> {
    Ok(inspect(volume).map_err(|error| Failure::file(volume, error))?.files())
}

/// Truncates files to nothing.
pub(crate) fn wipe(files: &[PathBuf]) -> Result<(), Failure> {
    for path in files {
        let truncate = || {
            let file = File::options().write(true).open(path)?;
            file.set_len(0)?;
            file.sync_all()
        };
        truncate().map_err(|error: io::Error| Failure::file(path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use holdfast_types::Root;
    use holdfast_volume::{FileDisk, Identity, Namespace, Options, Volume};

    use super::*;

    fn volume(path: &Path, shard: &[u8]) -> (Volume, ShardId) {
        let fresh = Identity { volume: [1; 16], incarnation: [2; 16] };
        let (mut volume, _) = Volume::open(FileDisk::open(path).unwrap(), Options::default(), fresh).unwrap();
        let id = ShardId(Root::of(shard));
        let key = Key { kind: SHARD_KIND, id: *id.as_bytes() };
        let mut reservation = volume.reserve(Namespace([9; 32]), key, shard.len() as u64).unwrap();
        reservation.write(shard).unwrap();
        volume.seal(reservation).unwrap();
        volume.commit().unwrap();
        (volume, id)
    }

    #[test]
    fn exactly_the_named_bytes_change_on_the_disk_under_a_running_volume() {
        let dir = tempfile::tempdir().unwrap();
        let shard: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
        let (volume, id) = volume(dir.path(), &shard);
        let place = find(dir.path(), &id, shard.len() as u64).unwrap();
        let range = ByteRange::at(131_000, 16).unwrap();
        flip(&place, range, &[0xa5; 16]).unwrap();
        let mut bytes = vec![0; shard.len()];
        File::open(&place.file).unwrap().read_exact_at(&mut bytes, place.at).unwrap();
        let changed: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != shard[*at]).collect();
        assert_eq!(changed, (131_000..131_016).collect::<Vec<_>>());
        let key = Key { kind: SHARD_KIND, id: *id.as_bytes() };
        assert!(!volume.read(&key, 0..shard.len() as u64).unwrap().damaged.is_empty(), "and the volume notices");
        assert!(find(dir.path(), &id, shard.len() as u64).is_err(), "what is damaged is not what it is named");
    }

    #[test]
    fn a_wiped_volume_has_no_payload_left() {
        let dir = tempfile::tempdir().unwrap();
        let (_volume, id) = volume(dir.path(), &[7; 5000]);
        let files = payload_files(dir.path()).unwrap();
        assert!(!files.is_empty());
        wipe(&files).unwrap();
        assert!(files.iter().all(|file| file.metadata().unwrap().len() == 0));
        assert!(find(dir.path(), &id, 5000).is_err());
    }

    #[test]
    fn a_shard_that_is_not_there_is_not_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let _volume = volume(dir.path(), b"something");
        let error = find(dir.path(), &ShardId::from_bytes([1; 32]), 9).unwrap_err();
        assert!(error.to_string().contains("got none"), "{error}");
    }
}
