//! What the build generates from `proto/`. Values of these types are what a stranger sent: convert them before use.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, rustdoc::all)]

/// `holdfast.common.v1`
pub mod common {
    /// First version.
    pub mod v1 {
        tonic::include_proto!("holdfast.common.v1");
    }
}

/// `holdfast.node.v1`
pub mod node {
    /// First version.
    pub mod v1 {
        tonic::include_proto!("holdfast.node.v1");
    }
}

/// `holdfast.auditor.v1`
pub mod auditor {
    /// First version.
    pub mod v1 {
        tonic::include_proto!("holdfast.auditor.v1");
    }
}
