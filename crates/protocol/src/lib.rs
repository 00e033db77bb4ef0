//! The sans-IO core: whatever decides. Pure functions and synchronous state machines; no clock,
//! no socket, no disk, no chance of their own. Drivers (the auditor, the node, the client, and the
//! simulation) feed [`effect::Event`]s in and carry [`effect::Effect`]s out.

#![forbid(unsafe_code)]

pub mod effect;
pub mod get;
pub mod message;
pub mod model;
pub mod outbox;
pub mod profile;
pub mod put;
pub mod store;
