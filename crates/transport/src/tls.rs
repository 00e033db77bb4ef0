//! The TLS configurations, and who is let through the handshake.
//!
//! The crypto provider is passed along, never installed for the process: a library must not decide
//! for the program around it. Sessions are not resumed: a resumed one would not look at the
//! certificate again, and with it not at its end.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, PeerIncompatible, RootCertStore,
    ServerConfig, SignatureScheme, SupportedCipherSuite,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms,
        aws_lc_rs::{cipher_suite, default_provider, kx_group},
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::SingleCertAndKey,
    version::TLS13,
};

use crate::{ClusterName, Expected, TlsMaterial, TransportError, identity::CertificateNames};

/// HTTP/2, which is all that gRPC speaks.
const ALPN_H2: &[u8] = b"h2";

/// The group that our own binaries require of each other.
pub(crate) const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

/// AES-128-GCM first: a quarter faster than AES-256 on the bytes that are most of what we send, and those
/// are sealed with AES-256 before they come here. TLS keeps the rest (names, sizes, grants) for their hour.
fn suites() -> Vec<SupportedCipherSuite> {
    vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ]
}

/// aws-lc-rs with the hybrid group first and plain X25519 behind it: what a server takes.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519];
    Arc::new(CryptoProvider { kx_groups, cipher_suites: suites(), ..default_provider() })
}

/// The same with the hybrid group only: what our clients offer.
fn hybrid_provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![kx_group::X25519MLKEM768];
    Arc::new(CryptoProvider { kx_groups, cipher_suites: suites(), ..default_provider() })
}

/// For a listener: a client certificate of our cluster is required.
pub(crate) fn server_config(material: &TlsMaterial) -> Result<Arc<ServerConfig>, TransportError> {
    let verifier = ClusterClients::new(material)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| unusable(&e))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(material.certified())));
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For a dialer that wants `expected` and nobody else.
pub(crate) fn client_config(material: &TlsMaterial, expected: Expected) -> Result<Arc<ClientConfig>, TransportError> {
    let provider = hybrid_provider();
    let verifier = ClusterServer {
        roots: material.roots(),
        algorithms: provider.signature_verification_algorithms,
        cluster: material.cluster().clone(),
        expected,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| unusable(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(material.certified())));
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    // The name says who is wanted, in clear text, and nobody needs it.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

fn unusable(error: &Error) -> TransportError {
    TransportError::Material { why: error.to_string() }
}

/// Lets a server through that the cluster's authority certified as the one expected. Host names are
/// not looked at: they change, and whoever holds one does not thereby hold the role.
#[derive(Debug)]
struct ClusterServer {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    cluster: ClusterName,
    expected: Expected,
}

impl ServerCertVerifier for ClusterServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        let names = CertificateNames::read(end_entity, &self.cluster)?;
        self.expected.admit(&names.subject)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Lets a client through that the cluster's authority certified as a member, whatever its role.
#[derive(Debug)]
struct ClusterClients {
    chain: Arc<dyn ClientCertVerifier>,
    cluster: ClusterName,
}

impl ClusterClients {
    fn new(material: &TlsMaterial) -> Result<Self, TransportError> {
        let chain = WebPkiClientVerifier::builder_with_provider(material.roots(), provider())
            .build()
            .map_err(|e| TransportError::Material { why: e.to_string() })?;
        Ok(Self { chain, cluster: material.cluster().clone() })
    }
}

impl ClientCertVerifier for ClusterClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        CertificateNames::read(end_entity, &self.cluster)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
