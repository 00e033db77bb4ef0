//! Where shards go. Distinct nodes, never more than m shards of a segment in one zone, zones filled
//! evenly, and within a zone the nodes with more free space more often. Greedy by zone is exact
//! here: a zone takes at most m shards and at most one a node, whatever the others take, so nothing
//! is gained by trying combinations. O(n log n) in nodes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use holdfast_types::{Code, NodeId, Seed, ShardIndex, Transcript, ZoneName};
use thiserror::Error;

use crate::model::NodeRow;

/// What is to be placed, and what stands already.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The segment's code.
    pub code: Code,
    /// Bytes of each shard.
    pub shard_len: u64,
    /// All nodes of the cluster.
    pub nodes: &'a BTreeMap<NodeId, NodeRow>,
    /// Shards of the segment that stay where they are: they count for nodes and zones.
    pub kept: &'a [(ShardIndex, NodeId)],
    /// Nodes not to be chosen, for whatever reason.
    pub avoid: &'a BTreeSet<NodeId>,
    /// Breaks ties: two segments with different seeds load different nodes.
    pub seed: Seed,
}

/// How many nodes are fit, and why the others are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// In the catalog.
    pub registered: usize,
    /// Of them in a life that takes new shards.
    pub taking: usize,
    /// Of those with room for a shard.
    pub with_room: usize,
    /// Of those neither holding a shard of the segment nor to be avoided.
    pub free: usize,
}

/// Why shards cannot be placed, with the arithmetic.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PlacementError {
    /// Too few nodes.
    #[error(
        "{code} needs {needed} nodes, one a shard, {kept} of them stand; {} are registered, {} of these take shards, \
         {} of those have {shard_len} bytes free, {} of those hold no shard of the segment and did not fail it; \
         add {} nodes, or space, or choose a policy with fewer shards",
        census.registered, census.taking, census.with_room, census.free,
        (needed - kept).saturating_sub(census.free)
    )]
    Nodes {
        /// The code.
        code: Code,
        /// n.
        needed: usize,
        /// Shards that stay where they are.
        kept: usize,
        /// Bytes of a shard.
        shard_len: u64,
        /// Who is there.
        census: Census,
    },
    /// Enough nodes, in too few zones.
    #[error(
        "{code} needs nodes in at least {least} zones, with at most {} shards of a segment in one; nodes fit for its \
         {needed} shards: {}; that is room for {room}: add nodes in other zones, or choose a policy with more parity",
        code.parity(), Counts(zones)
    )]
    Zones {
        /// The code.
        code: Code,
        /// n.
        needed: usize,
        /// ceil(n / m).
        least: usize,
        /// Zone, and how many of its nodes hold or could take a shard.
        zones: Vec<(ZoneName, usize)>,
        /// Shards that the zones take together.
        room: usize,
    },
}

struct Counts<'a>(&'a [(ZoneName, usize)]);

impl std::fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (at, (zone, count)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{count} in {zone}")?;
        }
        Ok(())
    }
}

/// Places for all of `wanted`, or why not.
pub fn choose(request: &Request<'_>, wanted: &[ShardIndex]) -> Result<Vec<(ShardIndex, NodeId)>, PlacementError> {
    match fill(request, wanted) {
        (chosen, None) => Ok(chosen),
        (_, Some(error)) => Err(error),
    }
}

/// Places for as many of `wanted` as there are, in their order, and why not for the rest.
pub fn fill(request: &Request<'_>, wanted: &[ShardIndex]) -> (Vec<(ShardIndex, NodeId)>, Option<PlacementError>) {
    let mut zones = zones(request);
    // Fewest shards first, then the zone whose next node has the best draw.
    let rank = |zone: &Zone| Some((Reverse(zone.shards), zone.candidates.last()?.0));
    let limit = usize::from(request.code.parity());
    let open = |zone: &Zone| if zone.shards < limit { rank(zone) } else { None };
    let mut heap: BinaryHeap<_> = zones.iter().filter_map(|(name, zone)| Some((open(zone)?, name.clone()))).collect();
    let mut chosen = Vec::with_capacity(wanted.len());
    for index in wanted {
        let Some((_, name)) = heap.pop() else { break };
        let Some(zone) = zones.get_mut(&name) else { continue };
        let Some((_, node)) = zone.candidates.pop() else { continue };
        zone.shards += 1;
        chosen.push((*index, node));
        if let Some(rank) = open(zone) {
            heap.push((rank, name));
        }
    }
    let error = (chosen.len() < wanted.len()).then(|| explain(request, wanted.len()));
    (chosen, error)
}

/// Whether a cluster as it stands can hold segments of this code at all: asked before a put begins.
pub fn possible(code: Code, nodes: &BTreeMap<NodeId, NodeRow>) -> Result<(), PlacementError> {
    let avoid = BTreeSet::new();
    let request = Request { code, shard_len: 1, nodes, kept: &[], avoid: &avoid, seed: Seed([0; 32]) };
    let all: Vec<ShardIndex> = (0..code.total()).map(ShardIndex).collect();
    choose(&request, &all).map(|_| ())
}

/// A zone: shards of the segment in it, and its fit nodes by draw, best last.
#[derive(Default)]
struct Zone {
    shards: usize,
    candidates: Vec<(u128, NodeId)>,
}

fn zones(request: &Request<'_>) -> BTreeMap<ZoneName, Zone> {
    let mut zones: BTreeMap<ZoneName, Zone> = BTreeMap::new();
    for (_, node) in request.kept {
        // A shard on a node that left the table is in no zone that anybody knows.
        if let Some(row) = request.nodes.get(node) {
            zones.entry(row.zone.clone()).or_default().shards += 1;
        }
    }
    let holding: BTreeSet<NodeId> = request.kept.iter().map(|(_, node)| *node).collect();
    for row in request.nodes.values() {
        let free = row.capacity.saturating_sub(row.used);
        let fit = row.life.takes_shards() && free >= request.shard_len;
        if fit && !holding.contains(&row.id) && !request.avoid.contains(&row.id) {
            let draw = draw(&request.seed, &row.id, free);
            zones.entry(row.zone.clone()).or_default().candidates.push((draw, row.id));
        }
    }
    for zone in zones.values_mut() {
        zone.candidates.sort_unstable();
    }
    zones
}

/// A uniform number times the free space: of two nodes, the one with twice the space wins three times out of four.
fn draw(seed: &Seed, node: &NodeId, free: u64) -> u128 {
    let digest = Transcript::new("holdfast 2026 placement draw v1")
        .absorb("seed", &seed.0)
        .absorb("node", node.as_bytes())
        .digest();
    let uniform = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    u128::from(uniform) * u128::from(free)
}

fn explain(request: &Request<'_>, wanted: usize) -> PlacementError {
    let (code, needed, kept) = (request.code, usize::from(request.code.total()), request.kept.len());
    let taking = || request.nodes.values().filter(|row| row.life.takes_shards());
    let roomy = taking().filter(|row| row.capacity.saturating_sub(row.used) >= request.shard_len).count();
    let zones = zones(request);
    let free = zones.values().map(|zone| zone.candidates.len()).sum();
    let census = Census { registered: request.nodes.len(), taking: taking().count(), with_room: roomy, free };
    if free < wanted {
        return PlacementError::Nodes { code, needed, kept, shard_len: request.shard_len, census };
    }
    let limit = usize::from(code.parity());
    let room = zones.values().map(|zone| (zone.shards + zone.candidates.len()).min(limit.max(zone.shards))).sum();
    let zones = zones.into_iter().map(|(name, zone)| (name, zone.shards + zone.candidates.len())).collect();
    PlacementError::Zones { code, needed, least: needed.div_ceil(limit), zones, room }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Incarnation, PublicKey, VolumeId, Wall};
    use proptest::prelude::*;

    use super::*;
    use crate::model::NodeLife;

    fn row(n: u8, zone: u8, free: u64) -> NodeRow {
        NodeRow {
            id: NodeId([n; 32]),
            key: PublicKey([n; 32]),
            addresses: vec![],
            zone: ZoneName(format!("z{zone}")),
            operator: String::new(),
            life: NodeLife::Active,
            containment: None,
            volume: VolumeId([n; 16]),
            incarnation: Incarnation([n; 16]),
            capacity: 1 << 30,
            used: (1 << 30) - free,
            joined: Wall(0),
            seen: Wall(0),
            judged: None,
            version: 1,
        }
    }

    fn table(rows: impl IntoIterator<Item = NodeRow>) -> BTreeMap<NodeId, NodeRow> {
        rows.into_iter().map(|row| (row.id, row)).collect()
    }

    fn all(code: Code) -> Vec<ShardIndex> {
        (0..code.total()).map(ShardIndex).collect()
    }

    fn ask<'a>(code: Code, nodes: &'a BTreeMap<NodeId, NodeRow>, avoid: &'a BTreeSet<NodeId>, seed: u8) -> Request<'a> {
        Request { code, shard_len: 1000, nodes, kept: &[], avoid, seed: Seed([seed; 32]) }
    }

    #[test]
    fn sixteen_nodes_in_four_zones_take_three_shards_a_zone() {
        let nodes = table((0..16).map(|n| row(n, n % 4, 1 << 20)));
        let code = Code::new(8, 4).unwrap();
        let none = BTreeSet::new();
        for seed in 0..20 {
            let chosen = choose(&ask(code, &nodes, &none, seed), &all(code)).unwrap();
            let mut zones = BTreeMap::new();
            for (_, node) in &chosen {
                *zones.entry(nodes[node].zone.clone()).or_insert(0) += 1;
            }
            assert!(zones.values().all(|count| *count == 3), "{zones:?}");
        }
    }

    #[test]
    fn too_few_nodes_are_refused_with_the_arithmetic() {
        let mut nodes = table((0..9).map(|n| row(n, n, 1 << 20)));
        nodes.get_mut(&NodeId([0; 32])).unwrap().life = NodeLife::Contained;
        nodes.get_mut(&NodeId([1; 32])).unwrap().life = NodeLife::Draining;
        nodes.get_mut(&NodeId([2; 32])).unwrap().used = 1 << 30;
        let avoid = BTreeSet::from([NodeId([3; 32])]);
        let code = Code::new(8, 4).unwrap();
        let error = choose(&ask(code, &nodes, &avoid, 0), &all(code)).unwrap_err();
        let census = Census { registered: 9, taking: 7, with_room: 6, free: 5 };
        assert_eq!(error, PlacementError::Nodes { code, needed: 12, kept: 0, shard_len: 1000, census });
        let said = error.to_string();
        assert!(said.contains("8+4 needs 12 nodes") && said.contains("9 are registered, 7 of these"), "{said}");
        assert!(said.contains("add 7 nodes"), "{said}");
    }

    #[test]
    fn too_few_zones_are_refused_with_the_arithmetic() {
        let nodes = table((0..20).map(|n| row(n, n % 2, 1 << 20)));
        let code = Code::new(8, 4).unwrap();
        let error = possible(code, &nodes).unwrap_err();
        let zones = vec![(ZoneName("z0".into()), 10), (ZoneName("z1".into()), 10)];
        assert_eq!(error, PlacementError::Zones { code, needed: 12, least: 3, zones, room: 8 });
        assert!(error.to_string().contains("at least 3 zones"), "{error}");
        assert!(possible(Code::new(4, 4).unwrap(), &nodes).is_ok());
    }

    #[test]
    fn a_node_with_more_space_is_chosen_more_often_and_a_small_one_still_is() {
        let nodes = table([row(1, 1, 3 << 20), row(2, 1, 1 << 20), row(3, 2, 1 << 20)]);
        let none = BTreeSet::new();
        let code = Code::new(1, 1).unwrap();
        let mut large = 0;
        for seed in 0..200 {
            let chosen = choose(&ask(code, &nodes, &none, seed), &all(code)).unwrap();
            large += chosen.iter().filter(|(_, node)| *node == NodeId([1; 32])).count();
        }
        // P(uniform · 3 > uniform · 1) = 5/6: 167 of 200 expected, standard deviation 5.3.
        assert!((140..195).contains(&large), "{large}");
    }

    #[test]
    fn what_stands_counts_for_its_zone() {
        let nodes = table((0..6).map(|n| row(n, n / 2, 1 << 20)));
        let code = Code::new(2, 1).unwrap();
        let kept = [(ShardIndex(0), NodeId([0; 32])), (ShardIndex(1), NodeId([2; 32]))];
        let avoid = BTreeSet::new();
        let request = Request { kept: &kept, ..ask(code, &nodes, &avoid, 1) };
        let chosen = choose(&request, &[ShardIndex(2)]).unwrap();
        assert!(chosen[0].1 == NodeId([4; 32]) || chosen[0].1 == NodeId([5; 32]));
        let avoid = BTreeSet::from([NodeId([4; 32]), NodeId([5; 32])]);
        let (none, error) = fill(&Request { avoid: &avoid, ..request }, &[ShardIndex(2)]);
        assert!(none.is_empty() && matches!(error, Some(PlacementError::Zones { .. })), "{error:?}");
    }

    proptest! {
        /// Against counting: a zone takes min(m, nodes), and the zones together all or as many as they have.
        #[test]
        fn a_choice_is_made_exactly_when_there_is_one(
            sizes in proptest::collection::vec(0usize..6, 1..7), data in 1u16..10, parity in 1u16..6, seed: [u8; 32],
        ) {
            let code = Code::new(data, parity).unwrap();
            let mut rows = Vec::new();
            for (zone, size) in sizes.iter().enumerate() {
                for _ in 0..*size {
                    rows.push(row(rows.len() as u8, zone as u8, 1 << 20));
                }
            }
            let nodes = table(rows);
            let none = BTreeSet::new();
            let request = Request { seed: Seed(seed), ..ask(code, &nodes, &none, 0) };
            let room: usize = sizes.iter().map(|size| (*size).min(usize::from(parity))).sum();
            let wanted = all(code);
            let (chosen, error) = fill(&request, &wanted);
            prop_assert_eq!(chosen.len(), room.min(wanted.len()));
            prop_assert_eq!(error.is_none(), room >= wanted.len());
            let distinct: BTreeSet<_> = chosen.iter().map(|(_, node)| *node).collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert!(chosen.iter().zip(&wanted).all(|((index, _), wanted)| index == wanted));
            for zone in 0..sizes.len() {
                let name = ZoneName(format!("z{zone}"));
                let here = chosen.iter().filter(|(_, node)| nodes[node].zone == name).count();
                prop_assert!(here <= usize::from(parity));
            }
            prop_assert_eq!(fill(&request, &wanted).0, chosen);
        }
    }
}
