//! What is read, what is written where, and what is not tried at all.

use holdfast_types::{Code, Incarnation, OwnerId, PublicKey, SegmentId, SegmentRoot, Sequence, VolumeId, Wall};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{CommitmentState, SegmentRow},
    store::FENCE_NONE,
};

fn row(n: u8, life: NodeLife) -> NodeRow {
    NodeRow {
        id: NodeId([n; 32]),
        key: PublicKey([n; 32]),
        addresses: vec![],
        zone: ZoneName(format!("z{}", n % 4)),
        operator: String::new(),
        life,
        containment: None,
        volume: VolumeId([n; 16]),
        incarnation: Incarnation([n; 16]),
        capacity: 1 << 30,
        used: 0,
        joined: Wall(0),
        seen: Wall(0),
        judged: None,
        version: 1,
    }
}

fn nodes(count: u8) -> BTreeMap<NodeId, NodeRow> {
    (0..count).map(|n| (NodeId([n; 32]), row(n, NodeLife::Active))).collect()
}

/// A segment coded 3+2, shard i on node i.
fn view(standings: [Standing; 5]) -> SegmentView {
    let shard = |index: u8| ShardId::from_bytes([0x80 + index; 32]);
    let segment = SegmentRow {
        id: SegmentId([1; 16]),
        owner: OwnerId([1; 32]),
        root: SegmentRoot::from_bytes([1; 32]),
        len: 3000,
        code: Code::new(3, 2).unwrap(),
        shard_len: 1024,
        shards: (0..5).map(shard).collect(),
        repair_threshold: 4,
        secret_for_owner: vec![],
        secret_for_recovery: vec![1, 2, 3],
    };
    let placement = |(n, standing): (usize, Standing)| Placement {
        segment: segment.id,
        index: ShardIndex(n as u16),
        shard: segment.shards[n],
        len: 1024,
        node: NodeId([n as u8; 32]),
        sequence: Sequence(n as u64),
        commitment: CommitmentState::Pending,
        standing,
        version: 1,
        fence: FENCE_NONE,
    };
    let placements = standings.into_iter().enumerate().map(placement).collect();
    SegmentView { segment, placements }
}

const FENCE: Fence = Fence { epoch: 1, counter: 9 };

struct Around {
    nodes: BTreeMap<NodeId, NodeRow>,
    avoid: BTreeSet<NodeId>,
    deleting: BTreeSet<(NodeId, ShardId)>,
    gone: BTreeSet<(NodeId, ShardId)>,
    unserved: BTreeSet<(NodeId, ShardId)>,
    withheld: BTreeSet<(NodeId, ShardId)>,
}

fn around(count: u8) -> Around {
    let (avoid, deleting, gone, unserved, withheld) = Default::default();
    Around { nodes: nodes(count), avoid, deleting, gone, unserved, withheld }
}

impl Around {
    fn plan(&self, view: &SegmentView) -> Result<RecoverJob, PlanError> {
        let Self { nodes, avoid, deleting, gone, unserved, withheld } = self;
        plan(view, Limits { nodes, avoid, deleting, gone, unserved, withheld, seed: Seed([0; 32]) }, FENCE)
    }
}

fn targets(job: &RecoverJob) -> Vec<(u16, u8, bool)> {
    job.targets.iter().map(|target| (target.index.0, target.node.0[0], target.in_place)).collect()
}

use Standing::{Damaged, Good, Lost};

#[test]
fn a_damaged_shard_goes_back_and_a_shard_of_a_gone_node_goes_elsewhere() {
    let mut around = around(6);
    around.nodes.get_mut(&NodeId([1; 32])).unwrap().life = NodeLife::Suspended;
    let damaged = Damaged(vec![holdfast_types::ByteRange::first(10)]);
    let job = around.plan(&view([damaged, Lost, Good, Good, Good])).unwrap();
    assert_eq!(targets(&job), [(0, 0, true), (1, 5, false)]);
    let sources: Vec<u16> = job.sources.iter().map(|source| source.index.0).collect();
    assert_eq!(sources, [2, 3, 4], "a damaged shard is no source");
    assert_eq!(
        (job.fence, job.secret.as_slice(), job.targets[1].shard),
        (FENCE, &[1, 2, 3][..], ShardId::from_bytes([0x81; 32]))
    );
}

/// Attack: the preferred sources prove what they have and give none of it.
#[test]
fn sources_that_failed_a_reading_are_read_last_and_not_left_out() {
    let mut around = around(6);
    let view = view([Good, Good, Good, Good, Lost]);
    let named = |n: usize| (NodeId([n as u8; 32]), view.segment.shards[n]);
    around.unserved.insert(named(0));
    around.gone.insert(named(1));
    let job = around.plan(&view).unwrap();
    let sources: Vec<u16> = job.sources.iter().map(|source| source.index.0).collect();
    assert_eq!(sources, [2, 3, 0, 1]);
}

/// Attack: a shard that is made anew goes back to the node that proves it and does not give it.
#[test]
fn a_withheld_shard_is_not_written_to_the_node_that_withholds_it() {
    let mut around = around(6);
    let view = view([Lost, Good, Good, Good, Good]);
    assert_eq!(targets(&around.plan(&view).unwrap()), [(0, 0, true)]);
    // Not read once is no reason: rot is mended in its place.
    around.unserved.insert((NodeId([0; 32]), view.segment.shards[0]));
    assert_eq!(targets(&around.plan(&view).unwrap()), [(0, 0, true)]);
    around.withheld.insert((NodeId([0; 32]), view.segment.shards[0]));
    assert_eq!(targets(&around.plan(&view).unwrap()), [(0, 5, false)]);
}

#[test]
fn an_absent_shard_is_made_under_its_name() {
    let mut view = view([Good, Good, Good, Good, Good]);
    view.placements.remove(3);
    let job = around(6).plan(&view).unwrap();
    // Node 3 holds nothing of the segment any more.
    assert_eq!(job.targets.len(), 1);
    assert!([3, 5].contains(&job.targets[0].node.0[0]));
    assert_eq!(job.targets[0].shard, ShardId::from_bytes([0x83; 32]));
}

#[test]
fn sources_in_good_standing_come_first_data_before_parity() {
    let mut around = around(6);
    around.nodes.get_mut(&NodeId([0; 32])).unwrap().life = NodeLife::Contained;
    around.nodes.get_mut(&NodeId([2; 32])).unwrap().life = NodeLife::Draining;
    let job = around.plan(&view([Good, Good, Good, Good, Lost])).unwrap();
    let sources: Vec<u16> = job.sources.iter().map(|source| source.index.0).collect();
    assert_eq!(sources, [1, 3, 2, 0]);
}

#[test]
fn fewer_than_k_whole_shards_are_no_plan() {
    let mut dark = around(8);
    for gone in [0, 1, 4] {
        dark.nodes.get_mut(&NodeId([gone; 32])).unwrap().life = NodeLife::Suspended;
    }
    let error = dark.plan(&view([Lost, Lost, Good, Good, Lost])).unwrap_err();
    assert_eq!(error, PlanError::Unrecoverable { good: 2, needed: 3 });
    assert_eq!(around(8).plan(&view([Good, Good, Good, Good, Good])), Err(PlanError::Whole));
}

/// A site that was dark too long lost its placements, not its disks.
#[test]
fn what_was_given_up_is_read_again_where_too_little_else_is_left() {
    let mut around = around(8);
    around.nodes.get_mut(&NodeId([0; 32])).unwrap().life = NodeLife::Suspended;
    let dark = view([Lost, Lost, Good, Lost, Good]);
    let job = around.plan(&dark).unwrap();
    let sources = |job: &RecoverJob| job.sources.iter().map(|source| source.index.0).collect::<Vec<_>>();
    assert_eq!(sources(&job), [1, 2, 4], "no more than are needed, of nodes that are back");
    assert!(targets(&job).iter().all(|(index, ..)| [0, 3].contains(index)), "a source is no target");
    // It was read, and is not what it was.
    around.gone.insert((NodeId([1; 32]), dark.segment.shards[1]));
    assert_eq!(sources(&around.plan(&dark).unwrap()), [2, 3, 4]);
    around.gone.insert((NodeId([3; 32]), dark.segment.shards[3]));
    assert_eq!(around.plan(&dark).unwrap_err(), PlanError::Unrecoverable { good: 2, needed: 3 });
}

#[test]
fn what_was_judged_damaged_is_read_again_where_nothing_else_is_left() {
    let mut around = around(8);
    let damaged = || Damaged(vec![holdfast_types::ByteRange::first(10)]);
    let sources = |job: &RecoverJob| job.sources.iter().map(|source| source.index.0).collect::<Vec<_>>();
    let few = view([damaged(), Lost, Good, damaged(), Good]);
    // What was given up comes first.
    assert_eq!(sources(&around.plan(&few).unwrap()), [1, 2, 4]);
    around.gone.insert((NodeId([1; 32]), few.segment.shards[1]));
    let job = around.plan(&few).unwrap();
    assert_eq!(sources(&job), [0, 2, 4]);
    assert!(targets(&job).iter().all(|(index, ..)| [1, 3].contains(index)), "a source is no target");
    around.gone.insert((NodeId([0; 32]), few.segment.shards[0]));
    assert_eq!(sources(&around.plan(&few).unwrap()), [2, 3, 4]);
    around.gone.insert((NodeId([3; 32]), few.segment.shards[3]));
    assert_eq!(around.plan(&few).unwrap_err(), PlanError::Unrecoverable { good: 2, needed: 3 });
}

#[test]
fn a_node_that_failed_as_target_is_passed_over() {
    let mut around = around(6);
    around.avoid.insert(NodeId([4; 32]));
    let job = around.plan(&view([Good, Good, Good, Good, Lost])).unwrap();
    assert_eq!(targets(&job), [(4, 5, false)]);
    around.avoid.insert(NodeId([5; 32]));
    assert!(matches!(around.plan(&view([Good, Good, Good, Good, Lost])), Err(PlanError::NoPlace(_))));
}

/// A deletion under way could hit what a repair puts under the same name.
#[test]
fn a_node_that_may_be_deleting_the_shard_is_no_target() {
    let mut around = around(6);
    around.nodes.get_mut(&NodeId([4; 32])).unwrap().life = NodeLife::Suspended;
    let lost = view([Good, Good, Good, Good, Lost]);
    assert_eq!(targets(&around.plan(&lost).unwrap()), [(4, 5, false)]);
    around.deleting.insert((NodeId([5; 32]), lost.segment.shards[4]));
    assert!(matches!(around.plan(&lost), Err(PlanError::NoPlace(_))));
    // Nor in place.
    around.nodes.get_mut(&NodeId([4; 32])).unwrap().life = NodeLife::Active;
    around.deleting.insert((NodeId([4; 32]), lost.segment.shards[4]));
    assert!(matches!(around.plan(&lost), Err(PlanError::NoPlace(_))));
}

#[test]
fn where_there_is_a_place_for_one_shard_one_is_planned() {
    let mut around = around(6);
    for n in [3, 4] {
        around.nodes.get_mut(&NodeId([n; 32])).unwrap().life = NodeLife::Evicted;
    }
    let job = around.plan(&view([Good, Good, Good, Lost, Lost])).unwrap();
    assert_eq!(targets(&job), [(3, 5, false)]);
}

#[test]
fn a_segment_is_due_at_its_threshold_and_before_a_zone_could_end_it() {
    let nodes = nodes(8);
    let due = |view: &SegmentView| is_due(view, health(view, &nodes));
    let mut view = view([Good, Good, Good, Good, Good]);
    assert!(!due(&view));
    view.placements[0].standing = Lost;
    assert!(due(&view), "4 is the threshold");
    view.segment.repair_threshold = 3;
    // Four left on nodes 1, 2, 3, 4 in zones 1, 2, 3, 0: no zone holds two.
    assert_eq!(health(&view, &nodes), Health { good: 4, largest_zone: 1 });
    assert!(!due(&view));
    // The shard on node 2 lies in zone 1 as well: without that zone two are left of three.
    view.placements[2].node = NodeId([5; 32]);
    assert_eq!(health(&view, &nodes), Health { good: 4, largest_zone: 2 });
    assert!(due(&view));
}

proptest! {
    /// Whatever is lost and whoever is there: targets are bad shards, on distinct nodes that take them and hold nothing else of
    /// the segment, never more than m of the segment in one zone but for what was there before.
    #[test]
    fn a_plan_never_breaks_what_stands(
        bad in proptest::collection::vec(0u8..3, 5), lives in proptest::collection::vec(0u8..6, 10), seed: [u8; 32],
    ) {
        let standing = |kind: &u8| match kind {
            0 => Good,
            1 => Lost,
            _ => Damaged(vec![holdfast_types::ByteRange::first(7)]),
        };
        let standings: Vec<Standing> = bad.iter().map(standing).collect();
        let view = view(standings.try_into().unwrap());
        let mut around = around(10);
        for (n, life) in lives.iter().enumerate() {
            let life = if *life == 0 { NodeLife::Contained } else { NodeLife::Active };
            around.nodes.get_mut(&NodeId([n as u8; 32])).unwrap().life = life;
        }
        let Around { nodes, avoid, deleting, gone, unserved, withheld } = &around;
        let good: Vec<&Placement> = view.placements.iter().filter(|p| p.standing.is_good()).collect();
        match plan(&view, Limits { nodes, avoid, deleting, gone, unserved, withheld, seed: Seed(seed) }, FENCE) {
            Ok(job) => {
                prop_assert!(!job.targets.is_empty());
                prop_assert_eq!(job.sources.len(), good.len().max(3));
                let read: BTreeSet<_> = job.sources.iter().map(|source| source.index).collect();
                prop_assert!(job.targets.iter().all(|target| !read.contains(&target.index)));
                let mut all: Vec<NodeId> = good.iter().map(|placement| placement.node).collect();
                for target in &job.targets {
                    let old = &view.placements[usize::from(target.index.0)];
                    prop_assert!(!old.standing.is_good() && nodes[&target.node].life.takes_shards());
                    prop_assert_eq!(target.in_place, target.node == old.node);
                    prop_assert!(target.in_place || view.placements.iter().all(|p| p.node != target.node));
                    all.push(target.node);
                }
                prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
                for zone in 0..4u8 {
                    let here = |of: &[NodeId]| of.iter().filter(|node| node.0[0] % 4 == zone).count();
                    let fresh: Vec<NodeId> = job.targets.iter().filter(|t| !t.in_place).map(|t| t.node).collect();
                    prop_assert!(here(&all) <= 2 || here(&fresh) == 0);
                }
            }
            Err(PlanError::Whole) => prop_assert_eq!(good.len(), 5),
            Err(PlanError::Unrecoverable { .. }) => prop_assert!(good.len() < 3),
            Err(PlanError::NoPlace(_)) => {
                prop_assert!(view.placements.iter().all(|p| p.standing.is_good() || !nodes[&p.node].life.takes_shards()));
            }
        }
    }
}
