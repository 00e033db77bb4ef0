//! The configuration: raw as TOML has it, checked as the node uses it. Nothing behind this module sees the file.

use std::{
    fs,
    net::SocketAddr,
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use holdfast_transport::{Address, PeerName};
use holdfast_types::{PublicKey, ZoneName};
use holdfast_wire::convert::{ADDRESSES_MAX, LABEL_LEN_MAX};
use serde::{Deserialize, Serialize};

use crate::NodeError;

/// Bytes of a configuration file at most; ours have below 2 KiB.
const FILE_LEN_MAX: u64 = 64 << 10;

/// The file as it is written. Relative paths count from the file's directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Addresses to listen on; port 0 lets the operating system choose.
    pub listen: Vec<String>,
    /// `host:port` by which peers reach the node, in the order to try; those of `listen` when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<String>,
    /// Directory of the volume.
    pub data_dir: PathBuf,
    /// The node's receipt key: 32 bytes, made at the first start. Keep it outside `data_dir`.
    pub identity_key: PathBuf,
    /// Bytes offered, a number or with KiB, MiB, GiB, TiB.
    pub capacity: Size,
    /// Bytes of shards that one owner may have here, a number or with a unit; no bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_quota: Option<Size>,
    /// Failure domain.
    pub zone: String,
    /// Who runs the node.
    #[serde(default)]
    pub operator: String,
    /// Whom to register with.
    pub auditor: RawAuditor,
    /// Certificates.
    pub tls: RawTls,
    /// What peers may take of the node.
    #[serde(default)]
    pub limits: RawLimits,
    /// Commitments that the node computes by itself.
    #[serde(default)]
    pub commitments: RawCommitments,
    /// Where numbers are served for a scraper; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<RawMetrics>,
}

/// `[auditor]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAuditor {
    /// The name in its certificate.
    pub name: String,
    /// `host:port`, in the order to try.
    pub addresses: Vec<String>,
    /// Its public key, 64 hexadecimal digits; pinned at the first registration when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// The cluster's authority.
    pub ca: PathBuf,
    /// The node's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Challenges answered at once, with six threads and 14 MiB each; more are refused with a time to come back.
    pub challenges: u32,
    /// Threads reading the disk at once.
    pub read_threads: u32,
    /// Puts at once; more are told to come back.
    pub uploads: u32,
    /// Bytes a second that all challenges together may read; 0 for no limit.
    pub challenge_rate: Size,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMetrics {
    /// Address of the page, without TLS: one of the loopback interface is meant.
    pub listen: String,
}

/// `[commitments]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCommitments {
    /// Share of one core that computing them may take, 0.01 to 1; 0: the node computes none, and the auditor has to
    /// read every shard.
    pub cpu_share: f64,
}

impl Default for RawCommitments {
    fn default() -> Self {
        Self { cpu_share: 0.5 }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { challenges: 2, read_threads: 8, uploads: 64, challenge_rate: Size::Bytes(0) }
    }
}

/// A number of bytes, written as such or with a binary unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Size {
    /// Plain bytes.
    Bytes(u64),
    /// For instance `64GiB`.
    Text(String),
}

impl Size {
    fn bytes(&self, key: &str) -> Result<u64, NodeError> {
        let text = match self {
            Size::Bytes(bytes) => return Ok(*bytes),
            Size::Text(text) => text.trim(),
        };
        let digits = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let (number, unit) = text.split_at(text.len() - digits.len());
        let shift = match unit.trim() {
            "" | "B" => Some(0),
            "KiB" => Some(10),
            "MiB" => Some(20),
            "GiB" => Some(30),
            "TiB" => Some(40),
            _ => None,
        };
        let size = number.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
        size.ok_or_else(|| NodeError::config(key, "bytes, or a number with KiB, MiB, GiB or TiB", format!("{text:?}")))
    }
}

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// Empty: what was bound is advertised.
    pub advertise: Vec<Address>,
    /// Directory of the volume.
    pub data_dir: PathBuf,
    /// File of the receipt key.
    pub identity_key: PathBuf,
    /// Bytes offered.
    pub capacity: u64,
    /// Bytes of shards that one owner may have here.
    pub owner_quota: Option<u64>,
    /// Failure domain.
    pub zone: ZoneName,
    /// Who runs the node; may be empty.
    pub operator: String,
    /// The auditor's name in its certificate.
    pub auditor: PeerName,
    /// Where it may be reached; at least one.
    pub auditor_addresses: Vec<Address>,
    /// Its key, if the operator pins it.
    pub auditor_key: Option<PublicKey>,
    /// Certificate files.
    pub tls: RawTls,
    /// What peers may take.
    pub limits: Limits,
    /// Of one core, for computing commitments; 0 to 1.
    pub commit_cpu_share: f64,
    /// Where numbers are served for a scraper.
    pub metrics: Option<SocketAddr>,
}

/// What peers may take of a node. All above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Challenges answered at once.
    pub challenges: usize,
    /// Threads reading the disk at once.
    pub read_threads: usize,
    /// Puts at once.
    pub uploads: usize,
    /// Bytes a second that all challenges together may read.
    pub challenge_rate: Option<NonZeroU64>,
}

impl Checked {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`NodeError::File`] if it cannot be read or is no TOML of this form, [`NodeError::Config`] for a value.
    pub fn load(path: &Path) -> Result<Self, NodeError> {
        let unreadable =
            |error: std::io::Error| NodeError::file(path, format!("cannot read the configuration: {error}"));
        let len = fs::metadata(path).map_err(unreadable)?.len();
        if len > FILE_LEN_MAX {
            return Err(NodeError::file(path, format!("expected at most {FILE_LEN_MAX} bytes of TOML, got {len}")));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let raw: Raw = toml::from_str(&text).map_err(|error| NodeError::file(path, error.message_with_place(&text)))?;
        Self::of(raw, path.parent().unwrap_or(Path::new(".")))
    }

    /// Checks what was read. Relative paths count from `base`.
    ///
    /// # Errors
    /// [`NodeError::Config`], naming the key.
    pub fn of(raw: Raw, base: &Path) -> Result<Self, NodeError> {
        let listen =
            all(&raw.listen, "listen", "an address such as 192.0.2.1:7100 or [::]:7100", |text| text.parse().ok())?;
        counted("listen", &listen)?;
        let advertise = addresses("advertise", &raw.advertise)?;
        let unspecified = listen.iter().find(|address: &&SocketAddr| address.ip().is_unspecified());
        if let (true, Some(any)) = (advertise.is_empty(), unspecified) {
            let expected = format!("host:port by which peers reach this node, since it listens on {any}");
            return Err(NodeError::config("advertise", expected, "nothing"));
        }
        let auditor_addresses = addresses("auditor.addresses", &raw.auditor.addresses)?;
        counted("auditor.addresses", &auditor_addresses)?;
        let expected_name = "the name in the auditor's certificate: 1 to 63 of a-z, 0-9 and '-'";
        Ok(Self {
            listen,
            advertise,
            data_dir: base.join(raw.data_dir),
            identity_key: base.join(raw.identity_key),
            capacity: raw.capacity.bytes("capacity")?,
            owner_quota: raw.owner_quota.map(|quota| quota.bytes("owner_quota")).transpose()?,
            zone: ZoneName(label("zone", raw.zone, 1)?),
            operator: label("operator", raw.operator, 0)?,
            auditor: only(&raw.auditor.name, "auditor.name", expected_name, |text| text.parse().ok())?,
            auditor_addresses,
            auditor_key: raw.auditor.public_key.as_deref().map(public_key).transpose()?,
            tls: RawTls { ca: base.join(raw.tls.ca), cert: base.join(raw.tls.cert), key: base.join(raw.tls.key) },
            limits: limits(&raw.limits)?,
            commit_cpu_share: cpu_share(raw.commitments.cpu_share)?,
            metrics: raw.metrics.map(|metrics| scraped(&metrics.listen)).transpose()?,
        })
    }

    /// Where the volume's files are.
    pub fn volume_dir(&self) -> PathBuf {
        self.data_dir.join("volume")
    }
}

fn limits(raw: &RawLimits) -> Result<Limits, NodeError> {
    // Above it only the operating system would say no, and late.
    let bounded = |key: &str, number: u32, most: u32| {
        if (1..=most).contains(&number) {
            return Ok(number as usize);
        }
        Err(NodeError::config(key, format!("1 to {most}"), number))
    };
    Ok(Limits {
        challenges: bounded("limits.challenges", raw.challenges, 64)?,
        read_threads: bounded("limits.read_threads", raw.read_threads, 256)?,
        uploads: bounded("limits.uploads", raw.uploads, 1024)?,
        challenge_rate: NonZeroU64::new(raw.challenge_rate.bytes("limits.challenge_rate")?),
    })
}

fn cpu_share(share: f64) -> Result<f64, NodeError> {
    // Below a hundredth a blob a second is not reached on any machine: nobody means that.
    if share == 0.0 || (0.01..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(NodeError::config("commitments.cpu_share", "0.01 to 1 of one core, or 0 for none", share))
}

fn scraped(text: &str) -> Result<SocketAddr, NodeError> {
    only(text, "metrics.listen", "an address such as 127.0.0.1:9710", |text| text.parse().ok())
}

fn only<T>(text: &str, key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, NodeError> {
    parse(text).ok_or_else(|| NodeError::config(key, expected, format!("{text:?}")))
}

fn all<T>(texts: &[String], key: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, NodeError> {
    texts.iter().enumerate().map(|(at, text)| only(text, &format!("{key}[{at}]"), expected, &parse)).collect()
}

fn addresses(key: &str, texts: &[String]) -> Result<Vec<Address>, NodeError> {
    if texts.len() > ADDRESSES_MAX {
        return Err(NodeError::config(key, format!("at most {ADDRESSES_MAX} addresses"), texts.len()));
    }
    all(texts, key, "host:port with a port above 0", |text| text.parse().ok())
}

fn counted<T>(key: &str, found: &[T]) -> Result<(), NodeError> {
    if (1..=ADDRESSES_MAX).contains(&found.len()) {
        return Ok(());
    }
    Err(NodeError::config(key, format!("1 to {ADDRESSES_MAX} addresses"), found.len()))
}

fn label(key: &str, text: String, least: usize) -> Result<String, NodeError> {
    if (least..=LABEL_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    let expected = format!("{least} to {LABEL_LEN_MAX} bytes without control characters");
    Err(NodeError::config(key, expected, format!("{} bytes", text.len())))
}

fn public_key(text: &str) -> Result<PublicKey, NodeError> {
    only(text, "auditor.public_key", "64 hexadecimal digits, as `holdfast status` prints them", |text| {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(PublicKey)
    })
}

/// Where in the file a TOML error is.
trait Placed {
    fn message_with_place(&self, text: &str) -> String;
}

impl Placed for toml::de::Error {
    fn message_with_place(&self, text: &str) -> String {
        let line = self.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        listen = ["127.0.0.1:0"]
        data_dir = "d"
        identity_key = "k"
        capacity = "2GiB"
        zone = "north"
        [auditor]
        name = "auditor"
        addresses = ["127.0.0.1:7000"]
        [tls]
        ca = "ca.pem"
        cert = "cert.pem"
        key = "key.pem"
    "#;

    fn read(text: &str) -> Result<Checked, NodeError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        fs::write(&path, text).unwrap();
        Checked::load(&path)
    }

    #[test]
    fn paths_count_from_the_files_directory_and_the_rest_has_defaults() {
        let raw: Raw = toml::from_str(GOOD).unwrap();
        let checked = Checked::of(raw.clone(), Path::new("/etc/holdfast")).unwrap();
        assert_eq!(checked.volume_dir(), Path::new("/etc/holdfast/d/volume"));
        assert_eq!((checked.capacity, checked.limits.challenges), (2 << 30, 2));
        // What `up` writes, a node reads.
        assert_eq!(toml::from_str::<Raw>(&toml::to_string(&raw).unwrap()).unwrap(), raw);
    }

    #[test]
    fn the_file_that_is_deployed_is_a_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/node.toml");
        Checked::load(&path).unwrap();
    }

    #[test]
    fn an_error_names_the_key_what_was_expected_and_what_came() {
        let said = |from: &str, to: &str| {
            assert!(GOOD.contains(from));
            read(&GOOD.replace(from, to)).unwrap_err().to_string()
        };
        let cases = [
            ("\"2GiB\"", "\"2 GB\"", ["capacity", "GiB", "2 GB"]),
            ("\"2GiB\"", "\"99999999999TiB\"", ["capacity", "GiB", "99999999999TiB"]),
            ("\"127.0.0.1:0\"", "\"localhost\"", ["listen[0]", "192.0.2.1:7100", "localhost"]),
            ("\"127.0.0.1:0\"", "\"0.0.0.0:7100\"", ["advertise", "peers reach this node", "nothing"]),
            ("\"127.0.0.1:7000\"", "", ["auditor.addresses", "1 to 8", "got 0"]),
            ("\"auditor\"", "\"Auditor!\"", ["auditor.name", "certificate", "Auditor!"]),
            ("zone = \"north\"", "zone = \"\"", ["zone", "1 to 64", "0 bytes"]),
            ("zone = \"north\"", "zone = \"north\"\nzoom = 1", ["line 7", "unknown field", "zoom"]),
            ("[tls]", "[limits]\nuploads = 0\n[tls]", ["limits.uploads", "1 to 1024", "0"]),
            ("[tls]", "[commitments]\ncpu_share = 1.5\n[tls]", ["commitments.cpu_share", "0.01 to 1", "1.5"]),
        ];
        for (from, to, parts) in cases {
            let error = said(from, to);
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }
}
