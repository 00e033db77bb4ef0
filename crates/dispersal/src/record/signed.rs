//! A record that somebody vouches for. The signature covers kind, format, body and signer, as
//! canonical DAG-CBOR, under a domain of its kind; signatures are a list tagged with algorithms, so
//! that a post-quantum one can stand beside Ed25519.

use std::collections::BTreeMap;

use holdfast_types::{
    PublicKey, RECORD_LEN_MAX, Root, SIGNATURES_MAX, SecretKey, Signature, SignatureError, Transcript,
};
use ipld_core::ipld::Ipld;

use super::fields::{Fields, RecordError, RecordKind, as_array, bytes, canonical, decode, encode, text};

/// What is signed.
pub trait Body: Sized {
    /// Its kind.
    const KIND: RecordKind;
    /// The domain under which it is signed.
    const DOMAIN: &'static str;

    #[doc(hidden)]
    fn to_map(&self) -> BTreeMap<String, Ipld>;
    #[doc(hidden)]
    fn from_map(fields: BodyFields) -> Result<Self, RecordError>;
    /// Whether this key may sign it, as far as the body itself says.
    fn signed_by(&self, signer: &PublicKey) -> bool;
    /// What a body must be beyond its types; tried before it is signed and after it is read.
    fn validate(&self) -> Result<(), RecordError>;
}

/// The fields of a body, opaque outside this crate.
pub struct BodyFields(pub(super) Fields);

/// A body whose signature holds: it is made by signing or by verifying, in no other way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed<T> {
    body: T,
    signer: PublicKey,
    bytes: Vec<u8>,
}

fn transcript<T: Body>(
    format: &Ipld,
    body: &BTreeMap<String, Ipld>,
    signer: &PublicKey,
) -> Result<Transcript, RecordError> {
    let fields = [
        ("holdfast", text(T::KIND.name())),
        ("format", format.clone()),
        ("body", Ipld::Map(body.clone())),
        ("signer", bytes(&signer.0)),
    ];
    let map = Ipld::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    Ok(Transcript::new(T::DOMAIN).absorb("record", &canonical(T::KIND.name(), &map)?))
}

impl<T: Body> Signed<T> {
    /// Signs `body`.
    pub fn sign(body: T, key: &SecretKey) -> Result<Self, RecordError> {
        let (kind, signer) = (T::KIND, key.public());
        body.validate()?;
        if !body.signed_by(&signer) {
            return Err(RecordError::Signer { kind: kind.name() });
        }
        let map = body.to_map();
        let format = super::fields::format();
        let signature = key.sign(&transcript::<T>(&format, &map, &signer)?);
        let fields = [
            ("body", Ipld::Map(map)),
            ("signer", bytes(&signer.0)),
            ("signatures", Ipld::List(vec![bytes(&signature.to_bytes())])),
        ];
        let bytes = encode(kind, fields, RECORD_LEN_MAX)?;
        Ok(Self { body, signer, bytes })
    }

    /// Reads a record and verifies its signatures. `expected` is who must have signed it, where the
    /// body does not say so itself (a descriptor's auditor); `None` trusts the body's own word.
    ///
    /// Every signature of a known algorithm must hold, and there must be one.
    pub fn decode(record: &[u8], expected: Option<&PublicKey>) -> Result<Self, RecordError> {
        let kind = T::KIND.name();
        let mut fields = decode(T::KIND, record, RECORD_LEN_MAX)?;
        let format = fields.format().clone();
        let signer = PublicKey(fields.array("signer")?);
        let inner = fields.inner("body")?;
        let signed = transcript::<T>(&format, inner.map(), &signer)?;
        let signatures = fields.list("signatures")?;
        let wrong = fields.wrong("signatures", "1 to 4 signatures, each an algorithm byte and 64 bytes");
        fields.done()?;
        let parse = |value| as_array::<{ Signature::LEN }>(value).and_then(|bytes| Signature::from_bytes(&bytes));
        let fits = (1..=SIGNATURES_MAX).contains(&signatures.len());
        let signatures: Option<Vec<Signature>> = signatures.into_iter().map(parse).collect();
        verify_all(kind, &signer, &signed, &signatures.filter(|_| fits).ok_or(wrong)?)?;
        let body = T::from_map(BodyFields(inner))?;
        body.validate()?;
        if expected.is_some_and(|expected| *expected != signer) || !body.signed_by(&signer) {
            return Err(RecordError::Signer { kind });
        }
        Ok(Self { body, signer, bytes: record.to_vec() })
    }

    /// What is signed.
    pub const fn body(&self) -> &T {
        &self.body
    }

    /// What is signed, by value.
    pub fn into_body(self) -> T {
        self.body
    }

    /// Who signed it.
    pub const fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The record.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The BLAKE3 root of the record.
    pub fn root(&self) -> Root {
        Root::of(&self.bytes)
    }
}

fn verify_all(
    kind: &'static str,
    signer: &PublicKey,
    signed: &Transcript,
    signatures: &[Signature],
) -> Result<(), RecordError> {
    let mut held = false;
    let mut unknown = SignatureError::Mismatch;
    for signature in signatures {
        match signer.verify(signed, signature) {
            Ok(()) => held = true,
            Err(error @ SignatureError::Algorithm(_)) => unknown = error,
            Err(error) => return Err(RecordError::Signature { kind, error }),
        }
    }
    if held { Ok(()) } else { Err(RecordError::Signature { kind, error: unknown }) }
}
