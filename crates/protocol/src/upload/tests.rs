//! What a client may say, and what it may not.

use holdfast_dispersal::{Description, Envelope, Manifest, ObjectKey, OwnerKey, RunSalt, Sealer, Signed};
use holdfast_types::{Code, Incarnation, PublicKey, Signature, VolumeId, ZoneName};

use super::*;
use crate::model::NodeLife;

const EXPIRES: Wall = Wall(5000);

fn node_key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn row(n: u8) -> NodeRow {
    let key: PublicKey = node_key(n).public();
    NodeRow {
        id: key.node_id(),
        key,
        addresses: vec![],
        zone: ZoneName(format!("z{}", n % 4)),
        operator: String::new(),
        life: NodeLife::Active,
        containment: None,
        volume: VolumeId([n; 16]),
        incarnation: Incarnation([n; 16]),
        capacity: 1 << 30,
        used: 0,
        joined: Wall(0),
        seen: Wall(0),
        judged: None,
        version: 1,
    }
}

fn nodes(count: u8) -> BTreeMap<NodeId, NodeRow> {
    (1..=count).map(row).map(|row| (row.id, row)).collect()
}

fn owner() -> OwnerKey {
    OwnerKey::from_bytes([7; 32])
}

fn policy() -> Policy {
    Policy::new("p", Code::new(3, 2).unwrap())
}

fn begun() -> UploadRow {
    begin(UploadId([1; 16]), owner().owner_id(), &policy(), &nodes(8), EXPIRES).unwrap()
}

fn spec(n: u8, offset: u64, len: u64) -> SegmentSpec {
    let geometry = Geometry::new(policy().code, len).unwrap();
    SegmentSpec {
        id: SegmentId([n; 16]),
        offset,
        root: SegmentRoot::from_bytes([n; 32]),
        len,
        shard_len: geometry.shard_len(),
        shards: (0..5).map(|index| ShardId::from_bytes([n * 16 + index; 32])).collect(),
        secret_for_owner: vec![0; WRAPPED_LEN],
        secret_for_recovery: vec![0; RecoveryWrap::LEN],
    }
}

fn staged(n: u8, offset: u64, len: u64) -> StagedSegment {
    stage(&begun(), None, spec(n, offset, len), &nodes(8), &BTreeSet::new()).unwrap()
}

fn spans(staged: &[StagedSegment]) -> Vec<crate::model::StagedSpan> {
    staged.iter().map(crate::model::StagedSpan::of).collect()
}

fn places(staged: &StagedSegment) -> Vec<NodeId> {
    staged.assignments.iter().map(|assignment| assignment.node).collect()
}

#[test]
fn a_policy_that_the_cluster_cannot_hold_is_refused_before_a_byte_moves() {
    let none = begin(UploadId([1; 16]), owner().owner_id(), &policy(), &nodes(4), EXPIRES).unwrap_err();
    assert!(none.to_string().contains("3+2 needs 5 nodes"), "{none}");
    let mut one_zone = nodes(8);
    one_zone.values_mut().for_each(|row| row.zone = ZoneName("z".into()));
    let none = begin(UploadId([1; 16]), owner().owner_id(), &policy(), &one_zone, EXPIRES).unwrap_err();
    assert!(none.to_string().contains("at least 3 zones"), "{none}");
}

#[test]
fn a_segment_that_is_not_what_it_says_is_refused() {
    let (upload, nodes, none) = (begun(), nodes(8), BTreeSet::new());
    let refused = |change: &dyn Fn(&mut SegmentSpec)| {
        let mut spec = spec(1, 0, 10_000);
        change(&mut spec);
        stage(&upload, None, spec, &nodes, &none).unwrap_err().to_string()
    };
    assert!(refused(&|spec| spec.shard_len += 1024).contains("bytes of a shard: expected 4096, got 5120"));
    assert!(refused(&|spec| spec.len = 0).contains("1 to"));
    assert!(refused(&|spec| spec.len = (64 << 20) + 1).contains("smaller"));
    assert!(refused(&|spec| spec.shards.truncate(4)).contains("5 distinct ones, got 4"));
    assert!(refused(&|spec| spec.shards[1] = spec.shards[0]).contains("got 5, 4 of them distinct"));
    assert!(refused(&|spec| spec.secret_for_owner.push(0)).contains("wrapped to the owner"));
    assert!(refused(&|spec| spec.secret_for_recovery.clear()).contains("wrapped to the recovery key"));
    let committed = UploadRow { committed: true, ..upload.clone() };
    let late = stage(&committed, None, spec(1, 0, 10_000), &nodes, &none);
    assert!(matches!(late, Err(UploadError::Conflict(_))));
}

#[test]
fn asked_again_a_segment_has_the_same_places_and_fresh_grants() {
    let (upload, nodes, none) = (begun(), nodes(8), BTreeSet::new());
    let first = staged(1, 0, 10_000);
    let again = stage(&upload, Some(&first), spec(1, 0, 10_000), &nodes, &none).unwrap();
    assert_eq!(again, first);
    // An answer that got lost before it was stored: the same draw.
    assert_eq!(staged(1, 0, 10_000), first);
    let auditor = SecretKey::from_seed(&[9; 32]);
    let grants = put_grants(&first, EXPIRES, &auditor);
    assert_eq!(grants.len(), 5);
    for ((index, signed), assignment) in grants.iter().zip(&first.assignments) {
        let grant = signed.verify(&auditor.public(), &assignment.node, Wall(4999), 0).unwrap();
        assert_eq!((*index, grant.content, grant.len), (assignment.index, *assignment.shard.as_bytes(), 4096));
        assert_eq!(grant.owner, owner().owner_id());
    }
    let other = SegmentSpec { root: SegmentRoot::from_bytes([9; 32]), ..spec(1, 0, 10_000) };
    let clash = stage(&upload, Some(&first), other, &nodes, &none);
    assert!(matches!(clash, Err(UploadError::Conflict(_))));
    let clash = stage(&upload, Some(&first), spec(1, 5, 10_000), &nodes, &none);
    assert!(matches!(clash, Err(UploadError::Conflict(_))));
}

#[test]
fn only_what_failed_and_has_no_receipt_goes_elsewhere() {
    let (upload, mut nodes) = (begun(), nodes(8));
    let mut first = staged(1, 0, 10_000);
    first.assignments[0].sequence = Some(Sequence(5));
    let avoid = BTreeSet::from([first.assignments[0].node, first.assignments[1].node]);
    nodes.get_mut(&first.assignments[2].node).unwrap().life = NodeLife::Contained;
    let again = stage(&upload, Some(&first), spec(1, 0, 10_000), &nodes, &avoid).unwrap();
    let (before, after) = (places(&first), places(&again));
    assert_eq!(before[0], after[0], "it has its receipt");
    assert_ne!(before[1], after[1]);
    assert_ne!(before[2], after[2]);
    assert_eq!(before[3..], after[3..]);
    assert_eq!(again.assignments[0].sequence, Some(Sequence(5)));
    assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(put_grants(&again, EXPIRES, &node_key(1)).len(), 4);
}

#[test]
fn a_receipt_counts_only_from_its_node_in_its_present_life_for_these_bytes() {
    let nodes = nodes(8);
    let segment = staged(1, 0, 10_000);
    let place = segment.assignments[2];
    let number = (1..=8).find(|n| row(*n).id == place.node).unwrap();
    let key = node_key(number);
    let sign = |receipt: Receipt| Receipt { signature: key.sign(&receipt.transcript()), ..receipt };
    let good = sign(Receipt {
        node: place.node,
        incarnation: Incarnation([number; 16]),
        owner: owner().owner_id(),
        shard: place.shard,
        len: 4096,
        sequence: Sequence(77),
        signature: Signature { algorithm: 0, bytes: [0; 64] },
    });
    let fault = |receipt: Receipt, index: u16| {
        let found = receipts(&segment, &[(ShardIndex(index), receipt)], &nodes);
        assert_eq!(found.valid.len() + found.faults.len(), 1);
        found.faults.first().map(|(_, fault)| *fault)
    };
    assert_eq!(fault(good, 2), None);
    assert_eq!(receipts(&segment, &[(ShardIndex(2), good)], &nodes).valid, [(ShardIndex(2), place.node, Sequence(77))]);
    assert_eq!(fault(good, 5), Some(ReceiptFault::Index));
    assert_eq!(fault(good, 1), Some(ReceiptFault::Node));
    assert_eq!(fault(Receipt { sequence: Sequence(78), ..good }, 2), Some(ReceiptFault::Signature));
    assert_eq!(fault(sign(Receipt { len: 4095, ..good }), 2), Some(ReceiptFault::Content));
    assert_eq!(fault(sign(Receipt { owner: OwnerId([1; 32]), ..good }), 2), Some(ReceiptFault::Content));
    assert_eq!(fault(sign(Receipt { shard: ShardId::from_bytes([9; 32]), ..good }), 2), Some(ReceiptFault::Content));
    assert_eq!(fault(sign(Receipt { sequence: Sequence::MAX, ..good }), 2), None);
    // Attack: one such number, and the catalog fails at all that are noted with it.
    for beyond in [Sequence::MAX.0 + 1, 1 << 63, u64::MAX] {
        let signed = sign(Receipt { sequence: Sequence(beyond), ..good });
        assert_eq!(fault(signed, 2), Some(ReceiptFault::Sequence));
    }
    let wiped = sign(Receipt { incarnation: Incarnation([0xee; 16]), ..good });
    assert_eq!(fault(wiped, 2), Some(ReceiptFault::Incarnation));
    let forged = Receipt { signature: node_key(number + 1).sign(&good.transcript()), ..good };
    assert_eq!(fault(forged, 2), Some(ReceiptFault::Signature));
}

/// A real manifest and envelope of `n`; the sealed stream starts at `offset`.
fn object(n: u8, offset: u64, signer: &OwnerKey) -> ObjectSpec {
    let key = ObjectKey::from_bytes([n; 32]);
    let mut sealer = Sealer::new(key.clone(), RunSalt([n; 32])).unwrap();
    assert!(sealer.push(&[n; 100]).unwrap().is_empty());
    let sealed = sealer.finish(Description::default()).unwrap();
    let id = sealed.object_id();
    let envelope = Envelope {
        version: 1,
        object: id,
        owner: signer.owner_id(),
        key: signer.wrap_object_key(&id, &key),
        policy: "p".into(),
        code: policy().code,
        retain_until: None,
        created: Wall(0),
        names: vec!["a name".into(), "another".into()],
    };
    ObjectSpec {
        manifest: sealed.manifest.bytes().to_vec(),
        envelope: Signed::sign(envelope, &signer.signing()).unwrap().bytes().to_vec(),
        offset,
        sealed_len: sealed.manifest.sealed_len(),
        plain_len: 100,
        pages: vec![],
    }
}

#[test]
fn an_object_across_two_segments_has_the_extents_of_its_bytes() {
    let len = object(1, 0, &owner()).sealed_len;
    let cut = len + 10;
    // Two segments; the first object begins 10 bytes in and ends with the first segment, the second one goes on past it.
    let segments = [staged(2, cut + 4, 10_000), staged(1, 0, cut + 4)];
    let found =
        commit(&begun(), &spans(&segments), vec![object(2, cut, &owner()), object(1, 10, &owner())], Wall(9)).unwrap();
    let extent = |at, n, offset, len| crate::model::ExtentRow { at, segment: SegmentId([n; 16]), offset, len };
    let second = object(2, 0, &owner()).sealed_len;
    assert_eq!(found[0].extents, [extent(0, 1, cut, 4), extent(4, 2, 0, second - 4)]);
    assert_eq!(found[1].extents, [extent(0, 1, 10, len)]);
    let row = &found[1].row;
    let manifest = Manifest::decode(&object(1, 0, &owner()).manifest).unwrap();
    assert_eq!((row.id, row.owner, row.created), (manifest.object_id(), owner().owner_id(), Wall(9)));
    assert_eq!((row.name.as_str(), row.sealed_len, row.plain_len), ("a name", len, 100));
    // And the store takes exactly this.
    let upload = begun();
    let held = |mut staged: StagedSegment| {
        staged.assignments.iter_mut().for_each(|assignment| assignment.sequence = Some(Sequence(1)));
        staged
    };
    assert_eq!(crate::store::rules::commit_fault(&upload, &spans(&segments.map(held)), &found), None);
}

#[test]
fn a_commit_of_anything_else_is_refused() {
    let upload = begun();
    let segments = [staged(1, 0, 1000)];
    let refused =
        |objects: Vec<ObjectSpec>| commit(&upload, &spans(&segments), objects, Wall(9)).unwrap_err().to_string();
    let good = || object(1, 0, &owner());
    assert!(commit(&upload, &spans(&segments), vec![good()], Wall(9)).is_ok());
    assert!(refused(vec![object(1, 990, &owner())]).contains("within the 1000 bytes staged"));
    assert!(refused(vec![object(1, u64::MAX, &owner())]).contains("within the 1000 bytes staged"));
    assert!(refused(vec![good(), object(2, 20, &owner())]).contains("disjoint"));
    assert!(refused(vec![ObjectSpec { sealed_len: 5, ..good() }]).contains("sealed bytes"));
    assert!(refused(vec![ObjectSpec { plain_len: u64::MAX, ..good() }]).contains("plain bytes"));
    assert!(refused(vec![ObjectSpec { manifest: vec![1, 2, 3], ..good() }]).contains("record"));
    assert!(refused(vec![ObjectSpec { pages: vec![vec![0xa0]], ..good() }]).contains("record"));
    let page = good().manifest;
    assert!(refused(vec![ObjectSpec { pages: vec![page], ..good() }]).contains("a frame page"));
    // Attacks: somebody else's envelope, an envelope for another object, a changed one.
    let thief = OwnerKey::from_bytes([8; 32]);
    assert!(refused(vec![object(1, 0, &thief)]).contains("owner in the envelope"));
    let envelope = object(2, 0, &owner()).envelope;
    assert!(refused(vec![ObjectSpec { envelope, ..good() }]).contains("object in the envelope"));
    let mut changed = good();
    let at = changed.envelope.len() / 2;
    changed.envelope[at] ^= 1;
    assert!(commit(&upload, &spans(&segments), vec![changed], Wall(9)).is_err());
    // A hole in what was staged.
    let holed = [staged(1, 0, 1000), staged(2, 2000, 1000)];
    let error = commit(&upload, &spans(&holed), vec![good()], Wall(9)).unwrap_err().to_string();
    assert!(error.contains("expected 1000, got 2000"), "{error}");
}
