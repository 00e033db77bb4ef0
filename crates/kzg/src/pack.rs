//! Bytes to field elements and back: 31 bytes each, so that every value is below the field's order.
//!
//! Element `i` is bytes `[31 i, 31 i + 31)` of the blob, big-endian. Behind a leading zero byte it is
//! EIP-4844's 32-byte field element. A shard's last blob is padded with zeros; so is its last element.

use thiserror::Error;

/// Field elements behind one commitment: the size of the ceremony's setup.
pub const ELEMENTS_PER_BLOB: usize = 4096;
/// Bytes of a shard in an element: the largest whole number below the field's 254.9 bits.
pub const ELEMENT_LEN: usize = 31;
/// Bytes of a shard behind one commitment.
pub const BLOB_LEN: usize = ELEMENTS_PER_BLOB * ELEMENT_LEN;
/// Bytes of an EIP-4844 blob: the same elements at 32 bytes each.
pub const EXPANDED_LEN: usize = ELEMENTS_PER_BLOB * 32;

const _: () = assert!(BLOB_LEN as u64 == holdfast_types::BLOB_LEN);

/// Why bytes cannot be packed or unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PackError {
    /// More bytes than a blob holds.
    #[error("expected at most {BLOB_LEN} bytes for one blob, got {got}; cut the shard into blobs first")]
    TooLong {
        /// Bytes that came.
        got: usize,
    },
    /// An element above 248 bits: no bytes of ours make it.
    #[error("element {element} begins with byte {got:#04x}, expected 0x00; this EIP-4844 blob holds no packed bytes")]
    NotPacked {
        /// Which element, from 0.
        element: usize,
        /// Its first byte.
        got: u8,
    },
}

/// Blobs of a shard of `len` bytes: the last one may be short, and no bytes are no blob.
///
/// ```
/// assert_eq!(holdfast_kzg::blobs_of(126_977), 2);
/// ```
pub const fn blobs_of(len: u64) -> u64 {
    len.div_ceil(BLOB_LEN as u64)
}

/// Bytes that blob `blob` of a shard of `shard_len` bytes holds; 0 past the end.
pub const fn blob_len(shard_len: u64, blob: u64) -> usize {
    let left = shard_len.saturating_sub(blob.saturating_mul(BLOB_LEN as u64));
    if left < BLOB_LEN as u64 { left as usize } else { BLOB_LEN }
}

/// Expands at most [`BLOB_LEN`] bytes to the EIP-4844 blob of the same polynomial.
pub fn pack(bytes: &[u8]) -> Result<Box<[u8; EXPANDED_LEN]>, PackError> {
    if bytes.len() > BLOB_LEN {
        return Err(PackError::TooLong { got: bytes.len() });
    }
    let mut out = zeroed::<EXPANDED_LEN>();
    for (element, bytes) in out.chunks_exact_mut(32).zip(bytes.chunks(ELEMENT_LEN)) {
        element[1..1 + bytes.len()].copy_from_slice(bytes);
    }
    Ok(out)
}

/// The inverse of [`pack`]: all [`BLOB_LEN`] bytes, padding included.
pub fn unpack(expanded: &[u8; EXPANDED_LEN]) -> Result<Box<[u8; BLOB_LEN]>, PackError> {
    let mut out = zeroed::<BLOB_LEN>();
    for (index, (bytes, element)) in out.chunks_exact_mut(ELEMENT_LEN).zip(expanded.chunks_exact(32)).enumerate() {
        if element[0] != 0 {
            return Err(PackError::NotPacked { element: index, got: element[0] });
        }
        bytes.copy_from_slice(&element[1..]);
    }
    Ok(out)
}

/// `N` zeros on the heap, without passing through the stack.
fn zeroed<const N: usize>() -> Box<[u8; N]> {
    match vec![0u8; N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("a vector of N bytes is an array of N bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_counted_at_every_boundary() {
        for (len, blobs) in [(0, 0), (1, 1), (126_975, 1), (126_976, 1), (126_977, 2), (64 << 20, 529)] {
            assert_eq!(blobs_of(len), blobs, "{len}");
            let total: usize = (0..blobs + 2).map(|blob| blob_len(len, blob)).sum();
            assert_eq!(total as u64, len);
        }
        assert_eq!(blob_len(1, u64::MAX), 0);
    }

    #[test]
    fn unpack_gives_back_what_pack_took_and_refuses_larger_elements() {
        let bytes: Vec<u8> = (0..BLOB_LEN as u32 - 40).map(|i| (i * 7 + i / 300) as u8).collect();
        let mut expanded = pack(&bytes).unwrap();
        let back = unpack(&expanded).unwrap();
        assert_eq!(back[..bytes.len()], bytes[..]);
        assert!(back[bytes.len()..].iter().all(|byte| *byte == 0));
        expanded[32 * 9] = 1;
        assert_eq!(unpack(&expanded), Err(PackError::NotPacked { element: 9, got: 1 }));
        assert_eq!(pack(&vec![0; BLOB_LEN + 1]), Err(PackError::TooLong { got: BLOB_LEN + 1 }));
    }
}
