//! Reads who a peer is from its certificate.
//!
//! The chain has been verified by TLS before; this only asks what the authority wrote into the
//! certificate. Exactly one URI, or the peer is refused: with two, one place might read the first
//! and another the last.

use std::fmt;

use aws_lc_rs::digest;
use holdfast_types::{NodeId, OwnerId, Wall};
use rustls::{NamedGroup, pki_types::CertificateDer};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::{ClusterName, Role, Subject, TransportError, error::printable, limits::PEM_LEN_MAX};

/// How the keys of a connection were agreed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyExchange {
    /// X25519MLKEM768: what is recorded today stays closed to a quantum adversary.
    Hybrid,
    /// Plain X25519, by a client that is not ours.
    Classical,
}

impl KeyExchange {
    pub(crate) fn from_group(group: NamedGroup) -> Option<Self> {
        match group {
            NamedGroup::X25519MLKEM768 => Some(Self::Hybrid),
            NamedGroup::X25519 => Some(Self::Classical),
            _ => None,
        }
    }
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hybrid => "X25519MLKEM768",
            Self::Classical => "X25519",
        })
    }
}

/// The other end of a connection, as its verified certificate names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerIdentity {
    /// Always our own cluster.
    pub cluster: ClusterName,
    /// Role and id.
    pub subject: Subject,
    /// How the connection's keys were agreed.
    pub key_exchange: KeyExchange,
    /// SHA-256 of the certificate: what `openssl x509 -fingerprint -sha256` prints.
    pub cert_digest: [u8; 32],
    /// SHA-256 of the public key (SubjectPublicKeyInfo), which a renewal may keep: what a node's id
    /// is bound to at registration.
    pub key_digest: [u8; 32],
    /// When the certificate ends.
    pub expires: Wall,
}

impl PeerIdentity {
    /// What the peer does.
    pub const fn role(&self) -> Role {
        self.subject.role()
    }

    /// The node, if it is one.
    pub const fn node(&self) -> Option<NodeId> {
        self.subject.node()
    }

    /// The owner, if it is a client.
    pub const fn owner(&self) -> Option<OwnerId> {
        self.subject.owner()
    }
}

/// What a certificate of a cluster says of its holder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CertificateNames {
    pub(crate) subject: Subject,
    pub(crate) cert_digest: [u8; 32],
    pub(crate) key_digest: [u8; 32],
    pub(crate) expires: Wall,
}

impl CertificateNames {
    /// Reads a verified certificate of `cluster`.
    ///
    /// # Errors
    /// [`TransportError::Identity`] if it names nobody or more than one, [`TransportError::Cluster`]
    /// if it is another cluster's.
    pub(crate) fn read(der: &CertificateDer<'_>, cluster: &ClusterName) -> Result<Self, TransportError> {
        let certificate = parse(der)?;
        let uri = only_uri(&certificate)?;
        let (theirs, subject) =
            Subject::from_uri(uri).ok_or_else(|| TransportError::Identity { got: format!("{:?}", printable(uri)) })?;
        if theirs != *cluster {
            return Err(TransportError::Cluster { expected: cluster.clone(), got: theirs });
        }
        Ok(Self {
            subject,
            cert_digest: sha256(der),
            key_digest: sha256(certificate.public_key().raw),
            expires: end(&certificate),
        })
    }

    pub(crate) fn with(self, cluster: ClusterName, key_exchange: KeyExchange) -> PeerIdentity {
        let Self { subject, cert_digest, key_digest, expires } = self;
        PeerIdentity { cluster, subject, key_exchange, cert_digest, key_digest, expires }
    }
}

/// The cluster whose authority this certificate is.
pub(crate) fn authority(der: &CertificateDer<'_>) -> Result<ClusterName, TransportError> {
    let certificate = parse(der)?;
    let uri = only_uri(&certificate)?;
    ClusterName::from_authority_uri(uri).ok_or_else(|| TransportError::Material {
        why: format!(
            "expected the CA of a cluster (holdfast://CLUSTER/ca), got {:?}; give the cluster's ca.pem",
            printable(uri)
        ),
    })
}

/// The part of an authority's certificate that its key and its leaves must fit.
pub(crate) struct KeyAndEnd {
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: Vec<u8>,
    pub(crate) until: Wall,
}

pub(crate) fn key_and_end(der: &CertificateDer<'_>) -> Result<KeyAndEnd, TransportError> {
    let certificate = parse(der)?;
    Ok(KeyAndEnd { public_key: certificate.public_key().raw.to_vec(), until: end(&certificate) })
}

fn end(certificate: &X509Certificate<'_>) -> Wall {
    // X.509 counts whole seconds and includes the last one.
    let until = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Wall(until.saturating_mul(1000).saturating_add(999))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TransportError> {
    let malformed = |got: String| TransportError::Identity { got };
    if der.len() > PEM_LEN_MAX {
        return Err(malformed(format!("{} bytes where at most {PEM_LEN_MAX} are read", der.len())));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(malformed(format!("{} bytes after the certificate", rest.len()))),
        Err(error) => Err(malformed(format!("no X.509 certificate ({error})"))),
    }
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, TransportError> {
    let refused = |got: &str| TransportError::Identity { got: got.to_owned() };
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| refused("a malformed or repeated list of alternative names"))?
        .ok_or_else(|| refused("no alternative names at all"))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri),
        (None, _) => Err(refused("no URI")),
        (Some(_), Some(_)) => Err(refused("more than one URI")),
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
