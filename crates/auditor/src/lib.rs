//! The control daemon: driver, store, CPU pool, API.
