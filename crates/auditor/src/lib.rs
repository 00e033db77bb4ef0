//! The control daemon: driver, store, CPU pool, API.

#![forbid(unsafe_code)]

pub mod store;
