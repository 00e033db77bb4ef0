//! Claims, revealed witnesses and offered lists come back as they went; secrets are not printed.

use holdfast_kzg::LIST_LEN_MAX;
use holdfast_protocol::witness::*;
use holdfast_types::*;
use holdfast_wire::{DecodeError, convert::*, pb};
use prost::Message;

fn crossed<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("own bytes")
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn shard() -> ShardId {
    ShardId::from_bytes([4; 32])
}

const LIFE: Incarnation = Incarnation([3; 16]);

#[test]
fn every_answer_about_commitments_comes_back_as_it_went() {
    let ranges = vec![ByteRange::first(9), ByteRange::new(20, 30).expect("forward")];
    let claim = |witness| Claim::sign(LIFE, shard(), 99, witness, [6; 32], &key());
    let answers = [
        Commitments::Claimed { claim: claim(Some(WitnessId([5; 16]))), list: vec![7; LIST_LEN_MAX] },
        Commitments::Claimed { claim: claim(None), list: vec![7] },
        Commitments::NotYet { retry_after: Millis(1500), ahead: 12 },
        Commitments::Damaged(ranges.clone()),
        Commitments::Damaged(vec![]),
        Commitments::Missing,
    ];
    for answer in answers {
        let back = Commitments::try_from(crossed(pb::node::v1::GetCommitmentsResponse::from(&answer)));
        assert_eq!(back, Ok(answer));
    }
    let bodies = [
        OpenedBody::Opening { y: [1; 32], proof: [2; 48] },
        OpenedBody::Damaged(ranges),
        OpenedBody::Missing,
        OpenedBody::OtherList { digest: [8; 32] },
        OpenedBody::Refused { retry_after: Millis(3) },
    ];
    for body in bodies {
        let opened = Opened::sign(LIFE, shard(), WitnessId([5; 16]), [6; 32], body, &key());
        let back = Opened::try_from(crossed(pb::node::v1::OpenWitnessResponse::from(&opened)));
        assert_eq!(back, Ok(opened));
    }
    let adoptions = [
        Adoption::Taken,
        Adoption::Wrong { reason: "blob 3 has another commitment".into() },
        Adoption::Unreadable,
        Adoption::Refused { retry_after: Millis(3) },
    ];
    for adoption in adoptions {
        let adopted = Adopted::sign(LIFE, shard(), [6; 32], adoption, &key());
        let back = Adopted::try_from(crossed(pb::node::v1::PutCommitmentsResponse::from(&adopted)));
        assert_eq!(back, Ok(adopted));
    }
}

#[test]
fn every_question_about_commitments_comes_back_as_it_went() {
    for witness in [None, Some(WitnessId([5; 16]))] {
        let get = GetCommitments { shard: shard(), witness };
        assert_eq!(GetCommitments::try_from(crossed(pb::node::v1::GetCommitmentsRequest::from(get))), Ok(get));
    }
    let seed = WitnessSeed::new([9; 32]);
    let open = OpenWitness { shard: shard(), witness: WitnessId([5; 16]), digest: [6; 32], seed };
    assert_eq!(OpenWitness::try_from(crossed(pb::node::v1::OpenWitnessRequest::from(&open))), Ok(open.clone()));
    // Attack: whoever reads a log of requests would know z before the lists are claimed.
    assert!(!format!("{open:?}").contains("9, 9"));
    let put = PutCommitments { shard: shard(), list: vec![1, 2, 3] };
    assert_eq!(PutCommitments::try_from(crossed(pb::node::v1::PutCommitmentsRequest::from(put.clone()))), Ok(put));
}

#[test]
fn a_list_above_its_bound_and_a_y_that_is_no_scalar_are_refused() {
    let put = PutCommitments { shard: shard(), list: vec![1; LIST_LEN_MAX + 1] };
    let refused = PutCommitments::try_from(pb::node::v1::PutCommitmentsRequest::from(put));
    assert!(refused.is_err_and(|error: DecodeError| error.field == "list"));
    let witness = Witness { id: WitnessId([5; 16]), seed: WitnessSeed::new([6; 32]), y: [0xff; 32] };
    let sent = pb::auditor::v1::ShardWitness::from(&ShardWitness { index: ShardIndex(1), witness });
    assert!(ShardWitness::try_from(sent).is_err_and(|error| error.field == "y"));
}

/// Attack: two witnesses for one shard, so that the client may say afterwards which it meant.
#[test]
fn a_shard_has_one_witness_in_a_message() {
    let witness =
        |n: u8| pb::auditor::v1::ShardWitness { index: 1, witness_id: vec![n; 16], seed: vec![n; 32], y: vec![0; 32] };
    let segment = pb::auditor::v1::SegmentSpec {
        segment_id: vec![1; 16],
        root: vec![2; 32],
        len: 10,
        shard_len: 10,
        shards: vec![vec![3; 32], vec![4; 32]],
        secret_for_owner: vec![5],
        secret_for_recovery: vec![6],
    };
    let mut stage = pb::auditor::v1::StageSegmentRequest {
        upload_id: vec![1; 16],
        segment: Some(segment),
        witnesses: vec![witness(1)],
        ..Default::default()
    };
    assert!(StageSegment::try_from(stage.clone()).is_ok());
    stage.witnesses.push(witness(2));
    assert!(StageSegment::try_from(stage).is_err_and(|error| error.field == "witnesses"));
}
