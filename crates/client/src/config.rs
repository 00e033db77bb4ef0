//! The client's configuration: raw as it stands in the file, checked as everybody else sees it.
//!
//! ```toml
//! auditors = ["auditor.example:7700", "[2001:db8::7]:7700"]
//! tls_dir = "tls"            # ca.pem, cert.pem, key.pem
//! owner_key = "owner.key"
//! policy = "default"         # of uploads that name none
//! state_dir = "uploads"      # what a crashed put needs to go on
//! ```
//!
//! Relative paths count from the file's own directory.

use std::path::{Path, PathBuf};

use holdfast_transport::{Address, limits::ADDRESSES_MAX};
use holdfast_wire::convert::POLICY_NAME_LEN_MAX;
use serde::Deserialize;

use crate::{ClientError, file};

/// A page of text: a longer file is another one.
const CONFIG_LEN_MAX: u64 = 64 << 10;

/// The policy of uploads that name none, where the file says nothing.
pub const POLICY_DEFAULT: &str = "default";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    auditors: Vec<String>,
    tls_dir: Option<PathBuf>,
    tls: Option<RawTls>,
    owner_key: PathBuf,
    policy: Option<String>,
    state_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

/// Where certificate, key and authority lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The cluster's authority.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// `ca.pem`, `cert.pem` and `key.pem` of a directory.
    pub fn of_directory(directory: &Path) -> Self {
        Self { ca: directory.join("ca.pem"), cert: directory.join("cert.pem"), key: directory.join("key.pem") }
    }
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where the auditor may be found, in the order to try.
    pub auditors: Vec<Address>,
    /// TLS material.
    pub tls: TlsFiles,
    /// The owner's key file.
    pub owner_key: PathBuf,
    /// The policy of uploads that name none.
    pub policy: String,
    /// Where uploads in progress are kept.
    pub state_dir: PathBuf,
}

impl ClientConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ClientError::Config`], which names the file.
    pub fn load(path: &Path) -> Result<Self, ClientError> {
        let failed = |why: String| ClientError::Config { path: path.to_owned(), why };
        let bytes = file::read_bounded(path, CONFIG_LEN_MAX)
            .map_err(|error| failed(format!("{error}; give the client's configuration")))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| failed("expected UTF-8 text".into()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(text, base).map_err(failed)
    }

    /// Checks a text whose relative paths count from `base`.
    ///
    /// # Errors
    /// What was expected, what came, what to do.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let raw: Raw = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if !(1..=ADDRESSES_MAX).contains(&raw.auditors.len()) {
            return Err(format!("auditors: expected 1 to {ADDRESSES_MAX} addresses, got {}", raw.auditors.len()));
        }
        let auditors: Result<Vec<Address>, _> = raw.auditors.iter().map(|address| address.parse()).collect();
        let auditors = auditors.map_err(|error| format!("auditors: {error}"))?;
        let tls = match (raw.tls_dir, raw.tls) {
            (Some(directory), None) => TlsFiles::of_directory(&base.join(directory)),
            (None, Some(RawTls { ca, cert, key })) => {
                TlsFiles { ca: base.join(ca), cert: base.join(cert), key: base.join(key) }
            }
            (Some(_), Some(_)) => return Err("expected either tls_dir or [tls], got both; keep one".into()),
            (None, None) => return Err("expected tls_dir or [tls] with ca, cert and key, got neither".into()),
        };
        let policy = raw.policy.unwrap_or_else(|| POLICY_DEFAULT.to_owned());
        accept_policy(&policy).map_err(|why| format!("policy: {why}"))?;
        let state_dir = base.join(raw.state_dir.unwrap_or_else(|| "uploads".into()));
        Ok(Self { auditors, tls, owner_key: base.join(raw.owner_key), policy, state_dir })
    }
}

/// A policy's name as the auditor takes it.
pub(crate) fn accept_policy(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if (1..=POLICY_NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    let got: String = name.escape_debug().take(80).collect();
    Err(format!("expected a policy name of 1 to {POLICY_NAME_LEN_MAX} of a-z, 0-9, '-' and '_', got {got:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "auditors = [\"localhost:7700\"]\ntls_dir = \"tls\"\nowner_key = \"/keys/owner.key\"\n";

    #[test]
    fn relative_paths_count_from_the_file() {
        let config = ClientConfig::parse(GOOD, Path::new("/etc/holdfast")).unwrap();
        assert_eq!(config.tls, TlsFiles::of_directory(Path::new("/etc/holdfast/tls")));
        assert_eq!(config.owner_key, Path::new("/keys/owner.key"));
        assert_eq!(config.state_dir, Path::new("/etc/holdfast/uploads"));
        assert_eq!(config.policy, POLICY_DEFAULT);
    }

    #[test]
    fn what_is_misspelt_is_refused_and_named() {
        let base = Path::new("/");
        let cases = [
            (format!("{GOOD}polcy = \"x\"\n"), "polcy"),
            (GOOD.replace("localhost:7700", "localhost"), "HOST:PORT"),
            (GOOD.replace("[\"localhost:7700\"]", "[]"), "1 to"),
            (GOOD.replace("tls_dir = \"tls\"\n", ""), "neither"),
            (format!("{GOOD}[tls]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n"), "both"),
            (format!("{GOOD}policy = \"Eight Plus Four\"\n"), "policy"),
            (GOOD.replace("owner_key", "owner"), "owner"),
        ];
        for (text, names) in cases {
            let error = ClientConfig::parse(&text, base).unwrap_err();
            assert!(error.contains(names), "{names}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = ClientConfig::load(Path::new("/nowhere/client.toml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/client.toml"), "{error}");
    }
}
