//! Protobuf and checked conversions; no decisions.
