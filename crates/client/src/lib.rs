//! Put and get: the driver of their machines.
