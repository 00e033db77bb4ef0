//! A client's witness judges a node's list: what it is worth, who may lie to whom, and who pays.

use ark_bls12_381::{Fr, G1Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{Field, PrimeField};
use ark_serialize::CanonicalSerialize;
use holdfast_kzg::{Commitment, CommitmentList, Setup};
use holdfast_types::{Millis, NodeId, ShardId, ShardIndex};

use super::{
    lists::{Manners, witness_of},
    world::{World, list_of, profile},
};
use crate::{
    effect::{ClaimJob, Command, CommitJob, CommitOutcome, Effect, Event, Notice, Opening, RevealJob},
    model::{CommitmentState, Outcome, PendingShard, Placement, Provenance, WitnessState},
    profile::Profile,
    store::{Store, StoreOp, StoreReply},
    verify::CheckedList,
    witness::{self, Claim, Expected, Opened, OpenedBody, Witness, WitnessId, WitnessSeed},
};

const BUSY: u64 = 6000;

fn honest(index: ShardIndex, shard: &[u8]) -> Option<Witness> {
    Some(witness_of(index, shard))
}

fn accepted(world: &mut World, placement: &Placement, provenance: Provenance) -> CommitmentState {
    let digest = list_of(&world.peers[&placement.node].held[&placement.shard].1).list().digest();
    CommitmentState::Accepted { digest, provenance }
}

fn told(world: &World, is: impl Fn(&Notice) -> bool) -> usize {
    world.notices.iter().filter(|notice| is(notice)).count()
}

fn false_lists(world: &World) -> usize {
    told(world, |notice| matches!(notice, Notice::FalseList { .. }))
}

fn false_witnesses(world: &World) -> usize {
    told(world, |notice| matches!(notice, Notice::FalseWitness { .. }))
}

pub(super) fn pending(world: &mut World) -> Vec<PendingShard> {
    match world.store.apply(StoreOp::PendingCommitments { after: None, limit: 99 }) {
        StoreReply::Pending(rows) => rows,
        other => panic!("{other:?}"),
    }
}

/// No verdict against the node, and its shards stand.
#[track_caller]
fn assert_unblamed(world: &mut World, node: NodeId) {
    let verdicts = world.store.apply(StoreOp::LatestVerdicts { node: Some(node), limit: 99 });
    let StoreReply::Verdicts(verdicts) = verdicts else { panic!("{verdicts:?}") };
    assert!(verdicts.iter().all(|verdict| verdict.outcome == Outcome::Held), "{verdicts:?}");
}

#[test]
fn a_witness_spares_the_auditor_every_byte() {
    let mut world = World::new();
    let segments: Vec<_> = (1..=2).map(|n| world.put_with(n, 5, honest).0).collect();
    world.run(BUSY);
    assert_eq!((world.reads(), world.reveals()), (0, 10));
    assert_eq!(world.core.commit_progress().witnessed, 10);
    for segment in segments {
        for placement in world.view(segment).placements {
            let expected = accepted(&mut world, &placement, Provenance::ClientWitness);
            assert_eq!(placement.commitment, expected);
        }
    }
    assert!(world.secrets.len() == 10 && pending(&mut world).is_empty());
    world.run(10_000);
    assert_eq!(world.commits.len(), 20, "each is claimed once and revealed once");
}

#[test]
fn a_list_that_is_not_there_yet_is_waited_for() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let slow = world.placement(segment, 2);
    world.peer(slow.node).manners = Manners::Slow(6);
    world.run(1000);
    assert_eq!(pending(&mut world).len(), 1);
    world.run(4000);
    assert_eq!((pending(&mut world).len(), world.reads()), (0, 0));
    let asked = world.peer(slow.node).asked;
    assert!((7..10).contains(&asked), "{asked} questions");
}

#[test]
fn past_the_deadline_the_auditor_reads_the_shard_itself() {
    let mut world = World::with(Profile { commit_deadline: Millis::from_secs(5), ..profile() });
    let (with, _) = world.put_with(1, 5, honest);
    let (without, _) = world.put(2, 5);
    let slow: Vec<_> = [with, without].into_iter().map(|segment| world.placement(segment, 2)).collect();
    for placement in &slow {
        world.peer(placement.node).manners = Manners::Slow(u32::MAX);
    }
    world.run(4000);
    assert!(pending(&mut world).len() >= 2);
    world.run(8000);
    assert_eq!(pending(&mut world), vec![]);
    for placement in &slow {
        let now = world.placement(placement.segment, 2);
        let expected = accepted(&mut world, placement, Provenance::AuditorRead);
        assert_eq!(now.commitment, expected);
    }
    assert_eq!(false_lists(&world), 0, "slow is not false");
}

#[test]
fn a_node_that_knows_no_claims_is_read_as_before() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let old = world.placement(segment, 0);
    world.peer(old.node).manners = Manners::Old;
    world.run(BUSY);
    let expected = accepted(&mut world, &old, Provenance::AuditorRead);
    assert_eq!(world.placement(segment, 0).commitment, expected);
    assert_eq!((world.reads(), world.reveals()), (1, 4));
}

/// Attack: the node commits to other bytes than it was given (it dropped the shard and keeps a cheaper one).
#[test]
fn wrong_commitments_do_not_survive_their_witness() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let liar = world.placement(segment, 1);
    world.peer(liar.node).manners = Manners::OtherBytes;
    world.run(BUSY);
    // The auditor read the bytes, and has the list that is theirs; the node's word is on record against it.
    let expected = accepted(&mut world, &liar, Provenance::AuditorRead);
    assert_eq!(world.placement(segment, 1).commitment, expected);
    assert_eq!((false_lists(&world), false_witnesses(&world)), (1, 0));
    let verdicts = world.store.apply(StoreOp::LatestVerdicts { node: Some(liar.node), limit: 9 });
    let StoreReply::Verdicts(verdicts) = verdicts else { panic!("{verdicts:?}") };
    let kept = verdicts.iter().find(|verdict| verdict.outcome == Outcome::Late).expect("on record");
    let claim = Claim::from_bytes(&kept.evidence).expect("the node's word");
    let row = world.nodes().remove(&liar.node).unwrap();
    let of = Expected { node: row.id, key: row.key, incarnation: row.incarnation, shard: liar.shard, len: liar.len };
    assert_eq!(claim.fault(&of, claim.witness), None);
    assert_ne!(CommitmentState::Accepted { digest: claim.digest, provenance: Provenance::AuditorRead }, expected);
    // Its bytes are whole: no shard of it counts as damaged.
    world.assert_whole(segment);
}

/// A list of constants that opens to y wherever it is asked: what somebody makes who knows γ and y and holds nothing.
pub(super) fn constants(seed: &WitnessSeed, y: [u8; 32], blobs: usize) -> (CheckedList, [u8; 48]) {
    let gamma = Fr::from(seed.gammas().at(0).0);
    let constant = Fr::from_be_bytes_mod_order(&y) * gamma.inverse().expect("not zero");
    let bytes = |point: G1Affine| {
        let mut out = [0; 48];
        point.serialize_compressed(out.as_mut_slice()).expect("48 bytes");
        out
    };
    let mut commitments = vec![Commitment(bytes(G1Affine::identity())); blobs];
    commitments[0] = Commitment(bytes((G1Affine::generator() * constant).into_affine()));
    let list = CheckedList::new(CommitmentList::new(commitments).expect("few")).expect("points");
    // A constant has no quotient.
    (list, bytes(G1Affine::identity()))
}

fn reveal_of(of: Expected, witness: WitnessId, digest: [u8; 32]) -> RevealJob {
    RevealJob {
        of,
        segment: holdfast_types::SegmentId([1; 16]),
        index: ShardIndex(0),
        witness,
        sealed: vec![],
        digest,
        timeout: Millis(1),
    }
}

/// Attack: commitments of constants from a leaked secret. Who knows it before claiming wins, with no byte of the shard:
/// nothing in the mathematics stops it. So the secret is all, and the order claim, burn, reveal is what keeps it.
#[test]
fn a_secret_known_before_the_claim_would_accept_anything() {
    let key = holdfast_types::SecretKey::from_seed(&[1; 32]);
    let life = holdfast_types::Incarnation([1; 16]);
    let shard = super::world::noise(holdfast_kzg::BLOB_LEN + 5000, 7);
    let id = ShardId(holdfast_types::Root::of(&shard));
    let of = Expected {
        node: key.public().node_id(),
        key: key.public(),
        incarnation: life,
        shard: id,
        len: shard.len() as u64,
    };
    let witness = witness_of(ShardIndex(0), &shard);
    let (list, proof) = constants(&witness.seed, witness.y, 2);
    let digest = list.list().digest();
    let opened = |y, proof| {
        let body = OpenedBody::Opening { y, proof };
        Ok(Opened::sign(life, id, witness.id, digest, body, &key))
    };
    let job = reveal_of(of, witness.id, digest);
    let end = |reply| witness::opened(&job, &witness, &list, reply, Setup::ethereum());
    assert_eq!(end(opened(witness.y, proof)), CommitOutcome::Opened(Opening::Holds));
    // The same list under a secret that it was not made for: nothing opens it to that witness's value.
    let other = Witness::of(witness.id, WitnessSeed::new([9; 32]), &shard).unwrap();
    let end = witness::opened(&job, &other, &list, opened(other.y, proof), Setup::ethereum());
    assert_eq!(end, CommitOutcome::Opened(Opening::False));
}

/// Attack: the node waits for the secret, and makes its commitments then.
#[test]
fn commitments_made_after_the_reveal_are_never_asked_for() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let liar = world.placement(segment, 1);
    world.peer(liar.node).manners = Manners::MuteWhenTold;
    while world.peer(liar.node).told.is_empty() {
        world.run(250);
    }
    let seed = world.peer(liar.node).told[0].clone();
    let bytes = world.peers[&liar.node].held[&liar.shard].1.clone();
    let y = witness_of(ShardIndex(1), &bytes).y;
    let (list, proof) = constants(&seed, y, 1);
    let made = list.list().digest();
    world.peer(liar.node).manners = Manners::Claims(std::sync::Arc::new(list), y, proof);
    world.run(BUSY);
    assert_eq!(world.peer(liar.node).told.len(), 1, "a secret is told once");
    let found = world.placement(segment, 1).commitment;
    let expected = accepted(&mut world, &liar, Provenance::AuditorRead);
    assert_eq!(found, expected);
    assert!(!matches!(found, CommitmentState::Accepted { digest, .. } if digest == made));
}

/// Attack: it claims one list before the reveal, and opens another, made to suit the secret, after it.
#[test]
fn the_opening_is_held_against_the_list_from_before_the_reveal() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let liar = world.placement(segment, 1);
    let bytes = world.peers[&liar.node].held[&liar.shard].1.clone();
    let witness = witness_of(ShardIndex(1), &bytes);
    // What it will say is perfect but for the list that it had to claim before.
    let (_, proof) = constants(&witness.seed, witness.y, 1);
    world.peer(liar.node).manners = Manners::Claims(list_of(b"something else"), witness.y, proof);
    world.run(BUSY);
    let expected = accepted(&mut world, &liar, Provenance::AuditorRead);
    assert_eq!(world.placement(segment, 1).commitment, expected);
    assert_eq!((false_lists(&world), world.reads()), (1, 2));
}

/// Attack: a signed list that no shard of that length can have, or whose points are none.
#[test]
fn a_signed_list_of_the_wrong_form_is_false_without_a_reveal() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let liar = world.placement(segment, 1);
    let two = list_of(&super::world::noise(holdfast_kzg::BLOB_LEN + 1, 3));
    world.peer(liar.node).manners = Manners::Claims(two, [0; 32], [0; 48]);
    world.run(BUSY);
    assert_eq!((false_lists(&world), world.reveals(), world.reads()), (1, 4, 1));
    let expected = accepted(&mut world, &liar, Provenance::AuditorRead);
    assert_eq!(world.placement(segment, 1).commitment, expected);
}

#[test]
fn a_false_opening_of_a_right_list_is_no_false_list() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let odd = world.placement(segment, 1);
    world.peer(odd.node).manners = Manners::FalseOpening;
    world.run(BUSY);
    let expected = accepted(&mut world, &odd, Provenance::AuditorRead);
    assert_eq!(world.placement(segment, 1).commitment, expected);
    assert_eq!((false_lists(&world), false_witnesses(&world), world.reads()), (0, 0, 1));
}

/// Attack: a client that lies about y, to have an honest node punished or the auditor believe in nothing.
#[test]
fn a_client_that_lies_costs_the_node_nothing() {
    let mut world = World::new();
    let lie = |index: ShardIndex, shard: &[u8]| {
        let mut witness = witness_of(index, shard);
        witness.y[31] ^= u8::from(index == ShardIndex(3));
        Some(witness)
    };
    let (segment, _) = world.put_with(1, 5, lie);
    let victim = world.placement(segment, 3);
    world.run(BUSY);
    let expected = accepted(&mut world, &victim, Provenance::AuditorRead);
    assert_eq!(world.placement(segment, 3).commitment, expected);
    assert_eq!((false_lists(&world), false_witnesses(&world), world.reads()), (0, 1, 1));
    assert_eq!(world.core.commit_progress().false_witnesses, 1);
    assert_unblamed(&mut world, victim.node);
    world.assert_whole(segment);
}

/// Attack: client and node are one. The witness says what both want; the provenance says whose word it is, and bytes
/// that somebody else read expose it.
#[test]
fn client_and_node_in_league_convince_their_owner_and_nobody_who_reads() {
    let mut world = World::new();
    let lie = |index: ShardIndex, shard: &[u8]| {
        let mut other = shard.to_vec();
        other[7] ^= u8::from(index == ShardIndex(2));
        Some(witness_of(index, &other))
    };
    let (segment, _) = world.put_with(1, 5, lie);
    let node = world.placement(segment, 2).node;
    world.peer(node).manners = Manners::OtherBytes;
    let league = until_accepted(&mut world, segment, 2);
    let right = accepted(&mut world, &league, Provenance::AuditorRead);
    let CommitmentState::Accepted { digest, provenance } = league.commitment else { panic!("{league:?}") };
    assert_eq!(provenance, Provenance::ClientWitness);
    assert_ne!(CommitmentState::Accepted { digest, provenance: Provenance::AuditorRead }, right);
    // Its first fold is false, Merkle acquits the bytes and voids the list; the auditor reads them, and nobody's word is
    // needed any more. The node says the same false thing again, and this time it is on record.
    world.tell(Event::Command(Command::AuditNow(Some(node))));
    world.run(BUSY);
    assert_eq!(world.placement(segment, 2).commitment, right);
    assert_eq!(false_lists(&world), 1);
}

/// Ticks until the shard's commitments are accepted, and no longer: audits come soon after.
fn until_accepted(world: &mut World, segment: holdfast_types::SegmentId, index: u16) -> Placement {
    loop {
        world.tick();
        while world.carry_one() {
            let found = world.placement(segment, index);
            if found.commitment != CommitmentState::Pending {
                return found;
            }
        }
    }
}

/// Attack: a witness used by a second auditor, for another list, between our question and our burning.
#[test]
fn a_witness_burnt_by_somebody_else_is_not_revealed() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    // Until the first burning is wished for.
    let stolen = loop {
        world.tick();
        while !matches!(world.wishes.front(), Some(Effect::Store(_, op)) if matches!(**op, StoreOp::BurnWitness { .. }))
        {
            if !world.carry_one() {
                break;
            }
        }
        if let Some(Effect::Store(_, op)) = world.wishes.front()
            && let StoreOp::BurnWitness { segment, index, shard, id, .. } = **op
        {
            break (segment, index, shard, id);
        }
    };
    let (of, index, shard, id) = stolen;
    let burn = StoreOp::BurnWitness { segment: of, index, shard, id, digest: [7; 32] };
    assert_eq!(world.store.apply(burn), StoreReply::Done);
    while world.carry_one() {}
    world.run(BUSY);
    let found = world.placement(segment, index.0);
    let expected = accepted(&mut world, &found, Provenance::AuditorRead);
    assert_eq!(found.commitment, expected);
    let revealed = world.jobs(|job| matches!(job, CommitJob::Reveal(job) if job.witness == id));
    assert_eq!((revealed, false_lists(&world)), (0, 0));
}

/// Attack: the auditor dies between burning and revealing, or after it; the node uses the time.
#[test]
fn a_witness_found_burnt_after_a_crash_judges_nothing() {
    for reveals in [0, 1] {
        let mut world = World::new();
        let (segment, _) = world.put_with(1, 5, honest);
        let burnt = |world: &mut World| {
            let spent = |shard: &PendingShard| {
                shard.witness.as_ref().is_some_and(|row| matches!(row.state, WitnessState::Burnt(_)))
            };
            pending(world).into_iter().find(spent)
        };
        let found = loop {
            world.tick();
            while burnt(&mut world).is_none() || world.reveals() < reveals {
                if !world.carry_one() {
                    break;
                }
            }
            if let Some(found) = burnt(&mut world).filter(|_| world.reveals() >= reveals) {
                break found.placement;
            }
        };
        let before = world.reveals();
        world.crash();
        // What it could make of a secret that somebody told it meanwhile.
        let bytes = world.peers[&found.node].held[&found.shard].1.clone();
        let witness = witness_of(found.index, &bytes);
        let (list, proof) = constants(&witness.seed, witness.y, 1);
        world.peer(found.node).manners = Manners::Claims(std::sync::Arc::new(list), witness.y, proof);
        world.run(2 * BUSY);
        let after = world.placement(segment, found.index.0);
        let expected = accepted(&mut world, &after, Provenance::AuditorRead);
        assert_eq!(after.commitment, expected);
        let again = world
            .commits
            .iter()
            .filter(|job| matches!(job, CommitJob::Reveal(job) if (job.segment, job.index) == (segment, found.index)));
        assert!(again.count() <= before, "told again after the crash");
    }
}

/// Attack: a bad list that a client and a node got accepted travels on to an honest node with a repaired shard, which
/// would then fail every fold.
#[test]
fn a_node_takes_no_bad_list_over_with_a_repaired_shard() {
    let mut world = World::new();
    let lie = |index: ShardIndex, shard: &[u8]| {
        let mut other = shard.to_vec();
        other[7] ^= u8::from(index == ShardIndex(2));
        Some(witness_of(index, &other))
    };
    let (segment, _) = world.put_with(1, 5, lie);
    let league = world.placement(segment, 2);
    world.peer(league.node).manners = Manners::OtherBytes;
    let bad = until_accepted(&mut world, segment, 2).commitment;
    assert!(matches!(bad, CommitmentState::Accepted { provenance: Provenance::ClientWitness, .. }));
    world.lose(league.node);
    world.run(20_000);
    world.assert_whole(segment);
    let after = world.placement(segment, 2);
    assert_ne!(after.node, league.node);
    assert_eq!(world.peers[&after.node].taken.get(&after.shard), Some(&false));
    let expected = accepted(&mut world, &after, Provenance::AuditorRead);
    assert_eq!(after.commitment, expected);
    // It refused, and was right: nothing is held against it.
    assert_unblamed(&mut world, after.node);
    assert_eq!(false_lists(&world), 0);
}

#[test]
fn a_repaired_shard_brings_its_list_along() {
    let mut world = World::new();
    let (segment, _) = world.put_with(1, 5, honest);
    let lost = world.placement(segment, 2);
    world.run(BUSY);
    world.lose(lost.node);
    world.run(20_000);
    world.assert_whole(segment);
    let after = world.placement(segment, 2);
    assert_eq!(world.peers[&after.node].taken.get(&after.shard), Some(&true));
    let expected = accepted(&mut world, &after, Provenance::ClientWitness);
    assert_eq!((after.commitment, world.reads()), (expected, 0));
}

#[test]
fn a_node_over_its_debt_is_named_until_it_has_caught_up() {
    let mut world = World::with(Profile { commit_debt_max: 0, ..profile() });
    let (segment, _) = world.put_with(1, 5, honest);
    let slow = world.placement(segment, 2);
    world.peer(slow.node).manners = Manners::Slow(u32::MAX);
    world.run(12_000);
    assert_eq!(world.core.over_debt().iter().copied().collect::<Vec<_>>(), vec![slow.node]);
    world.peer(slow.node).manners = Manners::Honest;
    world.run(12_000);
    assert!(world.core.over_debt().is_empty());
}

#[test]
fn a_secret_is_told_only_after_its_burning_is_durable() {
    let mut world = World::new();
    let (_, _) = world.put_with(1, 5, honest);
    for _ in 0..40 {
        world.tick();
        while let Some(effect) = world.wishes.front() {
            if let Effect::Commit(_, job) = effect
                && let CommitJob::Reveal(job) = &**job
            {
                let (key, digest) = ((job.segment, job.index), job.digest);
                let row = pending(&mut world).into_iter().find(|p| (p.placement.segment, p.placement.index) == key);
                let state = row.and_then(|row| row.witness).map(|row| row.state);
                assert_eq!(state, Some(WitnessState::Burnt(digest)));
            }
            world.carry_one();
        }
    }
    assert_eq!(world.reveals(), 5);
}

/// A claim's witness is what was asked for: another shard's does not do.
#[test]
fn a_claim_for_another_shards_witness_is_no_claim() {
    let key = holdfast_types::SecretKey::from_seed(&[1; 32]);
    let life = holdfast_types::Incarnation([1; 16]);
    let shard = ShardId::from_bytes([4; 32]);
    let of = Expected { node: key.public().node_id(), key: key.public(), incarnation: life, shard, len: 9 };
    let job = ClaimJob { of, witness: Some(WitnessId([1; 16])), timeout: Millis(1) };
    let list = list_of(&[1; 9]);
    let claim = Claim::sign(life, shard, 9, Some(WitnessId([2; 16])), list.list().digest(), &key);
    let reply = Ok(witness::Commitments::Claimed { claim, list: list.list().encode() });
    assert!(matches!(witness::claimed(&job, reply), Err(CommitOutcome::NoClaim { .. })));
}
