//! Any script, any crash, any number of restarts.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use common::{FRESH, Model, OWNER, Op, Rng, content, key, open, options, read, script};
use holdfast_volume::{FakeDisk, Options, PIECE_LEN, Volume, VolumeError};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_life_of_crashes_and_restarts_keeps_what_was_acknowledged(
        lives in prop::collection::vec((any::<u64>(), 1usize..60, any::<u64>(), prop::option::of(0u64..120)), 1..6),
    ) {
        let mut disk = FakeDisk::new();
        let mut model = Model::default();
        for (seed, steps, crash_seed, crash_at) in lives {
            if let Some(at) = crash_at {
                disk.crash_at(disk.operations() + at);
            }
            if let Ok((mut volume, _)) = open(&disk) {
                model.adopt(&volume);
                for op in script(seed, steps) {
                    if model.apply(&mut volume, &op).is_err() {
                        break;
                    }
                }
            }
            disk = disk.after_crash(crash_seed);
            let (mut volume, report) = open(&disk).unwrap();
            prop_assert!(report.journal_damaged.is_empty(), "{}", report);
            model.adopt(&volume);
            model.apply(&mut volume, &Op::Commit).unwrap();
        }
    }
}

#[test]
fn every_range_reads_as_it_was_written() {
    let disk = FakeDisk::new();
    let roomy = Options { file_len_max: 8 << 20, ..options() };
    let (mut volume, _) = Volume::open(disk.handle(), roomy, FRESH).unwrap();
    let piece = PIECE_LEN as usize;
    let lens =
        [0, 1, 4096, piece - 1, piece, piece + 1, 2 * piece, 3 * piece + 17, 5 * piece, 16 * piece, 16 * piece + 1];
    for (n, len) in (0u8..).zip(lens) {
        let mut reservation = volume.reserve(OWNER, key(n), len as u64).unwrap();
        // In steps that cross pieces anywhere.
        content(n, 0, len).chunks(77_777).for_each(|step| reservation.write(step).unwrap());
        volume.seal(reservation).unwrap();
        volume.commit().unwrap();
    }
    let file = volume.reader().locate(&key(10)).unwrap().file;
    // In the file that is being written, and then, behind another one, past the cache.
    for direct in [false, true] {
        for (n, len) in (0u8..).zip(lens) {
            let (bytes, mut rng) = (content(n, 0, len), Rng(n.into()));
            for _ in 0..50 {
                let from = rng.below(len as u64 + 1);
                let to = from + rng.below(len as u64 - from + 1);
                let read = read(&volume, &key(n), from..to).unwrap();
                assert!(read.damaged.is_empty() && read.bytes == bytes[from as usize..to as usize]);
            }
            for bad in [0..len as u64 + 1, len as u64 + 1..len as u64 + 1, 0..u64::MAX] {
                assert!(matches!(read(&volume, &key(n), bad), Err(VolumeError::OutOfRange { .. })));
            }
        }
        assert_eq!(disk.direct_reads(&file).unwrap() > 0, direct);
        if !direct {
            drop(volume.reserve(OWNER, key(100), 33 * PIECE_LEN).unwrap());
        }
    }
}
