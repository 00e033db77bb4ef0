//! Why a node does not start, or does not go on.

use std::{net::SocketAddr, path::PathBuf};

use holdfast_transport::TransportError;
use holdfast_types::NodeId;
use holdfast_volume::VolumeError;
use thiserror::Error;

/// Why a node does not start, or does not go on. Each says what to do.
#[derive(Debug, Error)]
pub enum NodeError {
    /// A configuration that cannot be run.
    #[error("configuration: {key}: expected {expected}, got {got}")]
    Config {
        /// Path of the key in the file.
        key: String,
        /// What would have been valid.
        expected: String,
        /// What came.
        got: String,
    },
    /// A file that cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The volume is another node's.
    #[error(
        "the volume in {} belongs to {volume}, the identity key makes {key}: give the key that the volume was made with, or another data_dir",
        path.display()
    )]
    ForeignVolume {
        /// Where the volume is.
        path: PathBuf,
        /// Whose it is.
        volume: NodeId,
        /// Whom the key makes.
        key: NodeId,
    },
    /// The certificate is another's.
    #[error(
        "the certificate names {certificate}, the identity key makes node {key}: have a certificate issued for this node"
    )]
    ForeignCertificate {
        /// Whom the certificate names.
        certificate: String,
        /// Whom the key makes.
        key: NodeId,
    },
    /// The volume cannot be opened or written.
    #[error("volume: {0}")]
    Volume(#[from] VolumeError),
    /// TLS material or sockets.
    #[error("transport: {0}")]
    Transport(#[from] TransportError),
    /// A server ended by itself.
    #[error("serving {address} failed: {why}; see the log, then start again")]
    Serve {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// Something that must not happen.
    #[error("{0}; this is a bug, report it")]
    Bug(String),
}

impl NodeError {
    pub(crate) fn config(key: &str, expected: impl ToString, got: impl ToString) -> Self {
        Self::Config { key: key.to_owned(), expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn file(path: &std::path::Path, why: impl ToString) -> Self {
        Self::File { path: path.to_owned(), why: why.to_string() }
    }
}
