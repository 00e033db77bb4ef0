//! Who asks, and how to say "later": what a service needs to know of its transport.

use std::net::SocketAddr;

use holdfast_types::{Millis, NodeId, OwnerId};
use tonic::{Code, Request, Status};

use crate::{Connection, PeerIdentity, Role};

/// Metadata of a `RESOURCE_EXHAUSTED` answer: milliseconds to wait, as gRPC's own retry policy
/// (gRFC A6) names it, so that stock clients heed it.
pub const RETRY_AFTER_METADATA: &str = "grpc-retry-pushback-ms";

/// A peer cannot make us wait longer than this by what it writes there.
const RETRY_AFTER_MAX: Millis = Millis::from_secs(3600);

/// The peer that sent this request.
///
/// # Errors
/// `INTERNAL` if the service is served over something else than a [`crate::Listener`]: a bug of ours
/// that must not become an anonymous caller.
pub fn peer<T>(request: &Request<T>) -> Result<&PeerIdentity, Status> {
    connection(request).map(|connection| &*connection.identity)
}

/// Where the request came from.
///
/// # Errors
/// As [`peer`].
pub fn peer_address<T>(request: &Request<T>) -> Result<SocketAddr, Status> {
    connection(request).map(|connection| connection.remote)
}

/// The peer, if it has one of `roles`.
///
/// # Errors
/// `PERMISSION_DENIED` otherwise; else as [`peer`].
pub fn require_role<'a, T>(request: &'a Request<T>, roles: &[Role]) -> Result<&'a PeerIdentity, Status> {
    let peer = peer(request)?;
    if roles.contains(&peer.role()) {
        return Ok(peer);
    }
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let (expected, got) = (roles.join(" or "), &peer.subject);
    Err(Status::permission_denied(format!(
        "expected a caller of role {expected}, got {got}; use a certificate of that role"
    )))
}

/// The owner for whom the caller acts.
///
/// # Errors
/// As [`require_role`] with [`Role::Client`].
pub fn require_owner<T>(request: &Request<T>) -> Result<OwnerId, Status> {
    require_role(request, &[Role::Client])?.owner().ok_or_else(unnamed)
}

/// The node that calls.
///
/// # Errors
/// As [`require_role`] with [`Role::Node`].
pub fn require_node<T>(request: &Request<T>) -> Result<NodeId, Status> {
    require_role(request, &[Role::Node])?.node().ok_or_else(unnamed)
}

/// "Not now": the only answer that a peer may take as a reason to come back.
pub fn busy(after: Millis, why: &str) -> Status {
    let mut status = Status::new(Code::ResourceExhausted, format!("{why}; try again in {after}"));
    status.metadata_mut().insert(RETRY_AFTER_METADATA, after.0.into());
    status
}

/// How long a peer that answered [`busy`] wants us to wait, an hour at most.
pub fn retry_after(status: &Status) -> Option<Millis> {
    if status.code() != Code::ResourceExhausted {
        return None;
    }
    let text = status.metadata().get(RETRY_AFTER_METADATA)?.to_str().ok()?;
    text.parse().ok().map(|ms| Millis(ms).min(RETRY_AFTER_MAX))
}

fn connection<T>(request: &Request<T>) -> Result<&Connection, Status> {
    request.extensions().get().ok_or_else(unnamed)
}

fn unnamed() -> Status {
    Status::internal("a request without a peer; serve this service on a holdfast listener")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_peer_says_when_to_come_back() {
        assert_eq!(retry_after(&busy(Millis(1500), "full")), Some(Millis(1500)));
        assert_eq!(retry_after(&busy(Millis(u64::MAX), "full")), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after(&Status::resource_exhausted("no time given")), None);
        let mut garbled = Status::resource_exhausted("x");
        garbled.metadata_mut().insert(RETRY_AFTER_METADATA, "-1".parse().unwrap());
        assert_eq!(retry_after(&garbled), None);
    }

    #[test]
    fn a_request_from_nowhere_is_nobodys() {
        assert_eq!(peer(&Request::new(())).unwrap_err().code(), Code::Internal);
        assert_eq!(require_role(&Request::new(()), &[Role::Client]).unwrap_err().code(), Code::Internal);
    }
}
