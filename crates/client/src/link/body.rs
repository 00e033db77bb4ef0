//! The body of a `PutShard` call. The encoder of the generated client copies each message into a buffer of
//! its own; nine tenths of what a client sends are shards, so their chunks go to the connection as they are,
//! behind the few bytes that make a message of them.
//!
//! ```text
//! 00 ‖ length (4, big-endian)             gRPC: not compressed, bytes of the message
//! key of the field ‖ length (varint)      protobuf: `chunk`, length-delimited
//! chunk
//! ```

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use holdfast_wire::{convert::CHUNK_LEN_MAX, pb::node::v1 as pb};
use http_body::{Body, Frame};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use tonic::Status;

/// Number of `PutShardRequest.chunk`, which the test holds to the schema.
const CHUNK_FIELD: u32 = 2;

/// Bytes of a chunk that is sent: one frame of the connection, and what a node takes a piece at a time.
const CHUNK_LEN: usize = 256 << 10;
const _: () = assert!(CHUNK_LEN <= CHUNK_LEN_MAX);

/// A header, then the chunks of what a stream gives.
pub(super) struct ShardBody<S> {
    ready: VecDeque<Bytes>,
    bytes: S,
}

impl<S> ShardBody<S> {
    pub(super) fn new(header: &pb::PutShardRequest, bytes: S) -> Self {
        let message = header.encode_to_vec();
        let mut head = BytesMut::with_capacity(5 + message.len());
        prefix(&mut head, message.len());
        head.put_slice(&message);
        Self { ready: VecDeque::from([head.freeze()]), bytes }
    }

    /// Cuts a buffer to messages, without a copy.
    fn cut(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_LEN));
            let len = chunk.len();
            let message_len = key_len(CHUNK_FIELD) + encoded_len_varint(len as u64) + len;
            let mut head = BytesMut::with_capacity(16);
            prefix(&mut head, message_len);
            encode_key(CHUNK_FIELD, WireType::LengthDelimited, &mut head);
            encode_varint(len as u64, &mut head);
            self.ready.extend([head.freeze(), chunk]);
        }
    }
}

fn prefix(head: &mut BytesMut, message_len: usize) {
    head.put_u8(0);
    // Below the bound of a message, which is far below 4 GiB.
    head.put_u32(message_len as u32);
}

impl<S: Stream<Item = Bytes> + Unpin> Body for ShardBody<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match ready!(self.bytes.poll_next_unpin(cx)) {
                Some(bytes) => self.cut(bytes),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::poll_fn, stream};

    use super::*;

    #[test]
    fn what_is_sent_is_what_the_schema_says_byte_for_byte_and_the_chunks_are_not_copied() {
        use pb::put_shard_request::Part;
        let header = pb::PutShardHeader { grant: vec![7; 200], replace: true };
        let header = pb::PutShardRequest { part: Some(Part::Header(header)) };
        let shard = Bytes::from((0..CHUNK_LEN + 130).map(|n| n as u8).collect::<Vec<_>>());
        let given = [shard.clone(), Bytes::new(), Bytes::from_static(b"end")];

        let chunks = [shard.slice(..CHUNK_LEN), shard.slice(CHUNK_LEN..), given[2].clone()];
        let messages = chunks.iter().map(|chunk| pb::PutShardRequest { part: Some(Part::Chunk(chunk.clone())) });
        let mut expected = Vec::new();
        for message in std::iter::once(header.clone()).chain(messages) {
            expected.push(0);
            expected.extend((message.encoded_len() as u32).to_be_bytes());
            message.encode(&mut expected).unwrap();
        }

        let (mut body, mut sent, mut places) = (ShardBody::new(&header, stream::iter(given)), Vec::new(), Vec::new());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never().unwrap() {
            let bytes = frame.unwrap().into_data().unwrap();
            places.push(bytes.as_ptr());
            sent.extend_from_slice(&bytes);
        }
        assert!(sent == expected);
        assert!(chunks.iter().all(|chunk| places.contains(&chunk.as_ptr())));
    }
}
