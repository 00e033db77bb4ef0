//! What a peer may take of us before we say no. Each bound has its reason beside it.

use std::time::Duration;

/// Bytes of one gRPC message, either way: gRPC's own default, so that stock peers need no setting.
/// Larger payloads are streamed; the largest single answer (512 sampled leaves) fits.
pub const GRPC_MESSAGE_MAX: usize = 4 << 20;

/// Bytes of a request's header list. Ours are below 1 KiB; hyper would allow 16 MiB.
pub const HEADER_LIST_MAX: u32 = 16 << 10;

/// From TCP accept to the first byte of HTTP/2. A handshake takes milliseconds and two round trips;
/// who needs longer is silent, and silence must not hold a place.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes under way at once. Peers are nobody yet, and each costs a key exchange and about
/// 128 KiB; further ones wait in the kernel's backlog.
pub const HANDSHAKES_MAX: usize = 128;

/// Connections at once. A cluster of a thousand nodes holds one each; below a common
/// file-descriptor limit of 4096 with room for volumes.
pub const CONNECTIONS_MAX: usize = 2048;

/// Connections of one identity, so that one certificate cannot lock out the others.
pub const CONNECTIONS_PER_PEER: usize = 64;

/// Streams of one HTTP/2 connection at once.
pub const STREAMS_PER_CONNECTION: u32 = 256;

/// Requests of one identity at once, over all its connections.
pub const REQUESTS_PER_PEER: usize = 128;

/// The same for an auditor, which drives audits and repairs of a whole cluster at once.
pub const REQUESTS_PER_AUDITOR: usize = 512;

/// Bytes of an HTTP/2 frame. The protocol's own default of 16 KiB costs a header, a TLS record of its
/// nine bytes and a turn of the scheduler for every 16 KiB of a shard; a peer can make us hold one such
/// frame a connection before it is looked at.
pub const FRAME_LEN_MAX: u32 = 256 << 10;

/// Bytes taken from a socket at once. TLS by itself asks for 4 KiB at a time: five calls of the kernel
/// for one record. Held by every connection, so a few records and no more.
pub const RECEIVE_LEN: usize = 64 << 10;

/// Unread bytes a stream may buffer: a few network round trips of a fast disk.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// Unread bytes a connection may buffer: what one peer can make us hold. Sixteen of them stay well
/// below the 256 MiB that a client may use.
pub const CONNECTION_WINDOW: u32 = 4 << 20;

/// A ping after so much silence, and how long its answer may take: a peer that vanished without a
/// FIN frees its place within half a minute.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// See [`KEEPALIVE_INTERVAL`].
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is closed gracefully after so long, because its certificate was judged only when it
/// began: an expired one outlives its date by this much at most.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(12 * 3600);

/// To one address: name lookup, TCP and TLS.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(4);

/// After TLS is done, how long to wait for the server's first HTTP/2 frame, which says that it took
/// our certificate. A foreign server may wait for our own first frame, so this ends in going on.
pub const ACCEPTANCE_TIMEOUT: Duration = Duration::from_secs(1);

/// Addresses of one peer, and addresses that one name may resolve to.
pub const ADDRESSES_MAX: usize = 16;

/// Bytes of a PEM file or of a certificate that we parse; ours are below 2 KiB.
pub const PEM_LEN_MAX: usize = 64 << 10;

/// Certificates in a chain; ours have one, an intermediate of an organisation makes a few.
pub const CHAIN_LEN_MAX: usize = 8;

/// Host names and addresses in one certificate.
pub const HOSTS_MAX: usize = 32;
