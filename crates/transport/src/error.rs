//! What can go wrong between two processes, in words for whoever has to act on it.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;
use tonic::{Code, Status};

use crate::{ClusterName, Expected, Subject};

/// Why a name, a certificate, a file or a connection was not taken. Says what was expected, what
/// came and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    /// A cluster's or a peer's name is malformed.
    #[error("expected {expected}, got {got:?}; correct the name")]
    Name {
        /// What a valid text looks like.
        expected: &'static str,
        /// What came, cut to a printable length.
        got: String,
    },
    /// A certificate is valid but does not say who its holder is.
    #[error(
        "expected a certificate with exactly one URI holdfast://CLUSTER/ROLE/ID, got {got}; issue it with `holdfast pki`"
    )]
    Identity {
        /// What the certificate holds instead.
        got: String,
    },
    /// A certificate of another cluster.
    #[error(
        "expected a certificate of cluster {expected}, got one of {got}; use the material that this cluster's CA issued"
    )]
    Cluster {
        /// Our cluster.
        expected: ClusterName,
        /// The peer's.
        got: ClusterName,
    },
    /// Somebody, but not the one we wanted.
    #[error("expected {expected} at this address, got {got}; correct the address, or the expected id")]
    Peer {
        /// Whom we wanted.
        expected: Expected,
        /// Who answered.
        got: Subject,
    },
    /// A peer that must use the hybrid key exchange did not.
    #[error("expected X25519MLKEM768 from {got}, got plain X25519; only clients may come without it: update the peer")]
    KeyExchange {
        /// Who came.
        got: Subject,
    },
    /// The peer's certificate or handshake was not accepted by us.
    #[error(
        "TLS with the peer failed: {why}; expected TLS 1.3, X25519MLKEM768 and a valid certificate of this cluster"
    )]
    Handshake {
        /// What TLS said.
        why: String,
    },
    /// The peer did not accept us.
    #[error(
        "the peer refused us with the TLS alert {alert}; see that our certificate is of its cluster and neither expired nor ahead of its clock"
    )]
    Refused {
        /// The alert's name.
        alert: String,
    },
    /// The peer hung up without saying why: it stops, restarts, or has no place for us.
    #[error(
        "the peer hung up ({why}); it may be stopping, or hold too many connections of ours: try again, then read its log"
    )]
    Interrupted {
        /// What happened.
        why: String,
    },
    /// Nothing useful answered in time.
    #[error("no connection to {address}: {why}; see that the peer runs and the address is right")]
    Unreachable {
        /// As given or as resolved.
        address: String,
        /// What happened.
        why: String,
    },
    /// Every address failed, each for its own reason.
    #[error("{expected} could not be reached: {}", list(.attempts))]
    AllAddresses {
        /// Whom we wanted.
        expected: Expected,
        /// Address and error, in the order tried.
        attempts: Vec<(String, TransportError)>,
    },
    /// The list of addresses is empty or too long, or one of them is malformed.
    #[error("expected 1 to {max} addresses of the form HOST:PORT or [IPv6]:PORT, got {got}", max = crate::limits::ADDRESSES_MAX)]
    Addresses {
        /// What came.
        got: String,
    },
    /// A listening socket could not be had.
    #[error("cannot listen on {address}: {why}; choose another address or stop what holds it")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's words.
        why: String,
    },
    /// Certificates or keys on disk are missing, unreadable or unsafe.
    #[error("{}: {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// Certificate, key and CA do not fit each other or the clock.
    #[error("unusable TLS material: {why}")]
    Material {
        /// What does not fit and what to do.
        why: String,
    },
    /// A certificate could not be made.
    #[error("cannot issue the certificate: {why}")]
    Issue {
        /// What is wrong with the request.
        why: String,
    },
}

impl TransportError {
    /// Whether the same attempt may succeed later without anybody changing a configuration.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            // One address that may come back is reason enough to try again.
            Self::AllAddresses { attempts, .. } => attempts.iter().any(|(_, error)| error.is_transient()),
            Self::Name { .. }
            | Self::Identity { .. }
            | Self::Cluster { .. }
            | Self::Peer { .. }
            | Self::KeyExchange { .. }
            | Self::Handshake { .. }
            | Self::Refused { .. }
            | Self::Addresses { .. }
            | Self::Listen { .. }
            | Self::File { .. }
            | Self::Material { .. }
            | Self::Issue { .. } => false,
        }
    }

    /// Our error inside an error of tonic, so that a failed call can say why its connection failed.
    pub fn find_in<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a TransportError> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(ours) = error.downcast_ref::<TransportError>() {
                return Some(ours);
            }
            // An io::Error reports the source of what it wraps, not what it wraps.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    /// What a failed handshake means.
    pub(crate) fn from_handshake(error: &io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Interrupted { why: error.to_string() };
        };
        match tls {
            rustls::Error::AlertReceived(alert) => Self::Refused { alert: format!("{alert:?}") },
            // Our own verifiers put the whole reason in here.
            rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
                match other.0.downcast_ref::<TransportError>() {
                    Some(ours) => ours.clone(),
                    None => Self::Handshake { why: tls.to_string() },
                }
            }
            _ => Self::Handshake { why: tls_words(tls) },
        }
    }
}

impl From<TransportError> for rustls::Error {
    fn from(error: TransportError) -> Self {
        Self::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(std::sync::Arc::new(error))))
    }
}

impl From<TransportError> for Status {
    fn from(error: TransportError) -> Self {
        let code = match &error {
            TransportError::Unreachable { .. }
            | TransportError::Interrupted { .. }
            | TransportError::AllAddresses { .. } => Code::Unavailable,
            TransportError::Identity { .. }
            | TransportError::Cluster { .. }
            | TransportError::Peer { .. }
            | TransportError::KeyExchange { .. }
            | TransportError::Handshake { .. }
            | TransportError::Refused { .. } => Code::Unauthenticated,
            TransportError::Name { .. } | TransportError::Addresses { .. } => Code::InvalidArgument,
            TransportError::Listen { .. }
            | TransportError::File { .. }
            | TransportError::Material { .. }
            | TransportError::Issue { .. } => Code::FailedPrecondition,
        };
        Status::new(code, error.to_string())
    }
}

/// What TLS says, in our words where its own mislead.
pub(crate) fn tls_words(error: &rustls::Error) -> String {
    use rustls::CertificateError::{BadSignature, UnknownIssuer};
    match error {
        // Two authorities made for one cluster name differ by their keys only, which shows as a bad signature.
        rustls::Error::InvalidCertificate(BadSignature | UnknownIssuer) => {
            "the certificate was issued by another authority than this cluster's".into()
        }
        _ => error.to_string(),
    }
}

/// A hostile text must not become a hostile log line.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn list(attempts: &[(String, TransportError)]) -> String {
    let lines: Vec<String> = attempts.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    lines.join("; ")
}
