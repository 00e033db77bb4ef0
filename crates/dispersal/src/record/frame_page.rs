//! A page of a manifest's frame table, sealed under the object's page key.

use holdfast_types::{RECORD_LEN_MAX, Transcript};
use zeroize::Zeroizing;

use super::fields::{RecordError, RecordKind, bytes, decode, encode, number};
use crate::{
    cipher::{open_once, seal_once},
    frame::SUITE,
    key::ObjectKey,
};

/// The page's record.
pub(crate) fn seal(key: &ObjectKey, page: u64, entries: &[u8]) -> Result<Vec<u8>, RecordError> {
    let sealed = seal_once(&key.page_key(), page, &context(page), entries);
    let fields = [("suite", number(u64::from(SUITE))), ("page", number(page)), ("sealed", bytes(&sealed))];
    encode(RecordKind::FramePage, fields, RECORD_LEN_MAX)
}

/// The page's entries.
pub(crate) fn open(key: &ObjectKey, page: u64, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, RecordError> {
    let mut fields = decode(RecordKind::FramePage, record, RECORD_LEN_MAX)?;
    if fields.number("suite")? != u64::from(SUITE) {
        return Err(fields.wrong("suite", "the manifest's suite, 1"));
    }
    if fields.number("page")? != page {
        return Err(fields.wrong("page", "the number that the manifest gives it"));
    }
    let sealed = fields.bytes("sealed")?;
    let opened = open_once(&key.page_key(), page, &context(page), &sealed);
    let entries = opened.map_err(|_| fields.wrong("sealed", "entries sealed under the object's key"))?;
    fields.done()?;
    Ok(entries)
}

fn context(page: u64) -> [u8; 32] {
    let context = Transcript::new("holdfast 2026 frame page context v1").absorb_u64("suite", u64::from(SUITE));
    context.absorb_u64("page", page).digest()
}
