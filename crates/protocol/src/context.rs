//! The surroundings of a step, as the auditor's machines of repair, commitment and chores see them.

use std::collections::BTreeMap;

use holdfast_types::{Fence, NodeId, Now, SecretKey, Seed};

use crate::{model::NodeRow, outbox::Outbox, profile::Profile};

/// What a machine may look at, and where it puts what it wants done.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) profile: &'a Profile,
    pub(crate) cluster: &'a [u8; 32],
    /// Signs grants and descriptors.
    pub(crate) key: &'a SecretKey,
    pub(crate) nodes: &'a BTreeMap<NodeId, NodeRow>,
    /// The highest fence given out.
    pub(crate) fence: Fence,
    /// Every node had the chance to show that this catalog is an old copy, and none did. Before, no witness is burnt and no
    /// lease taken.
    pub(crate) uncontested: bool,
    /// The chance of the last tick; whoever draws from it binds what makes its draw another.
    pub(crate) chance: Seed,
    pub(crate) out: &'a mut Outbox,
}
