//! The storage daemon: volume, responder, gRPC.
//!
//! ```text
//!             ┌────────── service: who asks, and may they? ──────────┐
//!   gRPC ───► │ put ─► hash and write ─┐      get, list ─┐  challenge │ ───► signed answers
//!             └────────────────────────┼─────────────────┼──────┼─────┘
//!                                      ▼                 ▼      ▼
//!                     writer: one thread, one      bounded pool of readers
//!                     commit for many puts ──────────► volume ◄──
//! ```
//!
//! What a put answers is durable; what a get serves passed its checksum; what a challenge answers is signed with the
//! node's receipt key. A node decides nothing about a cluster: it obeys grants of the auditor whose key it pinned when
//! it first registered.

#![forbid(unsafe_code)]

mod buffers;
mod commitments;
pub mod config;
mod content;
mod counts;
mod damage;
mod error;
mod get;
pub mod identity;
mod prove;
mod put;
pub mod reading;
mod refusal;
mod registration;
mod running;
mod service;
mod state;
mod waiting;
mod writer;

pub use commitments::Tally;
pub use config::Checked;
pub use error::NodeError;
pub use running::{DRAIN_MAX, Running, run};
