//! Anything may happen around a node that has its bytes: it is never accused, and once all is well
//! again, it stands as it stood.

use holdfast_types::{Millis, Wall};
use proptest::prelude::*;

use super::world::{SEGMENTS, World, honest};
use crate::{
    effect::Command,
    message::SendFailure,
    model::{NodeLife, Outcome},
};

#[derive(Clone, Debug)]
enum Trouble {
    Calm,
    Down,
    Mute,
    Garbage,
    Timeouts,
    Refusals,
    Restart,
    WallJump(i64),
    AuditNow,
    Delete,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        3 => Just(Trouble::Calm),
        2 => Just(Trouble::Down),
        1 => Just(Trouble::Mute),
        1 => Just(Trouble::Garbage),
        1 => Just(Trouble::Timeouts),
        1 => Just(Trouble::Refusals),
        2 => Just(Trouble::Restart),
        1 => (-100_000i64..10_000_000).prop_map(Trouble::WallJump),
        3 => Just(Trouble::AuditNow),
        1 => Just(Trouble::Delete),
    ]
}

fn befall(world: &mut World, trouble: Trouble) {
    match trouble {
        Trouble::Calm => {
            world.peers[0].up = true;
            world.peers[0].manner = honest();
        }
        Trouble::Down => world.peers[0].up = false,
        Trouble::Mute => world.manner(|_, _| None),
        Trouble::Garbage => world.manner(|_, _| Some(Err(SendFailure::Malformed("?".into())))),
        Trouble::Timeouts => world.manner(|_, _| Some(Err(SendFailure::Timeout))),
        Trouble::Refusals => world.manner(|_, _| Some(Err(SendFailure::Refused { retry_after: Millis(10) }))),
        Trouble::Restart => world.restart(),
        Trouble::WallJump(by) => world.now.wall = Wall(world.now.wall.0.saturating_add_signed(by).max(1)),
        Trouble::AuditNow => world.audit_now(),
        Trouble::Delete => {
            world.delete(2);
            world.peers[0].held.remove(&holdfast_types::Sequence(14));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_node_with_its_bytes_is_never_accused_and_recovers(
        troubles in proptest::collection::vec((trouble(), 1u64..40), 1..12),
    ) {
        let mut world = World::new();
        for (trouble, tenths) in troubles {
            befall(&mut world, trouble);
            world.run(tenths * 100);
        }
        befall(&mut world, Trouble::Calm);
        let id = world.peers[0].id();
        for _ in 0..6 {
            world.run(5000);
            world.audits.command(world.now, &Command::NodeChanged(id), &world.nodes);
        }
        world.run(5000);
        for verdict in world.verdicts() {
            prop_assert!(!matches!(verdict.outcome, Outcome::Corrupt | Outcome::Missing), "{:?}", verdict);
            for exception in &verdict.exceptions {
                prop_assert!(!matches!(exception.outcome, Outcome::Corrupt | Outcome::Missing), "{:?}", verdict);
            }
        }
        prop_assert_eq!(world.row().life, NodeLife::Active);
        for n in 0..SEGMENTS - 1 {
            prop_assert!(world.placement(n).standing.is_good());
        }
        world.assert_settled();
    }
}
