//! Any script, any crash, any number of restarts.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use common::{Model, Op, open, script};
use holdfast_volume::FakeDisk;
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
