//! What an owner asks for: how many shards, spread how, and what it takes to call a put done.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Shards of a segment at most: the code works over GF(2^8).
pub const SHARDS_MAX: u16 = 256;

/// A failure domain, by the name its operator gave it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ZoneName(pub String);

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a policy cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// k is zero.
    #[error("expected at least 1 data shard, got k = 0; any k from 1 to 255 works")]
    NoData,
    /// m is zero: nothing could be repaired.
    #[error("expected at least 1 parity shard, got m = 0; without parity the first loss is final")]
    NoParity,
    /// k + m is over the code's bound.
    #[error("expected k + m <= 256 shards over GF(2^8), got {data} + {parity} = {}; lower one of them", u32::from(*data) + u32::from(*parity))]
    TooManyShards {
        /// k.
        data: u16,
        /// m.
        parity: u16,
    },
    /// The write threshold is outside k..=n.
    #[error("expected a write threshold from k + 1 = {least} to n = {most}, got {got}")]
    Threshold {
        /// k + 1.
        least: u16,
        /// n.
        most: u16,
        /// What came.
        got: u16,
    },
    /// The repair threshold is outside k+1..=n.
    #[error("expected a repair threshold from k + 1 = {least} to n = {most}, got {got}")]
    RepairThreshold {
        /// k + 1.
        least: u16,
        /// n.
        most: u16,
        /// What came.
        got: u16,
    },
}

/// A Reed–Solomon code over GF(2^8): k data and m parity shards, both at least one, 256 in all at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code {
    data: u16,
    parity: u16,
}

impl Code {
    /// k data and m parity shards.
    pub const fn new(data: u16, parity: u16) -> Result<Self, PolicyError> {
        if data == 0 {
            return Err(PolicyError::NoData);
        }
        if parity == 0 {
            return Err(PolicyError::NoParity);
        }
        if data as u32 + parity as u32 > SHARDS_MAX as u32 {
            return Err(PolicyError::TooManyShards { data, parity });
        }
        Ok(Self { data, parity })
    }

    /// k.
    pub const fn data(self) -> u16 {
        self.data
    }

    /// m.
    pub const fn parity(self) -> u16 {
        self.parity
    }

    /// n = k + m.
    pub const fn total(self) -> u16 {
        self.data + self.parity
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

/// An owner's policy, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What the owner calls it; `[policy.NAME]` in the configuration.
    pub name: String,
    /// The code.
    pub code: Code,
    /// Shards that must be durable before a put is acknowledged; the rest is owed to repair.
    pub write_threshold: u16,
    /// A segment with this many good shards or fewer is repaired.
    pub repair_threshold: u16,
}

impl Policy {
    /// A policy with all n shards needed for a put and any loss repaired.
    pub fn new(name: &str, code: Code) -> Self {
        let total = code.total();
        Self { name: name.to_owned(), code, write_threshold: total, repair_threshold: total - 1 }
    }

    /// Sets the write threshold, from k + 1 to n: a put that leaves no spare would be acknowledged
    /// and lost at the first failure.
    pub fn with_write_threshold(mut self, shards: u16) -> Result<Self, PolicyError> {
        let (least, most) = (self.code.data() + 1, self.code.total());
        if !(least..=most).contains(&shards) {
            return Err(PolicyError::Threshold { least, most, got: shards });
        }
        self.write_threshold = shards;
        Ok(self)
    }

    /// Sets the number of good shards at or below which a segment is repaired, from k + 1 to n - 1
    /// (n - 1: any loss).
    pub fn with_repair_threshold(mut self, shards: u16) -> Result<Self, PolicyError> {
        let least = self.code.data() + 1;
        let most = (self.code.total() - 1).max(least);
        if !(least..=most).contains(&shards) {
            return Err(PolicyError::RepairThreshold { least, most, got: shards });
        }
        self.repair_threshold = shards;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_code_is_refused_with_the_arithmetic() {
        assert_eq!(Code::new(0, 4), Err(PolicyError::NoData));
        assert_eq!(Code::new(4, 0), Err(PolicyError::NoParity));
        let error = Code::new(250, 7).expect_err("257 shards");
        assert!(error.to_string().contains("250 + 7 = 257"), "{error}");
        assert!(Code::new(65535, 65535).is_err());
        assert_eq!(Code::new(255, 1).expect("fits").total(), 256);
    }

    #[test]
    fn a_threshold_that_leaves_no_spare_is_refused() {
        let policy = Policy::new("p", Code::new(8, 4).expect("fits"));
        assert!(policy.clone().with_write_threshold(8).is_err());
        assert!(policy.clone().with_write_threshold(13).is_err());
        assert_eq!(policy.with_write_threshold(9).expect("fits").write_threshold, 9);
    }
}
