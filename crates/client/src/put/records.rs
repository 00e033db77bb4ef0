//! The commit, as it will be sent: length-delimited `CommitUploadRequest` messages, gathered while
//! objects are sealed. In a file, so that a put of many objects or large ones holds none of it in memory.
//!
//! Pages of a frame table are complete before the manifest that names them: in the file they come before
//! their object, on the wire after it.

use std::io::{self, BufReader, Read};

use holdfast_types::UploadId;
use holdfast_wire::{
    MESSAGE_LEN_MAX,
    convert::{CommitPart, NewObject},
    pb::auditor::v1 as pb,
};
use prost::Message;

use super::PutObject;

/// Appends a part to the file's bytes.
pub(super) fn append(out: &mut Vec<u8>, part: CommitPart) {
    let message = pb::CommitUploadRequest::from(part);
    // A Vec takes whatever is written to it.
    out.extend(message.encode_length_delimited_to_vec());
}

/// An object, and its pages in order.
type WithPages = (Box<NewObject>, Vec<Vec<u8>>);

/// Reads parts back, in the order of the file.
pub(super) struct Reader<R>(BufReader<R>);

impl<R: Read> Reader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self(BufReader::new(inner))
    }

    fn length(&mut self) -> io::Result<Option<usize>> {
        let (mut length, mut shift) = (0u64, 0);
        loop {
            let mut byte = [0];
            if self.0.read(&mut byte)? == 0 {
                return if shift == 0 { Ok(None) } else { Err(broken("it ends in a length")) };
            }
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return Err(broken("a length is out of bounds"));
            }
        }
        if length > MESSAGE_LEN_MAX as u64 {
            return Err(broken("a length is out of bounds"));
        }
        Ok(Some(length as usize))
    }

    pub(super) fn next(&mut self) -> io::Result<Option<CommitPart>> {
        let Some(length) = self.length()? else { return Ok(None) };
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        let message = pb::CommitUploadRequest::decode(bytes.as_slice()).map_err(|error| broken(&error.to_string()))?;
        CommitPart::try_from(message).map(Some).map_err(|error| broken(&error.to_string()))
    }

    /// The next object with its pages.
    fn object(&mut self) -> io::Result<Option<WithPages>> {
        let mut pages = Vec::new();
        loop {
            match self.next()? {
                Some(CommitPart::Page(page)) => pages.push(page),
                Some(CommitPart::Object(object)) => return Ok(Some((object, pages))),
                Some(CommitPart::Header(_)) => return Err(broken("it holds a header")),
                None if pages.is_empty() => return Ok(None),
                None => return Err(broken("it ends before the object of its last pages")),
            }
        }
    }

    /// What the report says of the objects.
    pub(super) fn objects(mut self) -> io::Result<Vec<PutObject>> {
        let mut objects = Vec::new();
        while let Some((object, _)) = self.object()? {
            let (id, NewObject { name, plain_len, sealed_len, .. }) = (object.id(), *object);
            objects.push(PutObject { id, name, bytes: plain_len, sealed: sealed_len });
        }
        Ok(objects)
    }

    /// Gives the messages of the commit to `send`, until it says that nobody listens any more.
    pub(super) fn commit(
        mut self,
        upload: UploadId,
        mut send: impl FnMut(pb::CommitUploadRequest) -> bool,
    ) -> io::Result<()> {
        if !send(CommitPart::Header(upload).into()) {
            return Ok(());
        }
        while let Some((object, pages)) = self.object()? {
            let pages = pages.into_iter().map(CommitPart::Page);
            for part in [CommitPart::Object(object)].into_iter().chain(pages) {
                if !send(part.into()) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the records of the upload are damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: u8) -> NewObject {
        NewObject {
            manifest: vec![number; 300],
            envelope: vec![number; 200],
            offset: u64::from(number),
            sealed_len: 16,
            plain_len: 0,
            name: format!("object {number}"),
        }
    }

    fn file() -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, CommitPart::Object(Box::new(object(1))));
        append(&mut out, CommitPart::Page(vec![7; 60_000]));
        append(&mut out, CommitPart::Page(vec![8; 10]));
        append(&mut out, CommitPart::Object(Box::new(object(2))));
        out
    }

    #[test]
    fn a_commit_has_its_header_first_and_pages_after_their_object() {
        let mut sent = Vec::new();
        let listen = |message| {
            sent.push(CommitPart::try_from(message).unwrap());
            true
        };
        Reader::new(file().as_slice()).commit(UploadId([3; 16]), listen).unwrap();
        let expected = [
            CommitPart::Header(UploadId([3; 16])),
            CommitPart::Object(Box::new(object(1))),
            CommitPart::Object(Box::new(object(2))),
            CommitPart::Page(vec![7; 60_000]),
            CommitPart::Page(vec![8; 10]),
        ];
        assert_eq!(sent, expected);
        let objects = Reader::new(file().as_slice()).objects().unwrap();
        assert_eq!(objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["object 1", "object 2"]);
        assert_eq!(objects[1].id, object(2).id());
    }

    #[test]
    fn a_torn_or_damaged_file_is_an_error_and_never_half_a_commit() {
        let good = file();
        for len in 1..good.len() {
            let read = Reader::new(&good[..len]).objects();
            // Only the end of a whole object is an end.
            let whole = read.as_ref().is_ok_and(|objects| objects.len() == 1);
            assert!(read.is_err() || whole, "{len}");
        }
        let huge = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(Reader::new(huge.as_slice()).objects().is_err());
    }
}
