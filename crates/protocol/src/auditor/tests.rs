//! The whole core against a cluster in memory: the real seal, code, mask and rebuild, the real proofs,
//! the map as catalog, and a driver that can die between any two effects.

mod chores;
mod commitments;
mod lists;
mod old_copy;
mod repairs;
mod start;
mod witnesses;
mod world;
