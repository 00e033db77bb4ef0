//! A sparse object of 1 TiB: what grows with it, and what does not.
//!
//! Two pages of its frame table (32 GiB of zeros, never in memory) are sealed frame by frame, by the
//! real sealer; what a page adds to checkpoint and manifest is measured, and what 64 of them come to
//! is held against the bounds. The put machine goes through all 32,768 segments that such an object
//! has when it does not compress; the map of its extents is built whole and read in one place.
#![allow(clippy::unwrap_used)]

use holdfast_dispersal::{
    Description, Extent, ExtentMap, FRAME_PAGES_MAX, FRAMES_PER_PAGE, ObjectKey, RunSalt, SEGMENT_LEN_DEFAULT, Sealer,
};
use holdfast_protocol::{
    effect::Token,
    message::Receipt,
    model::{Assignment, NodeLife, NodeRow, SegmentRow, StagedSegment, UploadRow},
    put::{Effect, Event, Patience, Put, Slot, Terms},
    store::{MapStore, Store, StoreOp, StoreReply},
};
use holdfast_types::{
    ByteRange, Code, FRAME_LEN, Incarnation, Mono, NodeId, ObjectId, OwnerId, RECORD_LEN_MAX, SecretKey, SegmentId,
    SegmentRoot, Sequence, ShardId, ShardIndex, Signature, UploadId, VolumeId, Wall, ZoneName,
};

const TIB: u64 = 1 << 40;
const PAGES: u64 = TIB / FRAME_LEN / FRAMES_PER_PAGE;

/// Seals a page of zeros more; gives the bytes of the checkpoint, of the manifest if the object ended one frame later,
/// and of the page.
fn one_page_more(sealer: &mut Sealer, zeros: &[u8], salt: u8) -> (usize, usize, usize) {
    for _ in 0..FRAMES_PER_PAGE {
        assert!(sealer.push(zeros).unwrap().len() <= 1, "one frame at a time");
    }
    let pages = sealer.take_pages();
    assert_eq!(pages.len(), 1, "a page is given away as soon as it is full");
    let state = sealer.checkpoint();
    let checkpoint = state.to_bytes().unwrap().len();
    let mut other = Sealer::resume(ObjectKey::from_bytes([1; 32]), state, RunSalt([salt; 32])).unwrap();
    other.push(zeros).unwrap();
    let manifest = other.finish(Description::default()).unwrap().manifest.bytes().len();
    (checkpoint, manifest, pages[0].bytes.len())
}

#[test]
fn a_tebibyte_is_sixty_four_pages_and_a_few_kilobytes() {
    let zeros = vec![0; FRAME_LEN as usize];
    let mut sealer = Sealer::new(ObjectKey::from_bytes([1; 32]), RunSalt([2; 32])).unwrap();
    sealer.push(&zeros).unwrap();
    let one = one_page_more(&mut sealer, &zeros, 3);
    let two = one_page_more(&mut sealer, &zeros, 4);
    // A page is named by its root and where its frames start: nothing else is kept of it.
    let page = two.1 - one.1;
    assert!(page < 128, "a page costs {page} bytes of manifest");
    assert!(two.2 <= RECORD_LEN_MAX, "a page has {} bytes", two.2);
    assert_eq!(PAGES, 64);
    const { assert!(PAGES <= FRAME_PAGES_MAX) };
    // Beside the names of its pages, a checkpoint holds what the hash has not taken in yet: as much for any object.
    let (manifest, checkpoint) = (two.1 + page * PAGES as usize, one.0.max(two.0) + page * PAGES as usize);
    assert!(manifest < 8 << 10, "the manifest of 1 TiB has {manifest} bytes");
    assert!(checkpoint < RECORD_LEN_MAX, "the checkpoint of 1 TiB has {checkpoint} bytes");
}

const N: u16 = 6;
/// Segments of 1 TiB that does not shrink.
const SEGMENTS: u64 = TIB / (SEGMENT_LEN_DEFAULT / (FRAME_LEN + 16) * FRAME_LEN);

/// A cluster that does what it is asked, at once.
struct Willing {
    keys: Vec<SecretKey>,
    stored: u64,
    released: u64,
}

impl Willing {
    fn names(segment: SegmentId) -> Vec<ShardId> {
        let name =
            |index: u16| *blake3::Hasher::new().update(&segment.0).update(&index.to_be_bytes()).finalize().as_bytes();
        (0..N).map(|index| ShardId::from_bytes(name(index))).collect()
    }

    fn answer(&mut self, effect: Effect, owner: OwnerId, len: u64) -> Option<Event> {
        match effect {
            Effect::Stage { token, segment, .. } => {
                let slot = |(index, shard): (u16, ShardId)| {
                    let key = self.keys[usize::from(index)].public();
                    Slot { index: ShardIndex(index), shard, node: key.node_id(), key, held: false }
                };
                Some(Event::Staged(token, Ok((0..).zip(Self::names(segment)).map(slot).collect())))
            }
            Effect::Store { token, segment, index, .. } => {
                self.stored += 1;
                Some(Event::Stored(token, Ok(Box::new(self.receipt(segment, index, owner, len)))))
            }
            Effect::Note { token, receipts, .. } => Some(Event::Noted(token, Ok(receipts.len() as u32))),
            Effect::Commit(token) => Some(Event::Committed(token, Ok(()))),
            Effect::Release { owed, .. } => {
                assert_eq!(owed, 0);
                self.released += 1;
                None
            }
            Effect::Done => None,
            other => panic!("a willing cluster gives no reason for {other:?}"),
        }
    }

    fn receipt(&self, segment: SegmentId, index: ShardIndex, owner: OwnerId, len: u64) -> Receipt {
        let key = &self.keys[usize::from(index.0)];
        let unsigned = Receipt {
            node: key.public().node_id(),
            incarnation: Incarnation([1; 16]),
            owner,
            shard: Self::names(segment)[usize::from(index.0)],
            len,
            sequence: Sequence(self.stored),
            signature: Signature { algorithm: 1, bytes: [0; 64] },
        };
        Receipt { signature: key.sign(&unsigned.transcript()), ..unsigned }
    }
}

#[test]
fn a_put_of_a_tebibyte_keeps_nothing_of_a_segment_that_is_durable() {
    let (owner, len) = (OwnerId([7; 32]), SEGMENT_LEN_DEFAULT / 4);
    let mut put = Put::new(Terms { total: N, threshold: N, owner }, Patience::default());
    let keys = (0..N as u8).map(|node| SecretKey::from_seed(&[node; 32])).collect();
    let mut cluster = Willing { keys, stored: 0, released: 0 };
    let mut longest = 0;
    // A thirty-second of the way: every segment goes the same way, and signatures take their time.
    let segments = SEGMENTS / 32;
    for number in 0..segments {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let id = SegmentId(id);
        let mut events = vec![Event::Segment { id, shards: Willing::names(id), shard_len: len }];
        while let Some(event) = events.pop() {
            for effect in put.step(Mono(number), event) {
                events.extend(cluster.answer(effect, owner, len));
            }
        }
        assert_eq!(put.in_flight(), 0);
        longest = longest.max(format!("{put:?}").len());
        assert!(longest < 512, "the machine holds {longest} characters of state after segment {number}");
    }
    assert_eq!(cluster.released, segments);
    let done = put.step(Mono(segments), Event::Ended);
    assert!(matches!(done.as_slice(), [Effect::Commit(Token(_))]));
}

/// What the auditor's API asks of the catalog for one segment: the longest of the answers.
fn stage_and_note(store: &mut MapStore, upload: &UploadRow, number: u64) -> usize {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let id = SegmentId(id);
    let shards = Willing::names(id);
    let place = |(at, shard): (u16, &ShardId)| Assignment {
        index: ShardIndex(at),
        shard: *shard,
        node: NodeId([at as u8; 32]),
        sequence: None,
    };
    let assignments: Vec<Assignment> = (0..).zip(&shards).map(place).collect();
    let receipts = assignments.iter().map(|a| (a.index, a.node, Sequence(number))).collect();
    let segment = SegmentRow {
        id,
        owner: upload.owner,
        root: SegmentRoot::from_bytes([1; 32]),
        len: SEGMENT_LEN_DEFAULT,
        code: upload.code,
        shard_len: SEGMENT_LEN_DEFAULT / 4,
        shards,
        repair_threshold: upload.repair_threshold,
        secret_for_owner: vec![0; 60],
        secret_for_recovery: vec![0; 100],
    };
    let staged = StagedSegment { upload: upload.id, offset: number * SEGMENT_LEN_DEFAULT, segment, assignments };
    let look = || StoreOp::StagedSegment { id: upload.id, owner: upload.owner, segment: id };
    let ops = [
        look(),
        StoreOp::StageSegment { staged: Box::new(staged), expires: upload.expires, witnesses: vec![] },
        look(),
        StoreOp::NoteReceipts { upload: upload.id, segment: id, receipts },
    ];
    let mut longest = 0;
    for op in ops {
        let reply = store.apply(op);
        assert!(matches!(reply, StoreReply::Done | StoreReply::Upload(..)), "{reply:?}");
        longest = longest.max(format!("{reply:?}").len());
    }
    longest
}

#[test]
fn the_catalog_answers_for_one_segment_of_a_tebibyte_whatever_was_staged_before() {
    let mut store = MapStore::new();
    for number in 0..N as u8 {
        let key = SecretKey::from_seed(&[number; 32]).public();
        let row = NodeRow {
            id: NodeId([number; 32]),
            key,
            addresses: vec!["[::1]:1".into()],
            zone: ZoneName(format!("zone-{number}")),
            operator: "op".into(),
            life: NodeLife::Active,
            containment: None,
            volume: VolumeId([1; 16]),
            incarnation: Incarnation([1; 16]),
            capacity: TIB,
            used: 0,
            joined: Wall(0),
            seen: Wall(0),
            judged: None,
            version: 0,
        };
        assert!(matches!(store.apply(StoreOp::PutNode(Box::new(row))), StoreReply::Nodes(_)));
    }
    let upload = UploadRow {
        id: UploadId([1; 16]),
        owner: OwnerId([7; 32]),
        policy: "p".into(),
        code: Code::new(4, 2).unwrap(),
        write_threshold: N,
        repair_threshold: 5,
        expires: Wall(9),
        committed: false,
    };
    store.apply(StoreOp::BeginUpload(upload.clone()));
    let first = stage_and_note(&mut store, &upload, 0);
    // A quarter of them: were each receipt held against those before it, this would take an hour.
    let segments = SEGMENTS / 4;
    for number in 1..segments {
        let longest = stage_and_note(&mut store, &upload, number);
        assert!(
            longest < first + 200,
            "segment {number} is answered with {longest} characters, the first with {first}"
        );
    }
    let spans = StoreOp::StagedSpans { id: upload.id, owner: upload.owner };
    let StoreReply::Spans(_, spans) = store.apply(spans) else { panic!("an upload has spans") };
    assert_eq!(spans.len() as u64, segments);
    // All that a commit holds of them, if it is the whole tebibyte.
    let bytes = size_of_val(spans.as_slice()) * 4;
    assert!(bytes < 2 << 20, "{bytes} bytes");
    assert!(spans.iter().all(|span| span.held == N));
}

#[test]
fn a_read_in_a_tebibyte_touches_the_extents_that_it_needs() {
    let object = ObjectId::from_bytes([1; 32]);
    let extent = |number: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (len, stream_offset) = (SEGMENT_LEN_DEFAULT, number * SEGMENT_LEN_DEFAULT);
        (SegmentId(id), Extent { object, segment_offset: 0, len, stream_offset })
    };
    let map = ExtentMap::new(&object, SEGMENTS * SEGMENT_LEN_DEFAULT, (0..SEGMENTS).map(extent)).unwrap();
    assert_eq!(map.parts().len() as u64, SEGMENTS);
    for at in [0, SEGMENT_LEN_DEFAULT - 1, 17_000 * SEGMENT_LEN_DEFAULT + 5, SEGMENTS * SEGMENT_LEN_DEFAULT - FRAME_LEN]
    {
        let parts = map.locate(ByteRange::at(at, FRAME_LEN).unwrap()).unwrap();
        assert!(parts.len() <= 2, "{} extents for one frame", parts.len());
    }
}
