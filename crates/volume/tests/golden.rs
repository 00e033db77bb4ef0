//! The format as it was written to disk by version 1: read by every later one.
//!
//! `GOLDEN_WRITE=1 cargo test -p holdfast-volume --test golden` writes the files
//! anew; do so only together with a new format version.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use std::path::{Path, PathBuf};

use common::{FRESH, OWNER, content, key, options};
use holdfast_volume::{FakeDisk, Key, Namespace, Sequence, Volume};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

/// One of everything: records of several pieces and of none, a replacement, a
/// tombstone, a quota, a long and an empty meta value, a dead extent.
fn write(disk: &FakeDisk) {
    let (mut volume, _) = Volume::open(disk.handle(), options(), FRESH).unwrap();
    volume.put_small(OWNER, key(1), b"a holdfast ties the seaweed to the rock").unwrap();
    volume.put_small(Namespace([4; 32]), Key { kind: 0, id: [0xEE; 32] }, b"").unwrap();
    volume.put_small(OWNER, key(2), b"to be deleted").unwrap();
    volume.commit().unwrap();
    volume.delete(&key(2)).unwrap();
    volume.set_quota(OWNER, Some(1 << 20)).unwrap();
    volume.set_meta(1, &content(1, 1, 250)).unwrap();
    volume.set_meta(2, b"").unwrap();
    let mut reservation = volume.reserve(OWNER, key(3), 127_100).unwrap();
    reservation.write(&vec![0x5A; 127_100]).unwrap();
    volume.seal(reservation).unwrap();
    let mut replacement = volume.reserve_replacement(OWNER, key(1), 7).unwrap();
    replacement.write(b"replace").unwrap();
    volume.seal(replacement).unwrap();
    volume.commit().unwrap();
}

#[test]
fn version_1_is_read() {
    let disk = FakeDisk::new();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        disk.plant(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(&path).unwrap());
    }
    let other = holdfast_volume::Identity { volume: [0; 16], incarnation: [0; 16] };
    let (volume, report) = Volume::open(disk.handle(), options(), other).unwrap();
    assert!(!report.created && report.is_clean(), "{report}");
    assert_eq!(volume.identity(), FRESH);
    let reader = volume.reader();
    let listed: Vec<(Key, u64, u64)> = reader
        .entries(&[0, 3], Sequence::START..Sequence::END, 10)
        .iter()
        .map(|e| (e.key, e.len, e.sequence.0))
        .collect();
    assert_eq!(listed, [(Key { kind: 0, id: [0xEE; 32] }, 0, 2), (key(3), 127_100, 10), (key(1), 7, 11)]);
    assert_eq!(reader.read(&key(1), 0..7).unwrap().bytes, b"replace");
    assert_eq!(reader.read(&key(3), 0..127_100).unwrap().bytes, vec![0x5A; 127_100]);
    assert_eq!(reader.read(&key(3), 0..127_100).unwrap().damaged, vec![]);
    assert!(!reader.contains(&key(2)));
    assert_eq!(reader.meta(1), Some(content(1, 1, 250)));
    assert_eq!(reader.meta(2), Some(Vec::new()));
    assert_eq!(reader.usage(&OWNER).quota, Some(1 << 20));
}

#[test]
fn version_1_is_still_what_is_written() {
    let disk = FakeDisk::new();
    write(&disk);
    // The room kept aside for a full disk says nothing, and may be absent: it is no part of the format.
    let written: Vec<String> =
        disk.files().into_iter().map(|(name, _)| name).filter(|name| name != "reserve").collect();
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::create_dir_all(golden()).unwrap();
        for name in &written {
            std::fs::write(golden().join(name), disk.contents(name).unwrap()).unwrap();
        }
    }
    let mut names: Vec<String> =
        std::fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(written, names);
    for name in names {
        assert!(
            disk.contents(&name).unwrap() == std::fs::read(golden().join(&name)).unwrap(),
            "{name} is written differently than version 1 wrote it: a change of format needs a new version"
        );
    }
}
