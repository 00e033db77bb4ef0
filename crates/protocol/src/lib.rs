//! The sans-IO core: whatever decides. Pure functions and synchronous state machines; no clock,
//! no socket, no disk, no chance of their own. Drivers (the auditor, the node, the client, and the
//! simulation) feed [`effect::Event`]s in and carry [`effect::Effect`]s out.

#![forbid(unsafe_code)]

pub mod answer;
pub mod audit;
pub mod auditor;
mod backoff;
pub mod challenge;
mod chores;
mod commitment;
mod context;
pub mod effect;
pub mod get;
pub mod grants;
pub mod message;
pub mod model;
pub mod outbox;
pub mod placement;
pub mod profile;
pub mod put;
pub mod recover;
pub mod repair;
pub mod responder;
mod retrieve;
pub mod set;
pub mod store;
pub mod upload;
pub mod verify;
pub mod witness;
