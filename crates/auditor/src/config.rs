//! The configuration: raw as TOML has it, checked as the auditor uses it. Nothing behind this module sees the file.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use holdfast_protocol::profile::Profile;
use holdfast_transport::ClusterName;
use holdfast_types::{Code, Policy};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of a configuration file at most; ours have below 2 KiB.
const FILE_LEN_MAX: u64 = 64 << 10;
/// Policies in one configuration: a put names one, a status lists them all.
const POLICIES_MAX: usize = 64;

/// Why a configuration cannot be run.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path} cannot be read: {source}")]
    File {
        /// Where.
        path: String,
        /// The system's word.
        source: io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("the configuration {path} is not what the auditor takes: {why}")]
    Syntax {
        /// Where.
        path: String,
        /// The parser's word, with the line.
        why: String,
    },
    /// A value that cannot be.
    #[error("{key} in the configuration: expected {expected}, got {got}")]
    Value {
        /// Which key.
        key: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        got: String,
    },
}

fn value(key: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> ConfigError {
    ConfigError::Value { key: key.into(), expected: expected.into(), got: got.into() }
}

/// The file as it is written. Relative paths count from the file's directory, those of keys from `data_dir`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Name of the cluster, as in its certificates.
    pub cluster: String,
    /// Addresses to listen on; port 0 lets the operating system choose.
    pub listen: Vec<String>,
    /// Directory of the catalog and of the commitment lists.
    pub data_dir: PathBuf,
    /// `production` or `demo`.
    #[serde(default = "production")]
    pub profile: String,
    /// Signs grants and descriptors; 32 bytes, made at the first start.
    #[serde(default = "signing_key")]
    pub signing_key: PathBuf,
    /// Unwraps placement secrets for repair; 32 bytes, made at the first start. Keep a copy elsewhere.
    #[serde(default = "recovery_key")]
    pub recovery_key: PathBuf,
    /// Certificates.
    pub tls: RawTls,
    /// Policies that uploads may name, by name.
    pub policy: BTreeMap<String, RawPolicy>,
    /// Where numbers are served for a scraper; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<RawMetrics>,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// The cluster's authority.
    pub ca: PathBuf,
    /// The auditor's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMetrics {
    /// Address of the page, without TLS: one of the loopback interface is meant.
    pub listen: String,
}

/// `[policy.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPolicy {
    /// k.
    pub data: u16,
    /// m.
    pub parity: u16,
    /// Shards that must be durable before a put is acknowledged; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_threshold: Option<u16>,
    /// Good shards at or below which a segment is repaired; any loss when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_threshold: Option<u16>,
}

fn production() -> String {
    "production".into()
}

fn signing_key() -> PathBuf {
    "auditor.key".into()
}

fn recovery_key() -> PathBuf {
    "recovery.key".into()
}

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// Directory of the catalog and of the commitment lists.
    pub data_dir: PathBuf,
    /// Intervals and limits.
    pub profile: Profile,
    /// File of the signing key.
    pub signing_key: PathBuf,
    /// File of the recovery key.
    pub recovery_key: PathBuf,
    /// Certificate files.
    pub tls: RawTls,
    /// At least one, by name.
    pub policies: BTreeMap<String, Policy>,
    /// Where numbers are served for a scraper.
    pub metrics: Option<SocketAddr>,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let file = |source| ConfigError::File { path: shown.clone(), source };
        let len = fs::metadata(path).map_err(file)?.len();
        if len > FILE_LEN_MAX {
            return Err(value(shown, format!("at most {FILE_LEN_MAX} bytes"), len.to_string()));
        }
        let text = fs::read_to_string(path).map_err(file)?;
        let raw: Raw = toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { path: shown.clone(), why: error.to_string() })?;
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        raw.into_checked(base)
    }
}

impl Raw {
    /// Checks every value; relative paths count from `base`.
    pub fn into_checked(self, base: &Path) -> Result<Config, ConfigError> {
        let name = |_| value("cluster", "a name of 1 to 63 of [a-z0-9-]", &self.cluster);
        let cluster: ClusterName = self.cluster.parse().map_err(name)?;
        let data_dir = base.join(&self.data_dir);
        let keys = (data_dir.join(&self.signing_key), data_dir.join(&self.recovery_key));
        Ok(Config {
            cluster,
            listen: listen(&self.listen)?,
            profile: profile(&self.profile)?,
            signing_key: keys.0,
            recovery_key: keys.1,
            tls: RawTls { ca: base.join(&self.tls.ca), cert: base.join(&self.tls.cert), key: base.join(&self.tls.key) },
            policies: policies(&self.policy)?,
            metrics: self.metrics.map(|metrics| scraped(&metrics.listen)).transpose()?,
            data_dir,
        })
    }
}

fn listen(addresses: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    if addresses.is_empty() {
        return Err(value("listen", "at least one address, for instance \"127.0.0.1:7400\"", "none"));
    }
    let parse = |address: &String| {
        address.parse().map_err(|_| value("listen", "an IP address and a port, for instance \"[::]:7400\"", address))
    };
    addresses.iter().map(parse).collect()
}

fn scraped(text: &str) -> Result<SocketAddr, ConfigError> {
    let expected = "an IP address and a port, for instance \"127.0.0.1:9740\"";
    text.parse().map_err(|_| value("metrics.listen", expected, text))
}

fn profile(name: &str) -> Result<Profile, ConfigError> {
    match name {
        "production" => Ok(Profile::production()),
        "demo" => Ok(Profile::demo()),
        other => Err(value("profile", "\"production\" or \"demo\"", format!("{other:?}"))),
    }
}

fn policies(raw: &BTreeMap<String, RawPolicy>) -> Result<BTreeMap<String, Policy>, ConfigError> {
    if raw.is_empty() || raw.len() > POLICIES_MAX {
        let expected = format!("1 to {POLICIES_MAX} tables, for instance [policy.default]");
        return Err(value("policy", expected, raw.len().to_string()));
    }
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter);
    let mut out = BTreeMap::new();
    for (name, raw) in raw {
        let key = format!("policy.{name}");
        if name.is_empty() || name.len() > 64 || !name.chars().all(letter) {
            return Err(value(key, "a name of 1 to 64 of [a-z0-9_-]", name));
        }
        let refused = |error: holdfast_types::PolicyError| value(&key, "a policy that can be kept", error.to_string());
        let code = Code::new(raw.data, raw.parity).map_err(refused)?;
        let mut policy = Policy::new(name, code);
        if let Some(shards) = raw.write_threshold {
            policy = policy.with_write_threshold(shards).map_err(refused)?;
        }
        if let Some(shards) = raw.repair_threshold {
            policy = policy.with_repair_threshold(shards).map_err(refused)?;
        }
        out.insert(name.clone(), policy);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        cluster = "demo"
        listen = ["127.0.0.1:7400", "[::1]:7400"]
        data_dir = "auditor"
        profile = "demo"
        [tls]
        ca = "ca.pem"
        cert = "cert.pem"
        key = "key.pem"
        [policy.default]
        data = 8
        parity = 4
    "#;

    fn check(text: &str) -> Result<Config, ConfigError> {
        let raw: Raw =
            toml::from_str(text).map_err(|e| ConfigError::Syntax { path: "test".into(), why: e.to_string() })?;
        raw.into_checked(Path::new("/base"))
    }

    #[test]
    fn a_good_configuration_is_read_with_paths_from_its_own_directory() {
        let config = check(GOOD).unwrap();
        assert_eq!(config.signing_key, Path::new("/base/auditor/auditor.key"));
        assert_eq!(config.policies["default"].write_threshold, 12);
        assert_eq!(config.profile, Profile::demo());
    }

    #[test]
    fn the_deployed_configuration_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/auditor.toml");
        Config::load(&path).unwrap();
    }

    #[test]
    fn each_bad_value_is_refused_by_its_name() {
        for (from, to, named) in [
            ("data = 8", "data = 0", "policy.default"),
            ("parity = 4", "parity = 4\nwrite_threshold = 8", "policy.default"),
            ("\"demo\"\n        listen", "\"De mo\"\n        listen", "cluster"),
            ("127.0.0.1:7400", "localhost", "listen"),
            ("profile = \"demo\"", "profile = \"fast\"", "profile"),
            ("[policy.default]", "[policy.UP]", "policy.UP"),
            ("data_dir", "dada_dir", "dada_dir"),
            ("[tls]", "[metrics]\nlisten = \"here\"\n[tls]", "metrics.listen"),
        ] {
            let error = check(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
