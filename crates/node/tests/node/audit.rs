//! Challenges: what an intact node proves, what a damaged one tells, and what too many of them get.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_kzg::{BLOB_LEN as KZG_BLOB_LEN, CommitmentList, Setup};
use holdfast_protocol::{
    effect::{FoldJob, FoldTerm, LeafClaim, LeavesJob, Verification, VerifyJob},
    message::{Answer, AnswerBody, Ask, Challenge, DamagedRange, SetEntry},
    responder::OUTBOARD_KIND,
    set,
    verify::{CheckedList, verify},
};
use holdfast_types::{AuditId, BLOB_LEN, ByteRange, Millis, NodeId, Seed};
use holdfast_wire::{WireError, pb::node::v1 as pb};

use crate::cluster::*;

fn challenge(node: NodeId, entries: &[SetEntry], ask: Ask) -> Challenge {
    Challenge {
        audit: AuditId([7; 32]),
        node,
        set: set::reference(entries),
        commitments: [0; 32],
        seed: Seed([8; 32]),
        ask,
        deadline: Millis::from_secs(60),
    }
}

async fn ask(auditor: &mut Client, challenge: &Challenge) -> Result<Answer, WireError> {
    let reply = auditor.challenge(pb::ChallengeRequest::from(challenge)).await?;
    Ok(Answer::try_from(reply.into_inner())?)
}

/// A node with three shards, the second of which ends in a blob that is not full.
async fn stored() -> (Cluster, holdfast_node::Running, Client, Vec<SetEntry>, Vec<Vec<u8>>) {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    let contents: Vec<Vec<u8>> = [2 * KZG_BLOB_LEN, 3 * KZG_BLOB_LEN + 5_000, 900]
        .into_iter()
        .zip(1..)
        .map(|(len, salt)| bytes(len, salt))
        .collect();
    for content in &contents {
        cluster.put(&mut client, node.id(), content).await.unwrap();
    }
    let entries = list(&mut auditor).await;
    assert_eq!(entries.len(), 3);
    (cluster, node, auditor, entries, contents)
}

fn fold_job(challenge: &Challenge, entries: &[SetEntry], contents: &[Vec<u8>], answer: &Answer) -> Verification {
    let AnswerBody::Fold { y, proof, damaged, .. } = &answer.body else { panic!("no fold: {:?}", answer.body) };
    let (mut lists, mut terms, mut base) = (BTreeMap::new(), Vec::new(), 0);
    for (entry, content) in entries.iter().zip(contents) {
        let commit = |blob: &[u8]| Setup::ethereum().commit(blob).unwrap();
        let list = CommitmentList::new(content.chunks(KZG_BLOB_LEN).map(commit).collect()).unwrap();
        let (digest, blobs) = (list.digest(), set::blobs_of(entry.len) as u32);
        lists.insert(digest, Arc::new(CheckedList::new(list).unwrap()));
        let whole = |blob: u32| {
            let range = set::blob_bytes(entry.len, blob.into(), u64::from(blob) + 1);
            !damaged.iter().any(|gone| gone.shard == entry.shard && gone.range.overlaps(range))
        };
        let held = (0..blobs).filter(|blob| whole(*blob)).map(|blob| (blob, blob + 1)).collect();
        terms.push(FoldTerm { shard: entry.shard, list: digest, base, blobs: held });
        base += u64::from(blobs);
    }
    let job = FoldJob { challenge: Box::new(challenge.clone()), terms, y: *y, proof: *proof };
    verify(&VerifyJob::Fold(job), &lists, Setup::ethereum())
}

fn leaves_job(challenge: &Challenge, entries: &[SetEntry], answer: &Answer, count: u16) -> (Verification, usize) {
    let AnswerBody::Leaves { shards, damaged, .. } = &answer.body else { panic!("no leaves: {:?}", answer.body) };
    let mut claims = Vec::new();
    for (at, leaves) in challenge.draw(entries, count) {
        let entry = entries[at];
        let told = |leaf: u64| {
            let at = leaf * 1024;
            damaged.iter().any(|gone| gone.shard == entry.shard && gone.range.start() <= at && at < gone.range.end())
        };
        let leaves: Vec<u64> = leaves.into_iter().filter(|leaf| !told(*leaf)).collect();
        if leaves.is_empty() {
            continue;
        }
        let proof =
            shards.iter().find(|shard| shard.shard == entry.shard).expect("a proof for its leaves").proof.clone();
        claims.push(LeafClaim { shard: entry.shard, len: entry.len, leaves, proof });
    }
    let proven = claims.iter().map(|claim| claim.leaves.len()).sum();
    let lists: BTreeMap<[u8; 32], Arc<CheckedList>> = BTreeMap::new();
    (verify(&VerifyJob::Leaves(LeavesJob { claims }), &lists, Setup::ethereum()), proven)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intact_node_proves_every_byte_and_any_leaf() {
    let (cluster, node, mut auditor, entries, contents) = stored().await;
    let key = cluster.registered_key(&node).await;

    let fold = challenge(node.id(), &entries, Ask::Fold { from: 0, to: 7 });
    let answer = ask(&mut auditor, &fold).await.unwrap();
    assert!(answer.is_signed_by(&key) && answer.challenge == fold.digest());
    assert_eq!(fold_job(&fold, &entries, &contents, &answer), Verification::Valid);
    // The same answer does not pass for another challenge.
    let other = Challenge { audit: AuditId([9; 32]), ..fold };
    assert_ne!(fold_job(&other, &entries, &contents, &answer), Verification::Valid);

    let sample = challenge(node.id(), &entries, Ask::Sample { count: 64 });
    let answer = ask(&mut auditor, &sample).await.unwrap();
    assert!(answer.is_signed_by(&key));
    assert_eq!(leaves_job(&sample, &entries, &answer, 64), (Verification::Valid, 64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_blob_is_told_by_range_and_the_rest_is_proven() {
    let (cluster, node, mut auditor, entries, contents) = stored().await;
    let hurt = entries[1].shard;
    flip(&cluster.volume_dir(), 0, *hurt.as_bytes(), BLOB_LEN + 9);
    let told = DamagedRange { shard: hurt, range: ByteRange::new(BLOB_LEN, 2 * BLOB_LEN).unwrap() };

    let fold = challenge(node.id(), &entries, Ask::Fold { from: 0, to: 7 });
    let answer = ask(&mut auditor, &fold).await.unwrap();
    let AnswerBody::Fold { damaged, missing, .. } = &answer.body else { panic!("no fold") };
    assert_eq!((damaged.as_slice(), missing.as_slice()), ([told].as_slice(), [].as_slice()));
    assert_eq!(fold_job(&fold, &entries, &contents, &answer), Verification::Valid);

    // All leaves there are, so that the damaged ones are among them.
    let sample = challenge(node.id(), &entries, Ask::Sample { count: 512 });
    let answer = ask(&mut auditor, &sample).await.unwrap();
    let AnswerBody::Leaves { damaged, .. } = &answer.body else { panic!("no leaves") };
    // A group of 16 KiB that lies across two blobs cannot be proven without either: it is told too, and no more.
    let around = ByteRange::new(BLOB_LEN - (16 << 10), 2 * BLOB_LEN + (16 << 10)).unwrap();
    assert!(damaged.iter().all(|gone| gone.shard == hurt && around.contains(gone.range)), "{damaged:?}");
    assert!(damaged.iter().any(|gone| gone.range.contains(told.range)), "{damaged:?}");
    let (verified, proven) = leaves_job(&sample, &entries, &answer, 512);
    assert!(verified == Verification::Valid && proven > 150, "{verified:?}, {proven} leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_outboard_is_computed_again() {
    let (cluster, node, mut auditor, entries, _) = stored().await;
    flip(&cluster.volume_dir(), OUTBOARD_KIND, *entries[1].shard.as_bytes(), 3);
    let sample = challenge(node.id(), &entries, Ask::Sample { count: 100 });
    let answer = ask(&mut auditor, &sample).await.unwrap();
    assert_eq!(leaves_job(&sample, &entries, &answer, 100), (Verification::Valid, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_a_mismatch_and_a_deleted_shard_is_missing() {
    let (cluster, node, mut auditor, entries, contents) = stored().await;
    let grant = cluster.grant(node.id(), holdfast_types::Operation::Delete, &contents[2]).sign(&cluster.auditor_key);
    delete(&mut auditor, &grant).await.unwrap();
    let answer = ask(&mut auditor, &challenge(node.id(), &entries, Ask::Sample { count: 4 })).await.unwrap();
    assert_eq!(answer.body, AnswerBody::SetMismatch { digest: set::digest(&entries[..2]), count: 2 });

    let gone = entries[2].shard;
    let judge = challenge(node.id(), &entries, Ask::Leaves { shard: gone, from: 0, to: 1 });
    let AnswerBody::Leaves { missing, .. } = ask(&mut auditor, &judge).await.unwrap().body else { panic!("no leaves") };
    assert_eq!(missing, [gone]);
    let stranger = Challenge { node: NodeId([3; 32]), ..judge };
    assert!(ask(&mut auditor, &stranger).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_challenge_too_many_is_refused_with_a_time_and_signed() {
    let cluster = Cluster::new().await;
    let node = cluster
        .start_with(|raw| {
            raw.limits.challenges = 1;
            // A fold of half a MiB takes seconds at this rate: the second question comes while it runs.
            raw.limits.challenge_rate = holdfast_node::config::Size::Bytes(100_000);
        })
        .await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    for salt in 0..8 {
        cluster.put(&mut client, node.id(), &bytes(KZG_BLOB_LEN, salt)).await.unwrap();
    }
    let entries = list(&mut auditor).await;
    let slow = challenge(node.id(), &entries, Ask::Fold { from: 0, to: 8 });
    let first = auditor.clone();
    let begin = || {
        let (mut first, slow) = (first.clone(), slow.clone());
        tokio::spawn(async move { ask(&mut first, &slow).await })
    };
    let mut running = begin();
    let key = cluster.registered_key(&node).await;
    let quick = challenge(node.id(), &entries[..1], Ask::Sample { count: 1 });
    eventually("the second is refused", async || {
        let answer = ask(&mut auditor, &quick).await.unwrap();
        let refused = matches!(answer.body, AnswerBody::Refused { retry_after } if retry_after.0 > 0);
        assert!(answer.is_signed_by(&key));
        if running.is_finished() {
            // The quick one had the only place when the slow one came.
            running = begin();
        }
        refused
    })
    .await;
    // A caller who goes away frees the place, although the fold would have gone on for seconds.
    running.abort();
    eventually("the place is free", async || {
        matches!(ask(&mut auditor, &quick).await.unwrap().body, AnswerBody::Leaves { .. })
    })
    .await;
}

impl Cluster {
    pub(crate) async fn registered_key(&self, node: &holdfast_node::Running) -> holdfast_types::PublicKey {
        eventually("the node has registered", async || !self.registered.lock().unwrap().is_empty()).await;
        let key = self.registered.lock().unwrap()[0].key;
        assert_eq!(key.node_id(), node.id());
        key
    }
}
