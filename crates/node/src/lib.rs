//! The storage daemon: volume, responder, gRPC.
