//! What a process needs to speak TLS: its certificate and key, and the authority it trusts.
//!
//! Everything is checked here, once, with the caller's clock, so that a process with unusable files
//! says so at its start and not at its first connection.

use std::{fmt, path::Path, sync::Arc};

use holdfast_types::Wall;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};

use crate::{
    ClusterName, Subject, TransportError,
    error::tls_words,
    files,
    identity::{self, CertificateNames},
    limits::CHAIN_LEN_MAX,
    tls,
};

/// Certificate, key and trusted authority of one process. Cheap to clone.
#[derive(Clone)]
pub struct TlsMaterial {
    cluster: ClusterName,
    own: CertificateNames,
    roots: Arc<RootCertStore>,
    certified: Arc<CertifiedKey>,
}

impl TlsMaterial {
    /// Reads `ca.pem`, `cert.pem` and `key.pem` of a directory.
    ///
    /// # Errors
    /// [`TransportError::File`], and those of [`TlsMaterial::from_pem`].
    pub fn load(directory: &Path, now: Wall) -> Result<Self, TransportError> {
        Self::load_files(
            &directory.join(files::CA_CERT),
            &directory.join(files::CERT),
            &directory.join(files::KEY),
            now,
        )
    }

    /// Reads the three files from wherever a configuration says.
    ///
    /// # Errors
    /// [`TransportError::File`], and those of [`TlsMaterial::from_pem`].
    pub fn load_files(ca: &Path, cert: &Path, key: &Path, now: Wall) -> Result<Self, TransportError> {
        let (ca, cert) = (files::read_public(ca)?, files::read_public(cert)?);
        Self::from_pem(&ca, &cert, &files::read_private(key)?, now)
    }

    /// Puts the three together. `cert_pem` may hold intermediates after the certificate.
    ///
    /// # Errors
    /// [`TransportError::Material`] if the key is another certificate's or the certificate is not
    /// valid at `now` under this authority; [`TransportError::Identity`] or
    /// [`TransportError::Cluster`] if it does not name a member of the authority's cluster.
    pub fn from_pem(ca_pem: &str, cert_pem: &str, key_pem: &str, now: Wall) -> Result<Self, TransportError> {
        let ca = one_certificate(ca_pem)?;
        let cluster = identity::authority(&ca)?;
        let chain = certificates(cert_pem)?;
        let own = CertificateNames::read(&chain[0], &cluster)?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|e| {
            unusable(format!("the CA's certificate is no trust anchor ({e}); give the cluster's ca.pem"))
        })?;
        let roots = Arc::new(roots);
        verify_own(&roots, &chain, now)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|e| unusable(format!("expected the PEM of a private key, got {e}; give key.pem")))?;
        let certified = CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|e| {
            unusable(format!("certificate and key do not fit ({e}); give the two that were issued together"))
        })?;
        Ok(Self { cluster, own, roots, certified: Arc::new(certified) })
    }

    /// Our cluster.
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Who we are.
    pub const fn subject(&self) -> &Subject {
        &self.own.subject
    }

    /// When our certificate ends.
    pub const fn expires(&self) -> Wall {
        self.own.expires
    }

    /// SHA-256 of our public key (SubjectPublicKeyInfo), as peers see it.
    pub const fn key_digest(&self) -> &[u8; 32] {
        &self.own.key_digest
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("cluster", &self.cluster).field("own", &self.own).finish_non_exhaustive()
    }
}

fn one_certificate(pem: &str) -> Result<CertificateDer<'static>, TransportError> {
    let mut all = certificates(pem)?;
    // Two trusted authorities would make two clusters of one.
    if all.len() != 1 {
        return Err(unusable(format!(
            "expected exactly one CA certificate, got {}; give the cluster's ca.pem",
            all.len()
        )));
    }
    Ok(all.remove(0))
}

/// One certificate at least.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate
            .map_err(|e| unusable(format!("expected the PEM of certificates, got {e}; give the right file")))?;
        if chain.len() == CHAIN_LEN_MAX {
            return Err(unusable(format!("expected at most {CHAIN_LEN_MAX} certificates in one file, got more")));
        }
        chain.push(certificate);
    }
    if chain.is_empty() {
        return Err(unusable("expected the PEM of a certificate, got none; give the right file".into()));
    }
    Ok(chain)
}

/// Asks of our own certificate what every peer will ask of it.
fn verify_own(roots: &Arc<RootCertStore>, chain: &[CertificateDer<'static>], now: Wall) -> Result<(), TransportError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), tls::provider())
        .build()
        .map_err(|e| unusable(e.to_string()))?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.0));
    verifier.verify_client_cert(&chain[0], &chain[1..], now).map(|_| ()).map_err(|e| {
        unusable(format!(
            "our own certificate does not hold now under this CA ({}); have it issued anew",
            tls_words(&e)
        ))
    })
}

fn unusable(why: String) -> TransportError {
    TransportError::Material { why }
}
