//! What a volume promises while nothing goes wrong.

#![allow(clippy::unwrap_used, reason = "also the functions that tests share")]

mod common;

use common::{FRESH, OWNER, content, key, open, options};
use holdfast_volume::{
    FakeDisk, FileDisk, Identity, Key, Namespace, Options, PIECE_LEN, Sequence, Usage, Volume, VolumeError, inspect,
};

fn put(volume: &mut Volume, n: u8, len: usize) {
    let mut reservation = volume.reserve(OWNER, key(n), len as u64).unwrap();
    reservation.write(&content(n, 0, len)).unwrap();
    volume.seal(reservation).unwrap();
}

#[test]
fn nothing_is_visible_before_it_is_durable() {
    let disk = FakeDisk::new();
    let (mut volume, report) = open(&disk).unwrap();
    assert!(report.created && report.is_clean());
    put(&mut volume, 1, 200_000);
    let reader = volume.reader();
    assert!(!reader.contains(&key(1)));
    assert!(matches!(reader.read(&key(1), 0..1), Err(VolumeError::NotFound { .. })));
    assert!(matches!(volume.reserve(OWNER, key(1), 1), Err(VolumeError::Pending { .. })));
    let committed = volume.commit().unwrap();
    assert_eq!(committed.iter().map(|c| c.key).collect::<Vec<_>>(), [key(1)]);
    assert_eq!(reader.stat(&key(1)).unwrap().sequence, committed[0].sequence);
    assert!(matches!(volume.reserve(OWNER, key(1), 1), Err(VolumeError::Exists { .. })));

    volume.delete(&key(1)).unwrap();
    assert!(reader.contains(&key(1)));
    assert!(matches!(volume.delete(&key(1)), Err(VolumeError::NotFound { .. })));
    put(&mut volume, 1, 10);
    let again = volume.commit().unwrap();
    assert!(again[0].sequence > committed[0].sequence);
    assert_eq!(reader.read(&key(1), 0..10).unwrap().bytes, content(1, 0, 10));
}

#[test]
fn one_commit_of_many_costs_two_syncs() {
    let disk = FakeDisk::new();
    let (mut volume, _) = Volume::open(disk.handle(), Options::default(), FRESH).unwrap();
    volume.put_small(OWNER, key(0), b"opens the first file").unwrap();
    volume.commit().unwrap();
    let before = disk.syncs();
    for n in 0..200 {
        volume.put_small(OWNER, Key { kind: 7, id: [n; 32] }, &[n; 4096]).unwrap();
    }
    assert_eq!(volume.commit().unwrap().len(), 200);
    assert_eq!(disk.syncs() - before, 2);
}

#[test]
fn a_reservation_takes_exactly_its_length() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    let mut reservation = volume.reserve(OWNER, key(1), 10).unwrap();
    reservation.write(&[1; 6]).unwrap();
    match reservation.write(&[1; 5]) {
        Err(VolumeError::Overrun { len: 10, written: 6, more: 5 }) => {}
        other => panic!("{other:?}"),
    }
    match volume.seal(reservation) {
        Err(VolumeError::Incomplete { len: 10, written: 6 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(volume.commit().unwrap(), []);
    assert_eq!(volume.space().unwrap().in_flight, 0);
    match volume.reserve(OWNER, key(1), 10 << 20) {
        Err(VolumeError::TooLarge { max, .. }) => drop(volume.reserve(OWNER, key(1), max).unwrap()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(volume.put_small(OWNER, key(1), &vec![0; 65_537]), Err(VolumeError::TooLarge { .. })));
}

#[test]
fn of_two_writers_of_one_key_the_first_to_seal_wins() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    let mut one = volume.reserve(OWNER, key(1), 3).unwrap();
    let mut two = volume.reserve(OWNER, key(1), 3).unwrap();
    one.write(b"one").unwrap();
    two.write(b"two").unwrap();
    volume.seal(two).unwrap();
    assert!(matches!(volume.seal(one), Err(VolumeError::Pending { .. })));
    volume.commit().unwrap();
    assert_eq!(volume.read(&key(1), 0..3).unwrap().bytes, b"two");
    assert_eq!(volume.reader().usage(&OWNER), Usage { records: 1, bytes: 3, quota: None });
}

#[test]
fn quotas_bind_what_is_held_and_what_is_reserved_and_outlive_a_restart() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    let other = Namespace([1; 32]);
    volume.set_quota(OWNER, Some(1000)).unwrap();
    volume.put_small(OWNER, key(1), &[1; 600]).unwrap();
    volume.commit().unwrap();
    let held = volume.reserve(OWNER, key(2), 300).unwrap();
    match volume.reserve(OWNER, key(3), 200) {
        Err(VolumeError::QuotaExceeded { quota: 1000, used: 900, asked: 200, .. }) => {}
        got => panic!("{got:?}"),
    }
    drop(volume.reserve(other, key(3), 200_000).unwrap());
    drop(held);
    // What a replacement frees counts for it.
    let mut new = volume.reserve_replacement(OWNER, key(1), 1000).unwrap();
    new.write(&[2; 1000]).unwrap();
    volume.seal(new).unwrap();
    volume.commit().unwrap();
    drop(volume);
    let (mut volume, _) = open(&disk).unwrap();
    assert_eq!(volume.reader().usage(&OWNER), Usage { records: 1, bytes: 1000, quota: Some(1000) });
    assert!(matches!(volume.reserve(OWNER, key(9), 1), Err(VolumeError::QuotaExceeded { .. })));
    volume.set_quota(OWNER, None).unwrap();
    volume.commit().unwrap();
    drop(volume.reserve(OWNER, key(9), 1).unwrap());
}

#[test]
fn entries_are_listed_in_order_by_kind_and_in_pages() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    for n in 0..50u8 {
        volume.put_small(OWNER, Key { kind: n % 3, id: [255 - n; 32] }, &[n]).unwrap();
        if n % 7 == 0 {
            volume.commit().unwrap();
        }
    }
    volume.commit().unwrap();
    let reader = volume.reader();
    let mut seen = Vec::new();
    let mut from = Sequence::START;
    loop {
        let page = reader.entries(&[0, 2], from..Sequence::END, 7);
        let Some(last) = page.last() else { break };
        from = last.sequence.next();
        seen.extend(page);
    }
    let expected: Vec<u8> = (0..50).filter(|n| n % 3 != 1).collect();
    assert_eq!(seen.iter().map(|e| 255 - e.key.id[0]).collect::<Vec<_>>(), expected);
    assert!(seen.is_sorted_by_key(|e| e.sequence));
    // Nothing behind the range is even looked at; one that ends before it starts holds nothing.
    let (third, sixth) = (seen[3].sequence, seen[6].sequence);
    assert_eq!(reader.entries(&[0, 2], third..sixth, usize::MAX), seen[3..6]);
    assert_eq!(reader.entries(&[0, 2], sixth..third, usize::MAX), []);
}

#[test]
fn compaction_frees_the_dead_and_keeps_sequences_and_readers() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    for n in 0..40 {
        put(&mut volume, n, 100_000);
    }
    volume.commit().unwrap();
    let reader = volume.reader();
    let before = reader.entries(&[common::KIND], Sequence::START..Sequence::END, 100);
    let mut stream = reader.read_pieces(&[key(39), key(3), key(7), key(200)]);
    assert_eq!(stream.missing(), [key(200)]);
    assert_eq!(stream.next().unwrap().key, key(3), "physical order");
    for n in (0..40).filter(|n| n % 4 != 3) {
        volume.delete(&key(n)).unwrap();
    }
    volume.commit().unwrap();
    let dead = volume.space().unwrap().dead;
    let mut steps = 0;
    loop {
        let step = volume.compact(150_000).unwrap();
        assert!(step.bytes <= 250_000 && step.damaged.is_empty());
        volume.commit().unwrap();
        steps += 1;
        assert!(steps < 100, "compaction does not come to an end");
        if !step.more {
            break;
        }
    }
    let space = volume.space().unwrap();
    assert!(space.dead < dead / 4, "{} of {dead} bytes are still dead", space.dead);
    let (mut on_disk, mut reserve) = (0, 0);
    for (name, len) in disk.files() {
        *if name == "reserve" { &mut reserve } else { &mut on_disk } += len;
    }
    assert!(on_disk <= space.files + 4096);
    assert_eq!(reserve, common::options().reserve, "kept aside for a full disk, whatever happens beside it");
    let kept: Vec<_> = before.into_iter().filter(|e| e.key.id[0] % 4 == 3).collect();
    assert_eq!(reader.entries(&[common::KIND], Sequence::START..Sequence::END, 100), kept);
    for e in &kept {
        assert_eq!(reader.read(&e.key, 0..e.len).unwrap().bytes, content(e.key.id[0], 0, 100_000));
    }
    // The stream begun before goes on through handles to files now removed.
    assert_eq!(stream.next().unwrap().bytes.unwrap(), content(7, 0, 100_000));
    assert_eq!(stream.next().unwrap().bytes.unwrap(), content(39, 0, 100_000));
    assert_eq!(stream.next(), None);
    drop(volume);
    let (volume, report) = open(&disk).unwrap();
    assert!(report.is_clean());
    assert_eq!(volume.reader().entries(&[common::KIND], Sequence::START..Sequence::END, 100), kept);
}

#[test]
fn a_file_with_a_reservation_in_it_outlives_everything_else_in_it() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    let mut slow = volume.reserve(OWNER, key(0), 100_000).unwrap();
    for n in 1..12 {
        put(&mut volume, n, 100_000);
    }
    volume.commit().unwrap();
    (1..12).for_each(|n| volume.delete(&key(n)).unwrap());
    volume.commit().unwrap();
    volume.compact(u64::MAX).unwrap();
    volume.commit().unwrap();
    slow.write(&content(0, 0, 100_000)).unwrap();
    volume.seal(slow).unwrap();
    volume.commit().unwrap();
    drop(volume);
    let (volume, _) = open(&disk.after_crash(1)).unwrap();
    assert_eq!(volume.read(&key(0), 0..100_000).unwrap().bytes, content(0, 0, 100_000));
    assert_eq!(volume.reader().records(), 1);
}

#[test]
fn a_journal_of_mostly_history_is_rewritten_and_numbers_go_on() {
    let disk = FakeDisk::new();
    let (mut volume, _) = open(&disk).unwrap();
    volume.set_meta(1, &content(1, 1, 700)).unwrap();
    volume.set_quota(OWNER, Some(1 << 30)).unwrap();
    let mut last = Sequence::START;
    for round in 0..200u32 {
        let mut new = volume.reserve_replacement(OWNER, key((round % 5) as u8), 4).unwrap();
        new.write(&round.to_le_bytes()).unwrap();
        volume.seal(new).unwrap();
        let sequence = volume.commit().unwrap()[0].sequence;
        assert!(sequence > last);
        last = sequence;
        if round % 10 == 0 {
            volume.compact(1 << 20).unwrap();
            for seed in 0..6 {
                let after = disk.after_crash(seed).files();
                let journals = after.iter().filter(|(name, _)| name.starts_with("journal"));
                assert_eq!(journals.count(), 1, "an old journal came back");
            }
            volume.commit().unwrap();
        }
    }
    let journals: Vec<_> = disk.files().into_iter().filter(|(name, _)| name.starts_with("journal")).collect();
    assert_eq!(journals.len(), 1);
    assert!(journals[0].0.as_str() > "journal-00000003" && journals[0].1 < 12_288 + 60 * 128);
    let (volume, report) = open(&disk).unwrap();
    assert!(report.is_clean());
    assert_eq!(volume.meta(1), Some(content(1, 1, 700)));
    assert_eq!(volume.reader().usage(&OWNER).quota, Some(1 << 30));
    for round in 195..200u32 {
        assert_eq!(volume.read(&key((round % 5) as u8), 0..4).unwrap().bytes, round.to_le_bytes());
    }
}

#[test]
fn a_newer_format_is_refused_with_a_message() {
    let disk = FakeDisk::new();
    drop(open(&disk).unwrap());
    let name = "journal-00000001";
    let mut bytes = disk.contents(name).unwrap();
    bytes[24] |= 4; // an incompatible bit
    let sum = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    disk.plant(name, &bytes);
    let refused = open(&disk).map(|_| ()).unwrap_err();
    assert!(matches!(refused, VolumeError::Unsupported { .. }));
    assert!(refused.to_string().contains("0x4") && refused.to_string().contains(name), "{refused}");
    // A compatible bit is no hindrance.
    bytes[24] = 0;
    bytes[16] = 4;
    let sum = crc32c::crc32c(&bytes[..124]);
    bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    disk.plant(name, &bytes);
    assert!(!open(&disk).unwrap().1.created);
}

#[test]
fn a_real_directory_is_locked_survives_and_can_be_inspected_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er");
    let start = |fresh| Volume::open(FileDisk::open(&path)?, options(), fresh);
    let (mut volume, report) = start(FRESH).unwrap();
    assert!(report.created);
    assert!(matches!(start(FRESH), Err(VolumeError::Locked { .. })));
    for n in 0..6 {
        put(&mut volume, n, 200_000);
    }
    volume.set_meta(7, b"fence").unwrap();
    volume.commit().unwrap();
    put(&mut volume, 100, 5000);

    let seen = inspect(&path).unwrap();
    assert_eq!(seen.identity(), FRESH);
    assert_eq!(seen.entries(), volume.reader().entries(&[common::KIND], Sequence::START..Sequence::END, 100));
    assert_eq!(seen.meta(7).unwrap(), b"fence");
    let (file, offset) = seen.locate(&key(4)).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = offset as usize;
    assert_eq!(bytes[at..at + 200_000], content(4, 0, 200_000));
    bytes[at + 130_000..at + 130_016].iter_mut().for_each(|b| *b ^= 0xFF);
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(volume.read(&key(4), 0..200_000).unwrap().damaged, vec![PIECE_LEN..200_000]);
    drop(volume);

    let other = Identity { volume: [5; 16], incarnation: [6; 16] };
    let (volume, report) = start(other).unwrap();
    assert!(!report.created && report.is_clean());
    assert_eq!(volume.identity(), FRESH);
    assert!(!volume.contains(&key(100)));
    assert_eq!(volume.read(&key(5), 0..200_000).unwrap().bytes, content(5, 0, 200_000));
    let scrub = volume.reader().scrub(Sequence::START, u64::MAX);
    let [(damaged, ranges)] = &scrub.damaged[..] else { panic!("{scrub:?}") };
    assert_eq!((*damaged, ranges[0].clone()), (key(4), PIECE_LEN..200_000));
    assert_eq!(ranges.len(), 1);
    drop(volume);

    std::fs::remove_dir_all(&path).unwrap();
    let (volume, report) = start(other).unwrap();
    assert!(report.created);
    assert_eq!(volume.identity(), other);
}

#[test]
fn readers_in_other_threads_see_only_whole_records_while_writers_stream() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { file_len_max: 4 << 20, ..options() };
    let (mut volume, _) = Volume::open(FileDisk::open(dir.path()).unwrap(), options, FRESH).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let reader = volume.reader();
            let done = &done;
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for entry in reader.entries(&[common::KIND], Sequence::START..Sequence::END, 100) {
                        match reader.read(&entry.key, 0..entry.len) {
                            Ok(read) => {
                                assert!(read.damaged.is_empty());
                                assert!(read.bytes == content(entry.key.id[0], 0, entry.len as usize));
                            }
                            Err(VolumeError::NotFound { .. }) => {}
                            Err(e) => panic!("{e}"),
                        }
                    }
                }
            });
        }
        for round in 0..12u8 {
            let mut open: Vec<_> =
                (0..4).map(|i| volume.reserve(OWNER, key(round * 4 + i), 150_000).unwrap()).collect();
            std::thread::scope(|inner| {
                for reservation in &mut open {
                    inner.spawn(|| {
                        let bytes = content(reservation.key().id[0], 0, 150_000);
                        bytes.chunks(64_000).for_each(|step| reservation.write(step).unwrap());
                    });
                }
            });
            open.into_iter().for_each(|reservation| volume.seal(reservation).unwrap());
            if round > 1 {
                (0..3).for_each(|i| volume.delete(&key((round - 2) * 4 + i)).unwrap());
            }
            volume.compact(1 << 20).unwrap();
            volume.commit().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(volume.reader().records(), 48 - 30);
}

#[test]
fn the_writer_moves_between_threads_and_readers_are_shared() {
    fn sends<T: Send>() {}
    fn shares<T: Send + Sync + Clone>() {}
    sends::<Volume>();
    sends::<holdfast_volume::Reservation>();
    sends::<holdfast_volume::PieceStream>();
    shares::<holdfast_volume::Reader>();
}
