-- Nodes that held a shard of a segment before a repair moved it: they keep its records still.
CREATE TABLE former_holder (
    segment BLOB NOT NULL REFERENCES segment (id) ON DELETE CASCADE,
    node    BLOB NOT NULL,
    PRIMARY KEY (segment, node)
) STRICT, WITHOUT ROWID;

-- Records of what was deleted, or tombstones of it, that nodes may still keep, and since when. `owed_record`
-- owes a tombstone, or, with no bytes, the absence of a record; until then nothing of it is forgotten.
CREATE TABLE burial (
    kind INTEGER NOT NULL,
    key  BLOB NOT NULL,
    node BLOB NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (kind, key, node)
) STRICT, WITHOUT ROWID;

-- Whether a tombstone is owed to anybody is asked for every burial that could end, and by every commit.
CREATE INDEX owed_tombstone ON owed_record (key) WHERE kind = 5;
-- Whether another owner has the same object is asked by every deletion.
CREATE INDEX object_id ON object (id);

-- Roots of the last descriptor's pages, 32 bytes each.
ALTER TABLE segment ADD COLUMN pages BLOB NOT NULL DEFAULT x'';
