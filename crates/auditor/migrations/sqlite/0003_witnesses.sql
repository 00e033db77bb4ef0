-- What lets a node's commitments be checked later: seed and value, sealed under a key that is not in the
-- catalog. `burnt` is the digest of the list that the secret was revealed for, NULL while it was told to
-- nobody; `since` is when the segment was committed, NULL while it is staged. A row goes when its shard's
-- commitments are accepted.
CREATE TABLE witness (
    segment BLOB NOT NULL REFERENCES segment (id) ON DELETE CASCADE,
    idx     INTEGER NOT NULL,
    id      BLOB NOT NULL,
    sealed  BLOB NOT NULL,
    burnt   BLOB,
    since   INTEGER,
    PRIMARY KEY (segment, idx)
) STRICT, WITHOUT ROWID;

-- What each node owes is asked every few seconds: read from the index alone.
CREATE INDEX placement_owed ON placement (node, len) WHERE digest IS NULL AND standing = 'good';
