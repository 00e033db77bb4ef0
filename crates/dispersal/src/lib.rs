//! Object to segments to shards and back: frames, seal, code, mask, records.
