//! The volume's one writer: a thread that takes orders, applies all that have come, and commits them together.
//!
//! One fsync serves every put that arrived while the last one ran, so that throughput rises with load and a lone put
//! waits for nobody. Fences are compared here and nowhere else: between the comparison and the commit there is no
//! other writer.

mod record;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use holdfast_types::{Fence, Sequence, ShardId};
use holdfast_volume::{Key, Namespace, Reservation, Volume, VolumeError};
use holdfast_wire::{ErrorCode, WireError};
use tokio::sync::{Semaphore, oneshot};
use tracing::{debug, error, info, warn};

use crate::{
    NodeError,
    commitments::{Backlog, Ledger},
    content::{
        COMMON, META_FENCE, SHARD_KIND, commitments_key, fence_key, outboard_key, sequence, shard_key, unfenced,
    },
    refusal,
    waiting::{Reply, Waiting},
};

/// Orders that wait at most. Whoever comes on top waits at the semaphore, holding its own memory only.
const ORDERS_MAX: usize = 1024;
/// Orders in one commit at most, so that the first of them does not wait for all who come later.
const BATCH_MAX: usize = 256;
/// After this long without an order the thread looks for something to compact.
const IDLE: Duration = Duration::from_secs(2);
/// The same while a compaction is under way.
const IDLE_COMPACTING: Duration = Duration::from_millis(20);
/// A node that is never idle compacts a step this often all the same.
const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// Bytes moved in one step of compaction: what a put may have to wait for.
const COMPACT_BUDGET: u64 = 8 << 20;

/// A shard that is written and hashed, and only needs its commit.
pub(crate) struct Written {
    pub(crate) reservation: Reservation,
    /// Chaining values of its groups; empty when it has one group only.
    pub(crate) outboard: Vec<u8>,
    /// The repair's lease; zero for a client's put.
    pub(crate) fence: Fence,
}

enum Order {
    Reserve {
        namespace: Namespace,
        key: Key,
        len: u64,
        replaces: bool,
        fence: Fence,
        reply: Reply<Option<Reservation>>,
    },
    Store {
        written: Box<Written>,
        reply: Reply<Sequence>,
    },
    Delete {
        key: Key,
        fence: Fence,
        reply: Reply<bool>,
    },
    Record {
        namespace: Namespace,
        key: Key,
        bytes: Vec<u8>,
        fence: Fence,
        reply: Reply<()>,
    },
    List {
        shard: ShardId,
        bytes: Vec<u8>,
        reply: Reply<()>,
    },
    Meta {
        key: u8,
        value: Vec<u8>,
        reply: Reply<()>,
    },
}

/// Takes orders for the writer thread. Clones share it; the thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Writer {
    orders: Sender<Order>,
    places: Arc<Semaphore>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        volume: Volume,
        owner_quota: Option<u64>,
    ) -> Result<(Self, Backlog, JoinHandle<()>), NodeError> {
        let (orders, inbox) = channel();
        let seen = volume.meta(META_FENCE).and_then(|bytes| bytes.try_into().ok()).map(Fence::from_bytes);
        let ledger = Ledger::open(&volume.reader());
        let backlog = ledger.backlog();
        let owner = Owner {
            volume,
            owner_quota,
            seen: seen.unwrap_or_default(),
            ledger,
            waiting: Vec::new(),
            buried: BTreeSet::new(),
        };
        let thread = std::thread::Builder::new().name("volume".into()).spawn(move || owner.serve(&inbox));
        let thread = thread.map_err(|error| NodeError::Bug(format!("no thread for the volume: {error}")))?;
        Ok((Self { orders, places: Arc::new(Semaphore::new(ORDERS_MAX)) }, backlog, thread))
    }

    /// Space for a shard; `None` when another put made it durable meanwhile. `replaces`: a damaged copy may be there.
    pub(crate) async fn reserve(
        &self,
        namespace: Namespace,
        key: Key,
        len: u64,
        replaces: bool,
        fence: Fence,
    ) -> Result<Option<Reservation>, WireError> {
        self.order(|reply| Order::Reserve { namespace, key, len, replaces, fence, reply }).await
    }

    /// Makes a shard durable. If another put of the same shard was first, the answer is that one's.
    pub(crate) async fn store(&self, written: Written) -> Result<Sequence, WireError> {
        self.order(|reply| Order::Store { written: Box::new(written), reply }).await
    }

    /// Deletes a shard with what belongs to it, or a record. Says whether it was there.
    pub(crate) async fn delete(&self, key: Key, fence: Fence) -> Result<bool, WireError> {
        self.order(|reply| Order::Delete { key, fence, reply }).await
    }

    /// Keeps a record, in the place of an older one; a tombstone also in the place of manifest and envelope of its object.
    pub(crate) async fn record(
        &self,
        namespace: Namespace,
        key: Key,
        bytes: Vec<u8>,
        fence: Fence,
    ) -> Result<(), WireError> {
        self.order(|reply| Order::Record { namespace, key, bytes, fence, reply }).await
    }

    /// Keeps a shard's commitment list, if the shard is there.
    pub(crate) async fn list(&self, shard: ShardId, bytes: Vec<u8>) -> Result<(), WireError> {
        self.order(|reply| Order::List { shard, bytes, reply }).await
    }

    /// Keeps a small value beside the records.
    pub(crate) async fn meta(&self, key: u8, value: Vec<u8>) -> Result<(), WireError> {
        self.order(|reply| Order::Meta { key, value, reply }).await
    }

    async fn order<T>(&self, make: impl FnOnce(Reply<T>) -> Order) -> Result<T, WireError> {
        let gone = || WireError::new(ErrorCode::Retry, "the node is stopping; ask again, or ask another");
        let _place = self.places.acquire().await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        self.orders.send(make(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

struct Owner {
    volume: Volume,
    /// Bytes that a namespace of an owner may hold.
    owner_quota: Option<u64>,
    /// Highest fence seen; durable with the batch that raised it.
    seen: Fence,
    ledger: Ledger,
    waiting: Vec<Waiting>,
    /// Objects whose tombstones are in the batch that is gathered.
    buried: BTreeSet<[u8; 32]>,
}

impl Owner {
    fn serve(mut self, inbox: &Receiver<Order>) {
        let (mut idle, mut compacted) = (IDLE, Instant::now());
        loop {
            match inbox.recv_timeout(idle) {
                Ok(first) => {
                    self.apply(first);
                    inbox.try_iter().take(BATCH_MAX - 1).for_each(|order| self.apply(order));
                    self.commit();
                    if compacted.elapsed() < COMPACT_EVERY {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return debug!("volume closed"),
            }
            idle = if self.compact() { IDLE_COMPACTING } else { IDLE };
            compacted = Instant::now();
        }
    }

    fn apply(&mut self, order: Order) {
        match order {
            Order::Reserve { namespace, key, len, replaces, fence, reply } => {
                let _ = reply.send(self.reserve(namespace, key, len, replaces, fence));
            }
            Order::Store { written, reply } => {
                let key = written.reservation.key();
                match self.store(*written) {
                    Ok(None) => self.waiting.push(Waiting::Stored { key, reply }),
                    Ok(Some(sequence)) => drop(reply.send(Ok(sequence))),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Order::Delete { key, fence, reply } => match self.delete(key, fence) {
                Ok(existed) => self.waiting.push(Waiting::Deleted { existed, reply }),
                Err(error) => drop(reply.send(Err(error))),
            },
            Order::Record { namespace, key, bytes, fence, reply } => {
                let kept = self.record(namespace, key, &bytes, fence);
                self.promise(kept, reply);
            }
            Order::List { shard, bytes, reply } => {
                let kept = self.list(shard, &bytes).map_err(|error| refusal::of_volume(&error));
                self.promise(kept, reply);
            }
            Order::Meta { key, value, reply } => {
                let kept = self.volume.set_meta(key, &value).map_err(|error| refusal::of_volume(&error));
                self.promise(kept, reply);
            }
        }
    }

    fn promise(&mut self, kept: Result<(), WireError>, reply: Reply<()>) {
        match kept {
            Ok(()) => self.waiting.push(Waiting::Done { reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn reserve(
        &mut self,
        namespace: Namespace,
        key: Key,
        len: u64,
        replaces: bool,
        fence: Fence,
    ) -> Result<Option<Reservation>, WireError> {
        if fence != Fence::default() {
            self.admit(fence, fence_key(key.id))?;
        }
        self.keep_quota(namespace).map_err(|error| refusal::of_volume(&error))?;
        if replaces {
            let reserved = self.volume.reserve_replacement(namespace, key, len);
            return reserved.map(Some).map_err(|error| refusal::of_volume(&error));
        }
        let mut reserved = self.volume.reserve(namespace, key, len);
        if let Err(VolumeError::Pending { .. }) = reserved {
            // Sealed in this very batch: after its commit it is there or it is not.
            self.commit();
            reserved = self.volume.reserve(namespace, key, len);
        }
        match reserved {
            Ok(reservation) => Ok(Some(reservation)),
            Err(VolumeError::Exists { .. }) => Ok(None),
            Err(error) => Err(refusal::of_volume(&error)),
        }
    }

    /// The volume holds an owner to what the configuration says now; it is told when it does not know yet.
    fn keep_quota(&mut self, namespace: Namespace) -> Result<(), VolumeError> {
        if self.volume.reader().usage(&namespace).quota == self.owner_quota {
            return Ok(());
        }
        self.volume.set_quota(namespace, self.owner_quota)?;
        self.commit();
        Ok(())
    }

    /// `Some` when the shard is durable already by another put.
    fn store(&mut self, written: Written) -> Result<Option<Sequence>, WireError> {
        let Written { reservation, outboard, fence } = written;
        let key = reservation.key();
        let repairs = fence != Fence::default();
        if repairs {
            // Again: a newer lease may have come while the bytes did.
            self.admit(fence, fence_key(key.id))?;
        }
        let (len, there) = (reservation.len(), self.volume.contains(&key));
        match self.volume.seal(reservation) {
            Ok(()) => self.ledger.stored(key, len, there),
            // The other put had the same root: it stored the same bytes.
            Err(VolumeError::Exists { .. }) => {
                return Ok(self.volume.reader().stat(&key).map(|entry| sequence(entry.sequence)));
            }
            Err(VolumeError::Pending { .. }) => return Ok(None),
            Err(error) => return Err(refusal::of_volume(&error)),
        }
        if !outboard.is_empty()
            && let Err(error) = self.replace(COMMON, outboard_key(key.id), &outboard)
        {
            // The shard stands without it: it is computed again when it is needed.
            warn!(%key, %error, "outboard not kept");
        }
        if repairs {
            let kept = self.replace(COMMON, fence_key(key.id), &fence.to_bytes()).and_then(|()| self.raise(fence));
            kept.map_err(|error| refusal::of_volume(&error))?;
        }
        Ok(None)
    }

    fn delete(&mut self, key: Key, fence: Fence) -> Result<bool, WireError> {
        let guard = if key.kind == SHARD_KIND { fence_key(key.id) } else { key };
        self.admit(fence, guard)?;
        let removed = if key.kind == SHARD_KIND { self.remove_shard(&key) } else { self.remove(&key) };
        removed.and_then(|existed| self.raise(fence).map(|()| existed)).map_err(|error| refusal::of_volume(&error))
    }

    /// Removes a shard with what belongs to it.
    fn remove_shard(&mut self, key: &Key) -> Result<bool, VolumeError> {
        let len = self.volume.reader().stat(key).map(|entry| entry.len);
        let existed = self.remove(key)?;
        for companion in [outboard_key(key.id), fence_key(key.id)] {
            self.remove(&companion)?;
        }
        let had_list = self.remove(&commitments_key(key.id))?;
        if existed {
            self.ledger.deleted(*key, len, had_list);
        }
        Ok(existed)
    }

    /// A list outlives no shard: it is refused when the shard is gone, or goes with this batch.
    fn list(&mut self, shard: ShardId, bytes: &[u8]) -> Result<(), VolumeError> {
        let (key, list) = (shard_key(&shard), commitments_key(*shard.as_bytes()));
        if self.ledger.is_touched(&key) {
            self.commit();
        }
        let len = self.volume.reader().stat(&key).ok_or(VolumeError::NotFound { key })?.len;
        let there = self.volume.contains(&list);
        self.replace(COMMON, list, bytes).map(|()| self.ledger.listed(key, len, there))
    }

    fn remove(&mut self, key: &Key) -> Result<bool, VolumeError> {
        match self.volume.delete(key) {
            Ok(()) => Ok(true),
            Err(VolumeError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Refuses a fence of an earlier epoch than any seen, or below the one that `guard` was last written under.
    /// Leases of one epoch on different segments run side by side, so that counters are compared by content only.
    fn admit(&self, fence: Fence, guard: Key) -> Result<(), WireError> {
        if fence.epoch < self.seen.epoch {
            return Err(refusal::of_fence(self.seen, fence));
        }
        let len = self.volume.reader().stat(&guard).map_or(0, |entry| entry.len).min(Fence::LEN as u64);
        let stored = if len == 0 { None } else { self.volume.read(&guard, 0..len).ok() };
        let stored = stored.filter(|read| read.damaged.is_empty());
        match stored.as_ref().and_then(|read| unfenced(&read.bytes)) {
            Some((last, _)) if fence < last => Err(refusal::of_fence(last, fence)),
            Some(_) | None => Ok(()),
        }
    }

    fn raise(&mut self, fence: Fence) -> Result<(), VolumeError> {
        if fence > self.seen {
            self.volume.set_meta(META_FENCE, &fence.to_bytes())?;
            self.seen = fence;
        }
        Ok(())
    }

    fn commit(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.buried.clear();
        let committed = match self.volume.commit() {
            Ok(committed) => committed,
            Err(error) => {
                error!(%error, orders = waiting.len(), "commit failed: nothing of it is acknowledged");
                let refusal = refusal::of_volume(&error);
                return waiting.into_iter().for_each(|waiting| waiting.refuse(&refusal));
            }
        };
        self.ledger.settle(&self.volume.reader());
        let sequences = committed.iter().map(|record| (record.key, sequence(record.sequence))).collect();
        waiting.into_iter().for_each(|waiting| waiting.tell(&sequences, &self.volume.reader()));
    }

    /// One step. Says whether another has something to do.
    fn compact(&mut self) -> bool {
        match self.volume.compact(COMPACT_BUDGET) {
            Ok(step) if step.records > 0 || step.more => {
                info!(records = step.records, bytes = step.bytes, more = step.more, "compacted");
                self.commit();
                step.more
            }
            Ok(_) => false,
            // Logged where it happened: at the commit that stopped the volume.
            Err(VolumeError::ReadOnly { .. }) => false,
            Err(error) => {
                warn!(%error, "compaction postponed");
                false
            }
        }
    }
}
