//! What a put or get tells while it runs, for progress bars. Called from several threads, often: an
//! implementation counts and returns.

/// Listens to a put or get.
pub trait Progress: Send + Sync {
    /// It is known how many plain bytes there are: sources without a length (standard input) count as 0.
    fn began(&self, _plain_bytes: u64) {}
    /// More plain bytes were sealed (put), or opened, verified and written (get). After a resumption the
    /// bytes of the earlier run come at once.
    fn plain(&self, _bytes: u64) {}
    /// More shard bytes are durable on a node (put), or came from one (get).
    fn moved(&self, _bytes: u64) {}
    /// More bytes of shards were committed to (put with [`Commit::Now`](crate::Commit::Now)).
    fn committed(&self, _bytes: u64) {}
    /// One more segment is durable (put) or was read (get).
    fn segment(&self) {}
    /// Something that a person may want to know: a node is avoided, damage is read around, a put is resumed.
    fn notice(&self, _text: &str) {}
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {}
