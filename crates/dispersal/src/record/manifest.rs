//! The manifest: what an object's content is, and nothing else. Its CID is the object's name,
//! wherever its segments lie, whoever owns it.

use holdfast_types::{ByteRange, FRAME_LEN, FrameIndex, ObjectId, RECORD_LEN_MAX, Root, Transcript};
use ipld_core::ipld::Ipld;
use merkle_cid::Codec;

use super::fields::{
    Fields, RecordError, RecordKind, as_array, as_link, as_number, as_text, as_tuple, bytes, canonical, decode, encode,
    format, link, number, optional, text,
};
use crate::{
    cipher::{open_once, seal_once},
    frame::SUITE,
    key::{KeyCommitment, ObjectKey, RunSalt},
    open::OpenError,
    table::{FRAME_PAGES_MAX, FRAMES_INLINE_MAX, OBJECT_LEN_MAX, PageRef, RUNS_MAX, Run, frame_count},
};

/// Name and media type, in bytes, at most: hints; the rest of a manifest's 64 KiB is the frame table's.
const HINT_LEN_MAX: usize = 1024;

/// Where the frame table is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frames {
    /// In the index: 3 bytes a frame.
    Inline(Vec<u8>),
    /// In pages of [`crate::FRAMES_PER_PAGE`] frames.
    Paged(Vec<PageRef>),
}

/// What only the holder of the object key learns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// What the object was called when it was stored.
    pub name: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Bytes of the object.
    pub plain_len: u64,
    /// The attempts that sealed it, by first frame.
    pub runs: Vec<Run>,
    /// Where the frame table is.
    pub frames: Frames,
}

impl Index {
    /// The frames that hold `range` of the object.
    pub fn frames_for(&self, range: ByteRange) -> std::ops::Range<FrameIndex> {
        let range = range.intersect(ByteRange::first(self.plain_len));
        let end = if range.is_empty() { range.start() / FRAME_LEN } else { range.end().div_ceil(FRAME_LEN) };
        FrameIndex(range.start() / FRAME_LEN)..FrameIndex(end)
    }

    fn to_ipld(&self) -> Result<Vec<u8>, RecordError> {
        let frames = match &self.frames {
            Frames::Inline(entries) => bytes(entries),
            Frames::Paged(pages) => Ipld::List(pages.iter().map(page_to_ipld).collect()),
        };
        let fields = [
            ("name", optional(self.name.as_deref(), text)),
            ("media", optional(self.media_type.as_deref(), text)),
            ("len", number(self.plain_len)),
            ("runs", runs_to_ipld(&self.runs)),
            ("frames", frames),
        ];
        encode(RecordKind::Manifest, fields, RECORD_LEN_MAX)
    }

    fn from_fields(mut fields: Fields) -> Result<Self, RecordError> {
        let hint = |value| as_text(value).filter(|text| text.len() <= HINT_LEN_MAX);
        let name = fields.optional("name", "text of at most 1 KiB, or null", hint)?;
        let media_type = fields.optional("media", "text of at most 1 KiB, or null", hint)?;
        let plain_len = fields.number("len")?;
        if plain_len > OBJECT_LEN_MAX {
            return Err(fields.wrong("len", "at most 16 TiB"));
        }
        let runs = runs_from_fields(&mut fields, frame_count(plain_len))?;
        let frames = if fields.holds_bytes("frames") {
            Frames::Inline(fields.bytes("frames")?)
        } else {
            Frames::Paged(pages_from_fields(&mut fields, "frames")?)
        };
        fields.done()?;
        Ok(Self { name, media_type, plain_len, runs, frames })
    }
}

pub(super) fn runs_to_ipld(runs: &[Run]) -> Ipld {
    let run = |run: &Run| Ipld::List(vec![number(run.first_frame.0), bytes(&run.salt.0)]);
    Ipld::List(runs.iter().map(run).collect())
}

/// Runs start at frame 0, rise, end below `frames`, and never share a salt.
pub(super) fn runs_from_fields(fields: &mut Fields, frames: u64) -> Result<Vec<Run>, RecordError> {
    let parse = |value| {
        let [first, salt] = as_tuple(value)?;
        Some(Run { first_frame: FrameIndex(as_number(first)?), salt: RunSalt(as_array(salt)?) })
    };
    let runs: Option<Vec<Run>> = fields.list("runs")?.into_iter().take(RUNS_MAX + 1).map(parse).collect();
    let sorted = |runs: &Vec<Run>| {
        let ends = runs.first().map(|run| run.first_frame.0) == Some(0)
            && runs.last().is_some_and(|run| run.first_frame.0 < frames);
        let rising = runs.windows(2).all(|pair| pair[0].first_frame < pair[1].first_frame);
        let fresh = runs.iter().enumerate().all(|(at, run)| runs[..at].iter().all(|old| old.salt != run.salt));
        ends && rising && fresh && runs.len() <= RUNS_MAX
    };
    let expected = "1 to 256 runs, rising from frame 0, each with a salt of its own";
    runs.filter(sorted).ok_or_else(|| fields.wrong("runs", expected))
}

pub(super) fn page_to_ipld(page: &PageRef) -> Ipld {
    Ipld::List(vec![link(merkle_cid::Cid::dag_cbor(page.root)), number(page.sealed_start)])
}

pub(super) fn pages_from_fields(fields: &mut Fields, field: &'static str) -> Result<Vec<PageRef>, RecordError> {
    let parse = |value| {
        let [root, start] = as_tuple(value)?;
        Some(PageRef { root: as_link(root, Codec::DagCbor)?, sealed_start: as_number(start)? })
    };
    let list = fields.list(field)?;
    let fits = list.len() as u64 <= FRAME_PAGES_MAX;
    let pages: Option<Vec<PageRef>> = list.into_iter().map(parse).collect();
    pages.filter(|_| fits).ok_or_else(|| fields.wrong(field, "at most 1024 pages, each a CID and where it starts"))
}

/// An object's manifest, with its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    sealed_len: u64,
    sealed_root: Root,
    commitment: KeyCommitment,
    context: [u8; 32],
    index: Vec<u8>,
    bytes: Vec<u8>,
}

impl Manifest {
    pub(crate) fn seal(
        key: &ObjectKey,
        sealed_len: u64,
        sealed_root: Root,
        index: &Index,
    ) -> Result<Self, RecordError> {
        let hints = [("name", &index.name), ("media", &index.media_type)];
        for (field, hint) in hints {
            if hint.as_ref().is_some_and(|text| text.len() > HINT_LEN_MAX) {
                let kind = RecordKind::Manifest.name();
                return Err(RecordError::Field { kind, field, expected: "text of at most 1 KiB" });
            }
        }
        let commitment = key.commitment();
        let context = context(&format(), sealed_len, sealed_root, commitment)?;
        let index = seal_once(&key.index_key(), 0, &context, &index.to_ipld()?);
        let fields = [
            ("suite", number(u64::from(SUITE))),
            ("sealedLen", number(sealed_len)),
            ("sealedRoot", bytes(sealed_root.as_bytes())),
            ("keyCommitment", bytes(&commitment.0)),
            ("index", bytes(&index)),
        ];
        let bytes = encode(RecordKind::Manifest, fields, RECORD_LEN_MAX)?;
        Ok(Self { sealed_len, sealed_root, commitment, context, index, bytes })
    }

    /// Reads a manifest that is expected to be that of `object`: the name is verified first.
    pub fn decode_as(object: &ObjectId, bytes: &[u8]) -> Result<Self, RecordError> {
        if ObjectId(Root::of(bytes)) != *object {
            return Err(RecordError::Malformed {
                kind: RecordKind::Manifest.name(),
                reason: format!("its name is {}, expected {object}", ObjectId(Root::of(bytes))),
            });
        }
        Self::decode(bytes)
    }

    /// Reads a manifest; [`Manifest::object_id`] says of what.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut fields = decode(RecordKind::Manifest, bytes, RECORD_LEN_MAX)?;
        let suite = fields.number("suite")?;
        if suite != u64::from(SUITE) {
            return Err(RecordError::Incompatible {
                kind: RecordKind::Manifest.name(),
                expected: format!("suite {SUITE} (zstd, AES-256-GCM, BLAKE3)"),
                got: format!("suite {suite}"),
            });
        }
        let sealed_len = fields.number("sealedLen")?;
        if sealed_len > 2 * OBJECT_LEN_MAX {
            return Err(fields.wrong("sealedLen", "at most what an object of 16 TiB seals to"));
        }
        let sealed_root = Root(fields.array("sealedRoot")?);
        let commitment = KeyCommitment(fields.array("keyCommitment")?);
        let context = context(fields.format(), sealed_len, sealed_root, commitment)?;
        let index = fields.bytes("index")?;
        fields.done()?;
        Ok(Self { sealed_len, sealed_root, commitment, context, index, bytes: bytes.to_vec() })
    }

    /// Opens the index, if `key` is the object's.
    pub fn open(&self, key: &ObjectKey) -> Result<Index, OpenError> {
        // GCM-SIV alone commits to no key: without this, one manifest could open to two contents.
        if key.commitment() != self.commitment {
            return Err(OpenError::Key);
        }
        let index = open_once(&key.index_key(), 0, &self.context, &self.index).map_err(|_| OpenError::Index)?;
        let index = Index::from_fields(decode(RecordKind::Manifest, &index, RECORD_LEN_MAX)?)?;
        match &index.frames {
            Frames::Inline(entries) if entries.len() as u64 > 3 * FRAMES_INLINE_MAX => {
                let (kind, field) = (RecordKind::Manifest.name(), "frames");
                Err(RecordError::Field { kind, field, expected: "at most 4096 frames in the manifest itself" }.into())
            }
            _ => Ok(index),
        }
    }

    /// The object's name: the CID of these bytes.
    pub fn object_id(&self) -> ObjectId {
        ObjectId(Root::of(&self.bytes))
    }

    /// The record.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the object's sealed stream.
    pub const fn sealed_len(&self) -> u64 {
        self.sealed_len
    }

    /// The BLAKE3 root of the object's sealed stream.
    pub const fn sealed_root(&self) -> Root {
        self.sealed_root
    }

    /// Which object key it was made under.
    pub const fn commitment(&self) -> KeyCommitment {
        self.commitment
    }
}

/// Binds the index to what is in the clear: an index of the same key's other manifest does not fit.
fn context(
    format: &Ipld,
    sealed_len: u64,
    sealed_root: Root,
    commitment: KeyCommitment,
) -> Result<[u8; 32], RecordError> {
    let transcript = Transcript::new("holdfast 2026 manifest index context v1")
        .absorb("format", &canonical(RecordKind::Manifest.name(), format)?)
        .absorb_u64("suite", u64::from(SUITE))
        .absorb_u64("sealed length", sealed_len)
        .absorb("sealed root", sealed_root.as_bytes())
        .absorb("key commitment", &commitment.0);
    Ok(transcript.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::FRAMES_PER_PAGE;

    #[test]
    fn the_largest_manifest_is_one_record() {
        let salt = |n: u64| RunSalt(*blake3::hash(&n.to_be_bytes()).as_bytes());
        let last = OBJECT_LEN_MAX / FRAME_LEN - 1;
        let run =
            |n| Run { first_frame: FrameIndex(if n == 0 { 0 } else { last - RUNS_MAX as u64 + n }), salt: salt(n) };
        let page = |n| PageRef { root: Root(salt(n).0), sealed_start: u64::MAX - FRAME_PAGES_MAX + n };
        let index = Index {
            name: Some("n".repeat(HINT_LEN_MAX)),
            media_type: Some("m".repeat(HINT_LEN_MAX)),
            plain_len: OBJECT_LEN_MAX,
            runs: (0..RUNS_MAX as u64).map(run).collect(),
            frames: Frames::Paged((0..FRAME_PAGES_MAX).map(page).collect()),
        };
        assert_eq!(FRAME_PAGES_MAX * FRAMES_PER_PAGE, frame_count(OBJECT_LEN_MAX));
        let key = ObjectKey::from_bytes([1; 32]);
        let manifest = Manifest::seal(&key, 2 * OBJECT_LEN_MAX, Root::of(b""), &index).unwrap();
        assert!(manifest.bytes().len() <= RECORD_LEN_MAX);
        assert_eq!(Manifest::decode(manifest.bytes()).unwrap().open(&key).unwrap(), index);

        let inline = Frames::Inline(vec![0; 3 * FRAMES_INLINE_MAX as usize]);
        let index =
            Index { plain_len: FRAMES_INLINE_MAX * FRAME_LEN, frames: inline, runs: index.runs[..1].to_vec(), ..index };
        assert!(Manifest::seal(&key, 1, Root::of(b""), &index).is_ok());
    }

    #[test]
    fn runs_that_share_a_salt_or_run_backwards_are_refused() {
        let key = ObjectKey::from_bytes([1; 32]);
        let run = |first, salt| Run { first_frame: FrameIndex(first), salt: RunSalt([salt; 32]) };
        let open = |runs: &[Run]| {
            let frames = Frames::Inline(vec![0; 9]);
            let index = Index { name: None, media_type: None, plain_len: 3 * FRAME_LEN, runs: runs.to_vec(), frames };
            Manifest::seal(&key, 1, Root::of(b""), &index).unwrap().open(&key).map(|_| ())
        };
        assert_eq!(open(&[run(0, 1), run(2, 2)]), Ok(()));
        let broken: [&[Run]; 5] =
            [&[], &[run(1, 1)], &[run(0, 1), run(3, 2)], &[run(0, 1), run(0, 2)], &[run(0, 1), run(1, 1)]];
        for runs in broken {
            assert!(matches!(open(runs), Err(OpenError::Record(RecordError::Field { field: "runs", .. }))), "{runs:?}");
        }
    }

    #[test]
    fn a_range_names_its_frames() {
        let index = Index {
            name: None,
            media_type: None,
            plain_len: 2 * FRAME_LEN + 1,
            runs: Vec::new(),
            frames: Frames::Inline(Vec::new()),
        };
        let frames = |start, end| {
            let range = index.frames_for(ByteRange::new(start, end).unwrap());
            range.start.0..range.end.0
        };
        assert_eq!(frames(0, FRAME_LEN), 0..1);
        assert_eq!(frames(FRAME_LEN - 1, FRAME_LEN + 1), 0..2);
        assert_eq!(frames(2 * FRAME_LEN, 9 * FRAME_LEN), 2..3);
        assert!(frames(5, 5).is_empty());
    }
}
