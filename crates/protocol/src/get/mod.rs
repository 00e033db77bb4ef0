//! Reading a range of one segment, decided: which shards to read, when to stop waiting for a slow one,
//! what to do about damage, when to give up. The driver reads, hashes and keeps the bytes.
//!
//! *What may be trusted.* A whole shard is verified against its CID while it streams in. A part of one
//! cannot be: there is no proof with it. So there are two ways to read:
//!
//! - [`Mode::Whole`]: whole shards, each hashed, decoded only from bytes that have their CID. A liar is
//!   named at once and read around. This is how more than half of a segment is read, and any part of it
//!   that did not open the other way.
//! - [`Mode::Ranges`]: only the bytes that are needed. What comes out is sealed frames, and AES-GCM
//!   refuses a frame with one wrong bit, so a lie is found, though not the liar: then the same bytes are
//!   read again as `Whole`, which names it. Nothing that did not open is ever given out.
//!
//! *Whom to ask.* The data shards of the range, if the catalog believes them good and their nodes were
//! not silent of late; then nothing is decoded. When one does not come in time, the bytes of any other k
//! are asked for as well (a hedge), and whatever is complete first is used.

mod message;
#[cfg(test)]
mod tests;

use holdfast_dispersal::{Fetch, Geometry, ReadPlan, SegmentError};
use holdfast_types::{ByteRange, Millis, Mono, ShardIndex};

use crate::{effect::Token, model::Standing};
pub use message::{Candidate, Effect, Event, GetError, Met, Mode, Patience, Trouble};

/// One reading of one range of a shard.
#[derive(Debug)]
struct Ask {
    token: Token,
    range: ByteRange,
    since: Mono,
    came: bool,
}

/// A candidate and what became of it.
#[derive(Debug)]
struct Shard {
    candidate: Candidate,
    /// Bytes that this read may need are gone, as the catalog knows.
    gone: bool,
    asks: Vec<Ask>,
    out: bool,
    slow: bool,
    refusals: u32,
    not_before: Mono,
}

/// Whom to prefer: a plan is made with as few of these as it takes. What the catalog knows to be gone
/// comes last of all: it may have been repaired since.
const TIERS: [Tier; 5] = [Tier::Good, Tier::Silent, Tier::Slow, Tier::Busy, Tier::Gone];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Tier {
    Good,
    Silent,
    Slow,
    Busy,
    Gone,
}

impl Shard {
    fn tier(&self, now: Mono) -> Tier {
        match () {
            () if self.asks.iter().any(|ask| ask.came) && !self.slow => Tier::Good,
            () if self.gone => Tier::Gone,
            () if self.not_before > now => Tier::Busy,
            () if self.slow => Tier::Slow,
            () if self.candidate.silent => Tier::Silent,
            () => Tier::Good,
        }
    }

    fn holds(&self, range: ByteRange) -> bool {
        self.asks.iter().any(|ask| ask.came && ask.range.contains(range))
    }

    fn is_asked(&self, range: ByteRange) -> bool {
        self.asks.iter().any(|ask| ask.range.contains(range))
    }
}

/// One range of one segment.
#[derive(Debug)]
pub struct SegmentGet {
    geometry: Geometry,
    range: ByteRange,
    mode: Mode,
    patience: Patience,
    shards: Vec<Shard>,
    met: Vec<(ShardIndex, Met)>,
    took: Vec<Millis>,
    last: u64,
    now: Mono,
    over: bool,
}

impl SegmentGet {
    /// A read of `range` (bytes of the segment) from `candidates`.
    pub fn new(
        geometry: Geometry,
        range: ByteRange,
        mode: Mode,
        candidates: Vec<Candidate>,
        patience: Patience,
    ) -> Self {
        let needs: Vec<ByteRange> = match mode {
            Mode::Whole => vec![ByteRange::first(geometry.shard_len())],
            // Whichever shard stands in for another gives the same bytes of itself.
            Mode::Ranges => geometry.locate(range).into_iter().flatten().map(|piece| piece.in_shard).collect(),
        };
        let shard = |candidate: Candidate| Shard {
            gone: match &candidate.standing {
                Standing::Good => false,
                Standing::Damaged(ranges) => ranges.iter().any(|gone| needs.iter().any(|need| need.overlaps(*gone))),
                Standing::Lost => true,
            },
            candidate,
            asks: Vec::new(),
            out: false,
            slow: false,
            refusals: 0,
            not_before: Mono(0),
        };
        let mut shards: Vec<Shard> = candidates.into_iter().map(shard).collect();
        shards.sort_by_key(|shard| shard.candidate.index);
        let known = shards.iter().filter(|shard| shard.gone);
        let known = known.map(|shard| (shard.candidate.index, Met::Known(shard.candidate.standing.clone())));
        let met = known.collect();
        Self { geometry, range, mode, patience, shards, met, took: Vec::new(), last: 0, now: Mono(0), over: false }
    }

    /// What was met so far, in order.
    pub fn met(&self) -> &[(ShardIndex, Met)] {
        &self.met
    }

    /// When to come back with [`Event::Tick`], if nothing else comes before. `None` once it is over, and only then: what is
    /// wanted is either on its way, which ends in time, or with a busy node, which is asked again.
    pub fn deadline(&self) -> Option<Mono> {
        if self.over {
            return None;
        }
        let (slow_after, give_up) = (self.slow_after(), self.give_up());
        let asks = self.shards.iter().filter(|shard| !shard.out).flat_map(|shard| {
            let flying = shard.asks.iter().filter(|ask| !ask.came);
            flying.map(move |ask| ask.since + if shard.slow { give_up } else { slow_after })
        });
        let busy = self.shards.iter().filter(|shard| !shard.out && shard.not_before > self.now);
        asks.chain(busy.map(|shard| shard.not_before)).min()
    }

    /// Takes what happened, and says what to do.
    pub fn step(&mut self, now: Mono, event: Event) -> Vec<Effect> {
        if self.over {
            return Vec::new();
        }
        self.now = now;
        match event {
            Event::Begin | Event::Tick => {}
            Event::Came(token) => self.came(now, token),
            Event::Failed(token, trouble) => self.failed(now, token, trouble),
        }
        let mut effects = self.lose_patience(now);
        effects.extend(self.go_on(now));
        effects
    }

    fn came(&mut self, now: Mono, token: Token) {
        for shard in &mut self.shards {
            if let Some(ask) = shard.asks.iter_mut().find(|ask| ask.token == token) {
                ask.came = true;
                self.took.push(now.since(ask.since));
                shard.slow = false;
            }
        }
    }

    fn failed(&mut self, now: Mono, token: Token, trouble: Trouble) {
        let Some(shard) = self.shards.iter_mut().find(|shard| shard.asks.iter().any(|ask| ask.token == token)) else {
            return;
        };
        if let Trouble::Busy { retry_after } = &trouble {
            shard.refusals += 1;
            if shard.refusals <= self.patience.refusals {
                shard.not_before = now + Millis(retry_after.0.clamp(50, self.patience.fetch.0));
                shard.asks.retain(|ask| ask.token != token);
                return;
            }
        }
        shard.out = true;
        self.met.push((shard.candidate.index, Met::Trouble(trouble)));
    }

    /// How long a shard may take before another is asked as well.
    fn slow_after(&self) -> Millis {
        let asked = self.shards.iter().map(|shard| shard.asks.len()).sum::<usize>();
        let most = Millis(self.patience.hedge_most.0 + ((self.fetch_len() * 1000) >> 21));
        if self.took.len() * 2 < asked {
            return most;
        }
        let mut took = self.took.clone();
        took.sort_unstable();
        let median = took.get(took.len() / 2).map_or(most.0, |span| span.0);
        Millis((3 * median).clamp(self.patience.hedge_least.0, most.0))
    }

    fn give_up(&self) -> Millis {
        Millis(self.patience.fetch.0 + (self.fetch_len() >> 20) * 1000)
    }

    fn fetch_len(&self) -> u64 {
        match self.mode {
            Mode::Whole => self.geometry.shard_len(),
            Mode::Ranges => self.range.len().min(self.geometry.shard_len()),
        }
    }

    fn lose_patience(&mut self, now: Mono) -> Vec<Effect> {
        let (slow_after, give_up) = (self.slow_after(), self.give_up());
        let mut effects = Vec::new();
        for shard in self.shards.iter_mut().filter(|shard| !shard.out) {
            let index = shard.candidate.index;
            let Some(waited) = shard.asks.iter().filter(|ask| !ask.came).map(|ask| now.since(ask.since)).max() else {
                continue;
            };
            if waited >= give_up {
                shard.out = true;
                self.met.push((index, Met::Trouble(Trouble::Silent)));
                effects.extend(shard.asks.iter().filter(|ask| !ask.came).map(|ask| Effect::Cancel(ask.token)));
            } else if waited >= slow_after && !shard.slow {
                shard.slow = true;
                self.met.push((index, Met::Slow(waited)));
            }
        }
        effects
    }

    /// Assembles if what came is enough; otherwise asks for what is not asked for yet.
    fn go_on(&mut self, now: Mono) -> Vec<Effect> {
        if let Some(shards) = self.enough() {
            return self.finish(Effect::Assemble { shards });
        }
        match self.plan(now) {
            Ok(plan) => self.ask(now, &plan),
            Err(SegmentError::TooFewShards { found, needed }) => {
                let error = GetError::TooFew { found, needed, met: self.met.clone() };
                self.finish(Effect::Fail(error))
            }
            Err(error) => self.finish(Effect::Fail(GetError::Segment(error))),
        }
    }

    /// Shards that gave all that a plan over them asks for, if there are such.
    ///
    /// Who gave one part and holds back another must not hold up those who gave all: whoever lacks something is left out, and
    /// the plan made anew. With fewer shards it asks each for as much or more, so who lacks something now would lack it then.
    fn enough(&self) -> Option<Vec<ShardIndex>> {
        let mut here = self.usable(|shard| shard.asks.iter().any(|ask| ask.came));
        loop {
            let plan = ReadPlan::new(self.geometry, self.range, &here).ok()?;
            let lacking = plan.fetches().iter().filter(|fetch| !self.holds(fetch));
            let lacking: Vec<ShardIndex> = lacking.map(|fetch| fetch.shard).collect();
            if lacking.is_empty() {
                return Some(here);
            }
            here.retain(|index| !lacking.contains(index));
        }
    }

    fn usable(&self, wanted: impl Fn(&Shard) -> bool) -> Vec<ShardIndex> {
        let usable = self.shards.iter().filter(|shard| !shard.out && wanted(shard));
        // What has come costs nothing more, what is on its way little.
        let mut usable: Vec<&Shard> = usable.collect();
        usable.sort_by_key(|shard| match () {
            () if shard.asks.iter().any(|ask| ask.came) => 0,
            () if !shard.asks.is_empty() => 1,
            () => 2,
        });
        usable.into_iter().map(|shard| shard.candidate.index).collect()
    }

    /// A plan with the best candidates that are enough for one.
    fn plan(&self, now: Mono) -> Result<ReadPlan, SegmentError> {
        let plan = |tier| ReadPlan::new(self.geometry, self.range, &self.usable(|shard| shard.tier(now) <= tier));
        let best = TIERS[..TIERS.len() - 1].iter().find_map(|tier| plan(*tier).ok());
        best.map_or_else(|| plan(Tier::Gone), Ok)
    }

    fn wanted(&self, fetch: &Fetch) -> ByteRange {
        match self.mode {
            Mode::Whole => ByteRange::first(self.geometry.shard_len()),
            Mode::Ranges => fetch.range,
        }
    }

    fn holds(&self, fetch: &Fetch) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|shard| shard.candidate.index == fetch.shard && shard.holds(self.wanted(fetch)))
    }

    fn ask(&mut self, now: Mono, plan: &ReadPlan) -> Vec<Effect> {
        let (mut effects, whole) = (Vec::new(), ByteRange::first(self.geometry.shard_len()));
        for fetch in plan.fetches() {
            let range = self.wanted(fetch);
            let shard = self.shards.iter_mut().find(|shard| shard.candidate.index == fetch.shard);
            let Some(shard) = shard.filter(|shard| !shard.is_asked(range) && shard.not_before <= now) else { continue };
            self.last += 1;
            let token = Token(self.last);
            shard.asks.push(Ask { token, range, since: now, came: false });
            effects.push(Effect::Fetch { token, shard: fetch.shard, range, verify: range == whole });
        }
        effects
    }

    fn finish(&mut self, last: Effect) -> Vec<Effect> {
        self.over = true;
        let flying = self.shards.iter().filter(|shard| !shard.out);
        let flying = flying.flat_map(|shard| shard.asks.iter().filter(|ask| !ask.came));
        flying.map(|ask| Effect::Cancel(ask.token)).chain([last]).collect()
    }
}
