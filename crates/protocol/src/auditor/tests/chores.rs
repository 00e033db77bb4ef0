//! Deletions, records, expired uploads and orphans.

use holdfast_dispersal::{Envelope, Extents, Manifest, SegmentDescriptor};
use holdfast_types::{Code, Millis, Policy, Root, ShardId, UploadId, Wall};

use super::world::{World, noise, profile};
use crate::{
    message::RecordKind,
    profile::Profile,
    recover::Findings,
    store::{OwedRecord, SegmentRecords, Store, StoreOp, StoreReply, rules::DROPPED_AT_ONCE},
    upload,
};

fn key(segment: holdfast_types::SegmentId) -> [u8; 32] {
    crate::message::descriptor_key(segment)
}

#[test]
fn the_nodes_hold_what_it_takes_to_rebuild_the_catalog() {
    let mut world = World::new();
    let (segment, object) = world.put(1, 5);
    world.run(4000);
    let view = world.view(segment);
    let auditor = world.config.key.public();
    for placement in &view.placements {
        let records = &world.peers[&placement.node].records;
        let descriptor =
            SegmentDescriptor::decode(&records[&(RecordKind::Descriptor, key(segment))], &auditor).unwrap();
        let body = descriptor.body();
        assert_eq!(body.shard(placement.index), Some(placement.shard));
        assert_eq!((body.segment, body.owner, body.root), (segment, world.owner.owner_id(), view.segment.root));
        let Extents::Inline(extents) = &body.extents else { panic!("one extent") };
        assert_eq!((extents.len(), extents[0].object, extents[0].len), (1, object, view.segment.len));
        let manifest = Manifest::decode_as(&object, &records[&(RecordKind::Manifest, *object.as_bytes())]).unwrap();
        assert_eq!(manifest.sealed_len(), view.segment.len);
        let envelope = Envelope::decode(&records[&(RecordKind::Envelope, *object.as_bytes())]).unwrap();
        assert_eq!(envelope.body().object, object);
    }
    let owed = world.store.apply(StoreOp::OwedRecords { after: None, limit: 9 });
    assert_eq!(owed, StoreReply::Owed(vec![]));
}

#[test]
fn a_node_that_a_repair_chose_gets_the_records_too() {
    let mut world = World::new();
    let (segment, object) = world.put(1, 5);
    world.run(4000);
    let lost = world.placement(segment, 2);
    world.lose(lost.node);
    world.run(8000);
    let after = world.placement(segment, 2);
    let records = &world.peers[&after.node].records;
    assert!(records.contains_key(&(RecordKind::Manifest, *object.as_bytes())));
    assert!(records.contains_key(&(RecordKind::Envelope, *object.as_bytes())));
    let auditor = world.config.key.public();
    let descriptor = SegmentDescriptor::decode(&records[&(RecordKind::Descriptor, key(segment))], &auditor).unwrap();
    assert!(descriptor.body().version > 1);
}

#[test]
fn records_reach_a_node_that_was_away() {
    let mut world = World::new();
    let (segment, _) = world.put(1, 5);
    let away = world.placement(segment, 4).node;
    world.peer(away).up = false;
    world.run(4000);
    assert!(world.peers[&away].records.is_empty());
    world.crash();
    world.run(3000);
    world.peer(away).up = true;
    world.run(20_000);
    assert!(world.peers[&away].records.contains_key(&(RecordKind::Descriptor, key(segment))));
}

#[test]
fn what_is_deleted_goes_from_every_node_even_one_that_was_away() {
    let mut world = World::new();
    let (segment, object) = world.put(1, 5);
    let (kept, _) = world.put(2, 5);
    world.run(1000);
    let away = world.placement(segment, 0).node;
    world.peer(away).up = false;
    world.delete(object);
    world.run(3000);
    let holding = |world: &World| world.peers.values().map(|peer| peer.held.len()).sum::<usize>();
    assert_eq!(holding(&world), 6);
    world.crash();
    world.peer(away).up = true;
    world.run(20_000);
    assert_eq!(holding(&world), 5);
    world.assert_whole(kept);
    let StoreReply::Summary(summary) = world.store.apply(StoreOp::Summary) else { panic!("a summary") };
    assert_eq!(summary.deletions, 0);
}

/// What a recovery would find on these nodes.
fn found(world: &World) -> Findings {
    let mut findings = Findings::default();
    for ((kind, key), bytes) in world.peers.values().flat_map(|peer| &peer.records) {
        findings.absorb(*kind, *key, bytes).unwrap();
    }
    findings
}

#[test]
fn what_is_deleted_is_not_recovered_from_a_node_that_was_away() {
    let mut world = World::with(Profile { orphan_grace: Millis::from_secs(20), ..profile() });
    let (segment, object) = world.put(1, 5);
    let (_, kept) = world.put(2, 5);
    world.run(4000);
    assert_eq!(found(&world).objects().count(), 2);
    let away = world.placement(segment, 0).node;
    world.peer(away).up = false;
    world.delete(object);
    world.run(4000);
    // It has all that it takes to bring the object back, and the others say that it is deleted.
    let still = &world.peers[&away].records;
    assert!(still.contains_key(&(RecordKind::Envelope, *object.as_bytes())));
    assert!(still.contains_key(&(RecordKind::Manifest, *object.as_bytes())));
    let standing = |world: &World| found(world).objects().map(|(_, id, _)| id).collect::<Vec<_>>();
    assert_eq!(standing(&world), vec![kept]);
    // Long after the grace, and after a crash, they still do.
    world.crash();
    world.run(60_000);
    assert_eq!(standing(&world), vec![kept]);
    world.peer(away).up = true;
    world.run(90_000);
    assert_eq!(standing(&world), vec![kept]);
    // And then nobody keeps anything of it, tombstones included.
    let of_it = |(_, id): &(RecordKind, [u8; 32])| *id == *object.as_bytes() || *id == key(segment);
    let left: Vec<_> = world.peers.values().flat_map(|peer| peer.records.keys().filter(|name| of_it(name))).collect();
    assert!(left.is_empty(), "{left:?}");
    let StoreReply::Summary(summary) = world.store.apply(StoreOp::Summary) else { panic!("a summary") };
    assert_eq!((summary.burials, summary.owed_records), (0, 0));
}

#[test]
fn a_record_that_nothing_needs_goes_after_the_grace_of_orphans() {
    let ten = Millis::from_secs(10);
    let mut world = World::with(Profile { list_every: ten, orphan_grace: Millis::from_secs(60), ..profile() });
    let (segment, object) = world.put(1, 5);
    world.run(4000);
    let node = world.placement(segment, 1).node;
    let before = world.peers[&node].records.clone();
    let mut revived = before.clone();
    for kind in [RecordKind::Descriptor, RecordKind::Manifest, RecordKind::Envelope, RecordKind::Tombstone] {
        revived.insert((kind, [0xee; 32]), b"back from the dead".to_vec());
    }
    world.peer(node).records = revived.clone();
    world.run(60_000);
    assert_eq!(world.peers[&node].records, revived, "not within the grace");
    world.run(120_000);
    assert_eq!(world.peers[&node].records, before);
    assert!(before.contains_key(&(RecordKind::Envelope, *object.as_bytes())));
}

/// Fault: a node is away, and more tombstones wait for it than are looked at together. Others end all the same.
#[test]
fn burials_that_wait_for_one_node_hold_up_no_other() {
    let mut world = World::with(Profile { orphan_grace: Millis::from_secs(20), ..profile() });
    let (segment, _) = world.put(1, 5);
    let (node, away) = (world.placement(segment, 1).node, world.placement(segment, 0).node);
    world.peer(away).up = false;
    let key = |n: u16| {
        let mut key = [0xff; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        key
    };
    let (keys, last) = ((0..5000).map(key).collect::<Vec<_>>(), key(5000));
    let StoreReply::Undescribed(rows) = world.store.apply(StoreOp::Undescribed { limit: 9 }) else { panic!("rows") };
    let (at, kind, revision) = (world.now.wall, RecordKind::Tombstone, rows[0].revision);
    let all = keys.iter().copied().chain([last]).collect();
    world.store.apply(StoreOp::BuryStrays { node, kind, keys: all, at });
    let owed = |key: &[u8; 32]| OwedRecord { node: away, kind, key: *key, bytes: b"a word".to_vec() };
    let records = keys.iter().map(owed).collect();
    let owed = SegmentRecords { segment, revision, records, described: None, at };
    assert_eq!(world.store.apply(StoreOp::OweRecords(Box::new(owed))), StoreReply::Done);
    world.peer(node).records.insert((kind, last), b"a word".to_vec());
    world.run(60_000);
    assert!(!world.peers[&node].records.contains_key(&(kind, last)));
    let StoreReply::Summary(summary) = world.store.apply(StoreOp::Summary) else { panic!("a summary") };
    assert_eq!(summary.burials, 5000);
}

#[test]
fn an_upload_that_nobody_came_back_for_leaves_nothing() {
    let mut world = World::new();
    world.run(1000);
    let policy = Policy::new("p", Code::new(3, 2).unwrap());
    let expires = world.now.wall + Millis::from_secs(10);
    let row = upload::begin(UploadId([9; 16]), world.owner.owner_id(), &policy, &world.nodes(), expires).unwrap();
    world.store.apply(StoreOp::BeginUpload(row));
    world.run(5000);
    let StoreReply::Summary(summary) = world.store.apply(StoreOp::Summary) else { panic!("a summary") };
    assert_eq!(summary.uploads, 1);
    world.run(15_000);
    let StoreReply::Summary(summary) = world.store.apply(StoreOp::Summary) else { panic!("a summary") };
    assert_eq!(summary.uploads, 0);
}

/// Attack: very many uploads that nobody comes back for. They go a few at a time, and at once all the same.
#[test]
fn what_expires_by_the_hundred_goes_without_a_pause() {
    let mut world = World::new();
    world.run(1000);
    let policy = Policy::new("p", Code::new(3, 2).unwrap());
    let expires = world.now.wall + Millis::from_secs(10);
    let many = 10 * DROPPED_AT_ONCE as u16;
    for n in 0..many {
        let mut id = [9; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let row = upload::begin(UploadId(id), world.owner.owner_id(), &policy, &world.nodes(), expires).unwrap();
        world.store.apply(StoreOp::BeginUpload(row));
    }
    world.run(20_000);
    let StoreReply::Summary(summary) = world.store.apply(StoreOp::Summary) else { panic!("a summary") };
    assert_eq!(summary.uploads, 0);
}

/// A world whose nodes are listed every ten seconds, with an orphan on one of them.
fn with_orphan(no_orphans_before: Wall) -> (World, holdfast_types::NodeId, ShardId, holdfast_types::SegmentId) {
    let ten = Millis::from_secs(10);
    let containment = vec![Millis::from_secs(10_000)];
    let grace = Millis::from_secs(60);
    let mut world = World::with(Profile { list_every: ten, orphan_grace: grace, containment, ..profile() });
    world.config.no_orphans_before = no_orphans_before;
    world.crash();
    let (segment, _) = world.put(1, 5);
    let node = world.placement(segment, 0).node;
    let bytes = noise(3000, 99);
    let orphan = ShardId(Root::of(&bytes));
    let peer = world.peer(node);
    peer.next += 1;
    peer.held.insert(orphan, (holdfast_types::Sequence(peer.next), bytes));
    (world, node, orphan, segment)
}

#[test]
fn an_orphan_goes_after_its_grace_and_nothing_else_does() {
    let (mut world, node, orphan, segment) = with_orphan(Wall(0));
    world.run(50_000);
    assert!(world.peers[&node].listed > 0);
    assert!(world.peers[&node].held.contains_key(&orphan), "not within the grace");
    world.run(50_000);
    assert!(!world.peers[&node].held.contains_key(&orphan));
    world.assert_whole(segment);
    assert_eq!(world.peers.values().map(|peer| peer.held.len()).sum::<usize>(), 5);
}

#[test]
fn no_orphan_is_collected_within_the_grace_of_a_recovery() {
    let (mut world, node, orphan, _) = with_orphan(Wall(1_000_000_000 + 500_000));
    world.run(300_000);
    assert!(world.peers[&node].listed > 1);
    assert!(world.peers[&node].held.contains_key(&orphan));
}

#[test]
fn an_interrupted_inventory_condemns_nothing() {
    let (mut world, node, orphan, _) = with_orphan(Wall(0));
    for n in 100..103 {
        let bytes = noise(3000, n);
        let peer = world.peer(node);
        peer.next += 1;
        peer.held.insert(ShardId(Root::of(&bytes)), (holdfast_types::Sequence(peer.next), bytes));
    }
    // The node gives the first two pages of its list of five and is gone for the third.
    while world.peers[&node].listed < 2 {
        world.tick();
        while world.peers[&node].listed < 2 && world.carry_one() {}
    }
    world.peer(node).up = false;
    let orphans = |world: &mut World| {
        let due = StoreOp::DueDeletions { now: Wall(u64::MAX >> 1), after: None, limit: 9 };
        let StoreReply::Deletions(rows) = world.store.apply(due) else { panic!("deletions") };
        rows.into_iter().filter(|row| row.owner == crate::grants::OWNER_UNKNOWN).count()
    };
    world.run(20_000);
    assert_eq!(orphans(&mut world), 0);
    assert!(world.peers[&node].held.contains_key(&orphan));
    // Read to its end, it condemns all four.
    world.peer(node).up = true;
    world.run(40_000);
    assert_eq!(orphans(&mut world), 4);
}
