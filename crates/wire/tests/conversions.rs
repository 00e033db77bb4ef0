//! What is valid comes back as it went; what is not is refused, whatever the bytes.

use holdfast_protocol::{
    message::*,
    model::*,
    witness::{Witness, WitnessId, WitnessSeed},
};
use holdfast_types::*;
use holdfast_wire::{DecodeError, convert::*, pb};
use proptest::{collection::vec, option, prelude::*};
use prost::Message;

fn bytes32() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn signature() -> impl Strategy<Value = Signature> {
    (any::<u8>(), vec(any::<u8>(), 64))
        .prop_map(|(algorithm, bytes)| Signature { algorithm, bytes: bytes.try_into().expect("64") })
}

fn shard_range() -> impl Strategy<Value = ByteRange> {
    (0..SHARD_LEN_MAX, 1..=BLOB_LEN)
        .prop_map(|(start, len)| ByteRange::new(start, (start + len).min(SHARD_LEN_MAX)).expect("forward"))
}

fn challenge() -> impl Strategy<Value = Challenge> {
    let runs = vec((1..1_000_000u64, 1..1000u64), 1..20).prop_map(|steps| {
        let mut at = 0;
        let mut run = |(gap, len): (u64, u64)| {
            let from = at + gap;
            at = from + len;
            SeqRun { from: Sequence(from), to: Sequence(at) }
        };
        steps.into_iter().map(&mut run).collect::<Vec<_>>()
    });
    let ask = prop_oneof![
        (0..1000u64, 1..1000u64).prop_map(|(from, len)| Ask::Fold { from, to: from + len }),
        (1..=SAMPLE_LEAVES_MAX as u16).prop_map(|count| Ask::Sample { count }),
        (bytes32(), 0..1000u64, 1..=SAMPLE_LEAVES_MAX as u64).prop_map(|(shard, from, len)| Ask::Leaves {
            shard: ShardId::from_bytes(shard),
            from,
            to: from + len
        }),
    ];
    let words = (bytes32(), bytes32(), bytes32(), bytes32(), bytes32());
    (runs, 1..=SET_SHARDS_MAX as u32, words, ask, 1..=DEADLINE_MAX.0).prop_map(|(runs, count, words, ask, deadline)| {
        Challenge {
            audit: AuditId(words.0),
            node: NodeId(words.1),
            set: SetRef { runs, count, digest: words.2 },
            commitments: words.3,
            seed: Seed(words.4),
            ask,
            deadline: Millis(deadline),
        }
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let damaged = || {
        let one = (bytes32(), shard_range())
            .prop_map(|(shard, range)| DamagedRange { shard: ShardId::from_bytes(shard), range });
        vec(one, 0..5)
    };
    let missing = || vec(bytes32().prop_map(ShardId::from_bytes), 0..5);
    let leaves = (bytes32(), vec(any::<u8>(), 0..2000))
        .prop_map(|(shard, proof)| ShardLeaves { shard: ShardId::from_bytes(shard), proof });
    let body = prop_oneof![
        (bytes32(), vec(any::<u8>(), 48), damaged(), missing()).prop_map(|(y, proof, damaged, missing)| {
            AnswerBody::Fold { y, proof: proof.try_into().expect("48"), damaged, missing }
        }),
        (vec(leaves, 0..4), damaged(), missing()).prop_map(|(shards, damaged, missing)| AnswerBody::Leaves {
            shards,
            damaged,
            missing
        }),
        (bytes32(), any::<u32>()).prop_map(|(digest, count)| AnswerBody::SetMismatch { digest, count }),
        (0..86_400_000u64).prop_map(|span| AnswerBody::Refused { retry_after: Millis(span) }),
    ];
    (bytes32(), bytes32(), bytes32(), any::<[u8; 16]>(), body, signature()).prop_map(
        |(audit, node, challenge, incarnation, body, signature)| Answer {
            audit: AuditId(audit),
            node: NodeId(node),
            challenge,
            incarnation: Incarnation(incarnation),
            body,
            signature,
        },
    )
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (bytes32(), any::<[u8; 16]>(), bytes32(), bytes32(), 1..=SHARD_LEN_MAX, 0..=Sequence::MAX.0, signature()).prop_map(
        |(node, incarnation, owner, shard, len, sequence, signature)| Receipt {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            owner: OwnerId(owner),
            shard: ShardId::from_bytes(shard),
            len,
            sequence: Sequence(sequence),
            signature,
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Held),
        Just(Outcome::Corrupt),
        Just(Outcome::Missing),
        Just(Outcome::Late),
        Just(Outcome::Unreachable),
        Just(Outcome::Refused),
        prop_oneof![
            Just(Fault::Restarted),
            Just(Fault::SetDrift),
            Just(Fault::Cancelled),
            Just(Fault::Internal),
            Just(Fault::Commitments)
        ]
        .prop_map(Outcome::Inconclusive),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let bad =
        prop_oneof![Just(Outcome::Corrupt), Just(Outcome::Missing), Just(Outcome::Late), Just(Outcome::Unreachable)];
    let cause = option::of(prop_oneof![Just(Cause::Reported), Just(Cause::Proven)]);
    let exception = (bytes32(), any::<[u8; 16]>(), 0..SHARDS_MAX, bad, cause, option::of(shard_range())).prop_map(
        |(shard, segment, index, outcome, cause, range)| Exception {
            shard: ShardId::from_bytes(shard),
            segment: SegmentId(segment),
            index: ShardIndex(index),
            outcome,
            cause,
            range,
        },
    );
    let lane = prop_oneof![Just(Lane::Fold), Just(Lane::Sample), Just(Lane::Retrieve)];
    (bytes32(), bytes32(), lane, outcome(), vec(exception, 0..6), any::<(i64, u64, u64, u32, u64)>()).prop_map(
        |(audit, node, lane, outcome, exceptions, (id, at, took, shards, bytes))| Verdict {
            id: VerdictId(id),
            audit: AuditId(audit),
            node: NodeId(node),
            lane,
            outcome,
            at: Wall(at),
            took: Millis(took),
            shards,
            bytes,
            exceptions,
            evidence: Vec::new(),
        },
    )
}

fn contact() -> impl Strategy<Value = NodeContact> {
    (bytes32(), vec("[a-z0-9.]{1,60}:[0-9]{1,5}", 1..=ADDRESSES_MAX)).prop_map(|(key, addresses)| {
        let key = PublicKey(key);
        NodeContact { id: key.node_id(), key, addresses }
    })
}

fn signed_grant() -> impl Strategy<Value = SignedGrant> {
    let operation = prop_oneof![Just(Operation::Put), Just(Operation::Get), Just(Operation::Delete)];
    let words = (bytes32(), bytes32(), bytes32());
    (operation, words, any::<(u8, u64, u64, u64, u64)>(), signature()).prop_map(
        |(operation, (node, owner, content), (kind, len, epoch, counter, expires), signature)| SignedGrant {
            grant: Grant {
                operation,
                node: NodeId(node),
                owner: OwnerId(owner),
                kind,
                content,
                len,
                fence: Fence { epoch, counter },
                expires: Wall(expires),
            },
            signature,
        },
    )
}

fn spec() -> impl Strategy<Value = SegmentSpec> {
    let shards = vec(bytes32().prop_map(ShardId::from_bytes), 2..16);
    let secret = || vec(any::<u8>(), 1..200);
    (any::<[u8; 16]>(), bytes32(), 1..=SEGMENT_LEN_MAX, 1..=SHARD_LEN_MAX, shards, secret(), secret()).prop_map(
        |(id, root, len, shard_len, shards, secret_for_owner, secret_for_recovery)| SegmentSpec {
            id: SegmentId(id),
            root: SegmentRoot::from_bytes(root),
            len,
            shard_len,
            shards,
            secret_for_owner,
            secret_for_recovery,
        },
    )
}

fn commitment() -> impl Strategy<Value = Option<ShardCommitment>> {
    prop_oneof![
        Just(None),
        Just(Some(ShardCommitment::Pending)),
        Just(Some(ShardCommitment::Accepted(Provenance::AuditorRead))),
        Just(Some(ShardCommitment::Accepted(Provenance::ClientWitness))),
        Just(Some(ShardCommitment::Accepted(Provenance::LinkSampled))),
    ]
}

fn location() -> impl Strategy<Value = SegmentLocation> {
    let standing = prop_oneof![
        Just(Standing::Good),
        Just(Standing::Lost),
        vec(1..BLOB_LEN, 1..5).prop_map(|steps| {
            let mut at = 0;
            let mut range = |step: u64| {
                let range = ByteRange::at(at + step, step).expect("small");
                at = range.end();
                range
            };
            Standing::Damaged(steps.into_iter().map(&mut range).collect())
        }),
    ];
    let shard = (bytes32(), contact(), standing, option::of(signed_grant()), any::<bool>(), commitment());
    (spec(), 1..20u16, 1..20u16, vec(shard, 0..8)).prop_map(|(spec, data, parity, shards)| {
        let code = Code::new(data, parity).expect("small");
        let shards = shards.into_iter().take(code.total().into()).enumerate();
        let shards = shards.map(|(index, (shard, node, standing, grant, silent, commitment))| ShardLocation {
            index: ShardIndex(index as u16),
            shard: ShardId::from_bytes(shard),
            node,
            standing,
            grant,
            silent,
            commitment,
        });
        SegmentLocation {
            id: spec.id,
            root: spec.root,
            len: spec.len,
            code,
            shard_len: spec.shard_len,
            secret_for_owner: spec.secret_for_owner,
            shards: shards.collect(),
        }
    })
}

/// Over the wire and back.
fn crossed<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("own bytes")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_challenge_comes_back_as_it_went(challenge in challenge()) {
        let back = Challenge::try_from(crossed(pb::node::v1::ChallengeRequest::from(&challenge)));
        prop_assert_eq!(back, Ok(challenge));
    }

    #[test]
    fn an_answer_comes_back_as_it_went(answer in answer()) {
        let back = Answer::try_from(crossed(pb::node::v1::ChallengeResponse::from(&answer)));
        prop_assert_eq!(back, Ok(answer));
    }

    #[test]
    fn a_receipt_comes_back_as_it_went(receipt in receipt()) {
        prop_assert_eq!(Receipt::try_from(crossed(pb::node::v1::Receipt::from(&receipt))), Ok(receipt));
    }

    #[test]
    fn a_verdict_comes_back_as_it_went(verdict in verdict()) {
        let view = VerdictView::try_from(crossed(verdict_message(&verdict, usize::MAX))).expect("own message");
        prop_assert_eq!(view.exceptions_total, verdict.exceptions.len() as u64);
        prop_assert_eq!(view.verdict, verdict);
    }

    #[test]
    fn an_upload_comes_back_as_it_went(
        segment in spec(), offset in 0..u64::from(u32::MAX), avoid in vec(bytes32().prop_map(NodeId), 0..4),
        node in contact(), grant in option::of(signed_grant()), sequence in option::of(any::<u64>().prop_map(Sequence)),
    ) {
        let assignment = ShardAssignment { index: ShardIndex(3), shard: segment.shards[0], node, grant, sequence };
        let staged = Staged { assignments: vec![assignment], expires: Wall(7) };
        prop_assert_eq!(Staged::try_from(crossed(pb::auditor::v1::StageSegmentResponse::from(&staged))), Ok(staged));
        let witness = Witness { id: WitnessId([5; 16]), seed: WitnessSeed::new([6; 32]), y: [7; 32] };
        let witnesses = vec![ShardWitness { index: ShardIndex(1), witness }];
        let commitments = vec![ShardCommitments { index: ShardIndex(0), list: vec![8; 100] }];
        let stage = StageSegment { upload: UploadId([1; 16]), offset, segment, avoid, witnesses, commitments };
        prop_assert_eq!(StageSegment::try_from(crossed(pb::auditor::v1::StageSegmentRequest::from(&stage))), Ok(stage));
    }

    #[test]
    fn a_location_comes_back_as_it_went(segment in location(), at in any::<u32>()) {
        let extent = LocatedExtent { at: at.into(), offset: 0, len: segment.len, segment: Some(segment) };
        let back = LocatedExtent::try_from(crossed(pb::auditor::v1::LocateExtentsResponse::from(&extent)));
        prop_assert_eq!(back, Ok(extent));
    }

    #[test]
    fn a_changed_byte_is_a_value_or_an_error_never_a_panic(
        challenge in challenge(), answer in answer(), segment in location(),
        at in any::<prop::sample::Index>(), flip in 1..=255u8, cut in any::<prop::sample::Index>(),
    ) {
        let extent = LocatedExtent { at: 0, offset: 0, len: 1, segment: Some(segment) };
        for bytes in [
            pb::node::v1::ChallengeRequest::from(&challenge).encode_to_vec(),
            pb::node::v1::ChallengeResponse::from(&answer).encode_to_vec(),
            pb::auditor::v1::LocateExtentsResponse::from(&extent).encode_to_vec(),
        ] {
            let mut changed = bytes.clone();
            let index = at.index(changed.len());
            changed[index] ^= flip;
            read_everything(&changed);
            read_everything(&bytes[..cut.index(bytes.len())]);
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error_never_a_panic(bytes in vec(any::<u8>(), 0..600)) {
        read_everything(&bytes);
    }
}

/// Reads bytes as each message that comes from outside; what it makes of them does not matter.
fn read_everything(bytes: &[u8]) {
    fn read<M: Message + Default, T: TryFrom<M>>(bytes: &[u8]) {
        if let Ok(message) = M::decode(bytes) {
            let _ = T::try_from(message);
        }
    }
    use pb::{auditor::v1 as auditor, node::v1 as node};
    read::<node::PutShardRequest, PutPart>(bytes);
    read::<node::PutShardResponse, Receipt>(bytes);
    read::<node::GetShardRequest, GetShard>(bytes);
    read::<node::GetShardResponse, GetPart>(bytes);
    read::<node::ListShardsRequest, ListShards>(bytes);
    read::<node::ListShardsResponse, ShardPage>(bytes);
    read::<node::PutRecordRequest, PutRecord>(bytes);
    read::<node::GetRecordRequest, GetRecord>(bytes);
    read::<node::ListRecordsRequest, ListRecords>(bytes);
    read::<node::ChallengeRequest, Challenge>(bytes);
    read::<node::ChallengeResponse, Answer>(bytes);
    read::<node::StatResponse, Statement>(bytes);
    read::<auditor::BeginUploadRequest, BeginUpload>(bytes);
    read::<auditor::BeginUploadResponse, UploadTerms>(bytes);
    read::<auditor::ListStagedSegmentsResponse, StagedSegmentView>(bytes);
    read::<auditor::StageSegmentRequest, StageSegment>(bytes);
    read::<auditor::StageSegmentResponse, Staged>(bytes);
    read::<auditor::NoteReceiptsRequest, NoteReceipts>(bytes);
    read::<auditor::CommitUploadRequest, CommitPart>(bytes);
    read::<auditor::CommitUploadResponse, Vec<ObjectId>>(bytes);
    read::<auditor::GetObjectResponse, ObjectRecords>(bytes);
    read::<auditor::ListObjectsRequest, ListObjects>(bytes);
    read::<auditor::ListObjectsResponse, Vec<ObjectSummary>>(bytes);
    read::<auditor::LocateExtentsRequest, LocateExtents>(bytes);
    read::<auditor::LocateExtentsResponse, LocatedExtent>(bytes);
    read::<auditor::RegisterNodeRequest, Registration>(bytes);
    read::<auditor::RegisterNodeResponse, Registered>(bytes);
    read::<auditor::ListNodesResponse, Vec<NodeView>>(bytes);
    read::<auditor::GetNodeResponse, (NodeView, NodeHolding)>(bytes);
    read::<auditor::ListVerdictsRequest, ListVerdicts>(bytes);
    read::<auditor::ListVerdictsResponse, Vec<VerdictView>>(bytes);
    read::<auditor::WatchVerdictsResponse, VerdictView>(bytes);
    read::<auditor::RunAuditResponse, RunAudit>(bytes);
    read::<auditor::ListRepairsResponse, Vec<RepairRow>>(bytes);
    read::<auditor::CatalogSummary, holdfast_protocol::store::Summary>(bytes);
}

fn refused<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> String {
    result.expect_err("over its bound").field
}

fn any_challenge() -> pb::node::v1::ChallengeRequest {
    pb::node::v1::ChallengeRequest {
        audit_id: vec![1; 32],
        node_id: vec![2; 32],
        set: Some(pb::node::v1::ShardSet {
            runs: vec![pb::node::v1::SequenceRun { from: 1, to: 5 }],
            count: 4,
            digest: vec![3; 32],
        }),
        commitments: vec![4; 32],
        seed: vec![5; 32],
        deadline_ms: 1000,
        ask: Some(pb::node::v1::challenge_request::Ask::Sample(pb::node::v1::SampleAsk { count: 16 })),
    }
}

#[test]
fn a_challenge_over_any_bound_is_refused_by_name() {
    use pb::node::v1::{FoldAsk, LeavesAsk, SampleAsk, SequenceRun, challenge_request::Ask as Asked};
    type Break = fn(&mut pb::node::v1::ChallengeRequest);
    let cases: [(&str, Break); 12] = [
        ("audit_id", |c| c.audit_id.push(0)),
        ("node_id", |c| c.node_id.clear()),
        ("set", |c| c.set = None),
        ("set.count", |c| c.set.as_mut().expect("set").count = SET_SHARDS_MAX as u32 + 1),
        ("set.runs", |c| c.set.as_mut().expect("set").runs = vec![SequenceRun { from: 0, to: 1 }; RUNS_MAX + 1]),
        ("set.runs[1].from", |c| c.set.as_mut().expect("set").runs.push(SequenceRun { from: 5, to: 6 })),
        ("set.runs[0].from", |c| c.set.as_mut().expect("set").runs[0].to = 1),
        ("sample.count", |c| c.ask = Some(Asked::Sample(SampleAsk { count: SAMPLE_LEAVES_MAX as u32 + 1 }))),
        ("leaves.from", |c| c.ask = Some(Asked::Leaves(LeavesAsk { shard: vec![0; 32], from: 0, to: 513 }))),
        ("fold.from", |c| c.ask = Some(Asked::Fold(FoldAsk { from: 3, to: 3 }))),
        ("fold.to", |c| c.ask = Some(Asked::Fold(FoldAsk { from: 0, to: u64::MAX }))),
        ("deadline_ms", |c| c.deadline_ms = u64::MAX),
    ];
    assert!(Challenge::try_from(any_challenge()).is_ok());
    for (field, change) in cases {
        let mut message = any_challenge();
        change(&mut message);
        assert_eq!(refused(Challenge::try_from(message)), field);
    }
}

#[test]
fn an_answer_with_too_much_damage_is_refused() {
    let range = Some(pb::common::v1::ByteRange { start: 0, end: 1 });
    let one = pb::node::v1::DamagedRange { shard: vec![1; 32], range };
    let message = pb::node::v1::ChallengeResponse {
        audit_id: vec![0; 32],
        node_id: vec![0; 32],
        challenge: vec![0; 32],
        incarnation: vec![0; 16],
        signature: vec![0; 65],
        body: Some(pb::node::v1::challenge_response::Body::Fold(pb::node::v1::FoldAnswer {
            y: vec![0; 32],
            proof: vec![0; 48],
            damaged: vec![one; ANSWER_DAMAGED_MAX + 1],
            missing: Vec::new(),
        })),
    };
    assert_eq!(refused(Answer::try_from(message)), "damaged");
}

#[test]
fn the_largest_answer_and_the_largest_page_fit_a_message() {
    let damaged = |at: u64| DamagedRange {
        shard: ShardId::from_bytes([0xff; 32]),
        range: ByteRange::new(SHARD_LEN_MAX - at - 1, SHARD_LEN_MAX).expect("forward"),
    };
    let body = AnswerBody::Leaves {
        shards: (0..SAMPLE_LEAVES_MAX)
            .map(|_| ShardLeaves { shard: ShardId::from_bytes([0xff; 32]), proof: vec![0xff; 1024 + 17 * 32 + 64] })
            .collect(),
        damaged: (0..ANSWER_DAMAGED_MAX as u64).map(damaged).collect(),
        missing: vec![ShardId::from_bytes([0xff; 32]); SET_SHARDS_MAX],
    };
    let answer = Answer {
        audit: AuditId([0xff; 32]),
        node: NodeId([0xff; 32]),
        challenge: [0xff; 32],
        incarnation: Incarnation([0xff; 16]),
        body,
        signature: Signature { algorithm: 1, bytes: [0xff; 64] },
    };
    let message = pb::node::v1::ChallengeResponse::from(&answer);
    assert!(message.encoded_len() <= holdfast_wire::MESSAGE_LEN_MAX, "{}", message.encoded_len());
    assert_eq!(Answer::try_from(message), Ok(answer));

    let entry = |at: usize| SetEntry {
        sequence: Sequence(Sequence::MAX.0 - LIST_ENTRIES_MAX as u64 + 1 + at as u64),
        shard: ShardId::from_bytes([0xff; 32]),
        len: SHARD_LEN_MAX,
    };
    let page = ShardPage { entries: (0..LIST_ENTRIES_MAX).map(entry).collect(), next: None };
    let message = pb::node::v1::ListShardsResponse::from(&page);
    assert!(message.encoded_len() <= holdfast_wire::MESSAGE_LEN_MAX);
    assert_eq!(ShardPage::try_from(message), Ok(page));
}

#[test]
fn a_list_that_does_not_rise_is_refused() {
    let entry = |sequence| pb::node::v1::ShardEntry { sequence, shard: vec![1; 32], len: 1 };
    let page =
        |entries, next_sequence| ShardPage::try_from(pb::node::v1::ListShardsResponse { entries, next_sequence });
    assert!(page(vec![entry(3), entry(4)], Some(5)).is_ok());
    assert_eq!(refused(page(vec![entry(3), entry(3)], None)), "entries[1].sequence");
    assert_eq!(refused(page(vec![entry(3)], Some(3))), "next_sequence");
}

/// Attack: a number that the catalog cannot keep, or after which it cannot ask for the next, stops whoever writes it there.
#[test]
fn a_number_that_no_catalog_keeps_is_refused_by_name() {
    use pb::node::v1::{self as node, get_shard_response::Part};
    let receipt = |sequence| node::Receipt {
        node_id: vec![1; 32],
        incarnation: vec![2; 16],
        owner_id: vec![3; 32],
        shard: vec![4; 32],
        len: 5,
        sequence,
        signature: vec![6; 65],
    };
    let entry = |sequence| node::ShardEntry { sequence, shard: vec![1; 32], len: 1 };
    let page = |entries, next_sequence| ShardPage::try_from(node::ListShardsResponse { entries, next_sequence });
    let header = |sequence| {
        GetPart::try_from(node::GetShardResponse {
            part: Some(Part::Header(node::GetShardHeader { len: 1, sequence })),
        })
    };
    let greatest = Sequence::MAX.0;
    assert!(Receipt::try_from(receipt(greatest)).is_ok());
    assert!(page(vec![entry(greatest)], None).is_ok() && page(vec![], Some(greatest)).is_ok());
    assert!(header(greatest).is_ok());
    for beyond in [greatest + 1, 1 << 63, u64::MAX] {
        assert_eq!(refused(Receipt::try_from(receipt(beyond))), "sequence");
        let put = node::PutShardResponse { receipt: Some(receipt(beyond)) };
        assert_eq!(refused(Receipt::try_from(put)), "receipt.sequence");
        let noted = pb::auditor::v1::NoteReceiptsRequest {
            upload_id: vec![7; 16],
            segment_id: vec![8; 16],
            receipts: vec![pb::auditor::v1::IndexedReceipt { index: 0, receipt: Some(receipt(beyond)) }],
        };
        assert_eq!(refused(NoteReceipts::try_from(noted)), "receipts[0].receipt.sequence");
        assert_eq!(refused(page(vec![entry(3), entry(beyond)], None)), "entries[1].sequence");
        assert_eq!(refused(page(vec![entry(3)], Some(beyond))), "next_sequence");
        assert_eq!(refused(header(beyond)), "header.sequence");
    }
}

#[test]
fn a_node_cannot_register_or_be_named_under_another_key() {
    let key = SecretKey::from_seed(&[7; 32]);
    let registration = Registration {
        key: key.public(),
        volume: VolumeId([1; 16]),
        incarnation: Incarnation([2; 16]),
        addresses: vec!["[::1]:7001".into()],
        zone: ZoneName("north".into()),
        operator: "us".into(),
        capacity: 1 << 40,
        tls_key_digest: [3; 32],
        wall: Wall(4),
        fence: Fence { epoch: 5, counter: 6 },
    };
    let message = registration.sign(&key);
    assert_eq!(Registration::try_from(crossed(message.clone())), Ok(registration.clone()));

    let moved = pb::auditor::v1::RegisterNodeRequest { addresses: vec!["[::2]:7001".into()], ..message.clone() };
    assert_eq!(refused(Registration::try_from(moved)), "signature");
    let rebound = pb::auditor::v1::RegisterNodeRequest { tls_key_digest: vec![4; 32], ..message };
    assert_eq!(refused(Registration::try_from(rebound)), "signature");
    let stranger = registration.sign(&SecretKey::from_seed(&[8; 32]));
    assert_eq!(refused(Registration::try_from(stranger)), "signature");

    let contact = pb::auditor::v1::NodeContact {
        node_id: SecretKey::from_seed(&[8; 32]).public().node_id().0.to_vec(),
        public_key: key.public().0.to_vec(),
        addresses: vec!["[::1]:1".into()],
    };
    assert_eq!(refused(NodeContact::try_from(contact)), "node_id");
}

#[test]
fn an_object_under_another_name_is_refused() {
    let summary = |id: ObjectId| ObjectSummary { id, name: "a".into(), sealed_len: 1, plain_len: 1, created: Wall(1) };
    let records = |id| ObjectRecords { summary: summary(id), manifest: b"manifest".to_vec(), envelope: vec![1] };
    let good = records(ObjectId(Root::of(b"manifest")));
    let cross =
        |records: ObjectRecords| ObjectRecords::try_from(crossed(pb::auditor::v1::GetObjectResponse::from(records)));
    assert_eq!(cross(good.clone()), Ok(good));
    assert_eq!(refused(cross(records(ObjectId(Root::of(b"other"))))), "manifest");
}

#[test]
fn audits_on_their_way_come_back_with_those_that_must_wait() {
    let run = RunAudit {
        nodes: vec![NodeId([1; 32])],
        after: VerdictId(7),
        too_soon: vec![NodeId([2; 32]), NodeId([3; 32])],
        wait: Millis(9),
    };
    let bytes = pb::auditor::v1::RunAuditResponse::from(&run).encode_to_vec();
    assert_eq!(RunAudit::try_from(pb::auditor::v1::RunAuditResponse::decode(&bytes[..]).unwrap()), Ok(run));
}
