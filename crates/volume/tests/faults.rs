//! Full disks and failing syncs: clear refusals, no lies.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use common::{FRESH, Model, OWNER, Op, content, key, open, options, rewriting_script, script};
use holdfast_volume::{Advice, FakeDisk, Options, Volume, VolumeError};

#[test]
fn a_disk_full_at_any_write_refuses_and_works_again_once_there_is_room() {
    let scripts = (20..24).map(|seed| script(seed, 50));
    for mut ops in scripts.chain([rewriting_script()]) {
        // Whatever failed before must be possible now.
        let retry = [Op::Commit, Op::Compact, Op::Commit];
        ops.extend(retry.clone());
        let total = {
            let disk = FakeDisk::new();
            let (mut volume, _) = open(&disk).unwrap();
            let mut model = Model::default();
            ops.iter().for_each(|op| model.apply(&mut volume, op).unwrap());
            disk.operations()
        };
        for at in 0..total {
            let disk = FakeDisk::new();
            let mut model = Model::default();
            disk.full_from(Some(at));
            let Ok((mut volume, _)) = open(&disk) else {
                disk.full_from(None);
                open(&disk).expect("a creation that found no room can be repeated");
                continue;
            };
            let mut refused = 0;
            for op in &ops {
                match model.apply(&mut volume, op) {
                    Ok(()) => {}
                    Err(e @ VolumeError::Full { .. }) => {
                        assert_eq!(e.advice(), Advice::NoRoom);
                        refused += 1;
                    }
                    Err(e) => panic!("{e}"),
                }
            }
            assert_eq!(volume.read_only(), None, "a full disk is no reason to stop");
            disk.full_from(None);
            for op in &retry {
                model.apply(&mut volume, op).unwrap();
            }
            model.clone().adopt_exactly(&volume);
            let (volume, report) = open(&disk.after_crash(at)).unwrap();
            assert!(report.is_clean(), "{report}");
            model.adopt_exactly(&volume);
            assert!(refused > 0 || at + 20 > total, "the fault at {at} of {total} was never met");
        }
    }
}

#[test]
fn a_failed_fsync_stops_the_volume_and_is_never_papered_over() {
    let mut stopped = 0;
    for script_seed in 30..36 {
        let ops = script(script_seed, 50);
        for at in 0.. {
            let disk = FakeDisk::new();
            disk.fail_sync_at(at);
            let mut model = Model::default();
            let Ok((mut volume, _)) = open(&disk) else { continue };
            let failure = ops.iter().find_map(|op| model.apply(&mut volume, op).err());
            let Some(failure) = failure else { break };
            stopped += 1;
            assert!(matches!(failure, VolumeError::ReadOnly { .. }), "{failure}");
            assert_eq!(failure.advice(), Advice::Stopped);
            assert!(volume.read_only().is_some());
            for _ in 0..2 {
                assert!(matches!(volume.commit(), Err(VolumeError::ReadOnly { .. })));
                assert!(matches!(volume.reserve(OWNER, key(99), 1), Err(VolumeError::ReadOnly { .. })));
                assert!(matches!(volume.delete(&key(0)), Err(VolumeError::ReadOnly { .. })));
            }
            for (n, (salt, len)) in &model.acknowledged {
                assert_eq!(volume.read(&key(*n), 0..*len as u64).unwrap().bytes, content(*n, *salt, *len));
            }
            drop(volume);

            // The process restarts, the page cache still shows what never reached
            // the disk. What the volume then shows must survive a power cut.
            let (volume, _) = open(&disk).unwrap();
            model.adopt(&volume);
            drop(volume);
            for seed in 0..4 {
                let (volume, _) = open(&disk.after_crash(seed)).unwrap();
                model.clone().adopt_exactly(&volume);
            }
        }
    }
    assert!(stopped > 50, "only {stopped} failures were met");
}

#[test]
fn a_journal_cut_behind_the_volumes_back_ends_acknowledging() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    volume.put_small(OWNER, key(1), b"one").unwrap();
    volume.commit().unwrap();
    disk.cut("journal-00000001", 0).unwrap();
    volume.put_small(OWNER, key(2), b"two").unwrap();
    assert!(matches!(volume.commit(), Err(VolumeError::ReadOnly { .. })));
    assert_eq!(volume.read(&key(1), 0..3).unwrap().bytes, b"one");
    let refused = open(&disk).map(|_| ());
    assert!(matches!(refused, Err(VolumeError::Damaged { .. })), "{refused:?}");
}

#[test]
fn capacity_counts_what_is_in_flight() {
    let disk = FakeDisk::new();
    let options = Options { capacity: 300_000, ..options() };
    let (mut volume, _) = Volume::open(disk.handle(), options, FRESH).unwrap();
    let one = volume.reserve(OWNER, key(1), 100_000).unwrap();
    let two = volume.reserve(OWNER, key(2), 100_000).unwrap();
    match volume.reserve(OWNER, key(3), 100_000) {
        Err(VolumeError::Full { needed, available }) => assert!(needed >= 100_000 && available < needed),
        other => panic!("{other:?}"),
    }
    drop(two);
    let three = volume.reserve(OWNER, key(3), 100_000).unwrap();
    volume.abort(one);
    volume.abort(three);
    assert_eq!(volume.space().unwrap().in_flight, 0);
}
