//! The authority of a local cluster, made on the fly, and its members' certificates: kept from start to start, renewed
//! before they end.

use std::path::Path;

use holdfast_transport::{ClusterCa, Subject, TlsMaterial, Validity};
use holdfast_types::Millis;

use crate::{connect::wall, failure::Failure};

/// The name in every certificate of a cluster that `up` makes.
pub(crate) const CLUSTER: &str = "local";
/// Host names for stock software, which looks at names: whatever leads to this machine.
const HOSTS: [&str; 3] = ["127.0.0.1", "::1", "localhost"];
const DAY: u64 = 86_400;
const LIFE: Millis = Millis::from_secs(365 * DAY);
/// Renewed this long before its end, so that a cluster that runs for weeks does not stop in the middle.
const RENEWAL: Millis = Millis::from_secs(60 * DAY);

/// The authority of `dir`; made when there is none.
pub(crate) fn authority(dir: &Path) -> Result<ClusterCa, Failure> {
    if dir.join("ca.pem").exists() {
        return Ok(ClusterCa::load(dir)?);
    }
    let ca = ClusterCa::generate(CLUSTER.parse()?, wall())?;
    ca.save(dir)?;
    Ok(ca)
}

/// Sees that `dir` has a certificate for `subject` that holds for a while; answers its material.
pub(crate) fn ensure(ca: &ClusterCa, subject: &Subject, dir: &Path) -> Result<TlsMaterial, Failure> {
    let now = wall();
    if dir.join("cert.pem").exists()
        && let Ok(material) = TlsMaterial::load(dir, now + RENEWAL)
        && material.subject() == subject
        && material.cluster() == ca.cluster()
    {
        return Ok(material);
    }
    let hosts: Vec<String> = HOSTS.iter().map(ToString::to_string).collect();
    let issued = ca.issue(subject, &hosts, Validity::starting(now, LIFE))?;
    issued.save(dir)?;
    Ok(issued.material(now)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_kept_and_another_subject_gets_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (pki, tls) = (dir.path().join("pki"), dir.path().join("tls"));
        let subject = |name: &str| Subject::Auditor(name.parse().unwrap());
        let first = ensure(&authority(&pki).unwrap(), &subject("a"), &tls).unwrap();
        let again = ensure(&authority(&pki).unwrap(), &subject("a"), &tls).unwrap();
        assert_eq!(first.key_digest(), again.key_digest());
        let other = ensure(&authority(&pki).unwrap(), &subject("b"), &tls).unwrap();
        assert_ne!(first.key_digest(), other.key_digest());
        assert_eq!(other.subject(), &subject("b"));
    }
}
