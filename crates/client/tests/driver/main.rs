//! The drivers of put and get over real connections, against nodes that lie and an auditor that restarts.

#![allow(clippy::unwrap_used)]

mod auditor;
mod cluster;
mod get;
mod link;
mod many;
mod node;
mod put;
mod resume;
mod witness;
