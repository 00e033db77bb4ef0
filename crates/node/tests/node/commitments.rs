//! Deferred commitments, the node's side: what it computes by itself, in which order, from which bytes.

use holdfast_kzg::{BLOB_LEN, CommitmentList, FoldClaim, Gamma, Opening, Setup, Verdict, verify};
use holdfast_node::{Running, Tally, config::RawCommitments};
use holdfast_protocol::witness::{
    Adopted, Adoption, Claim, Commitments, Expected, Opened, OpenedBody, Witness, WitnessId, WitnessSeed,
};
use holdfast_types::{ByteRange, Millis, Operation, ShardId};
use holdfast_volume::{Identity, Key, Options, Volume};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{GetCommitments, OpenWitness, PutCommitments, PutPart, Statement},
    pb::node::v1 as pb,
};

use crate::cluster::*;

/// The kind of a commitment list in the volume (docs/formats/volume.md).
const LIST_KIND: u8 = 66;

async fn committing(cluster: &Cluster) -> Running {
    cluster.start_with(|raw| raw.commitments = RawCommitments { cpu_share: 1.0 }).await
}

fn list_of(content: &[u8]) -> CommitmentList {
    let commit = |blob: &[u8]| Setup::ethereum().commit(blob).unwrap();
    CommitmentList::new(content.chunks(BLOB_LEN).map(commit).collect()).unwrap()
}

/// What a stopped node keeps as the list of a shard.
fn kept(cluster: &Cluster, shard: &ShardId) -> Option<CommitmentList> {
    let key = Key { kind: LIST_KIND, id: *shard.as_bytes() };
    let disk = holdfast_volume::FileDisk::open(&cluster.volume_dir()).unwrap();
    let fresh = Identity { volume: [0; 16], incarnation: [0; 16] };
    let (volume, _) = Volume::open(disk, Options::default(), fresh).unwrap();
    let len = volume.reader().stat(&key)?.len;
    Some(CommitmentList::decode(&volume.read(&key, 0..len).unwrap().bytes).unwrap())
}

async fn all_done(node: &Running, done: u64) {
    eventually("every shard is committed to", async || node.tally() == Tally { done, ..Tally::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_is_committed_to_in_the_background_and_stays_so() {
    let cluster = Cluster::new().await;
    let contents = [bytes(1, 1), bytes(BLOB_LEN, 2), bytes(BLOB_LEN + 1, 3), bytes(3 * BLOB_LEN + 77, 4)];

    // Nothing is computed on a node that is told not to, but it knows what it owes.
    let idle = cluster.start().await;
    for content in &contents {
        cluster.put(&mut cluster.client(&idle).await, idle.id(), content).await.unwrap();
    }
    let total: usize = contents.iter().map(Vec::len).sum();
    let owed = Tally { shards: 4, blobs: 1 + 1 + 2 + 4, bytes: total as u64, done: 0 };
    assert_eq!(idle.tally(), owed);
    let said = cluster.auditor(&idle).await.stat(pb::StatRequest {}).await.unwrap().into_inner();
    let said = Statement::try_from(said).unwrap().backlog;
    assert_eq!((said.shards, said.blobs, said.bytes, said.done), (4, 8, total as u64, 0));
    assert!(said.core_time > Millis(0), "the estimate is in core time");
    idle.stop().await.unwrap();
    assert_eq!(kept(&cluster, &shard_of(&contents[0])), None);

    // The backlog is found again after the restart, and worked off.
    let node = committing(&cluster).await;
    all_done(&node, 4).await;
    // A shard that comes later has its turn too.
    let late = bytes(2 * BLOB_LEN, 5);
    cluster.put(&mut cluster.client(&node).await, node.id(), &late).await.unwrap();
    all_done(&node, 5).await;
    node.stop().await.unwrap();
    for content in contents.iter().chain([&late]) {
        assert_eq!(kept(&cluster, &shard_of(content)), Some(list_of(content)), "{} bytes", content.len());
    }

    // Lists are durable: a node that computes none has them all.
    let idle = cluster.start().await;
    assert_eq!(idle.tally(), Tally { done: 5, ..Tally::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_with_its_shard() {
    let cluster = Cluster::new().await;
    let node = committing(&cluster).await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    let (gone, stays) = (bytes(BLOB_LEN, 1), bytes(BLOB_LEN, 2));
    for content in [&gone, &stays] {
        cluster.put(&mut client, node.id(), content).await.unwrap();
    }
    all_done(&node, 2).await;
    let grant = cluster.grant(node.id(), Operation::Delete, &gone).sign(&cluster.auditor_key);
    assert!(delete(&mut auditor, &grant).await.unwrap());
    assert_eq!(node.tally(), Tally { done: 1, ..Tally::default() });
    node.stop().await.unwrap();
    assert_eq!(kept(&cluster, &shard_of(&gone)), None);
    assert!(kept(&cluster, &shard_of(&stays)).is_some());

    // Deleted before it was committed to, it is owed no more.
    let idle = cluster.start().await;
    let (mut client, mut auditor) = (cluster.client(&idle).await, cluster.auditor(&idle).await);
    cluster.put(&mut client, idle.id(), &gone).await.unwrap();
    assert_eq!(idle.tally().shards, 1);
    assert!(delete(&mut auditor, &grant).await.unwrap());
    assert_eq!(idle.tally(), Tally { done: 1, ..Tally::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bytes_are_not_committed_to_and_do_not_stop_the_rest() {
    let cluster = Cluster::new().await;
    let idle = cluster.start().await;
    let mut client = cluster.client(&idle).await;
    let (hurt, whole) = (bytes(2 * BLOB_LEN, 1), bytes(BLOB_LEN, 2));
    for content in [&hurt, &whole] {
        cluster.put(&mut client, idle.id(), content).await.unwrap();
    }
    idle.stop().await.unwrap();
    flip(&cluster.volume_dir(), 0, *shard_of(&hurt).as_bytes(), BLOB_LEN as u64 + 5);

    let node = committing(&cluster).await;
    eventually("the intact shard is committed to", async || node.tally().done == 1).await;
    assert_eq!(node.tally(), Tally { shards: 1, blobs: 2, bytes: 2 * BLOB_LEN as u64, done: 1 });
    // Put again, the damaged one is replaced, because the committer found it; then it has its turn.
    cluster.put(&mut cluster.client(&node).await, node.id(), &hurt).await.unwrap();
    all_done(&node, 2).await;
    node.stop().await.unwrap();
    assert_eq!(kept(&cluster, &shard_of(&hurt)), Some(list_of(&hurt)));
}

/// The attack: a shard that rotted in memory before its checksums were taken. They hold, its root does not: a list of
/// such bytes would make an auditor commit to what no reader accepts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_pass_their_checksums_but_are_not_the_shard_get_no_list() {
    let cluster = Cluster::new().await;
    cluster.start().await.stop().await.unwrap();
    let (content, real) = (bytes(BLOB_LEN, 1), bytes(BLOB_LEN, 2));
    {
        let disk = holdfast_volume::FileDisk::open(&cluster.volume_dir()).unwrap();
        let fresh = Identity { volume: [0; 16], incarnation: [0; 16] };
        let (mut volume, _) = Volume::open(disk, Options::default(), fresh).unwrap();
        for (name, bytes) in [(shard_of(&real), &content), (shard_of(&content), &content)] {
            let key = Key { kind: 0, id: *name.as_bytes() };
            let mut reservation = volume.reserve(holdfast_volume::Namespace([9; 32]), key, bytes.len() as u64).unwrap();
            reservation.write(bytes).unwrap();
            volume.seal(reservation).unwrap();
        }
        volume.commit().unwrap();
    }
    let node = committing(&cluster).await;
    eventually("the true shard is committed to", async || node.tally().done == 1).await;
    assert_eq!(node.tally().shards, 1);
    node.stop().await.unwrap();
    assert_eq!(kept(&cluster, &shard_of(&real)), None);
}

async fn ask(auditor: &mut Client, shard: ShardId, witness: Option<WitnessId>) -> Commitments {
    let request = pb::GetCommitmentsRequest::from(GetCommitments { shard, witness });
    Commitments::try_from(auditor.get_commitments(request).await.unwrap().into_inner()).unwrap()
}

/// Asks until there is a claim.
async fn claimed(auditor: &mut Client, shard: ShardId, witness: Option<WitnessId>) -> (Claim, CommitmentList) {
    let mut found = None;
    eventually("the node claims the shard's list", async || {
        match ask(auditor, shard, witness).await {
            Commitments::Claimed { claim, list } => found = Some((claim, CommitmentList::decode(&list).unwrap())),
            Commitments::NotYet { retry_after, .. } => assert!(retry_after > Millis(0)),
            other => panic!("neither a claim nor a time: {other:?}"),
        }
        found.is_some()
    })
    .await;
    found.unwrap()
}

async fn open(auditor: &mut Client, asked: &OpenWitness) -> Opened {
    Opened::try_from(auditor.open_witness(pb::OpenWitnessRequest::from(asked)).await.unwrap().into_inner()).unwrap()
}

async fn offer(auditor: &mut Client, shard: ShardId, list: &CommitmentList) -> Adopted {
    let request = pb::PutCommitmentsRequest::from(PutCommitments { shard, list: list.encode() });
    Adopted::try_from(auditor.put_commitments(request).await.unwrap().into_inner()).unwrap()
}

async fn expected(cluster: &Cluster, node: &Running, content: &[u8]) -> Expected {
    Expected {
        node: node.id(),
        key: cluster.registered_key(node).await,
        incarnation: node.volume().1,
        shard: shard_of(content),
        len: content.len() as u64,
    }
}

fn verdict(seed: &WitnessSeed, list: &CommitmentList, opened: &OpenedBody) -> (Verdict, [u8; 32]) {
    let OpenedBody::Opening { y, proof } = opened else { panic!("no opening: {opened:?}") };
    let (points, mut gammas) = (list.check_points().unwrap(), seed.gammas());
    let terms: Vec<(Gamma, _)> = (0..).map(|blob| gammas.at(blob)).zip(&points).collect();
    let opening = Opening { y: *y, proof: holdfast_kzg::Proof(*proof) };
    (verify(Setup::ethereum(), &FoldClaim { terms: &terms, z: seed.z(), opening }), *y)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_list_opens_to_what_the_client_remembers_after_a_restart_too() {
    let cluster = Cluster::new().await;
    let node = committing(&cluster).await;
    let content = bytes(3 * BLOB_LEN + 1_000, 1);
    let (shard, seed, id) = (shard_of(&content), WitnessSeed::new([9; 32]), WitnessId([3; 16]));
    let witness = Witness::of(id, seed.clone(), &content).unwrap();
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();

    let mut auditor = cluster.auditor(&node).await;
    let (claim, list) = claimed(&mut auditor, shard, Some(id)).await;
    let expected = expected(&cluster, &node, &content).await;
    assert_eq!(claim.fault(&expected, Some(id)), None);
    assert_eq!((claim.digest, &list), (list.digest(), &list_of(&content)));
    node.stop().await.unwrap();

    // The list is the same and so is its opening, from the disk.
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    let asked = OpenWitness { shard, witness: id, digest: claim.digest, seed: seed.clone() };
    let opened = open(&mut auditor, &asked).await;
    assert_eq!(opened.fault(&expected, id, &claim.digest), None);
    assert_eq!(verdict(&seed, &list, &opened.body), (Verdict::Holds, witness.y));

    // The attack: commitments changed after the reveal. Whatever else they are, the opening is not theirs.
    let mut others = list.commitments().to_vec();
    others.swap(0, 1);
    assert_eq!(verdict(&seed, &CommitmentList::new(others).unwrap(), &opened.body).0, Verdict::Wrong);
    // A secret for a list that the node never claimed is not answered with bytes that could hurt it.
    let other = open(&mut auditor, &OpenWitness { digest: [1; 32], ..asked.clone() }).await;
    assert_eq!(other.fault(&expected, id, &[1; 32]), None);
    assert_eq!(other.body, OpenedBody::OtherList { digest: claim.digest });
    // What is not there is said not to be there.
    let absent = shard_of(b"absent");
    assert_eq!(ask(&mut auditor, absent, None).await, Commitments::Missing);
    assert_eq!(open(&mut auditor, &OpenWitness { shard: absent, ..asked }).await.body, OpenedBody::Missing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_asked_for_comes_first() {
    let cluster = Cluster::new().await;
    let idle = cluster.start().await;
    // Each long enough that the question comes before the first is done, and the look before the next is.
    let contents: Vec<Vec<u8>> = (1..=4).map(|salt| bytes(24 * BLOB_LEN, salt)).chain([bytes(9, 5)]).collect();
    for content in &contents {
        cluster.put(&mut cluster.client(&idle).await, idle.id(), content).await.unwrap();
    }
    // A node that computes none has a time to tell, not an error.
    let last = shard_of(&contents[4]);
    let told = ask(&mut cluster.auditor(&idle).await, last, None).await;
    assert!(matches!(told, Commitments::NotYet { retry_after, .. } if retry_after >= Millis(1_000)), "{told:?}");
    idle.stop().await.unwrap();

    let node = committing(&cluster).await;
    let mut auditor = cluster.auditor(&node).await;
    let told = ask(&mut auditor, last, None).await;
    assert!(matches!(told, Commitments::NotYet { ahead: 0..=1, .. }), "{told:?}");
    let (_, list) = claimed(&mut auditor, last, None).await;
    assert_eq!(list, list_of(&contents[4]));
    assert!(node.tally().done <= 2, "only the one in work was before it: {:?}", node.tally());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_told_by_range_to_whoever_asks_for_commitments_or_an_opening() {
    let cluster = Cluster::new().await;
    let node = committing(&cluster).await;
    let content = bytes(3 * BLOB_LEN, 1);
    let shard = shard_of(&content);
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();
    let mut auditor = cluster.auditor(&node).await;
    let (claim, _) = claimed(&mut auditor, shard, None).await;

    let blob = BLOB_LEN as u64;
    flip(&cluster.volume_dir(), 0, *shard.as_bytes(), blob + 7);
    let told = vec![ByteRange::new(blob, 2 * blob).unwrap()];
    let (witness, seed) = (WitnessId([4; 16]), WitnessSeed::new([9; 32]));
    let opened = open(&mut auditor, &OpenWitness { shard, witness, digest: claim.digest, seed }).await;
    assert_eq!(opened.fault(&expected(&cluster, &node, &content).await, witness, &claim.digest), None);
    assert_eq!(opened.body, OpenedBody::Damaged(told.clone()));

    // The list rots as well: it is computed again, which these bytes do not allow.
    flip(&cluster.volume_dir(), LIST_KIND, *shard.as_bytes(), 30);
    eventually("the damage is told", async || {
        ask(&mut auditor, shard, None).await == Commitments::Damaged(told.clone())
    })
    .await;
    // Whole again, it gets its list again.
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();
    assert_eq!(claimed(&mut auditor, shard, None).await.1, list_of(&content));
}

/// The attack: a bad list handed over with a repaired shard, so that its new holder fails every audit to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_somebody_else_is_taken_only_if_it_is_that_of_our_bytes() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let content = bytes(2 * BLOB_LEN + 3, 1);
    let shard = shard_of(&content);
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();
    let mut auditor = cluster.auditor(&node).await;
    let expected = expected(&cluster, &node, &content).await;
    let good = list_of(&content);

    let mut swapped = good.commitments().to_vec();
    swapped.swap(0, 1);
    let mut outside = good.commitments().to_vec();
    // (0, 2): on the curve, of order 3.
    outside[1].0 = [0; 48];
    outside[1].0[0] = 0x80;
    let foreign = list_of(&bytes(2 * BLOB_LEN + 3, 2)).commitments().to_vec();
    let short = good.commitments()[..2].to_vec();
    for (what, bad) in [("swapped", swapped), ("outside", outside), ("foreign", foreign), ("short", short)] {
        let bad = CommitmentList::new(bad).unwrap();
        let adopted = offer(&mut auditor, shard, &bad).await;
        assert_eq!(adopted.fault(&expected, &bad.digest()), None, "{what}: signed");
        assert!(matches!(&adopted.adoption, Adoption::Wrong { .. }), "{what}: {:?}", adopted.adoption);
        assert_eq!(node.tally().done, 0, "{what}");
    }

    let adopted = offer(&mut auditor, shard, &good).await;
    assert_eq!((adopted.fault(&expected, &good.digest()), &adopted.adoption), (None, &Adoption::Taken));
    assert_eq!(claimed(&mut auditor, shard, None).await.1, good);
    assert_eq!(node.tally(), Tally { done: 1, ..Tally::default() });

    // Whoever cannot read its own bytes cannot tell, and does not guess.
    flip(&cluster.volume_dir(), 0, *shard.as_bytes(), 7);
    assert_eq!(offer(&mut auditor, shard, &good).await.adoption, Adoption::Unreadable);
    assert_eq!(offer(&mut auditor, shard_of(b"absent"), &good).await.adoption, Adoption::Unreadable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_auditor_asks_opens_and_offers() {
    let cluster = Cluster::new().await;
    let node = committing(&cluster).await;
    let mut client = cluster.client(&node).await;
    let content = bytes(1_000, 1);
    cluster.put(&mut client, node.id(), &content).await.unwrap();
    let (shard, list) = (shard_of(&content), list_of(&content));
    let get = pb::GetCommitmentsRequest::from(GetCommitments { shard, witness: None });
    let denied = client.get_commitments(get).await.map_err(WireError::from);
    refused(denied, ErrorCode::Denied, "auditor");
    let asked =
        OpenWitness { shard, witness: WitnessId([1; 16]), digest: list.digest(), seed: WitnessSeed::new([1; 32]) };
    let denied = client.open_witness(pb::OpenWitnessRequest::from(&asked)).await.map_err(WireError::from);
    refused(denied, ErrorCode::Denied, "auditor");
    let put = pb::PutCommitmentsRequest::from(PutCommitments { shard, list: list.encode() });
    refused(client.put_commitments(put).await.map_err(WireError::from), ErrorCode::Denied, "auditor");
}

/// Puts and gets must not wait for what nobody waits for: while they are in flight, the committer steps aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_under_way_holds_the_committer_back_and_its_end_lets_it_go() {
    let cluster = Cluster::new().await;
    let node = committing(&cluster).await;
    let mut client = cluster.client(&node).await;
    // A put that is never finished: the header, and then nothing.
    let slow = bytes(BLOB_LEN, 9);
    let grant = cluster.grant(node.id(), Operation::Put, &slow).sign(&cluster.auditor_key);
    let header = PutPart::Header { grant: Box::new(grant), replace: false }.into();
    let (tell, told) = tokio::sync::mpsc::channel(1);
    tell.send(header).await.unwrap();
    let mut other = client.clone();
    let hanging = tokio::spawn(async move {
        let _ = other.put_shard(tokio_stream::wrappers::ReceiverStream::new(told)).await;
    });
    // So many blobs that an undisturbed committer has them done before the clock below.
    let content = bytes(30 * BLOB_LEN, 1);
    cluster.put(&mut client, node.id(), &content).await.unwrap();
    let began = std::time::Instant::now();
    // One blob a second at most, so that nothing can be done within the first few.
    while began.elapsed() < std::time::Duration::from_secs(2) {
        assert_eq!(node.tally().done, 0);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    drop(tell);
    hanging.await.unwrap();
    all_done(&node, 1).await;
}

/// Seconds of a processor that the node's committer took so far.
fn committer_seconds(node: &Running) -> f64 {
    // The kernel keeps 15 bytes of a thread's name.
    let name: String = format!("commit {}", node.id().short()).chars().take(15).collect();
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let read = |path: &std::path::Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
    let task = tasks.find(|task| read(task, "comm").trim_end() == name).expect("the committer's thread");
    let nanoseconds: u64 = read(&task, "schedstat").split(' ').next().unwrap().parse().unwrap();
    nanoseconds as f64 / 1e9
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_committer_takes_no_more_than_its_share() {
    let cluster = Cluster::new().await;
    // The table of multiples, some tenths of a second that are no blob's, is built by whoever commits first.
    Setup::ethereum().prepare();
    let share = 0.3;
    let node = cluster.start_with(|raw| raw.commitments = RawCommitments { cpu_share: share }).await;
    // More than it will get to.
    let content = bytes(200 * BLOB_LEN, 1);
    let (began, before) = (std::time::Instant::now(), committer_seconds(&node));
    cluster.put(&mut cluster.client(&node).await, node.id(), &content).await.unwrap();
    let worked = || committer_seconds(&node) - before;
    eventually("some blobs are committed to", async || worked() > 0.3).await;
    let (worked, took) = (worked(), began.elapsed().as_secs_f64());
    // The one in work is rested for afterwards.
    assert!(worked < share * took + 0.1, "{worked} s of {took} s is more than {share}");
}
