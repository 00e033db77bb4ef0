//! Who may depend on whom. The table of docs/architecture.md, as code.

use cargo_metadata::{DependencyKind, Metadata};

/// (crate, what it may depend on of ours). A crate that is not here is a finding.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("merkle-cid", &[]),
    ("holdfast-types", &["merkle-cid"]),
    ("holdfast-kzg", &["holdfast-types"]),
    ("holdfast-dispersal", &["holdfast-types", "merkle-cid", "holdfast-kzg"]),
    ("holdfast-protocol", &["holdfast-types", "merkle-cid", "holdfast-kzg", "holdfast-dispersal"]),
    ("holdfast-volume", &["holdfast-types"]),
    ("holdfast-wire", &["holdfast-types", "merkle-cid", "holdfast-kzg", "holdfast-dispersal", "holdfast-protocol"]),
    ("holdfast-transport", &["holdfast-types"]),
    (
        "holdfast-client",
        &[
            "holdfast-types",
            "merkle-cid",
            "holdfast-kzg",
            "holdfast-dispersal",
            "holdfast-protocol",
            "holdfast-wire",
            "holdfast-transport",
        ],
    ),
    (
        "holdfast-node",
        &[
            "holdfast-types",
            "merkle-cid",
            "holdfast-kzg",
            "holdfast-volume",
            "holdfast-protocol",
            "holdfast-wire",
            "holdfast-transport",
        ],
    ),
    (
        "holdfast-auditor",
        &[
            "holdfast-types",
            "merkle-cid",
            "holdfast-kzg",
            "holdfast-dispersal",
            "holdfast-protocol",
            "holdfast-wire",
            "holdfast-transport",
            "holdfast-client",
        ],
    ),
];

/// May depend on everything; nothing shipped depends on them but cli on its own parts.
const TOPS: &[&str] = &["holdfast", "holdfast-sim", "holdfast-tests", "holdfast-benches", "xtask"];

/// The sans-IO core may not know these, by any road of its own manifest.
const CORE: &[&str] = &["merkle-cid", "holdfast-types", "holdfast-kzg", "holdfast-dispersal", "holdfast-protocol"];
const NOT_IN_CORE: &[&str] = &["tokio", "tonic", "sqlx", "rustix", "nix", "getrandom", "hyper-util", "tokio-rustls"];

/// What is wrong with the workspace's manifests.
pub(crate) fn findings(metadata: &Metadata) -> Vec<String> {
    let ours: Vec<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut out = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if TOPS.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = MAY_DEPEND.iter().find(|(known, _)| *known == name) else {
            out.push(format!(
                "{name}: not in the table of xtask/src/direction.rs and docs/architecture.md; add it there"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            // A test may look down from above; what ships may not.
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let on = dependency.name.as_str();
            if ours.contains(&on) && !allowed.contains(&on) {
                out.push(format!("{name}: depends on {on}, which its place in the table forbids"));
            }
            if CORE.contains(&name) && NOT_IN_CORE.contains(&on) {
                out.push(format!("{name}: is sans-IO and may not depend on {on}"));
            }
        }
    }
    out
}
