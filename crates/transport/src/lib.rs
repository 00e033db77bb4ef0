//! TLS, roles, limits, channels: how the processes of a cluster know and reach each other.
//!
//! A cluster has one certificate authority ([`ClusterCa`]). Every process holds a certificate of it
//! that says what the process *is* — `holdfast://<cluster>/node/<id>` and the like, a [`Subject`] —
//! and nothing is decided by host names or addresses, because those change. Both ends of a
//! connection verify the other's certificate, speak TLS 1.3 only, and between our own binaries
//! agree on keys by X25519MLKEM768, so that what is recorded today stays closed to a quantum
//! adversary. There is no plaintext port but one, closed by default: [`scrape`], which gives
//! numbers and takes nothing.
//!
//! ```text
//!  ClusterCa ──issue──► Issued ──► TlsMaterial ──┬─► Listener ─► tonic server ─► peer(&request)
//!                                                └─► Dialer ──► tonic Channel
//! ```
//!
//! What a role may do, and what a grant permits, is decided above this crate.

#![forbid(unsafe_code)]

mod admission;
mod client;
mod error;
mod files;
mod identity;
pub mod limits;
mod material;
mod name;
mod occupancy;
mod pki;
mod request;
pub mod scrape;
mod server;
mod tls;

pub use admission::{Admission, AdmissionLayer};
pub use client::{Address, Dialer, Expected};
pub use error::TransportError;
pub use identity::{KeyExchange, PeerIdentity};
pub use material::TlsMaterial;
pub use name::{ClusterName, PeerName, Role, Subject};
pub use pki::{ClusterCa, Issued, KeyRequest, Validity};
pub use request::{
    RETRY_AFTER_METADATA, busy, peer, peer_address, require_node, require_owner, require_role, retry_after,
};
pub use server::{Connection, Incoming, Listener, ListenerLimits, PeerStream, builder};
