//! The auditor against nodes over the loopback: its own driver, catalog and API, real node servers with real volumes,
//! mutual TLS between them. In front of each node stands a relay that may lie in its name.

// Helpers of tests are tests too, though clippy does not see it.
#![allow(clippy::unwrap_used)]

mod client;
mod cluster;
mod deletions;
mod lies;
mod metrics;
mod relay;
mod repairs;
