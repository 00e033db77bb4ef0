-- The catalog. Every row that belongs to somebody says to whom. Ids are their raw bytes, times are
-- milliseconds since 1970, fences are (epoch, counter). docs/formats/catalog.md tells the columns.

CREATE TABLE meta (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    epoch   INTEGER NOT NULL,
    counter INTEGER NOT NULL
) STRICT;
INSERT INTO meta (one, epoch, counter) VALUES (1, 0, 0);

CREATE TABLE node (
    id          BLOB PRIMARY KEY,
    key         BLOB NOT NULL,
    addresses   TEXT NOT NULL,
    zone        TEXT NOT NULL,
    operator    TEXT NOT NULL,
    life        TEXT NOT NULL,
    containment BLOB,
    volume      BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    capacity    INTEGER NOT NULL,
    used        INTEGER NOT NULL DEFAULT 0,
    joined      INTEGER NOT NULL,
    seen        INTEGER NOT NULL,
    judged      INTEGER,
    version     INTEGER NOT NULL
) STRICT;

CREATE TABLE upload (
    id               BLOB PRIMARY KEY,
    owner            BLOB NOT NULL,
    policy           TEXT NOT NULL,
    k                INTEGER NOT NULL,
    m                INTEGER NOT NULL,
    write_threshold  INTEGER NOT NULL,
    repair_threshold INTEGER NOT NULL,
    expires          INTEGER NOT NULL,
    committed        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX upload_expires ON upload (expires) WHERE committed = 0;

-- A segment is staged until `committed`. `good` counts its good placements; triggers keep it true, so
-- that the queue of repairs is an index and not a scan.
CREATE TABLE segment (
    id                  BLOB PRIMARY KEY,
    upload              BLOB NOT NULL,
    upload_offset       INTEGER NOT NULL,
    committed           INTEGER NOT NULL DEFAULT 0,
    owner               BLOB NOT NULL,
    root                BLOB NOT NULL,
    len                 INTEGER NOT NULL,
    k                   INTEGER NOT NULL,
    m                   INTEGER NOT NULL,
    shard_len           INTEGER NOT NULL,
    shards              BLOB NOT NULL,
    repair_threshold    INTEGER NOT NULL,
    secret_for_owner    BLOB NOT NULL,
    secret_for_recovery BLOB NOT NULL,
    good                INTEGER NOT NULL DEFAULT 0,
    revision            INTEGER NOT NULL DEFAULT 1,
    described           INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX segment_upload ON segment (upload, upload_offset);
CREATE INDEX segment_at_risk ON segment (good - k, id) WHERE committed = 1 AND good < k + m;
CREATE INDEX segment_undescribed ON segment (id) WHERE committed = 1 AND described < revision;
CREATE INDEX segment_spare ON segment (good - k) WHERE committed = 1;

CREATE TABLE assignment (
    segment  BLOB NOT NULL REFERENCES segment (id) ON DELETE CASCADE,
    idx      INTEGER NOT NULL,
    shard    BLOB NOT NULL,
    node     BLOB NOT NULL,
    sequence INTEGER,
    PRIMARY KEY (segment, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX assignment_node ON assignment (node, shard);

-- `damaged`: 16 bytes a range, big-endian start and end. `digest` is NULL while the commitment is pending.
CREATE TABLE placement (
    segment       BLOB NOT NULL REFERENCES segment (id) ON DELETE CASCADE,
    idx           INTEGER NOT NULL,
    shard         BLOB NOT NULL,
    len           INTEGER NOT NULL,
    node          BLOB NOT NULL,
    sequence      INTEGER NOT NULL,
    digest        BLOB,
    provenance    TEXT,
    standing      TEXT NOT NULL,
    damaged       BLOB,
    version       INTEGER NOT NULL,
    fence_epoch   INTEGER NOT NULL,
    fence_counter INTEGER NOT NULL,
    PRIMARY KEY (segment, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX placement_node ON placement (node, sequence, segment, idx);
CREATE INDEX placement_shard ON placement (node, shard);
CREATE INDEX placement_pending ON placement (segment, idx) WHERE digest IS NULL AND standing = 'good';

CREATE TRIGGER placement_added AFTER INSERT ON placement WHEN new.standing = 'good' BEGIN
    UPDATE segment SET good = good + 1 WHERE id = new.segment;
END;
CREATE TRIGGER placement_removed AFTER DELETE ON placement WHEN old.standing = 'good' BEGIN
    UPDATE segment SET good = good - 1 WHERE id = old.segment;
END;
CREATE TRIGGER placement_changed AFTER UPDATE OF standing ON placement WHEN old.standing <> new.standing BEGIN
    UPDATE segment SET good = good + (new.standing = 'good') - (old.standing = 'good') WHERE id = new.segment;
END;

CREATE TABLE object (
    owner      BLOB NOT NULL,
    id         BLOB NOT NULL,
    name       TEXT NOT NULL,
    sealed_len INTEGER NOT NULL,
    plain_len  INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    manifest   BLOB NOT NULL,
    envelope   BLOB NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE extent (
    owner   BLOB NOT NULL,
    object  BLOB NOT NULL,
    at      INTEGER NOT NULL,
    segment BLOB NOT NULL REFERENCES segment (id),
    offset  INTEGER NOT NULL,
    len     INTEGER NOT NULL,
    PRIMARY KEY (owner, object, at),
    FOREIGN KEY (owner, object) REFERENCES object (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX extent_segment ON extent (segment);

CREATE TABLE page (
    owner  BLOB NOT NULL,
    root   BLOB NOT NULL,
    object BLOB NOT NULL,
    bytes  BLOB NOT NULL,
    PRIMARY KEY (owner, root, object),
    FOREIGN KEY (owner, object) REFERENCES object (owner, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX page_object ON page (owner, object);

CREATE TABLE audit (
    id     BLOB PRIMARY KEY,
    node   BLOB NOT NULL,
    lane   TEXT NOT NULL,
    seed   BLOB NOT NULL,
    runs   BLOB NOT NULL,
    digest BLOB NOT NULL,
    opened INTEGER NOT NULL
) STRICT;

CREATE TABLE verdict (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    audit    BLOB NOT NULL,
    node     BLOB NOT NULL,
    lane     TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    at       INTEGER NOT NULL,
    took     INTEGER NOT NULL,
    shards   INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    evidence BLOB NOT NULL
) STRICT;
CREATE INDEX verdict_node ON verdict (node, id);

CREATE TABLE exception (
    verdict     INTEGER NOT NULL REFERENCES verdict (id),
    place       INTEGER NOT NULL,
    shard       BLOB NOT NULL,
    segment     BLOB NOT NULL,
    idx         INTEGER NOT NULL,
    outcome     TEXT NOT NULL,
    cause       TEXT,
    range_start INTEGER,
    range_end   INTEGER,
    PRIMARY KEY (verdict, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (
    segment BLOB PRIMARY KEY,
    epoch   INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE repair (
    id            BLOB PRIMARY KEY,
    segment       BLOB NOT NULL,
    idx           INTEGER NOT NULL,
    shard         BLOB NOT NULL,
    from_node     BLOB,
    to_node       BLOB NOT NULL,
    state         TEXT NOT NULL,
    fence_epoch   INTEGER NOT NULL,
    fence_counter INTEGER NOT NULL,
    started       INTEGER NOT NULL,
    ended         INTEGER,
    bytes         INTEGER NOT NULL,
    reason        TEXT NOT NULL
) STRICT;
CREATE INDEX repair_started ON repair (started, id);
CREATE INDEX repair_running ON repair (id) WHERE state = 'running';

CREATE TABLE deletion (
    node  BLOB NOT NULL,
    shard BLOB NOT NULL,
    owner BLOB NOT NULL,
    due   INTEGER NOT NULL,
    PRIMARY KEY (node, shard)
) STRICT, WITHOUT ROWID;
CREATE INDEX deletion_due ON deletion (due);

CREATE TABLE owed_record (
    node  BLOB NOT NULL,
    kind  INTEGER NOT NULL,
    key   BLOB NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (node, kind, key)
) STRICT, WITHOUT ROWID;
