//! A node as its peers meet it: real sockets, real TLS, a real volume in a temporary directory.

// Helpers of tests are tests too, though clippy does not see it.
#![allow(clippy::unwrap_used)]

mod audit;
mod cluster;
mod commitments;
mod crash;
mod damage;
mod full;
mod grants;
mod life;
mod metrics;
mod storage;
