//! A node on a full disk serves what it has, deletes, refuses puts with a word, and comes back by itself.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use common::{FRESH, Model, OWNER, Op, content, key, open, options, script};
use holdfast_volume::{Advice, FakeDisk, Options, Volume, VolumeError};

/// Somebody else takes what is left of the disk.
fn fill(disk: &FakeDisk) {
    disk.set_capacity(disk.files().iter().map(|(_, len)| len).sum());
}

fn make_room(disk: &FakeDisk) {
    disk.set_capacity(u64::MAX);
}

fn has_reserve(disk: &FakeDisk) -> bool {
    disk.files().iter().any(|(name, _)| name == "reserve")
}

#[test]
fn a_start_on_a_full_disk_serves_and_comes_back_when_there_is_room() {
    let (mut looked, mut settled) = (0, 0);
    for script_seed in 40..44 {
        let ops = script(script_seed, 50);
        for at in 3.. {
            let disk = FakeDisk::new();
            disk.crash_at(at);
            let mut model = Model::default();
            let Ok((mut volume, _)) = open(&disk) else { continue };
            let broke = ops.iter().any(|op| model.apply(&mut volume, op).is_err());
            drop(volume);
            if !broke {
                break;
            }
            let disk = disk.after_crash(at);
            if at % 2 == 0 && has_reserve(&disk) {
                disk.wipe("reserve").unwrap();
            }
            disk.copy_on_write();
            fill(&disk);
            let (mut volume, report) = open(&disk).unwrap();
            assert_eq!(report.no_room.is_some(), volume.waits_for_room());
            assert_eq!(report.journal_damaged, vec![]);
            // Everything acknowledged is served, whether or not it may be written.
            model.adopt(&volume);
            if volume.waits_for_room() {
                looked += 1;
                let refused = volume.reserve(OWNER, key(99), 10).map(|_| ()).unwrap_err();
                assert_eq!(refused.advice(), Advice::Stopped);
                assert!(refused.to_string().contains("by itself once there is room"), "{refused}");
                assert!(volume.compact(1).is_err(), "nothing changed: there is no room");
                model.clone().adopt_exactly(&volume);
            } else {
                settled += 1;
            }
            let reader = volume.reader();
            make_room(&disk);
            volume.compact(1).unwrap();
            assert!(!volume.waits_for_room() && volume.read_only().is_none());
            assert!(has_reserve(&disk), "the reserve is there again");
            for op in [Op::Commit, Op::Replace { n: 2, salt: 5, len: 9000 }, Op::Delete { n: 1 }, Op::Commit] {
                model.apply(&mut volume, &op).unwrap();
            }
            assert_eq!(reader.read(&key(2), 0..9000).unwrap().bytes, content(2, 5, 9000), "an older reader sees it");
            drop(volume);
            let (volume, report) = open(&disk.after_crash(at)).unwrap();
            assert!(report.is_clean(), "{report}");
            model.adopt_exactly(&volume);
        }
    }
    assert!(looked > 30 && settled > 30, "{looked} starts without room, {settled} with a reserve or nothing to write");
}

#[test]
fn deletes_go_on_when_somebody_else_took_all_room() {
    let disk = FakeDisk::new();
    let options = Options { free_floor: 64 << 10, ..options() };
    let (mut volume, _) = Volume::open(disk.handle(), options.clone(), FRESH).unwrap();
    let mut model = Model::default();
    for n in 0..8 {
        model.apply(&mut volume, &Op::Put { n, salt: 1, len: 100_000 }).unwrap();
    }
    model.apply(&mut volume, &Op::Commit).unwrap();
    fill(&disk);
    assert!(has_reserve(&disk));
    match volume.reserve(OWNER, key(20), 100) {
        Err(e @ VolumeError::Full { .. }) => assert_eq!(e.advice(), Advice::NoRoom),
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("there is no room"),
    }
    for n in 0..7 {
        for op in [Op::Delete { n }, Op::Commit] {
            model.apply(&mut volume, &op).unwrap();
        }
    }
    // The files that the deletes emptied made room of their own; the volume takes puts again.
    model.apply(&mut volume, &Op::Put { n: 0, salt: 2, len: 50_000 }).unwrap();
    model.apply(&mut volume, &Op::Commit).unwrap();
    drop(volume);
    let (volume, report) = Volume::open(disk.after_crash(1).handle(), options, FRESH).unwrap();
    assert!(report.is_clean(), "{report}");
    model.adopt_exactly(&volume);
}

#[test]
fn a_reserve_that_is_used_up_refuses_deletes_and_loses_none_of_them() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    for n in 0..3 {
        volume.put_small(OWNER, key(n), b"a small one").unwrap();
    }
    volume.commit().unwrap();
    fill(&disk);
    volume.delete(&key(0)).unwrap();
    volume.commit().unwrap();
    assert!(!has_reserve(&disk));
    fill(&disk);
    volume.delete(&key(1)).unwrap();
    assert!(matches!(volume.commit(), Err(VolumeError::Full { .. })));
    assert!(volume.contains(&key(1)) && volume.read_only().is_none());
    make_room(&disk);
    volume.commit().unwrap();
    assert!(!volume.contains(&key(1)) && volume.contains(&key(2)));
}

#[test]
fn a_new_volume_on_a_full_disk_is_refused_and_leaves_nothing_in_the_way() {
    let disk = FakeDisk::new();
    disk.set_capacity(100);
    assert!(matches!(open(&disk), Err(VolumeError::Full { .. })));
    disk.set_capacity(1 << 20);
    let (_, report) = open(&disk).unwrap();
    assert!(report.created && report.is_clean(), "{report}");
}
