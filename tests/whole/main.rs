//! Whole processes, from outside.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod commitments;
mod crash;
mod demo;
mod objects;
