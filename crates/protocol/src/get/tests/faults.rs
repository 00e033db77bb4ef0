//! Nodes that give one thing and hold back another, refuse, lie and come late, in any order, while time passes.
//! After each step the world looks whether the read waits for something, and not although it has enough.

use proptest::prelude::*;

use super::*;

/// Fault: of a range over shards 0 and 1, shard 1 is lost. Attack: the node of shard 0 gives that shard's own part at once, so
/// that it counts as one that came, and holds back what stands in for shard 1, until others were asked for everything; then it
/// is busy, or says nothing more.
#[test]
fn a_node_that_gives_one_part_and_holds_back_the_other_holds_up_nobody() {
    for refuses in [false, true] {
        let mut candidates = good();
        candidates[1].standing = Standing::Lost;
        let mut world = World::begin(span(SHARD - 50, SHARD + 50), Mode::Ranges, candidates);
        assert_eq!(world.asked(), [0, 0, 2, 3, 4]);
        let held_back = world.flying.remove(0);
        assert_eq!(held_back.2, span(0, 50));
        for shard in [0, 2, 3, 4] {
            world.came(shard);
        }
        world.doze();
        assert_eq!(world.asked(), [2, 3, 4, 5, 5], "the hedge");
        if refuses {
            world.tell(Event::Failed(held_back.0, Trouble::Busy { retry_after: Millis(700) }));
        }
        world.all_come();
        assert_eq!(world.end, Some(Ok(vec![2, 3, 4, 5])));
        assert_eq!(world.cancelled, if refuses { vec![] } else { vec![held_back.0] });
    }
}

/// What happens next; the number chooses to which of the reads under way, those that were cancelled included.
#[derive(Clone, Debug)]
enum Next {
    Comes(usize),
    Fails(usize, Trouble),
    /// Nothing, until the read is due.
    Doze,
    /// Time goes by, and nobody says so: a driver may be late.
    Wait(u64),
}

fn next() -> impl Strategy<Value = Next> {
    let trouble = prop_oneof![
        6 => (0u64..3000).prop_map(|span| Trouble::Busy { retry_after: Millis(span) }),
        1 => Just(Trouble::Corrupt),
        1 => Just(Trouble::Missing),
        1 => Just(Trouble::Silent),
    ];
    prop_oneof![
        8 => any::<usize>().prop_map(Next::Comes),
        3 => (any::<usize>(), trouble).prop_map(|(which, trouble)| Next::Fails(which, trouble)),
        3 => Just(Next::Doze),
        3 => (1u64..2000).prop_map(Next::Wait),
    ]
}

fn candidate() -> impl Strategy<Value = (Standing, bool)> {
    let standing = prop_oneof![
        6 => Just(Standing::Good),
        1 => Just(Standing::Damaged(vec![span(100, 9000)])),
        2 => Just(Standing::Lost),
    ];
    (standing, prop::bool::weighted(0.2))
}

impl World {
    fn befall(&mut self, next: Next) {
        match next {
            Next::Comes(which) if !self.flying.is_empty() => {
                let (token, ..) = self.flying.remove(which % self.flying.len());
                self.tell(Event::Came(token));
            }
            Next::Fails(which, trouble) if !self.flying.is_empty() => {
                let (token, ..) = self.flying.remove(which % self.flying.len());
                self.tell(Event::Failed(token, trouble));
            }
            Next::Wait(span) => self.now = self.now + Millis(span),
            Next::Comes(_) | Next::Fails(..) | Next::Doze => self.doze(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn no_order_of_faults_and_delays_hangs_or_wastes_what_came(
        candidates in proptest::collection::vec(candidate(), 6),
        whole in any::<bool>(),
        (before, after) in (0..=SHARD, 0..=2 * SHARD),
        story in proptest::collection::vec(next(), 0..60),
    ) {
        let candidates = candidates.into_iter().zip(0..).map(|((standing, silent), index)| {
            Candidate { index: ShardIndex(index), standing, silent }
        });
        let mode = if whole { Mode::Whole } else { Mode::Ranges };
        let mut world = World::begin(span(SHARD - before, SHARD + after), mode, candidates.collect());
        for next in story {
            if world.end.is_none() {
                world.befall(next);
            }
        }
        // Nothing comes any more: each of six shards becomes slow, is asked again a few times, and is given up.
        for _ in 0..100 {
            if world.end.is_none() {
                world.doze();
            }
        }
        prop_assert!(world.end.is_some(), "it goes on for ever: {:?}", world.get);
    }
}
