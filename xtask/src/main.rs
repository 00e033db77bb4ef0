//! Chores of the workspace: tidy, test, sim.

fn main() {}
