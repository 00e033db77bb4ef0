//! `Serialize` and `Deserialize` for [`Root`]: 32 bytes, or 64 hexadecimal digits in human-readable formats.

use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cid::{ROOT_LEN, Root};

impl Serialize for Root {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(RootVisitor)
        } else {
            deserializer.deserialize_bytes(RootVisitor)
        }
    }
}

struct RootVisitor;

impl<'de> Visitor<'de> for RootVisitor {
    type Value = Root;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a BLAKE3 root: 32 bytes, or 64 hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Root, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Root, E> {
        bytes.try_into().map(Root).map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    // Formats without a byte string of their own send a sequence.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Root, A::Error> {
        let mut root = [0; ROOT_LEN];
        for (index, byte) in root.iter_mut().enumerate() {
            *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        match seq.next_element::<u8>()? {
            None => Ok(Root(root)),
            Some(_) => Err(A::Error::invalid_length(ROOT_LEN + 1, &self)),
        }
    }
}
