//! A read against nodes that are played by hand. Code 4 + 2 over a segment of 64 KiB: shards of 16 KiB.

use std::collections::BTreeMap;

use holdfast_types::Code;

use super::*;

mod faults;

const K: u16 = 4;
const SHARD: u64 = 16 << 10;

fn geometry() -> Geometry {
    Geometry::new(Code::new(K, 2).unwrap(), u64::from(K) * SHARD).unwrap()
}

fn good() -> Vec<Candidate> {
    (0..6).map(|index| Candidate { index: ShardIndex(index), standing: Standing::Good, silent: false }).collect()
}

fn span(from: u64, to: u64) -> ByteRange {
    ByteRange::new(from, to).unwrap()
}

/// What is being fetched: token, shard, range.
type Flying = Vec<(Token, u16, ByteRange)>;

struct World {
    get: SegmentGet,
    now: Mono,
    flying: Flying,
    /// All that was ever asked for.
    fetches: BTreeMap<Token, (u16, ByteRange)>,
    came: Vec<Token>,
    cancelled: Vec<Token>,
    end: Option<Result<Vec<u16>, GetError>>,
}

impl World {
    fn whole(candidates: Vec<Candidate>) -> Self {
        Self::begin(ByteRange::first(u64::from(K) * SHARD), Mode::Whole, candidates)
    }

    fn begin(range: ByteRange, mode: Mode, candidates: Vec<Candidate>) -> Self {
        let get = SegmentGet::new(geometry(), range, mode, candidates, Patience::default());
        let (flying, fetches, came, cancelled) = Default::default();
        let mut world = Self { get, now: Mono(5000), flying, fetches, came, cancelled, end: None };
        world.tell(Event::Begin);
        world
    }

    fn tell(&mut self, event: Event) {
        if let Event::Came(token) = event {
            self.came.push(token);
        }
        for effect in self.get.step(self.now, event) {
            match effect {
                Effect::Fetch { token, shard, range, verify } => {
                    assert_eq!(verify, range == ByteRange::first(SHARD));
                    self.flying.push((token, shard.0, range));
                    self.fetches.insert(token, (shard.0, range));
                }
                Effect::Cancel(token) => self.cancelled.push(token),
                Effect::Assemble { shards } => self.end = Some(Ok(shards.iter().map(|index| index.0).collect())),
                Effect::Fail(error) => self.end = Some(Err(error)),
            }
        }
        self.assert_sound();
    }

    /// What holds after every step, whatever happened.
    fn assert_sound(&self) {
        match (&self.end, self.get.deadline()) {
            (None, Some(deadline)) => {
                assert!(deadline > self.now, "it turns on the spot");
                // The slow twin of the machine's own look: every choice of shards is tried.
                let choice = |bits: u16| (0..6).filter(|shard| bits >> shard & 1 == 1).collect::<Vec<u16>>();
                let enough = (0..64).map(choice).find(|shards| self.is_enough(shards));
                assert!(enough.is_none(), "shards {enough:?} gave all it takes, and it waits: {:?}", self.get);
            }
            (None, None) => panic!("it hangs: {:?}", self.get),
            (Some(Ok(shards)), None) => assert!(self.is_enough(shards), "{shards:?} did not come"),
            (Some(Err(_)), None) => {}
            (Some(_), Some(deadline)) => panic!("it is over and waits for {deadline:?}"),
        }
    }

    /// Whether all came that a plan over these shards asks for, and none of them gave itself away.
    fn is_enough(&self, shards: &[u16]) -> bool {
        let met = self.get.met();
        let is_out = |shard: &u16| met.iter().any(|(of, met)| of.0 == *shard && matches!(met, Met::Trouble(_)));
        let indices: Vec<ShardIndex> = shards.iter().map(|shard| ShardIndex(*shard)).collect();
        let Ok(plan) = ReadPlan::new(geometry(), self.get.range, &indices) else { return false };
        let holds = |fetch: &Fetch| {
            let mut came = self.came.iter().filter_map(|token| self.fetches.get(token));
            came.any(|(shard, range)| *shard == fetch.shard.0 && range.contains(fetch.range))
        };
        !shards.iter().any(is_out) && plan.fetches().iter().all(holds)
    }

    fn doze(&mut self) {
        self.now = self.get.deadline().expect("something is due").max(self.now);
        self.tell(Event::Tick);
    }

    fn asked(&self) -> Vec<u16> {
        self.flying.iter().map(|(_, shard, _)| *shard).collect()
    }

    fn pick(&mut self, shard: u16) -> Token {
        let at = self.flying.iter().position(|(_, flying, _)| *flying == shard).expect("asked for");
        self.flying.remove(at).0
    }

    fn came(&mut self, shard: u16) {
        let token = self.pick(shard);
        self.tell(Event::Came(token));
    }

    fn fails(&mut self, shard: u16, trouble: Trouble) {
        let token = self.pick(shard);
        self.tell(Event::Failed(token, trouble));
    }

    fn all_come(&mut self) {
        while self.end.is_none() && !self.flying.is_empty() {
            let shard = self.flying[0].1;
            self.came(shard);
        }
    }
}

#[test]
fn a_good_segment_is_read_from_its_data_shards_alone() {
    let mut world = World::whole(good());
    assert_eq!(world.asked(), [0, 1, 2, 3]);
    world.all_come();
    assert_eq!(world.end, Some(Ok(vec![0, 1, 2, 3])));
    assert!(world.get.met().is_empty());
}

#[test]
fn a_corrupt_shard_is_named_and_read_around() {
    let mut world = World::whole(good());
    world.fails(2, Trouble::Corrupt);
    assert_eq!(world.asked(), [0, 1, 3, 4]);
    world.all_come();
    let Some(Ok(shards)) = &world.end else { panic!("{:?}", world.end) };
    assert!(!shards.contains(&2));
    assert_eq!(world.get.met(), [(ShardIndex(2), Met::Trouble(Trouble::Corrupt))]);
}

#[test]
fn a_slow_shard_is_hedged_and_whoever_is_first_is_used() {
    let mut world = World::whole(good());
    world.now = world.now + Millis(10);
    world.came(0);
    world.came(1);
    world.came(3);
    world.doze();
    assert!(world.now.since(Mono(5000)) <= Millis(160), "three times as long as the others took, or the least");
    assert_eq!(world.asked(), [2, 4]);
    assert!(matches!(world.get.met(), [(ShardIndex(2), Met::Slow(_))]));
    let late = world.flying[0].0;
    world.came(4);
    assert_eq!(world.end, Some(Ok(vec![0, 1, 3, 4])));
    assert_eq!(world.cancelled, [late]);
}

#[test]
fn a_slow_shard_that_comes_first_after_all_is_used() {
    let mut world = World::whole(good());
    for shard in [0, 1, 3] {
        world.came(shard);
    }
    world.doze();
    let hedge = world.flying[1].0;
    world.came(2);
    assert_eq!(world.end, Some(Ok(vec![0, 1, 2, 3])));
    assert_eq!(world.cancelled, [hedge]);
}

#[test]
fn when_every_node_is_slow_alike_nobody_is_hedged() {
    let mut world = World::whole(good());
    world.now = world.now + Millis(1100);
    for shard in 0..4 {
        world.tell(Event::Tick);
        world.came(shard);
        world.now = world.now + Millis(20);
    }
    assert_eq!(world.end, Some(Ok(vec![0, 1, 2, 3])));
    assert!(world.get.met().is_empty());
}

#[test]
fn one_shard_too_few_ends_with_what_was_found_and_needed() {
    let mut world = World::whole(good());
    world.fails(0, Trouble::Missing);
    world.fails(1, Trouble::Silent);
    assert_eq!(world.asked(), [2, 3, 4, 5]);
    world.fails(5, Trouble::Corrupt);
    let Some(Err(error)) = world.end else { panic!("{:?}", world.end) };
    let said = error.to_string();
    assert!(said.contains("found 3 good shards, needed 4"), "{said}");
    assert!(said.contains("shard 5 is corrupt"), "{said}");
}

#[test]
fn a_node_that_never_answers_is_given_up() {
    let mut world = World::whole(good()[..4].to_vec());
    for shard in [0, 1, 2] {
        world.came(shard);
    }
    world.doze();
    assert!(world.end.is_none(), "slow, but there is no other");
    world.doze();
    assert!(world.now.since(Mono(5000)) >= Patience::default().fetch);
    assert!(matches!(world.end, Some(Err(GetError::TooFew { found: 3, needed: 4, .. }))));
}

#[test]
fn silent_nodes_and_known_damage_are_asked_last() {
    let mut candidates = good();
    candidates[0].silent = true;
    candidates[1].standing = Standing::Damaged(vec![span(5, 6)]);
    let mut world = World::whole(candidates.clone());
    assert_eq!(world.asked(), [2, 3, 4, 5]);
    world.fails(4, Trouble::Silent);
    assert_eq!(world.asked(), [2, 3, 5, 0]);
    world.fails(5, Trouble::Silent);
    assert_eq!(world.asked(), [2, 3, 0, 1], "it may have been repaired since");
    world.all_come();
    assert!(matches!(world.end, Some(Ok(_))));
    candidates[2].standing = Standing::Lost;
    let world = World::whole(candidates);
    assert_eq!(world.asked(), [0, 3, 4, 5]);
}

#[test]
fn a_short_range_touches_one_shard_and_only_its_bytes() {
    let range = span(SHARD + 100, SHARD + 300);
    let mut world = World::begin(range, Mode::Ranges, good());
    assert_eq!(
        world.flying.iter().map(|(_, shard, range)| (*shard, *range)).collect::<Vec<_>>(),
        [(1, span(100, 300))]
    );
    world.came(1);
    assert_eq!(world.end, Some(Ok(vec![1])));
}

#[test]
fn a_short_range_of_a_lost_shard_is_made_from_the_same_bytes_of_k_others() {
    let mut world = World::begin(span(SHARD + 100, SHARD + 300), Mode::Ranges, good());
    world.fails(1, Trouble::Damaged(vec![span(0, 1024)]));
    let asked: Vec<(u16, ByteRange)> = world.flying.iter().map(|(_, shard, range)| (*shard, *range)).collect();
    assert_eq!(asked, [0, 2, 3, 4].map(|shard| (shard, span(100, 300))));
    world.all_come();
    assert_eq!(world.end, Some(Ok(vec![0, 2, 3, 4])));
}

#[test]
fn damage_elsewhere_in_a_shard_does_not_keep_a_range_from_it() {
    let mut candidates = good();
    candidates[1].standing = Standing::Damaged(vec![span(5000, 6000)]);
    let range = span(SHARD + 100, SHARD + 300);
    assert_eq!(World::begin(range, Mode::Ranges, candidates.clone()).asked(), [1]);
    let overlapping = span(SHARD + 4990, SHARD + 5010);
    assert_eq!(World::begin(overlapping, Mode::Ranges, candidates).asked(), [0, 2, 3, 4]);
}

#[test]
fn a_busy_node_is_asked_again_when_it_said_and_not_for_ever() {
    let mut world = World::whole(good()[..4].to_vec());
    for shard in [0, 1, 2] {
        world.came(shard);
    }
    for _ in 0..Patience::default().refusals {
        world.fails(3, Trouble::Busy { retry_after: Millis(700) });
        assert!(world.flying.is_empty() && world.end.is_none());
        let before = world.now;
        world.doze();
        assert_eq!(world.now.since(before), Millis(700));
        assert_eq!(world.asked(), [3]);
    }
    world.fails(3, Trouble::Busy { retry_after: Millis(700) });
    assert!(matches!(world.end, Some(Err(GetError::TooFew { .. }))));
}

#[test]
fn most_of_a_segment_is_verified_and_little_of_it_is_not_unless_suspected() {
    let whole = ByteRange::first(u64::from(K) * SHARD);
    assert_eq!(Mode::choose(geometry(), whole, false), Mode::Whole);
    assert_eq!(Mode::choose(geometry(), span(0, 100), false), Mode::Ranges);
    assert_eq!(Mode::choose(geometry(), span(0, 100), true), Mode::Whole);
}

#[test]
fn a_suspected_range_is_read_from_whole_shards() {
    let range = span(SHARD + 100, SHARD + 300);
    let mut world = World::begin(range, Mode::Whole, good());
    assert_eq!(world.flying[0].2, ByteRange::first(SHARD));
    world.fails(1, Trouble::Corrupt);
    assert_eq!(world.asked(), [0, 2, 3, 4]);
    world.all_come();
    assert!(matches!(world.end, Some(Ok(_))));
}

#[test]
fn no_order_of_faults_hangs_or_assembles_what_did_not_come() {
    // Every subset of failing shards, in every mode: exactly those with four left are read.
    for bad in 0u16..64 {
        for (mode, range) in [(Mode::Whole, span(0, 4 * SHARD)), (Mode::Ranges, span(SHARD - 50, 2 * SHARD + 50))] {
            let mut world = World::begin(range, mode, good());
            let mut steps = 0;
            while world.end.is_none() {
                let Some((_, shard, _)) = world.flying.first().copied() else { panic!("hangs: {bad:06b} {mode:?}") };
                if bad >> shard & 1 == 1 {
                    world.fails(shard, Trouble::Corrupt)
                } else {
                    world.came(shard)
                }
                steps += 1;
                assert!(steps < 100);
            }
            let (lost, left) = (bad.count_ones(), 0b1111 & bad);
            let asked = if mode == Mode::Whole { left } else { bad & 0b111 };
            match world.end {
                Some(Ok(shards)) => {
                    assert!(shards.iter().all(|shard| bad >> shard & 1 == 0));
                    assert!(lost <= 2 || asked == 0, "{bad:06b} {mode:?}");
                }
                Some(Err(_)) => assert!(asked != 0 && lost > 2, "{bad:06b} {mode:?}"),
                None => unreachable!(),
            }
        }
    }
}
