//! What a record is called, whose it is, and when it was committed.
//!
//! The volume knows nothing of shards, manifests or owners: the layer above
//! maps its ids to a [`Key`] and a [`Namespace`].

use std::fmt;

/// The name of a record: what kind of thing it is and its 32-byte digest.
///
/// The volume attaches no meaning to `kind`; one id may exist once per kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Chosen by the layer above: shard, descriptor, envelope, …
    pub kind: u8,
    /// The digest that names the content.
    pub id: [u8; 32],
}

/// Whose record it is: the unit of quotas and usage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(pub [u8; 32]);

/// The place of a record in the order of commits: strictly increasing, never
/// reused, kept when compaction moves the record. Not contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before every record.
    pub const START: Self = Self(0);
    /// After every record.
    pub const END: Self = Self(u64::MAX);

    /// The next one up; where to go on after having seen `self`.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind)?;
        hex(&self.id, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
