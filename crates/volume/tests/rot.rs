//! Flipped bits, unreadable sectors, cut and missing files: nothing wrong is
//! ever served, nothing panics, and the rest goes on.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use std::collections::BTreeSet;

use common::{FRESH, Model, OWNER, content, key, open, options, read, script};
use holdfast_volume::{FakeDisk, FileDisk, Key, Options, PIECE_LEN, Sequence, Volume};

/// A volume of several files with something of everything, and its model.
fn specimen() -> (FakeDisk, Model) {
    let disk = FakeDisk::new();
    let mut model = Model::default();
    let (mut volume, _) = open(&disk).unwrap();
    for op in script(42, 60) {
        model.apply(&mut volume, &op).unwrap();
    }
    assert!(model.acknowledged.len() >= 4 && !model.meta.is_empty(), "the specimen shows too little");
    (disk, model)
}

/// Every record that is served at all is served right, or named as damaged.
/// Returns the records that are not wholly there.
fn hurt(volume: &Volume, model: &Model) -> BTreeSet<u8> {
    let mut out = BTreeSet::new();
    for (n, (salt, len)) in &model.acknowledged {
        let Ok(read) = read(volume, &key(*n), 0..*len as u64) else {
            out.insert(*n);
            continue;
        };
        let mut expected = content(*n, *salt, *len);
        for range in &read.damaged {
            expected[range.start as usize..range.end as usize].fill(0);
            out.insert(*n);
        }
        assert!(read.bytes == expected, "wrong bytes of record {n} were served as good");
    }
    out
}

fn flip_and_look(disk: &FakeDisk, model: &Model, name: &str, at: u64) {
    let disk = disk.fork();
    disk.flip(name, at, at as u8).unwrap();
    let (volume, report) = open(&disk).unwrap();
    let hurt = hurt(&volume, model);
    if name.starts_with("data") {
        assert!(hurt.len() <= 1, "one bit at {name}+{at} hurt {hurt:?}");
    }
    let lost = model.acknowledged.keys().filter(|n| !volume.contains(&key(**n))).count();
    assert!(lost <= 1);
    assert!(lost == 0 || !report.is_clean(), "a record went missing and nobody said so: {name}+{at}");
    for n in &hurt {
        if volume.contains(&key(*n)) {
            let scrub = volume.reader().scrub(Sequence::START, u64::MAX);
            assert_eq!(scrub.damaged.len(), 1);
            assert_eq!(scrub.damaged[0].0, key(*n));
            assert!(scrub.damaged[0].1[0].end - scrub.damaged[0].1[0].start <= PIECE_LEN);
        }
    }
}

#[test]
fn any_flipped_bit_of_the_journal_costs_at_most_its_slot_and_is_reported() {
    let (disk, model) = specimen();
    let journal = disk.files().into_iter().find(|(name, _)| name.starts_with("journal")).unwrap();
    for at in 0..journal.1 {
        // All of the header copies, the watermark and the slots; some of the empty pages.
        if at % 4096 < 128 || at >= 12_288 || at % 61 == 0 {
            flip_and_look(&disk, &model, &journal.0, at);
        }
    }
}

#[test]
fn any_flipped_bit_of_a_data_file_costs_at_most_its_piece() {
    let (disk, model) = specimen();
    for (name, len) in disk.files().iter().filter(|(name, _)| name.starts_with("data")) {
        for at in (0..*len).filter(|at| at % 4096 >= 3700 && at % 41 == 0 || at % 4999 == 0) {
            flip_and_look(&disk, &model, name, at);
        }
    }
}

#[test]
fn a_flipped_tombstone_or_put_amid_the_journal_is_damage_and_not_a_torn_tail() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    for n in 0..5 {
        volume.put_small(OWNER, key(n), b"x").unwrap();
        volume.commit().unwrap();
    }
    drop(volume);
    for slot in 0..5u8 {
        let disk = disk.fork();
        disk.flip("journal-00000001", 12_288 + u64::from(slot) * 128 + 40, 3).unwrap();
        for _ in 0..2 {
            // Told at every start, for as long as it is so.
            let (volume, report) = open(&disk).unwrap();
            assert_eq!(report.journal_damaged, vec![u64::from(slot) + 1..u64::from(slot) + 2]);
            assert_eq!(report.journal_torn, None);
            for n in 0..5 {
                assert_eq!(volume.contains(&key(n)), n != slot);
            }
        }
    }
}

#[test]
fn without_the_watermark_only_the_last_batch_is_in_doubt() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    for n in 0..5 {
        volume.put_small(OWNER, key(n), b"x").unwrap();
        volume.commit().unwrap();
    }
    drop(volume);
    disk.flip("journal-00000001", 4096 + 9, 0).unwrap();
    for slot in 0..5u64 {
        let disk = disk.fork();
        disk.flip("journal-00000001", 12_288 + slot * 128 + 40, 3).unwrap();
        let (_, report) = open(&disk).unwrap();
        let number = slot + 1..slot + 2;
        if slot < 4 {
            assert_eq!((report.journal_damaged, report.journal_torn), (vec![number], None));
        } else {
            assert_eq!((report.journal_damaged, report.journal_torn), (vec![], Some(number)));
        }
    }
}

#[test]
fn an_unreadable_sector_costs_one_piece() {
    let disk = FakeDisk::new();
    let (mut volume, _) = Volume::open(disk.handle(), Options { file_len_max: 1 << 20, ..options() }, FRESH).unwrap();
    let bytes = content(1, 1, 700_000);
    // The second one needs a file of its own: then the first one's is read past the cache.
    for n in 1..3 {
        let mut reservation = volume.reserve(OWNER, key(n), 700_000).unwrap();
        reservation.write(&bytes).unwrap();
        volume.seal(reservation).unwrap();
        volume.commit().unwrap();
        let at = volume.reader().locate(&key(1)).unwrap();
        disk.spoil(&at.file, at.offset + 130_000).unwrap();
        let read = read(&volume, &key(1), 10..699_999).unwrap();
        assert_eq!(read.damaged, vec![PIECE_LEN..2 * PIECE_LEN]);
        assert_eq!(read.bytes[..100_000], bytes[10..100_010]);
        assert_eq!(read.bytes[260_000..], bytes[260_010..699_999]);
        assert_eq!(volume.read(&key(1), 0..PIECE_LEN).unwrap().damaged, vec![]);
        assert_eq!(disk.direct_reads(&at.file).unwrap() > 0, n == 2);
    }
}

#[test]
fn cut_and_missing_files_lose_their_bytes_and_not_the_others() {
    let (disk, model) = specimen();
    let data: Vec<(String, u64)> = disk.files().into_iter().filter(|(name, _)| name.starts_with("data")).collect();
    assert!(data.len() >= 2, "the specimen has one data file only");
    for (name, len) in &data {
        for keep in [0, 1, 4096, 12_288, len / 2, len - 1] {
            // Behind the back of a volume that is up …
            let disk = disk.fork();
            let (volume, _) = open(&disk).unwrap();
            disk.cut(name, keep).unwrap();
            let while_up = hurt(&volume, &model);
            drop(volume);
            // … and found at the next start.
            let (volume, report) = open(&disk).unwrap();
            assert!(while_up.is_empty() || report.files_short == vec![name.clone()]);
            assert!(keep >= 12_288 || !while_up.is_empty());
            assert_eq!(hurt(&volume, &model), while_up);
            assert!(model.acknowledged.keys().all(|n| volume.contains(&key(*n))));
        }
        let gone = disk.fork();
        gone.wipe(name).unwrap();
        let (volume, report) = open(&gone).unwrap();
        assert_eq!(report.files_missing, vec![name.clone()]);
        let hurt = hurt(&volume, &model);
        assert!(!hurt.is_empty() && hurt.len() < model.acknowledged.len());
    }
}

#[test]
fn a_replacement_heals_what_rotted() {
    let (disk, model) = specimen();
    let (n, (salt, len)) = model.acknowledged.iter().find(|(_, (_, len))| *len > 0).unwrap();
    let (mut volume, _) = open(&disk).unwrap();
    let at = volume.reader().locate(&key(*n)).unwrap();
    disk.flip(&at.file, at.offset, 0).unwrap();
    assert_eq!(hurt(&volume, &model), BTreeSet::from([*n]));
    let mut reservation = volume.reserve_replacement(OWNER, key(*n), *len as u64).unwrap();
    reservation.write(&content(*n, *salt, *len)).unwrap();
    volume.seal(reservation).unwrap();
    volume.commit().unwrap();
    assert_eq!(hurt(&volume, &model), BTreeSet::new());
}

#[test]
fn a_damaged_record_is_not_moved_and_never_becomes_good_again() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    for n in 0..4 {
        let mut reservation = volume.reserve(OWNER, key(n), 100_000).unwrap();
        reservation.write(&content(n, 0, 100_000)).unwrap();
        volume.seal(reservation).unwrap();
    }
    volume.commit().unwrap();
    let at = volume.reader().locate(&key(0)).unwrap();
    disk.flip(&at.file, at.offset + 50_000, 1).unwrap();
    volume.delete(&key(1)).unwrap();
    volume.delete(&key(2)).unwrap();
    volume.commit().unwrap();
    let mut named = Vec::new();
    for _ in 0..6 {
        named.extend(volume.compact(u64::MAX).unwrap().damaged);
        volume.commit().unwrap();
    }
    assert_eq!(named, vec![key(0)]);
    assert_eq!(volume.reader().locate(&key(0)).unwrap(), at);
    assert_ne!(volume.reader().locate(&key(3)).unwrap().file, at.file);
    assert_eq!(volume.read(&key(0), 0..100_000).unwrap().damaged, vec![0..100_000]);
    assert_eq!(volume.read(&key(3), 0..100_000).unwrap().bytes, content(3, 0, 100_000));
    // Once it is gone, so is the file.
    volume.delete(&key(0)).unwrap();
    volume.commit().unwrap();
    assert!(disk.files().iter().all(|(name, _)| *name != at.file));
}

#[test]
fn a_wiped_directory_is_a_new_volume_and_says_so() {
    let (disk, _) = specimen();
    for (name, _) in disk.files() {
        disk.cut(&name, 0).unwrap();
    }
    let other = holdfast_volume::Identity { volume: [0xC3; 16], incarnation: [0xD4; 16] };
    let (volume, report) = Volume::open(disk.handle(), options(), other).unwrap();
    assert!(report.created);
    assert_eq!(volume.identity(), other);
    drop(volume);
    let (volume, report) = Volume::open(disk.handle(), options(), FRESH).unwrap();
    assert!(!report.created);
    assert_eq!(volume.identity(), other, "an existing volume keeps its name");
}

#[test]
fn garbage_for_a_volume_never_panics() {
    let (disk, _) = specimen();
    for seed in 0..200u64 {
        let disk = disk.fork();
        let mut rng = common::Rng(seed);
        for (name, len) in disk.files() {
            for _ in 0..rng.below(40) {
                disk.flip(&name, rng.below(len), rng.below(8) as u8).unwrap();
            }
            if rng.below(4) == 0 {
                disk.cut(&name, rng.below(len)).unwrap();
            }
        }
        disk.plant("data-ffffffff", b"x");
        disk.plant("journal-ffffffff", &content(1, 1, 20_000));
        disk.plant("data-00000077", &content(2, 1, 20_000));
        if let Ok((mut volume, _)) = open(&disk) {
            for n in 0..8 {
                if let Some(entry) = volume.reader().stat(&key(n)) {
                    let _ = volume.read(&key(n), 0..entry.len);
                }
            }
            let _ = volume.put_small(OWNER, Key { kind: 1, id: [1; 32] }, b"on it goes");
            let _ = volume.compact(u64::MAX);
            let _ = volume.commit();
        }
    }
}

#[test]
fn past_the_cache_the_same_is_read_and_without_its_name_a_file_is_read_all_the_same() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // The last record needs a file of its own, which leaves the first one to be read past the cache.
    let options = Options { file_len_max: 5 << 20, ..options() };
    let (mut volume, _) = Volume::open(FileDisk::open(dir.path()).unwrap(), options, FRESH).unwrap();
    let piece = PIECE_LEN as usize;
    let lens = [1, 5000, piece, 16 * piece - 3, 17 * piece + 31, 33 * piece];
    for (n, len) in (0..).zip(lens) {
        let mut reservation = volume.reserve(OWNER, key(n), len as u64).unwrap();
        reservation.write(&content(n, 0, len)).unwrap();
        volume.seal(reservation).unwrap();
    }
    volume.commit().unwrap();
    let name = |n| volume.reader().locate(&key(n)).unwrap().file;
    assert!(name(0) == name(4) && name(4) != name(5));
    let all = |volume: &Volume| {
        for (n, len) in (0..).zip(lens) {
            let len = len as u64;
            for range in [0..len, len / 3..len, len - 1..len, 0..len.min(PIECE_LEN)] {
                let found = read(volume, &key(n), range.clone()).unwrap();
                assert!(found.damaged.is_empty());
                assert_eq!(found.bytes, content(n, 0, len as usize)[range.start as usize..range.end as usize]);
            }
        }
        assert_eq!(volume.reader().scrub(Sequence::START, u64::MAX).damaged, []);
    };
    all(&volume);
    // Compaction takes the name from under a reader; somebody else's file is not ours, whatever it is called.
    let path = dir.path().join(name(0));
    std::fs::remove_file(&path).unwrap();
    all(&volume);
    std::fs::write(&path, vec![0; 8 << 20]).unwrap();
    all(&volume);
}

#[test]
fn neither_the_file_that_is_being_written_nor_a_small_record_is_read_past_the_cache() {
    for (len, direct) in [(60_000, false), (600_000, true)] {
        let disk = FakeDisk::new();
        let (mut volume, _) =
            Volume::open(disk.handle(), Options { file_len_max: 2 << 20, ..options() }, FRESH).unwrap();
        let mut files = BTreeSet::new();
        for n in 0..40 {
            let mut reservation = volume.reserve(OWNER, key(n), len).unwrap();
            reservation.write(&content(n, 0, len as usize)).unwrap();
            volume.seal(reservation).unwrap();
            volume.commit().unwrap();
            // Three ways: a record, a stream of one, and a scrub of all.
            read(&volume, &key(n), 0..len).unwrap();
            assert!(volume.reader().read_pieces(&[key(n)]).next().is_some());
            assert_eq!(volume.reader().scrub(Sequence::START, u64::MAX).damaged, []);
            let newest = volume.reader().locate(&key(n)).unwrap().file;
            assert_eq!(disk.direct_reads(&newest).unwrap(), 0, "record {n}");
            files.insert(newest);
        }
        let older = files.iter().take(files.len() - 1).map(|name| disk.direct_reads(name).unwrap() > 0);
        assert_eq!(older.collect::<BTreeSet<_>>(), BTreeSet::from([direct]));
    }
}
