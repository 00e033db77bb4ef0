//! A journal that is opened again, torn or whole.

use std::os::unix::fs::PermissionsExt;

use holdfast_types::Wall;
use holdfast_wire::convert::CommitPart;

use super::*;

fn terms() -> UploadTerms {
    UploadTerms {
        code: Code::new(4, 2).unwrap(),
        segment_len: 1 << 21,
        write_threshold: 6,
        recovery_key: vec![1; 32],
        expires: Wall(0),
        committed: false,
        staged_segments: 0,
        cluster: "test".into(),
    }
}

fn spooled(number: u8) -> Spooled {
    let spec = SegmentSpec {
        id: SegmentId([number; 16]),
        root: SegmentRoot::from_bytes([number; 32]),
        len: 5,
        shard_len: 1024,
        shards: (0..6).map(|index| ShardId::from_bytes([index; 32])).collect(),
        secret_for_owner: vec![number; 48],
        secret_for_recovery: vec![number; 80],
    };
    let spooled = Spooled::of(u64::from(number) * 5, &spec);
    assert_eq!(spooled.spec(), Some(spec));
    spooled
}

/// A journal in `directory`, and what it finds there.
fn open(directory: &Path) -> (Journal, Option<State>) {
    let lock = lock(directory).unwrap();
    let state = read_state(directory);
    let kept = Kept { directory: directory.to_owned(), _lock: lock };
    (Journal { kept: Some(kept), state: state.clone(), records: Vec::new() }, state)
}

fn page(number: u8) -> Vec<u8> {
    let mut out = Vec::new();
    records::append(&mut out, CommitPart::Page(vec![number; 100]));
    out
}

#[test]
fn what_was_cut_is_found_again_and_what_is_durable_is_not_sent_twice() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("put-1");
    let (mut journal, found) = open(&directory);
    assert_eq!(found, None);
    journal.begin(State::new(UploadId([1; 16]), "default", &terms())).unwrap();
    for number in 0..3 {
        fs::write(journal.spool_path(SegmentId([number; 16])).unwrap(), b"bytes").unwrap();
        let snapshot = Snapshot { end: u64::from(number + 1) * 5, records: page(number), ..Snapshot::default() };
        journal.cut(snapshot, spooled(number)).unwrap();
    }
    journal.durable(SegmentId([1; 16])).unwrap();
    drop(journal);

    let (journal, found) = open(&directory);
    let state = found.unwrap();
    assert!(state.fits(&terms()));
    assert_eq!((state.end, state.durable), (15, 1));
    assert_eq!(state.spooled, [spooled(0), spooled(2)]);
    let mut reader = journal.records().unwrap();
    for number in 0..3 {
        assert_eq!(reader.next().unwrap(), Some(CommitPart::Page(vec![number; 100])));
    }
    assert_eq!(reader.next().unwrap(), None);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 4, "state, records and two segments");
    for entry in fs::read_dir(&directory)
        .unwrap()
        .map(Result::unwrap)
        .filter(|e| !e.file_name().to_string_lossy().starts_with("segment"))
    {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    journal.end();
    assert!(!directory.exists());
}

#[test]
fn records_that_no_state_speaks_of_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("put-1");
    let (mut journal, _) = open(&directory);
    journal.begin(State::new(UploadId([1; 16]), "default", &terms())).unwrap();
    journal.cut(Snapshot { records: page(1), ..Snapshot::default() }, spooled(1)).unwrap();
    drop(journal);
    // Died between the records and the state.
    let torn = [page(1), page(7)[..50].to_vec()].concat();
    fs::write(directory.join(RECORDS), torn).unwrap();
    let (mut journal, _) = open(&directory);
    journal.cut(Snapshot { records: page(2), ..Snapshot::default() }, spooled(2)).unwrap();
    assert_eq!(fs::read(directory.join(RECORDS)).unwrap(), [page(1), page(2)].concat());
    // Died with records that are gone: that must not pass for a put of fewer objects.
    fs::write(directory.join(RECORDS), b"").unwrap();
    let error = journal.cut(Snapshot { records: page(3), ..Snapshot::default() }, spooled(3)).unwrap_err();
    assert!(matches!(error, ClientError::State { .. }), "{error}");
}

#[test]
fn a_state_of_another_version_or_torn_is_no_state() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("put-1");
    let (mut journal, _) = open(&directory);
    journal.begin(State::new(UploadId([1; 16]), "default", &terms())).unwrap();
    drop(journal);
    let good = fs::read_to_string(directory.join(STATE)).unwrap();
    assert!(read_state(&directory).is_some());
    for bad in [
        good.replace("\"format\":1", "\"format\":2"),
        good[..good.len() - 5].to_owned(),
        good.replace("durable", "other"),
    ] {
        fs::write(directory.join(STATE), bad).unwrap();
        assert_eq!(read_state(&directory), None);
    }
    // What is left of it does not get in the way.
    let (mut journal, _) = open(&directory);
    journal.begin(State::new(UploadId([2; 16]), "default", &terms())).unwrap();
    assert_eq!(read_state(&directory).unwrap().upload, UploadId([2; 16]));
}

#[test]
fn a_journal_of_the_first_release_is_read_by_every_later_one() {
    let golden = include_str!("../../../tests/golden/v1/state.json");
    let state = State {
        done: vec![Stamp { len: 9, modified_secs: 8, modified_nanos: 7, inode: 6 }],
        current: Some(Current { checkpoint: "AAEC".into(), key: "0a0b".into(), offset: 4, prefix: "0c0d".into() }),
        end: 5,
        records: 3,
        spooled: vec![spooled(1)],
        durable: 2,
        ..State::new(UploadId([1; 16]), "default", &terms())
    };
    assert_eq!(serde_json::from_str::<State>(golden).unwrap(), state);
    assert_eq!(serde_json::to_string(&state).unwrap(), golden);
}

#[test]
fn a_journal_is_locked_as_long_as_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("put-1");
    let (journal, _) = open(&directory);
    assert!(matches!(lock(&directory), Err(ClientError::Running { .. })));
    journal.end();
    assert!(lock(&directory).is_ok(), "a directory of its own");
}
