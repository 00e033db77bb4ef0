-- When a placement was made, or its commitments voided: the deadline of a shard whose client gave no witness counts
-- from there, whatever was restarted since. 0 for those that were there before: they are overdue.
ALTER TABLE placement ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
