//! The control daemon: driver, store, CPU pool, API.
//!
//! ```text
//!   gRPC ─► api ─► catalog (SQLite) ◄── store ◄──┐
//!            │                                   │ effects
//!            └── commands ──► driver ─ step ─► core (holdfast-protocol, decides)
//!                               ▲                │ effects
//!                 events ───────┴── links to nodes, CPU pool, commit, recover
//! ```
//!
//! One task steps the core; everything that waits runs beside it. What the core wishes to be durable
//! is durable before what follows from it is sent.

#![forbid(unsafe_code)]

mod alerts;
mod api;
mod clock;
mod commit;
pub mod config;
mod counted;
mod counts;
mod driver;
mod folds;
mod keys;
mod lists;
mod recover;
mod running;
mod sample;
mod seal;
mod shared;
pub mod store;

pub use config::{Config, ConfigError};
pub use keys::KeyError;
pub use running::{DRAIN_MAX, RunError, Running, run};
