//! The cluster's certificate authority and the certificates that it issues.
//!
//! ECDSA P-256 throughout, because stock gRPC clients refuse Ed25519 certificates. The authority
//! signs leaves only (path length 0). A process can keep its key to itself: it makes a
//! [`KeyRequest`] and the authority answers with a certificate for that key, taking nothing else
//! from the request — who the holder is, the operator says.

use std::{fmt, path::Path, time::Duration};

use holdfast_types::{Millis, Wall};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use zeroize::Zeroizing;

use crate::{
    ClusterName, Subject, TlsMaterial, TransportError, error::printable, files, files::Existing, identity,
    limits::HOSTS_MAX,
};

/// Clocks of a cluster may disagree by this much when a certificate is first used.
const BACKDATE: Millis = Millis::from_secs(3600);
/// An authority outlives the machines it was made for; replacing one is work on every machine.
const AUTHORITY_LIFE: Millis = Millis::from_secs(20 * 365 * 86_400);
/// The last millisecond of the year 9999, where X.509's calendar ends.
const WALL_MAX: Wall = Wall(253_402_300_799_999);

/// From when until when a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// First moment.
    pub from: Wall,
    /// Last moment.
    pub until: Wall,
}

impl Validity {
    /// From an hour before `now`, for peers whose clocks are behind, until `life` after it.
    pub fn starting(now: Wall, life: Millis) -> Self {
        Self { from: now - BACKDATE, until: now + life }
    }

    fn apply(self, params: &mut CertificateParams) -> Result<(), TransportError> {
        if self.from >= self.until || self.until > WALL_MAX {
            return Err(issue(format!(
                "expected a validity that begins before it ends and ends before the year 10000, got {self:?}"
            )));
        }
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_millis(self.from.0);
        params.not_after = epoch + Duration::from_millis(self.until.0);
        Ok(())
    }
}

/// The authority of one cluster: its certificate and the key that signs.
pub struct ClusterCa {
    cluster: ClusterName,
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    until: Wall,
}

impl ClusterCa {
    /// Makes an authority with a key from the operating system's randomness, valid for 20 years
    /// from `now`.
    ///
    /// # Errors
    /// [`TransportError::Issue`] if `now` is no time that a certificate can hold.
    pub fn generate(cluster: ClusterName, now: Wall) -> Result<Self, TransportError> {
        let validity = Validity::starting(now, AUTHORITY_LIFE);
        let mut params = CertificateParams::default();
        validity.apply(&mut params)?;
        params.distinguished_name = common_name(&format!("holdfast cluster {}", cluster.as_str()));
        params.subject_alt_names = vec![uri(&cluster.authority_uri())?];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key()?;
        let cert_pem = params.self_signed(&key).map_err(refused)?.pem();
        Ok(Self { cluster, issuer: Issuer::new(params, key), cert_pem, until: validity.until })
    }

    /// Reads an authority back from its certificate and key.
    ///
    /// # Errors
    /// [`TransportError::Material`] if it is not a cluster's authority or the key is another's.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, TransportError> {
        let der = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|e| material(format!("expected the PEM of a certificate, got {e}; give the cluster's ca.pem")))?;
        let cluster = identity::authority(&der)?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| {
            material(format!("expected the PEM of a private key, got {e}; give the cluster's ca-key.pem"))
        })?;
        let facts = identity::key_and_end(&der)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(material(
                "the CA's key belongs to another certificate; give ca.pem and ca-key.pem of one cluster".into(),
            ));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(refused)?;
        Ok(Self { cluster, issuer, cert_pem: cert_pem.to_owned(), until: facts.until })
    }

    /// Writes `ca.pem` and `ca-key.pem` (mode 0600) into `directory`, made if it is not there.
    ///
    /// # Errors
    /// [`TransportError::File`]; also if there is an authority already, which is never overwritten.
    pub fn save(&self, directory: &Path) -> Result<(), TransportError> {
        files::make_directory(directory)?;
        // The key first: a certificate without its key would block a second attempt for nothing.
        let key = Zeroizing::new(self.issuer.key().serialize_pem());
        files::write_private(&directory.join(files::CA_KEY), &key, Existing::Keep)?;
        files::write_public(&directory.join(files::CA_CERT), &self.cert_pem, Existing::Keep)
    }

    /// Reads what [`ClusterCa::save`] wrote.
    ///
    /// # Errors
    /// [`TransportError::File`], [`TransportError::Material`].
    pub fn load(directory: &Path) -> Result<Self, TransportError> {
        let cert = files::read_public(&directory.join(files::CA_CERT))?;
        let key = files::read_private(&directory.join(files::CA_KEY))?;
        Self::from_pem(&cert, &key)
    }

    /// The cluster.
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// The authority's certificate, for every member of the cluster.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Makes a key and a certificate for it. `hosts` are further host names and IP addresses under
    /// which stock software may know the holder; our own peers look at the subject only.
    ///
    /// # Errors
    /// [`TransportError::Issue`] on a malformed host or a validity that outlives the authority's.
    pub fn issue(&self, subject: &Subject, hosts: &[String], validity: Validity) -> Result<Issued, TransportError> {
        let key = new_key()?;
        let certificate = self.sign(&key, subject, hosts, validity)?;
        Ok(Issued {
            ca_pem: self.cert_pem.clone(),
            cert_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// Answers a [`KeyRequest`] with the PEM of a certificate for its key.
    ///
    /// # Errors
    /// [`TransportError::Issue`], also if the request is not signed by its own key or the key is
    /// not on P-256.
    pub fn issue_for_request(
        &self,
        request_pem: &str,
        subject: &Subject,
        hosts: &[String],
        validity: Validity,
    ) -> Result<String, TransportError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem).map_err(|e| {
            issue(format!("expected a signed certificate request, got {e}; make it with `holdfast pki request`"))
        })?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(issue(
                "expected a key on P-256, got another kind; make the request with `holdfast pki request`".into(),
            ));
        }
        Ok(self.sign(&request.public_key, subject, hosts, validity)?.pem())
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        hosts: &[String],
        validity: Validity,
    ) -> Result<Certificate, TransportError> {
        if validity.until > self.until {
            return Err(issue(format!(
                "expected a certificate that ends before its authority ({:?}), got {:?}; shorten its life",
                self.until, validity.until
            )));
        }
        let mut params = CertificateParams::new(host_names(subject, hosts)?).map_err(refused)?;
        validity.apply(&mut params)?;
        params.subject_alt_names.push(uri(&subject.uri(&self.cluster))?);
        params.distinguished_name = common_name(&format!("holdfast {}", subject.role()));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if subject.role().listens() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer).map_err(refused)
    }
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// A certificate with its key and its authority's certificate, as PEM.
pub struct Issued {
    ca_pem: String,
    cert_pem: String,
    key_pem: Zeroizing<String>,
}

impl Issued {
    /// The certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The private key (PKCS#8).
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem` (mode 0600) into `directory`, made if it is not
    /// there; replaces older ones.
    ///
    /// # Errors
    /// [`TransportError::File`].
    pub fn save(&self, directory: &Path) -> Result<(), TransportError> {
        files::make_directory(directory)?;
        files::write_private(&directory.join(files::KEY), &self.key_pem, Existing::Replace)?;
        files::write_public(&directory.join(files::CERT), &self.cert_pem, Existing::Replace)?;
        files::write_public(&directory.join(files::CA_CERT), &self.ca_pem, Existing::Replace)
    }

    /// Ready for use at `now`.
    ///
    /// # Errors
    /// [`TransportError::Material`] if it does not hold at `now`.
    pub fn material(&self, now: Wall) -> Result<TlsMaterial, TransportError> {
        TlsMaterial::from_pem(&self.ca_pem, &self.cert_pem, &self.key_pem, now)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// A new key that stays where it was made, and the request for a certificate of it.
pub struct KeyRequest {
    request_pem: String,
    key_pem: Zeroizing<String>,
}

impl KeyRequest {
    /// Makes a key from the operating system's randomness.
    ///
    /// # Errors
    /// [`TransportError::Issue`] if there is none.
    pub fn generate() -> Result<Self, TransportError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("holdfast request");
        let request_pem = params.serialize_request(&key).and_then(|r| r.pem()).map_err(refused)?;
        Ok(Self { request_pem, key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// What the authority needs.
    pub fn request_pem(&self) -> &str {
        &self.request_pem
    }

    /// Writes `key.pem` (mode 0600) and `request.pem` into `directory`. A key that is there is kept
    /// and reported, because a certificate may already exist for it.
    ///
    /// # Errors
    /// [`TransportError::File`].
    pub fn save(&self, directory: &Path) -> Result<(), TransportError> {
        files::make_directory(directory)?;
        files::write_private(&directory.join(files::KEY), &self.key_pem, Existing::Keep)?;
        files::write_public(&directory.join(files::REQUEST), &self.request_pem, Existing::Replace)
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRequest").field("request_pem", &self.request_pem).finish_non_exhaustive()
    }
}

fn host_names(subject: &Subject, hosts: &[String]) -> Result<Vec<String>, TransportError> {
    if hosts.len() > HOSTS_MAX {
        return Err(issue(format!("expected at most {HOSTS_MAX} host names and addresses, got {}", hosts.len())));
    }
    for host in hosts {
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(issue(format!(
                "expected a host name or an IP address without a port, got {:?}",
                printable(host)
            )));
        }
        // Else a certificate could claim another peer's fixed name.
        if host.to_ascii_lowercase().trim_end_matches('.').ends_with("holdfast.internal") {
            return Err(issue(format!(
                "expected a host name of your own, got {host:?}; holdfast.internal names are given by role"
            )));
        }
    }
    let fixed = if subject.role().listens() { subject.dns_names().to_vec() } else { Vec::new() };
    Ok(fixed.into_iter().chain(hosts.iter().cloned()).collect())
}

fn new_key() -> Result<KeyPair, TransportError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)
}

fn uri(text: &str) -> Result<SanType, TransportError> {
    Ok(SanType::URI(text.try_into().map_err(refused)?))
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // X.520 ends a common name after 64 characters; strict parsers refuse more.
    name.push(DnType::CommonName, text.chars().take(64).collect::<String>());
    name
}

fn refused(error: rcgen::Error) -> TransportError {
    issue(error.to_string())
}

fn issue(why: String) -> TransportError {
    TransportError::Issue { why }
}

fn material(why: String) -> TransportError {
    TransportError::Material { why }
}
