//! Carries out a repair: verify k sources, decode strip by strip, stream what was lost to its new
//! nodes. Decides nothing; memory is O((k + m) × 1 MiB).
//!
//! Sources are read twice. The first reading finds the CID and notes a digest of every strip; the
//! second decodes only strips with that digest. So no byte is decoded before it was verified against
//! its CID, a liar cannot poison a repair, and no segment is held in memory. A source that gives other
//! bytes the second time, or none, is left out, and another takes its place: one node alone ends no
//! repair.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use holdfast_client::link::{LinkError, Links, NodeLink, ShardPart, ShardReader};
use holdfast_dispersal::{
    Geometry, Masks, Rebuilder, RebuiltStrip, RecoveryKey, RecoveryWrap, STRIP_LEN, SegmentBinding, Target as Wanted,
};
use holdfast_protocol::{
    effect::{RecoverJob, RecoverOutcome, Source, Target, read_within},
    grants,
    message::Receipt,
};
use holdfast_types::{ByteRange, NodeId, SecretKey, ShardIndex};
use merkle_cid::Root;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::clock;

/// Sources verified at once.
const VERIFYING: usize = 4;

/// What a repair needs besides its job.
pub(crate) struct Means<'a> {
    pub(crate) links: &'a Links,
    pub(crate) addresses: &'a (dyn Fn(NodeId) -> Option<Vec<String>> + Sync),
    pub(crate) key: &'a SecretKey,
    pub(crate) recovery: &'a RecoveryKey,
    pub(crate) patience: Duration,
}

/// A source whose bytes have their CID, and the digest of each of its strips.
struct Verified {
    source: Source,
    link: NodeLink,
    strips: Vec<[u8; 32]>,
}

enum SourceFault {
    Bad,
    Silent,
}

impl SourceFault {
    fn note(self, index: ShardIndex, outcome: &mut RecoverOutcome) {
        match self {
            SourceFault::Bad => outcome.bad_sources.push(index),
            SourceFault::Silent => outcome.silent_sources.push(index),
        }
    }
}

/// Why a rebuilding came to no end.
enum Stopped {
    /// One source's second reading failed.
    Source(ShardIndex, SourceFault),
    /// Our own trouble, or a segment that was never what its root says.
    Ours(String),
}

/// Does one job.
pub(crate) async fn recover(job: &RecoverJob, means: &Means<'_>) -> RecoverOutcome {
    let mut outcome = RecoverOutcome {
        placed: Vec::new(),
        bad_sources: Vec::new(),
        silent_sources: Vec::new(),
        failed_targets: Vec::new(),
        reason: String::new(),
    };
    if let Err(reason) = attempt(job, means, &mut outcome).await {
        outcome.reason = reason;
    }
    outcome
}

async fn attempt(job: &RecoverJob, means: &Means<'_>, outcome: &mut RecoverOutcome) -> Result<(), String> {
    let geometry = Geometry::new(job.code, job.len).map_err(|error| error.to_string())?;
    let binding = SegmentBinding { owner: job.owner, root: job.root, code: job.code };
    let wrap = RecoveryWrap::from_bytes(&job.secret).ok_or("the wrapped placement secret has no valid form")?;
    let secret = means.recovery.unwrap(&binding, &wrap).map_err(|error| error.to_string())?;
    let masks = Masks::new(secret, job.root, job.code);
    let mut left: VecDeque<&Source> = job.sources.iter().collect();
    let mut verified = Vec::new();
    // Each turn that does not end it leaves a source out.
    loop {
        verify_sources(job, means, &mut left, &mut verified, outcome).await;
        let (found, needed) = (verified.len(), usize::from(job.code.data()));
        if found < needed {
            return Err(format!("found {found} verified sources, needed {needed}"));
        }
        let hangs = |target: &&Target| outcome.failed_targets.iter().any(|(index, _)| *index == target.index);
        let targets: Vec<&Target> = job.targets.iter().filter(|target| !hangs(target)).collect();
        if targets.is_empty() {
            return Ok(());
        }
        let indices: Vec<ShardIndex> = verified.iter().map(|verified| verified.source.index).collect();
        let wanted: Vec<Wanted> =
            targets.iter().map(|target| Wanted { index: target.index, id: target.shard }).collect();
        let rebuilder = Rebuilder::new(geometry, masks.clone(), &indices, &wanted, None);
        let rebuilder = rebuilder.map_err(|error| error.to_string())?;
        let writers = targets.into_iter().map(|target| write(job, target, means)).collect();
        match rebuild(job, means, rebuilder, &verified, writers, outcome).await {
            Ok(()) => return Ok(()),
            Err(Stopped::Ours(reason)) => return Err(reason),
            Err(Stopped::Source(index, fault)) => {
                fault.note(index, outcome);
                verified.retain(|verified: &Verified| verified.source.index != index);
            }
        }
    }
}

/// Adds sources that verify, in the job's order of preference, until there are k.
async fn verify_sources(
    job: &RecoverJob,
    means: &Means<'_>,
    left: &mut VecDeque<&Source>,
    verified: &mut Vec<Verified>,
    outcome: &mut RecoverOutcome,
) {
    let needed = usize::from(job.code.data());
    while verified.len() < needed && !left.is_empty() {
        let missing = needed - verified.len();
        let batch = left.drain(..missing.min(left.len()));
        let reads: Vec<BoxFuture<'_, _>> = batch.map(|source| verify_source(job, source, means).boxed()).collect();
        let mut checked = stream::iter(reads).buffered(VERIFYING);
        while let Some((index, result)) = checked.next().await {
            match result {
                Ok(source) => verified.push(source),
                Err(fault) => fault.note(index, outcome),
            }
        }
    }
}

async fn verify_source(
    job: &RecoverJob,
    source: &Source,
    means: &Means<'_>,
) -> (ShardIndex, Result<Verified, SourceFault>) {
    (source.index, read_through(job, source, means).await)
}

async fn read_through(job: &RecoverJob, source: &Source, means: &Means<'_>) -> Result<Verified, SourceFault> {
    let (link, mut reader) = open(job, source, means).await.map_err(|error| fault(&error))?;
    let mut whole = merkle_cid::Builder::new();
    let mut strips = Vec::new();
    let mut buffer = BytesMut::new();
    let mut at = 0;
    while at < job.shard_len {
        let len = (job.shard_len - at).min(STRIP_LEN as u64);
        let strip = next_strip(&mut reader, &mut buffer, len).await?;
        whole.update(&strip);
        strips.push(Root::of(&strip).0);
        at += len;
    }
    if whole.finish().0 != source.shard.0 {
        return Err(SourceFault::Bad);
    }
    Ok(Verified { source: source.clone(), link, strips })
}

async fn open(job: &RecoverJob, source: &Source, means: &Means<'_>) -> Result<(NodeLink, ShardReader), LinkError> {
    let unknown = || LinkError::Unreachable { node: source.node, why: "it has left the table of nodes".into() };
    let addresses = (means.addresses)(source.node).ok_or_else(unknown)?;
    let link = means.links.to(source.node, &addresses)?;
    let reader = reader(job, source, &link, means).await?;
    Ok((link, reader))
}

async fn reader(
    job: &RecoverJob,
    source: &Source,
    link: &NodeLink,
    means: &Means<'_>,
) -> Result<ShardReader, LinkError> {
    let grant = grants::recover_get(job, source, clock::wall(), means.key);
    let whole = ByteRange::first(job.shard_len);
    let reader = link.get(source.shard, job.shard_len, whole, Some(grant), means.patience).await?;
    Ok(reader.within(clock::duration(read_within(job.shard_len))))
}

/// Says of itself that it does not have it, or sends what is none: bad. Says nothing: silent.
fn fault(error: &LinkError) -> SourceFault {
    match error {
        LinkError::Malformed { .. } => SourceFault::Bad,
        LinkError::Said { .. } if error.is_not_found() => SourceFault::Bad,
        LinkError::Said { .. } | LinkError::Unreachable { .. } | LinkError::Timeout { .. } => SourceFault::Silent,
    }
}

async fn next_strip(reader: &mut ShardReader, buffer: &mut BytesMut, len: u64) -> Result<Bytes, SourceFault> {
    while (buffer.len() as u64) < len {
        match reader.next().await.map_err(|error| fault(&error))? {
            Some(ShardPart::Bytes(_, bytes)) => buffer.extend_from_slice(&bytes),
            Some(ShardPart::Damaged(_)) | None => return Err(SourceFault::Bad),
        }
    }
    Ok(buffer.split_to(len as usize).freeze())
}

/// A target being written to.
struct Writer {
    index: ShardIndex,
    node: NodeId,
    strips: mpsc::Sender<Bytes>,
    put: JoinHandle<Result<Receipt, LinkError>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A put whose repair is over, or that nobody waits for any more, must not go on by itself.
        self.put.abort();
    }
}

fn write(job: &RecoverJob, target: &Target, means: &Means<'_>) -> Writer {
    let (strips, waiting) = mpsc::channel(1);
    let grant = grants::recover_put(job, target, clock::wall(), means.key);
    let node = target.node;
    let link = (means.addresses)(node)
        .ok_or_else(|| LinkError::Unreachable { node, why: "it has left the table of nodes".into() })
        .and_then(|addresses| means.links.to(node, &addresses));
    let in_place = target.in_place;
    let put = tokio::spawn(async move { link?.put(&grant, in_place, ReceiverStream::new(waiting)).await });
    Writer { index: target.index, node, strips, put }
}

async fn rebuild(
    job: &RecoverJob,
    means: &Means<'_>,
    mut rebuilder: Rebuilder,
    verified: &[Verified],
    mut writers: Vec<Writer>,
    outcome: &mut RecoverOutcome,
) -> Result<(), Stopped> {
    let mut sources = Vec::with_capacity(verified.len());
    for source in verified {
        let reader = reader(job, &source.source, &source.link, means).await;
        let reader = reader.map_err(|error| Stopped::Source(source.source.index, fault(&error)))?;
        sources.push((source, reader, BytesMut::new()));
    }
    // The last strip of each target is held back until the whole is proven: a node keeps nothing of a put that does
    // not come to its end.
    let mut held: Vec<RebuiltStrip> = Vec::new();
    let mut number = 0;
    while let Some(range) = rebuilder.next_strip() {
        send(&mut writers, std::mem::take(&mut held), means.patience, outcome).await;
        let mut strips = Vec::with_capacity(sources.len());
        for (source, reader, buffer) in &mut sources {
            let index = source.source.index;
            let strip = next_strip(reader, buffer, range.len()).await;
            let strip = strip.map_err(|fault| Stopped::Source(index, fault))?;
            if source.strips.get(number) != Some(&Root::of(&strip).0) {
                return Err(Stopped::Source(index, SourceFault::Bad));
            }
            strips.push(strip.to_vec());
        }
        number += 1;
        let (back, rebuilt) = tokio::task::spawn_blocking(move || {
            let rebuilt = rebuilder.absorb(&mut strips);
            (rebuilder, rebuilt)
        })
        .await
        .map_err(|error| Stopped::Ours(error.to_string()))?;
        rebuilder = back;
        held = rebuilt.map_err(|error| Stopped::Ours(error.to_string()))?;
    }
    rebuilder.finish().map_err(|error| Stopped::Ours(error.to_string()))?;
    send(&mut writers, held, means.patience, outcome).await;
    for mut writer in writers {
        // Nothing more comes: the node may answer.
        writer.strips = mpsc::channel(1).0;
        match timeout(means.patience, &mut writer.put).await {
            Ok(Ok(Ok(receipt))) => outcome.placed.push((writer.index, receipt)),
            Ok(Ok(Err(error))) => outcome.failed_targets.push((writer.index, error.to_string())),
            Ok(Err(error)) => outcome.failed_targets.push((writer.index, error.to_string())),
            Err(_) => outcome.failed_targets.push((writer.index, hung(&writer, means.patience))),
        }
    }
    Ok(())
}

fn hung(writer: &Writer, patience: Duration) -> String {
    format!("node {} took nothing for {} s in the middle of a put", writer.node, patience.as_secs())
}

/// A target that takes nothing any more fails by itself: the others' shards must not wait for it.
async fn send(writers: &mut Vec<Writer>, strips: Vec<RebuiltStrip>, patience: Duration, outcome: &mut RecoverOutcome) {
    for strip in strips {
        let Some(at) = writers.iter().position(|writer| writer.index == strip.index) else { continue };
        // Closed when the put failed, which its own result tells.
        if timeout(patience, writers[at].strips.send(Bytes::from(strip.bytes))).await.is_err() {
            let writer = writers.swap_remove(at);
            outcome.failed_targets.push((writer.index, hung(&writer, patience)));
        }
    }
}
