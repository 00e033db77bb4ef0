//! Who a process is: a cluster's name, a role, and an id, written as one URI in its certificate.
//!
//! `holdfast://<cluster>/<role>/<id>`: nodes and clients are named by the hash of their signing key,
//! auditors and gateways by a name that the operator gives. The authority itself is
//! `holdfast://<cluster>/ca`, which no peer can claim, because `ca` is no role.

use std::{fmt, str::FromStr};

use holdfast_types::{NodeId, OwnerId};

use crate::{TransportError, error::printable};

const SCHEME: &str = "holdfast://";

/// A DNS label in lower case, because names stand in host names and in URIs.
fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = TransportError;
            fn from_str(text: &str) -> Result<Self, TransportError> {
                if is_label(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(TransportError::Name { expected: $expected, got: printable(text) })
                }
            }
        }
    };
}

label!(
    /// The cluster that a certificate belongs to.
    ClusterName, "a cluster name: 1 to 63 of a-z, 0-9 and '-', no '-' at either end"
);
label!(
    /// An auditor or a gateway, named by its operator.
    PeerName, "a peer name: 1 to 63 of a-z, 0-9 and '-', no '-' at either end"
);

impl ClusterName {
    /// The URI in the certificate of the cluster's authority.
    pub(crate) fn authority_uri(&self) -> String {
        format!("{SCHEME}{self}/ca")
    }

    /// The cluster whose authority this URI names.
    pub(crate) fn from_authority_uri(uri: &str) -> Option<Self> {
        uri.strip_prefix(SCHEME)?.strip_suffix("/ca")?.parse().ok()
    }
}

/// What a process does in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Stores shards and answers challenges.
    Node,
    /// Audits, repairs, keeps the catalog.
    Auditor,
    /// Owns objects.
    Client,
    /// Serves objects to the public on behalf of owners.
    Gateway,
}

impl Role {
    /// As it stands in the URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Auditor => "auditor",
            Self::Client => "client",
            Self::Gateway => "gateway",
        }
    }

    /// Whether processes of this role listen, so that their certificates must serve a TLS server.
    /// A client's certificate does not, or any client could pose as a server to stock software that
    /// looks at host names only.
    pub const fn listens(self) -> bool {
        match self {
            Self::Node | Self::Auditor => true,
            Self::Client | Self::Gateway => false,
        }
    }

    /// Whether a peer of this role may come with plain X25519. Clients may be anybody's software;
    /// the others are ours and carry what must stay closed for decades.
    pub const fn may_be_classical(self) -> bool {
        match self {
            Self::Client => true,
            Self::Node | Self::Auditor | Self::Gateway => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One process of a cluster: its role and its id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// A node, by the hash of its receipt key.
    Node(NodeId),
    /// An auditor, by its name.
    Auditor(PeerName),
    /// A client, by the owner it acts for.
    Client(OwnerId),
    /// A gateway, by its name.
    Gateway(PeerName),
}

impl Subject {
    /// What the process does.
    pub const fn role(&self) -> Role {
        match self {
            Self::Node(_) => Role::Node,
            Self::Auditor(_) => Role::Auditor,
            Self::Client(_) => Role::Client,
            Self::Gateway(_) => Role::Gateway,
        }
    }

    /// The id as text.
    pub fn id(&self) -> String {
        match self {
            Self::Node(id) => id.to_string(),
            Self::Client(id) => id.to_string(),
            Self::Auditor(name) | Self::Gateway(name) => name.to_string(),
        }
    }

    /// The node, if it is one.
    pub const fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(id) => Some(*id),
            Self::Auditor(_) | Self::Client(_) | Self::Gateway(_) => None,
        }
    }

    /// The owner, if it is a client.
    pub const fn owner(&self) -> Option<OwnerId> {
        match self {
            Self::Client(id) => Some(*id),
            Self::Auditor(_) | Self::Node(_) | Self::Gateway(_) => None,
        }
    }

    /// The URI in the certificate.
    pub fn uri(&self, cluster: &ClusterName) -> String {
        format!("{SCHEME}{cluster}/{}/{}", self.role(), self.id())
    }

    /// Host names that hold for this subject wherever it runs, for software that verifies names:
    /// `<id>.<role>.holdfast.internal` and `<role>.holdfast.internal`.
    pub fn dns_names(&self) -> [String; 2] {
        let role = format!("{}.holdfast.internal", self.role());
        [format!("{}.{role}", self.id()), role]
    }

    /// Cluster and subject of a certificate's URI; `None` if it is not in exactly our form.
    pub fn from_uri(uri: &str) -> Option<(ClusterName, Self)> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let (cluster, role, id) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let subject = match role {
            "node" => Self::Node(id.parse().ok()?),
            "auditor" => Self::Auditor(id.parse().ok()?),
            "client" => Self::Client(id.parse().ok()?),
            "gateway" => Self::Gateway(id.parse().ok()?),
            _ => return None,
        };
        let cluster = cluster.parse().ok()?;
        // One identity has one spelling, or two strings would name one peer.
        (subject.uri(&cluster) == uri).then_some((cluster, subject))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role(), self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subjects() -> impl Strategy<Value = Subject> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(|bytes| Subject::Node(NodeId(bytes))),
            any::<[u8; 32]>().prop_map(|bytes| Subject::Client(OwnerId(bytes))),
            "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|name| Subject::Auditor(name.parse().unwrap())),
            "[a-z0-9]{1,63}".prop_map(|name| Subject::Gateway(name.parse().unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn a_subject_reads_back_from_its_uri(subject in subjects(), cluster in "[a-z0-9]{1,63}") {
            let cluster: ClusterName = cluster.parse().unwrap();
            prop_assert_eq!(Subject::from_uri(&subject.uri(&cluster)), Some((cluster, subject)));
        }

        #[test]
        fn any_text_is_parsed_or_refused_and_what_is_parsed_is_its_own_spelling(text in "(holdfast://)?[a-zA-Z0-9/%:.-]{0,90}") {
            if let Some((cluster, subject)) = Subject::from_uri(&text) {
                prop_assert_eq!(subject.uri(&cluster), text);
            }
        }
    }

    #[test]
    fn malformed_identities_are_refused() {
        let node = Subject::Node(NodeId([7; 32]));
        let uri = node.uri(&"c".parse().unwrap());
        for wrong in [
            uri.to_uppercase(),
            uri.replace("holdfast", "spiffe"),
            uri.replace("//c/", "//C/"),
            uri.replace("/node/", "/client/"),
            uri.replace("/node/", "/ca/"),
            format!("{uri}/"),
            format!("{uri}?x"),
            uri[..uri.len() - 1].to_owned(),
            "holdfast://c/ca".to_owned(),
            "holdfast://c/auditor/".to_owned(),
            "holdfast:///auditor/a".to_owned(),
            "holdfast://c/auditor/-a".to_owned(),
        ] {
            assert_eq!(Subject::from_uri(&wrong), None, "{wrong}");
        }
    }
}
