-- After a restart, staging asks which deletions of a segment's shards may still be on their way.
CREATE INDEX deletion_shard ON deletion (shard);
