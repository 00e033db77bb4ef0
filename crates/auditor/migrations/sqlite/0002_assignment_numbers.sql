-- A receipt's number is looked up for each receipt: without an index on it, every shard of a put cost
-- a look at all that the node was assigned before.
CREATE INDEX assignment_number ON assignment (node, sequence) WHERE sequence IS NOT NULL;
