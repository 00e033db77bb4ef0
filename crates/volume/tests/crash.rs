//! Power cuts at every write and every sync, and during the recovery from them.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use common::{Model, Op, content, key, open, rewriting_script, script};
use holdfast_volume::FakeDisk;

/// Runs a script until the disk gives out; returns the model as it then stands.
fn run_until_it_breaks(disk: &FakeDisk, ops: &[Op]) -> Model {
    let mut model = Model::default();
    let Ok((mut volume, _)) = open(disk) else { return model };
    for op in ops {
        if model.apply(&mut volume, op).is_err() {
            break;
        }
    }
    model
}

fn operations_of(ops: &[Op]) -> u64 {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    let mut model = Model::default();
    for op in ops {
        model.apply(&mut volume, op).unwrap();
    }
    model.adopt_exactly(&volume);
    disk.operations()
}

#[test]
fn a_crash_at_any_write_or_sync_loses_nothing_acknowledged_and_leaves_nothing_half() {
    let scripts = (0..6).map(|seed| script(seed, 60));
    for ops in scripts.chain([rewriting_script()]) {
        for at in 0..operations_of(&ops) {
            let disk = FakeDisk::new();
            disk.crash_at(at);
            let before = run_until_it_breaks(&disk, &ops);
            for crash_seed in 0..4 {
                let disk = disk.after_crash(crash_seed * 1000 + at);
                let mut model = before.clone();
                let (mut volume, report) = open(&disk).unwrap();
                assert_eq!(report.journal_damaged, vec![], "a torn tail is not damage");
                model.adopt(&volume);

                // It goes on working, and what it now shows is durable in its turn.
                for op in [Op::Replace { n: 0, salt: 777, len: 5000 }, Op::Delete { n: 1 }, Op::Commit] {
                    model.apply(&mut volume, &op).unwrap();
                }
                drop(volume);
                let disk = disk.after_crash(crash_seed);
                let (volume, report) = open(&disk).unwrap();
                assert!(report.is_clean() && report.journal_torn.is_none(), "{report}");
                model.adopt_exactly(&volume);
            }
        }
    }
}

#[test]
fn a_crash_during_recovery_changes_nothing_that_was_acknowledged() {
    for script_seed in 10..13 {
        let ops = script(script_seed, 40);
        for at in (0..operations_of(&ops)).step_by(3) {
            let broken = FakeDisk::new();
            broken.crash_at(at);
            let before = run_until_it_breaks(&broken, &ops);
            let once = broken.after_crash(at);
            for again in 0.. {
                let disk = once.fork();
                disk.crash_at(again);
                let opened = open(&disk).is_ok();
                let done = disk.operations() <= again;
                assert!(opened || !done);
                let disk = disk.after_crash(at + again);
                let mut model = before.clone();
                let (volume, _) = open(&disk).unwrap();
                model.adopt(&volume);
                if done {
                    break;
                }
            }
        }
    }
}

#[test]
fn what_was_deleted_stays_deleted_through_crash_and_compaction() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    let mut model = Model::default();
    for n in 0..6 {
        model.apply(&mut volume, &Op::Put { n, salt: 1, len: 100_000 }).unwrap();
    }
    model.apply(&mut volume, &Op::Commit).unwrap();
    for n in [0, 1, 2, 4] {
        model.apply(&mut volume, &Op::Delete { n }).unwrap();
    }
    model.apply(&mut volume, &Op::Commit).unwrap();
    for _ in 0..10 {
        model.apply(&mut volume, &Op::Compact).unwrap();
        model.apply(&mut volume, &Op::Commit).unwrap();
    }
    for seed in 0..20 {
        let (volume, _) = open(&disk.after_crash(seed)).unwrap();
        model.clone().adopt_exactly(&volume);
        assert!(!volume.contains(&key(1)));
        assert_eq!(volume.read(&key(3), 0..100_000).unwrap().bytes, content(3, 1, 100_000));
    }
}

/// The log of a whole life is the same every time: the simulation counts on it.
#[test]
fn the_same_script_writes_the_same_bytes() {
    let life = || {
        let disk = FakeDisk::new();
        run_until_it_breaks(&disk, &script(3, 60));
        let files: Vec<_> = disk.files().iter().map(|(name, _)| disk.contents(name).unwrap()).collect();
        (disk.operations(), files, disk.after_crash(5).files())
    };
    assert!(life() == life());
}
