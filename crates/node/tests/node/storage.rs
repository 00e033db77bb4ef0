//! Shards and records in and out.

use holdfast_protocol::{grants, message::RecordKind};
use holdfast_types::{BLOB_LEN, ByteRange, Fence, Operation, Sequence};
use holdfast_wire::{
    ErrorCode, WireError,
    convert::{GetRecord, ListRecords, PutPart, PutRecord, Statement},
    pb::node::v1 as pb,
};

use crate::cluster::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_comes_back_bit_for_bit_and_its_receipt_holds() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    let said = auditor.stat(pb::StatRequest {}).await.unwrap().into_inner();
    let key = Statement::try_from(said).unwrap().key;

    let mut sequences = Vec::new();
    let blob = BLOB_LEN as usize;
    for (salt, len) in [1, 1023, 1024, 16 << 10, (16 << 10) + 1, blob, blob + 1, 10 * blob + 7].into_iter().enumerate()
    {
        let content = bytes(len, salt as u8);
        let receipt = cluster.put(&mut client, node.id(), &content).await.unwrap();
        assert!(receipt.is_signed_by(&key));
        assert_eq!((receipt.owner, receipt.shard, receipt.len), (cluster.owner(), shard_of(&content), len as u64));
        sequences.push((receipt.sequence, receipt.shard, receipt.len));

        let got = get(&mut client, shard_of(&content), None).await.unwrap();
        assert_eq!((got.len, got.whole()), (len as u64, content.clone()));
        let part = ByteRange::new(len as u64 / 3, len as u64 / 2 + 1).unwrap();
        let got = get(&mut client, shard_of(&content), Some(part)).await.unwrap();
        assert_eq!(got.pieces[0].0, part.start());
        assert_eq!(got.whole(), content[part.start() as usize..part.end() as usize]);
    }
    let listed: Vec<_> =
        list(&mut auditor).await.iter().map(|entry| (entry.sequence, entry.shard, entry.len)).collect();
    assert_eq!(listed, sequences, "the list says what the receipts said, in order");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_put_again_answers_the_same_receipt() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut client = cluster.client(&node).await;
    let content = bytes(3_000_000, 1);
    let first = cluster.put(&mut client, node.id(), &content).await.unwrap();
    assert_eq!(cluster.put(&mut client, node.id(), &content).await.unwrap(), first);
    // And several at once agree, whoever of them is first.
    let other = bytes(2_000_000, 2);
    let puts = (0..6).map(|_| {
        let (mut client, cluster, other, id) = (client.clone(), &cluster, &other, node.id());
        async move { cluster.put(&mut client, id, other).await.unwrap() }
    });
    let receipts = join_all(puts).await;
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    assert_eq!(list(&mut cluster.auditor(&node).await).await.len(), 2);
}

async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, done) in &mut waiting {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_puts_at_once_are_all_durable_under_numbers_of_their_own() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let client = cluster.client(&node).await;
    let puts = (0..60u8).map(|salt| {
        let (mut client, cluster, id) = (client.clone(), &cluster, node.id());
        async move { cluster.put(&mut client, id, &bytes(5_000, salt)).await.unwrap() }
    });
    let mut acknowledged: Vec<_> =
        join_all(puts).await.iter().map(|receipt| (receipt.sequence, receipt.shard)).collect();
    acknowledged.sort_unstable();
    acknowledged.dedup_by_key(|(sequence, _)| *sequence);
    assert_eq!(acknowledged.len(), 60);
    node.stop().await.unwrap();

    let node = cluster.start().await;
    let listed = list(&mut cluster.auditor(&node).await).await;
    let listed: Vec<(Sequence, _)> = listed.iter().map(|entry| (entry.sequence, entry.shard)).collect();
    assert_eq!(listed, acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_what_the_grant_names_are_refused_and_leave_nothing() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let (mut client, mut auditor) = (cluster.client(&node).await, cluster.auditor(&node).await);
    let content = bytes(400_000, 1);
    let grant = cluster.grant(node.id(), Operation::Put, &content).sign(&cluster.auditor_key);

    let mut wrong = content.clone();
    wrong[399_999] ^= 1;
    refused(put(&mut client, &grant, false, &wrong).await, ErrorCode::Corrupt, "as granted");
    refused(put(&mut client, &grant, false, &content[..399_999]).await, ErrorCode::Invalid, "got 399999 and the end");
    let longer = [content.as_slice(), &[0]].concat();
    assert!(put(&mut client, &grant, false, &longer).await.is_err());
    refused(put_messages(&mut client, vec![]).await, ErrorCode::Invalid, "a header first");
    let headless = PutPart::Chunk(content[..1000].to_vec().into()).into();
    refused(put_messages(&mut client, vec![headless]).await, ErrorCode::Invalid, "a header first");

    assert_eq!(list(&mut auditor).await, []);
    refused(get(&mut client, shard_of(&content), None).await, ErrorCode::NotFound, "ask the auditor");
    assert!(put(&mut client, &grant, false, &content).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_has_its_quota_and_no_more_and_others_have_theirs() {
    let cluster = Cluster::new().await;
    let limited = |quota: Option<&str>| {
        let quota = quota.map(|text| holdfast_node::config::Size::Text(text.into()));
        cluster.start_with(|raw| raw.owner_quota = quota)
    };
    let node = limited(Some("1MiB")).await;
    let mut client = cluster.client(&node).await;
    let contents: Vec<Vec<u8>> = (0..3).map(|salt| bytes(500_000, salt)).collect();
    for content in &contents[..2] {
        cluster.put(&mut client, node.id(), content).await.unwrap();
    }
    refused(cluster.put(&mut client, node.id(), &contents[2]).await, ErrorCode::Exhausted, "raise the quota");
    // Somebody else's bytes do not count against it, nor its against theirs.
    let other = holdfast_types::SecretKey::from_seed(&[77; 32]).public().owner_id();
    let mut theirs = cluster.caller(&holdfast_transport::Subject::Client(other), &node).await;
    let grant = cluster.grant(node.id(), Operation::Put, &contents[2]);
    let grant = holdfast_types::Grant { owner: other, ..grant }.sign(&cluster.auditor_key);
    put(&mut theirs, &grant, false, &contents[2]).await.unwrap();
    // What is deleted counts no more.
    let mut auditor = cluster.auditor(&node).await;
    let removal = cluster.grant(node.id(), Operation::Delete, &contents[0]).sign(&cluster.auditor_key);
    assert!(delete(&mut auditor, &removal).await.unwrap());
    let fourth = bytes(400_000, 9);
    cluster.put(&mut client, node.id(), &fourth).await.unwrap();
    node.stop().await.unwrap();

    // The configuration is the last word, in both directions.
    let node = limited(None).await;
    let mut client = cluster.client(&node).await;
    cluster.put(&mut client, node.id(), &bytes(600_000, 10)).await.unwrap();
    node.stop().await.unwrap();
    let node = limited(Some("1MiB")).await;
    let mut client = cluster.client(&node).await;
    refused(cluster.put(&mut client, node.id(), &bytes(10, 11)).await, ErrorCode::Exhausted, "raise the quota");
    assert_eq!(get(&mut client, shard_of(&fourth), None).await.unwrap().whole(), fourth, "what is there stays");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_is_cut_off_gives_its_space_back() {
    let cluster = Cluster::new().await;
    let content = bytes(1 << 20, 1);
    // Room for one such shard, not for two.
    let node = cluster.start_with(|raw| raw.capacity = holdfast_node::config::Size::Bytes(3 << 19)).await;
    let mut client = cluster.client(&node).await;
    let grant = cluster.grant(node.id(), Operation::Put, &content).sign(&cluster.auditor_key);

    let other = cluster.client(&node).await;
    let begin = async || {
        let (send, messages) = tokio::sync::mpsc::channel(4);
        let mut other = other.clone();
        let stream = tokio_stream::wrappers::ReceiverStream::new(messages);
        send.send(PutPart::Header { grant: Box::new(grant), replace: false }.into()).await.unwrap();
        send.send(PutPart::Chunk(content[..500_000].to_vec().into()).into()).await.unwrap();
        (send, tokio::spawn(async move { other.put_shard(stream).await }))
    };
    let (mut send, mut half) = begin().await;
    let second = bytes(1 << 20, 2);
    let header = || {
        let grant = Box::new(cluster.grant(node.id(), Operation::Put, &second).sign(&cluster.auditor_key));
        PutPart::Header { grant, replace: false }.into()
    };
    eventually("the half put holds the space", async || {
        // Without a chunk, so that it takes nothing for long when it comes first; then the half one was refused.
        let refused = put_messages(&mut client, vec![header()]).await.unwrap_err().code == ErrorCode::Exhausted;
        if half.is_finished() {
            (send, half) = begin().await;
        }
        refused
    })
    .await;
    half.abort();
    drop(send);
    eventually("the space is free again", async || cluster.put(&mut client, node.id(), &second).await.is_ok()).await;
    refused(get(&mut client, shard_of(&content), None).await, ErrorCode::NotFound, "no shard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_kept_listed_replaced_and_fenced() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    let fence = |epoch, counter| Fence { epoch, counter };
    let record = |key: u8, word: &str, fence| PutRecord {
        kind: RecordKind::Descriptor,
        key: [key; 32],
        bytes: word.as_bytes().to_vec(),
        fence,
    };
    for key in [3, 1, 2] {
        auditor.put_record(pb::PutRecordRequest::from(&record(key, "first", fence(1, 1)))).await.unwrap();
    }
    // The largest there may be.
    let large = PutRecord { kind: RecordKind::Manifest, key: [9; 32], bytes: vec![7; 64 << 10], fence: fence(1, 1) };
    auditor.put_record(pb::PutRecordRequest::from(&large)).await.unwrap();
    auditor.put_record(pb::PutRecordRequest::from(&record(2, "second", fence(1, 5)))).await.unwrap();

    let get = |key| pb::GetRecordRequest::from(GetRecord { kind: RecordKind::Descriptor, key: [key; 32] });
    assert_eq!(auditor.get_record(get(2)).await.unwrap().into_inner().bytes, b"second");
    let whole = GetRecord { kind: RecordKind::Manifest, key: [9; 32] };
    assert_eq!(auditor.get_record(pb::GetRecordRequest::from(whole)).await.unwrap().into_inner().bytes, large.bytes);
    assert_eq!(WireError::from(auditor.get_record(get(8)).await.unwrap_err()).code, ErrorCode::NotFound);

    let list = |after, limit| pb::ListRecordsRequest::from(ListRecords { kind: RecordKind::Descriptor, after, limit });
    let keys = auditor.list_records(list(None, 2)).await.unwrap().into_inner().keys;
    assert_eq!(keys, [vec![1; 32], vec![2; 32]]);
    let keys = auditor.list_records(list(Some([2; 32]), 2)).await.unwrap().into_inner().keys;
    assert_eq!(keys, [vec![3; 32]]);

    // A writer whose lease is older than the record's is refused; on another record it may still write.
    let stale = auditor.put_record(pb::PutRecordRequest::from(&record(2, "stale", fence(1, 4)))).await;
    refused(stale.map_err(WireError::from), ErrorCode::Denied, "1.5");
    auditor.put_record(pb::PutRecordRequest::from(&record(1, "other", fence(1, 4)))).await.unwrap();
    // A writer of an earlier life of the catalog is refused everywhere, also after a restart.
    auditor.put_record(pb::PutRecordRequest::from(&record(4, "new life", fence(2, 0)))).await.unwrap();
    node.stop().await.unwrap();
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    let stale = auditor.put_record(pb::PutRecordRequest::from(&record(5, "old life", fence(1, 99)))).await;
    refused(stale.map_err(WireError::from), ErrorCode::Denied, "2.0");
    let said = auditor.stat(pb::StatRequest {}).await.unwrap().into_inner();
    assert_eq!(Statement::try_from(said).unwrap().stat.fence, fence(2, 0));
    assert_eq!(auditor.get_record(get(2)).await.unwrap().into_inner().bytes, b"second");
}

/// Keeps no record of the object but the tombstone and the page, and takes none.
async fn assert_buried(auditor: &mut Client, fence: Fence) {
    for kind in [RecordKind::Manifest, RecordKind::Envelope] {
        let gone = auditor.get_record(pb::GetRecordRequest::from(GetRecord { kind, key: [7; 32] })).await;
        assert_eq!(WireError::from(gone.unwrap_err()).code, ErrorCode::NotFound);
        let late = PutRecord { kind, key: [7; 32], bytes: b"late".to_vec(), fence };
        let late = auditor.put_record(pb::PutRecordRequest::from(&late)).await;
        refused(late.map_err(WireError::from), ErrorCode::Conflict, "tombstone");
    }
    for kind in [RecordKind::Page, RecordKind::Tombstone] {
        let kept = auditor.get_record(pb::GetRecordRequest::from(GetRecord { kind, key: [7; 32] })).await.unwrap();
        assert_eq!(kept.into_inner().bytes, format!("{kind:?}").into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_takes_the_place_of_what_it_buries_and_keeps_it_out() {
    let cluster = Cluster::new().await;
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    let fence = Fence { epoch: 1, counter: 1 };
    let put = |kind| {
        let bytes = format!("{kind:?}").into_bytes();
        pb::PutRecordRequest::from(&PutRecord { kind, key: [7; 32], bytes, fence })
    };
    for kind in [RecordKind::Manifest, RecordKind::Envelope, RecordKind::Page, RecordKind::Tombstone] {
        auditor.put_record(put(kind)).await.unwrap();
    }
    assert_buried(&mut auditor, fence).await;
    // For good: after a restart as before.
    node.stop().await.unwrap();
    let node = cluster.start().await;
    let mut auditor = cluster.auditor(&node).await;
    assert_buried(&mut auditor, fence).await;
    // The burial is over, and the object may come again.
    let grant = grants::delete_record(node.id(), RecordKind::Tombstone, [7; 32], fence, now(), &cluster.auditor_key);
    assert!(delete(&mut auditor, &grant).await.unwrap());
    auditor.put_record(put(RecordKind::Envelope)).await.unwrap();
}
