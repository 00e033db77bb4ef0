//! The driver of the get machine: the shards of one part, as many as it takes.

use std::collections::BTreeMap;

use holdfast_dispersal::{ReadPlan, SegmentRead};
use holdfast_protocol::{
    effect::Token,
    get::{Candidate, Effect, Event, Met, Mode, Patience, SegmentGet, Trouble},
};
use holdfast_types::{ByteRange, ShardIndex};
use holdfast_wire::convert::ShardLocation;
use tokio::task::{AbortHandle, JoinSet};

use super::{MetShard, buffers::Buffers, fetch::fetch, places::Part};
use crate::{ClientError, Links, clock::Clock};

/// Bytes of one shard, unmasked, from `start` of it on.
struct Came {
    shard: ShardIndex,
    start: u64,
    bytes: Vec<u8>,
}

/// The bytes of a part, ready to be put together.
pub(super) struct Fetched {
    pub(super) part: Part,
    pub(super) mode: Mode,
    pub(super) met: Vec<MetShard>,
    /// Bytes that came, used or not.
    pub(super) bytes: u64,
    plan: ReadPlan,
    came: Vec<Came>,
    buffers: Buffers,
}

impl Fetched {
    /// Whether it is decoded.
    pub(super) fn is_reconstructed(&self) -> bool {
        !self.plan.missing().is_empty()
    }

    /// Shards that it is made of.
    pub(super) fn shards(&self) -> u64 {
        let mut shards: Vec<ShardIndex> = self.plan.fetches().iter().map(|fetch| fetch.shard).collect();
        shards.dedup();
        shards.len() as u64
    }

    /// Decodes what must be; gives the sealed bytes in order. Blocks.
    pub(super) fn assemble(self, sink: impl FnMut(&[u8])) -> Result<(), ClientError> {
        let Self { part, plan, came, buffers, .. } = self;
        let fetches = plan.fetches().to_vec();
        let mut read = SegmentRead::new(plan, part.place.masks.clone());
        for Came { shard, start, bytes } in came {
            // Not what came of a shard that the plan does without: there was a hedge, and the other was first.
            let end = start + bytes.len() as u64;
            let holds = |range: ByteRange| start <= range.start() && range.end() <= end;
            if fetches.iter().any(|fetch| fetch.shard == shard && holds(fetch.range)) {
                read.absorb_unmasked(shard, start, bytes)?;
            }
        }
        read.read(sink)?;
        buffers.take_back(read.into_buffers());
        Ok(())
    }
}

/// Reads what a part needs.
pub(super) async fn read(
    links: Links,
    part: Part,
    mode: Mode,
    patience: Patience,
    buffers: Buffers,
) -> Result<Fetched, ClientError> {
    let place = &part.place;
    let candidates = place.shards.iter().map(|shard| Candidate {
        index: shard.index,
        standing: shard.standing.clone(),
        silent: shard.silent,
    });
    let machine = SegmentGet::new(place.geometry, part.in_segment, mode, candidates.collect(), patience);
    let mut reading = Reading {
        links,
        buffers: buffers.clone(),
        part: &part,
        machine,
        tasks: JoinSet::new(),
        flying: BTreeMap::new(),
        came: BTreeMap::new(),
        bytes: 0,
    };
    let shards = reading.run().await;
    let met = reading.machine.met().iter().filter_map(|(index, what)| named(&part, *index, what)).collect();
    let (came, bytes) = (std::mem::take(&mut reading.came), reading.bytes);
    let plan = ReadPlan::new(place.geometry, part.in_segment, &shards?)?;
    drop(reading);
    Ok(Fetched { mode, met, bytes, plan, came: came.into_values().collect(), part, buffers })
}

fn named(part: &Part, index: ShardIndex, what: &Met) -> Option<MetShard> {
    let shard = part.place.shards.iter().find(|shard| shard.index == index)?;
    let (segment, node) = (part.place.id, shard.node.id);
    Some(MetShard { segment, index, shard: shard.shard, node, what: what.clone() })
}

struct Reading<'a> {
    links: Links,
    buffers: Buffers,
    part: &'a Part,
    machine: SegmentGet,
    tasks: JoinSet<(Token, Result<Vec<u8>, Trouble>)>,
    flying: BTreeMap<Token, (ShardIndex, ByteRange, AbortHandle)>,
    came: BTreeMap<Token, Came>,
    bytes: u64,
}

impl Reading<'_> {
    /// The shards that the plan may use.
    async fn run(&mut self) -> Result<Vec<ShardIndex>, ClientError> {
        let clock = Clock::start();
        let mut event = Event::Begin;
        loop {
            for effect in self.machine.step(clock.now(), event) {
                match effect {
                    Effect::Fetch { token, shard, range, verify } => self.fetch(token, shard, range, verify)?,
                    Effect::Cancel(token) => {
                        if let Some((_, _, handle)) = self.flying.remove(&token) {
                            handle.abort();
                        }
                    }
                    Effect::Assemble { shards } => return Ok(shards),
                    Effect::Fail(error) => return Err(ClientError::Get { segment: self.part.place.id, error }),
                }
            }
            // By its contract the machine waits for something until it is over. Were it wrong, nothing would ever wake this.
            let Some(deadline) = self.machine.deadline() else {
                return Err(ClientError::Bug("a read is not over and waits for nothing".into()));
            };
            event = tokio::select! {
                Some(joined) = self.tasks.join_next() => match joined {
                    Ok((token, reply)) => self.told(token, reply),
                    Err(error) if error.is_cancelled() => Event::Tick,
                    Err(error) => return Err(ClientError::Bug(error.to_string())),
                },
                () = tokio::time::sleep_until(clock.at(deadline)) => Event::Tick,
            };
        }
    }

    fn location(&self, shard: ShardIndex) -> Result<&ShardLocation, ClientError> {
        let found = self.part.place.shards.iter().find(|location| location.index == shard);
        found.ok_or_else(|| ClientError::Bug(format!("shard {shard} was asked for, and nobody holds it")))
    }

    fn fetch(&mut self, token: Token, shard: ShardIndex, range: ByteRange, verify: bool) -> Result<(), ClientError> {
        let (links, location) = (self.links.clone(), self.location(shard)?.clone());
        let (len, mask) = (self.part.place.geometry.shard_len(), self.part.place.masks.of(shard));
        let buffer = self.buffers.take(range.len() as usize);
        let handle =
            self.tasks.spawn(async move { (token, fetch(&links, &location, len, range, mask, buffer, verify).await) });
        self.flying.insert(token, (shard, range, handle));
        Ok(())
    }

    fn told(&mut self, token: Token, reply: Result<Vec<u8>, Trouble>) -> Event {
        let Some((shard, range, _)) = self.flying.remove(&token) else { return Event::Tick };
        match reply {
            Ok(bytes) => {
                self.bytes += range.len();
                self.came.insert(token, Came { shard, start: range.start(), bytes });
                Event::Came(token)
            }
            Err(trouble) => {
                tracing::debug!(segment = %self.part.place.id, %shard, ?trouble, "a shard did not come");
                Event::Failed(token, trouble)
            }
        }
    }
}
