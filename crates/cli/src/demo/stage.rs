//! Who is on the stage, by the names that people are told.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::NodeId;

use super::story::Story;
use crate::cluster::Member;

/// The nodes by name, who of them is dead, and the story.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) story: Story,
    members: BTreeMap<NodeId, Member>,
    dead: BTreeSet<NodeId>,
}

impl Stage {
    pub(crate) fn of(story: Story, members: &[Member]) -> Self {
        let members = members.iter().map(|member| (member.id, member.clone())).collect();
        Self { story, members, dead: BTreeSet::new() }
    }

    /// `n07 (z3)`.
    pub(crate) fn name(&self, node: NodeId) -> String {
        self.members.get(&node).map_or_else(|| node.short(), |member| format!("{} ({})", member.name, member.zone))
    }

    pub(crate) fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    pub(crate) fn died(&mut self, node: NodeId) {
        self.dead.insert(node);
    }

    pub(crate) fn is_dead(&self, node: NodeId) -> bool {
        self.dead.contains(&node)
    }
}
